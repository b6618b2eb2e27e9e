// gated_delta[align=8 d_key=96 d_value=256 heads=12 out_align=8 step=0] bf16 | mma | sm_90a | codegen 1
// again: jet emit 'gated_delta[align=8 d_key=96 d_value=256 heads=12 out_align=8 step=0] bf16' --arch sm_90a --schedule 'chunk=64 form=2 stages=2 tile_v=64 vec=4 warps=4'
constexpr int kChunk = 64;
constexpr int kStages = 2;
constexpr int kTileV = 64;
constexpr int kVec = 4;
constexpr int kWarps = 4;
constexpr int kHeads = 12;
constexpr int kDKey = 96;
constexpr int kDValue = 256;
constexpr int kSolveThreads = 128;
constexpr int kAlign = 8;
constexpr int kOutAlign = 8;

// ---- types ----
__host__ __device__ constexpr int ceil_div(int n, int per) { return (n + per - 1) / per; }

// N values that one access moves.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
    static_assert(sizeof(T) * N <= 16, "one access moves at most 16 bytes");
    T at[N];
};

__device__ inline float to_float(float x) { return x; }

// Rounds to nearest even.
template <class T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) { return x; }

struct bf16 { unsigned short bits; };
__device__ inline float to_float(bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
template <>
__device__ inline bf16 from_float<bf16>(float x) {
    bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

struct f16 { unsigned short bits; };
__device__ inline float to_float(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}
template <>
__device__ inline f16 from_float<f16>(float x) {
    f16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

// Two floats rounded into one register, the first in the lower half.
template <class T>
__device__ unsigned pack2(float low, float high);
template <>
__device__ inline unsigned pack2<bf16>(float low, float high) {
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}
template <>
__device__ inline unsigned pack2<f16>(float low, float high) {
    unsigned both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}


// ---- batch ----
// One sequence of the batch: rows start .. start + len of every activation are its new tokens.
struct alignas(16) Segment {
    int slot;   // its place in the states
    int start;  // first row
    int len;    // new tokens
    int past;   // tokens before them
    int first;  // position of the sequence's first token
    int unused[3];
};


// ---- memory ----
// The registers of a vector access.
template <int kBytes>
struct Words;
template <>
struct Words<16> { uint4 w; };
template <>
struct Words<8> { uint2 w; };
template <>
struct Words<4> { unsigned w; };
template <>
struct Words<2> { unsigned short w; };
template <>
struct Words<1> { unsigned char w; };

template <int N, class T>
__device__ inline void store_vec(T* to, Vec<T, N> values) {
    using W = Words<sizeof(T) * N>;
    W words;
    memcpy(&words, &values, sizeof(words));
    *reinterpret_cast<W*>(to) = words;
}

template <int N, class T>
__device__ inline void store_floats(T* to, const float (&from)[N]) {
    constexpr int kStep = sizeof(T) * N > 16 ? 16 / sizeof(T) : N;
#pragma unroll
    for (int i = 0; i < N; i += kStep) {
        Vec<T, kStep> part;
#pragma unroll
        for (int j = 0; j < kStep; ++j) part.at[j] = from_float<T>(from[i + j]);
        store_vec<kStep>(to + i, part);
    }
}


// ---- reduce ----
// The sum over each group of kLanes neighbouring lanes, in all of them.
template <int kLanes>
__device__ inline float lanes_sum(float x) {
    static_assert(kLanes >= 1 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0, "a group of lanes is a power of two");
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}


// ---- scan ----
// The sum over this lane and those before it.
__device__ inline float warp_scan(float x) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
        const float before = __shfl_up_sync(0xffffffffu, x, step);
        if (lane >= step) x += before;
    }
    return x;
}


// ---- shared ----
// The address that instructions on shared memory take.
__device__ inline unsigned smem_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

// kRows rows of kCols values in shared memory, row-major. Rows are kPad values apart beyond their width: with 16 bytes
// more than a multiple of 128 the eight rows that ldmatrix reads at a time lie in different banks.
template <class T, int kRows, int kCols, int kPad = 16 / sizeof(T)>
struct SmemTile {
    static_assert(kCols * sizeof(T) % 16 == 0, "a row of a tile is whole 16-byte pieces");
    static_assert(kPad * sizeof(T) % 16 == 0, "the padding keeps rows aligned to 16 bytes");
    static constexpr int rows = kRows, cols = kCols, stride = kCols + kPad;
    static constexpr int bytes = kRows * stride * static_cast<int>(sizeof(T));
    T* base;
    __device__ explicit SmemTile(void* at) : base(static_cast<T*>(at)) {}
    __device__ T* at(int row, int col) const { return base + row * stride + col; }
};


// ---- copy ----
// kBytes from global to shared memory, of which the first `valid` are read and the others become zero.
template <int kBytes>
__device__ inline void copy_async(void* to, const void* from, int valid) {
    static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "an asynchronous copy moves 4, 8 or 16 bytes");
    if constexpr (kBytes == 16) {
        asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(smem_address(to)), "l"(from),
                     "r"(valid)
                     : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(smem_address(to)), "l"(from), "n"(kBytes),
                     "r"(valid)
                     : "memory");
    }
}

// Ends a group of this thread's copies.
__device__ inline void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most kLeft of this thread's groups are under way.
template <int kLeft>
__device__ inline void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

// Calls each(row, piece) for the pieces of kRows rows, shared out so that eight neighbouring lanes have one piece of eight
// rows. Rows of a tile are an odd number of 16-byte pieces apart: eight of one column lie in different banks, and eight in
// a row do only where rows are whole eights.
template <int kThreads, int kRows, int kPieces, class Do>
__device__ inline void cta_for_pieces_by_rows(Do each) {
    static_assert(kRows % 8 == 0, "rows are whole eights");
#pragma unroll
    for (int i = threadIdx.x; i < kRows * kPieces; i += kThreads) {
        each(i / (8 * kPieces) * 8 + i % 8, i / 8 % kPieces);
    }
}

// As cta_copy_tile, for tiles whose rows are not whole eights of 16 bytes.
template <int kThreads, int kVec, class T, int kRows, int kCols, int kPad>
__device__ inline void cta_copy_narrow(SmemTile<T, kRows, kCols, kPad> to, const T* from, long long stride, int rows,
                                       int cols) {
    static_assert(kCols % kVec == 0, "a row of the tile is whole pieces");
    cta_for_pieces_by_rows<kThreads, kRows, kCols / kVec>([&](int row, int piece) {
        const int col = piece * kVec, left = row < rows ? min(max(cols - col, 0), kVec) : 0;
        const T* source = left > 0 ? from + row * stride + col : from;
        copy_async<kVec * sizeof(T)>(to.at(row, col), source, left * static_cast<int>(sizeof(T)));
    });
}


// ---- matrix ----
// Four 8x8 tiles of 16-bit values: lane l gives the address of row l % 8 of tile l / 8. Lane (g, t) = (lane / 4,
// lane % 4) gets row g, elements 2t and 2t + 1 of tile i in out[i].
__device__ inline void warp_load_matrix(unsigned (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(smem_address(row))
                 : "memory");
}

// The same of the transposed tiles.
__device__ inline void warp_load_matrix_transposed(unsigned (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(smem_address(row))
                 : "memory");
}

// The 16x16 left operand of a warp's matrix product, from row-major shared memory: `tile` is its first element.
template <class T>
__device__ inline void warp_load_a(unsigned (&out)[4], const T* tile, int stride) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix(out, tile + lane % 16 * stride + lane / 16 * 8);
}

// Two right operands, 16 (k) x 8 (n) each, of 16 neighbouring columns n, from shared memory with one row per n: the
// first in out[0], out[1], the second in out[2], out[3].
template <class T>
__device__ inline void warp_load_b(unsigned (&out)[4], const T* tile, int stride) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix(out, tile + (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8);
}

// The same from shared memory with one row per k.
template <class T>
__device__ inline void warp_load_b_transposed(unsigned (&out)[4], const T* tile, int stride) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix_transposed(out, tile + lane % 16 * stride + lane / 16 * 8);
}


// ---- mma ----
// 16 x 8 x 16 of 16-bit values.
template <class T>
__device__ void warp_mma(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);
template <>
__device__ inline void warp_mma<bf16>(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ inline void warp_mma<f16>(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}


// ---- gated_delta solve ----
using QType = bf16;
using KType = bf16;
using VType = bf16;
using OutType = bf16;
using TriangleType = bf16;

// A chunk's tokens: rows first .. first + len of the operands. Chunks begin anew with each sequence.
struct Chunk {
    int first, len;
    __device__ Chunk(const Segment& segment, int index)
        : first(segment.start + index * kChunk), len(min(segment.len - index * kChunk, kChunk)) {}
};

// Per token and head: of K S in W, of Q S in the output, of the token's write, and of the state over the whole chunk.
struct alignas(16) Factors { float read_k, read_q, write, decay; };

struct Decays {
    float gate[kChunk];  // running sums of the log decays
    float beta[kChunk];
    float q_factor[kChunk], k_factor[kChunk];
};

// Rows are as far apart as keeps accesses from each other's banks: pairs of the fragments of four rows, and 16 columns
// of two rows.
struct Triangles {
    alignas(16) float lower[kChunk][kChunk + 8];
    float inverse[kChunk][kChunk % 32 == 0 ? kChunk + 16 : kChunk];
};

// A decay below e^-30 is e^-30: what it leaves is far below a float, and sums stay small, so their differences exact.
__device__ inline void cta_load_decays(Decays& to, const float* g, int g_stride, const float* beta, int beta_stride,
                                       Chunk chunk, int head) {
    if (threadIdx.x < 32) {
        float carry = 0.0f;
        for (int base = 0; base < kChunk; base += 32) {
            const int i = base + threadIdx.x;
            const long long row = chunk.first + i;
            const float sum = carry + warp_scan(i < chunk.len ? fmaxf(g[row * g_stride + head], -30.0f) : 0.0f);
            if (i < kChunk) to.gate[i] = sum;
            carry = __shfl_sync(0xffffffffu, sum, 31);
        }
    } else {
        for (int i = threadIdx.x - 32; i < kChunk; i += kSolveThreads - 32) {
            const long long row = chunk.first + i;
            to.beta[i] = i < chunk.len ? beta[row * beta_stride + head] : 0.0f;
        }
    }
}

// The factors that normalise the rows of the tiles, each row by a warp.
template <class T>
__device__ inline void cta_find_norms(Decays& to, const T* q, const T* k, int stride, float scale, float l2_eps) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int i = warp; i < kChunk; i += kSolveThreads / 32) {
        float qq = 0.0f, kk = 0.0f;
        for (int d = lane; d < kDKey; d += 32) {
            const float a = to_float(q[i * stride + d]), b = to_float(k[i * stride + d]);
            qq = fmaf(a, a, qq);
            kk = fmaf(b, b, kk);
        }
        qq = lanes_sum<32>(qq);
        kk = lanes_sum<32>(kk);
        if (lane == 0) {
            to.q_factor[i] = scale / sqrtf(qq + l2_eps);
            to.k_factor[i] = 1.0f / sqrtf(kk + l2_eps);
        }
    }
}

// E_ij; only differences are raised, which are never above zero.
__device__ inline float between(const Decays& d, int i, int j) { return expf(fminf(d.gate[i] - d.gate[j], 0.0f)); }

__device__ inline float lower_entry(const Decays& d, float dot, int i, int j) {
    return d.beta[i] * d.k_factor[i] * d.k_factor[j] * dot;
}

__device__ inline float score_entry(const Decays& d, float dot, int i, int j) {
    return i >= j ? d.q_factor[i] * d.k_factor[j] * between(d, i, j) * dot : 0.0f;
}

// inverse = (I + strict_tril(lower))^-1, in its lower triangle; above the diagonal is waste. Blocks of 16 by forward
// substitution, a column each thread; then pairs of blocks merge: X21 = -X22 L21 X11.
__device__ inline void cta_invert(Triangles& m) {
    if (threadIdx.x < kChunk) {
        const int base = threadIdx.x / 16 * 16, c = threadIdx.x % 16;
        float x[16];
#pragma unroll
        for (int i = 0; i < 16; ++i) {
            float sum = i == c ? 1.0f : 0.0f;
#pragma unroll
            for (int j = 0; j < i; ++j) sum = fmaf(-m.lower[base + i][base + j], x[j], sum);
            x[i] = sum;
            m.inverse[base + i][base + c] = sum;
        }
    }
    __syncthreads();
#pragma unroll
    for (int size = 16; size < kChunk; size *= 2) {
        // L21 X11 waits in the place of the block above the diagonal.
        for (int n = threadIdx.x; n < kChunk / 2 * size; n += kSolveThreads) {
            const int base = n / (size * size) * 2 * size, r = n / size % size, c = n % size;
            float sum = 0.0f;
            // X11 has nothing above its diagonal, but waste may be there. All lanes walk the same way.
            for (int j = 0; j < size; ++j) {
                const float x = j >= c ? m.inverse[base + j][base + c] : 0.0f;
                sum = fmaf(m.lower[base + size + r][base + j], x, sum);
            }
            m.inverse[base + r][base + size + c] = sum;
        }
        __syncthreads();
        for (int n = threadIdx.x; n < kChunk / 2 * size; n += kSolveThreads) {
            const int base = n / (size * size) * 2 * size, r = n / size % size, c = n % size;
            float sum = 0.0f;
            for (int j = 0; j < size; ++j) {
                const float x = j <= r ? -m.inverse[base + size + r][base + size + j] : 0.0f;
                sum = fmaf(x, m.inverse[base + j][base + size + c], sum);
            }
            m.inverse[base + size + r][base + c] = sum;
        }
        __syncthreads();
    }
}

__device__ inline float mix_entry(const Triangles& m, const Decays& d, int i, int j) {
    return i >= j ? m.inverse[i][j] * between(d, i, j) * d.beta[j] : 0.0f;
}

// Of the i-th of `len` tokens.
__device__ inline Factors factors_of(const Decays& d, int i, int len) {
    const float since = expf(d.gate[i]), total = d.gate[len - 1];
    const float rest = expf(fminf(total - d.gate[i], 0.0f));
    return Factors{since * d.k_factor[i], since * d.q_factor[i], rest * d.k_factor[i], expf(total)};
}

__device__ inline void cta_store_solution(const Triangles& m, const Decays& d, TriangleType* mix, Factors* factors,
                                          Chunk chunk, int head) {
    for (int n = threadIdx.x; n < chunk.len * kChunk; n += kSolveThreads) {
        const int i = n / kChunk, j = n % kChunk;
        mix[(static_cast<long long>(chunk.first + i) * kHeads + head) * kChunk + j] =
            from_float<TriangleType>(mix_entry(m, d, i, j));
    }
    for (int i = threadIdx.x; i < chunk.len; i += kSolveThreads) {
        factors[static_cast<long long>(chunk.first + i) * kHeads + head] = factors_of(d, i, chunk.len);
    }
}

constexpr int kThreads = kWarps * 32;
static_assert(kTileV == kWarps * 16, "a warp has 16 columns");
static_assert(kDKey % 16 == 0 && kDValue % 16 == 0, "fragments are whole in both widths");

using KeyTile = SmemTile<KType, kChunk, kDKey>;
using TriangleTile = SmemTile<TriangleType, kChunk, kChunk>;
using ValueTile = SmemTile<VType, kChunk, kTileV>;

struct SolveShared {
    Triangles triangles;
    Decays decays;
};

// Rows 16 * block .. of the products of `left` with the keys, up to the diagonal, each given to `take`.
template <class Take>
__device__ inline void warp_dots(KeyTile left, KeyTile k, int block, Take take) {
    float sum[kChunk / 8][4] = {};
#pragma unroll
    for (int d = 0; d < kDKey; d += 16) {
        unsigned a[4];
        warp_load_a(a, left.at(16 * block, d), KeyTile::stride);
#pragma unroll
        for (int n = 0; n < kChunk / 16; ++n) {
            if (n > block) continue;
            unsigned b[4];
            warp_load_b(b, k.at(16 * n, d), KeyTile::stride);
            warp_mma<KType>(sum[2 * n], a, b[0], b[1]);
            warp_mma<KType>(sum[2 * n + 1], a, b[2], b[3]);
        }
    }
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < kChunk / 8; ++n) {
        const int i = 16 * block + lane / 4, j = 8 * n + lane % 4 * 2;
        take(i, j, sum[n][0], sum[n][1]);
        take(i + 8, j, sum[n][2], sum[n][3]);
    }
}

// Values of 16 tokens from `token` on and 16 columns from `col` on, transposed: pairs of tokens, as a left operand.
__device__ inline void warp_load_values(unsigned (&out)[4], ValueTile v, int token, int col) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix_transposed(out, v.at(token + lane / 16 * 8 + lane % 8, col + lane / 8 % 2 * 8));
}

template <class T>
__device__ inline void unpack2(unsigned both, float& low, float& high) {
    low = to_float(T{static_cast<unsigned short>(both & 0xffff)});
    high = to_float(T{static_cast<unsigned short>(both >> 16)});
}

// The sums of two products, 16 x 8 each, as a left operand.
__device__ inline void pack_left(unsigned (&a)[4], const float (&first)[4], const float (&second)[4]) {
    a[0] = pack2<VType>(first[0], first[1]);
    a[1] = pack2<VType>(first[2], first[3]);
    a[2] = pack2<VType>(second[0], second[1]);
    a[3] = pack2<VType>(second[2], second[3]);
}

// An 8x8 tile of 16-bit values, transposed.
__device__ inline unsigned warp_transpose(unsigned tile) {
    unsigned out;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(out) : "r"(tile));
    return out;
}

// sum += a b of 16 tokens, b with one row per token: the columns of the result are tokens.
__device__ inline void warp_multiply(float (&sum)[2][4], const unsigned (&a)[4], const VType* b, int stride) {
    unsigned fragment[4];
    warp_load_b(fragment, b, stride);
    warp_mma<VType>(sum[0], a, fragment[0], fragment[1]);
    warp_mma<VType>(sum[1], a, fragment[2], fragment[3]);
}

// 16 columns (rows of the sums) of 8 tokens; `to` is the first column of the first token, of which `left` are there.
__device__ inline void warp_store_out(OutType* to, long long stride, const float (&sum)[4], int left) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    if constexpr (sizeof(OutType) == 2 && kOutAlign >= 2) {
        const unsigned low = warp_transpose(pack2<OutType>(sum[0], sum[1]));
        const unsigned high = warp_transpose(pack2<OutType>(sum[2], sum[3]));
        if constexpr (kOutAlign >= 4) {
            // Neighbouring lanes exchange halves, so that a token's 32 bytes are written at once.
            const bool odd = t % 2 != 0;
            const unsigned other = __shfl_xor_sync(0xffffffffu, odd ? low : high, 1);
            const uint2 four = odd ? make_uint2(other, high) : make_uint2(low, other);
            if (g < left) *reinterpret_cast<uint2*>(to + g * stride + (odd ? 2 * t + 6 : 2 * t)) = four;
        } else if (g < left) {
            *reinterpret_cast<unsigned*>(to + g * stride + 2 * t) = low;
            *reinterpret_cast<unsigned*>(to + g * stride + 2 * t + 8) = high;
        }
    } else {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            if (2 * t + i < left) {
                to[(2 * t + i) * stride + g] = from_float<OutType>(sum[i]);
                to[(2 * t + i) * stride + g + 8] = from_float<OutType>(sum[2 + i]);
            }
        }
    }
}

// S^T of a warp: at[n][0], at[n][1] are column g of the values with keys 8n + 2t and 8n + 2t + 1, at[n][2], at[n][3]
// the same of column g + 8.
struct State { float at[kDKey / 8][4]; };

// `own` is the column g of the first key.
__device__ inline void warp_load_state(State& held, const float* own, bool there) {
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int d = 0; d < kDKey / 8; ++d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) held.at[d][i] = there ? own[(8 * d + 2 * t + i % 2) * kDValue + i / 2 * 8] : 0.0f;
    }
}

__device__ inline void warp_store_state(float* own, const State& held) {
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int d = 0; d < kDKey / 8; ++d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) own[(8 * d + 2 * t + i % 2) * kDValue + i / 2 * 8] = held.at[d][i];
    }
}

// sum += S^T times the keys or queries of a chunk. The state is rounded here and not kept so: registers are few.
__device__ inline void warp_read(float (&sum)[kChunk / 16][2][4], const State& state, KeyTile keys) {
#pragma unroll
    for (int d = 0; d < kDKey / 16; ++d) {
        unsigned before[4];
        pack_left(before, state.at[2 * d], state.at[2 * d + 1]);
#pragma unroll
        for (int m = 0; m < kChunk / 16; ++m) warp_multiply(sum[m], before, keys.at(16 * m, 16 * d), KeyTile::stride);
    }
}

// One chunk's output and writes. `to` is the warp's first column of the chunk's first token. The tiles are the
// chunk's keys, queries and values, its triangles and its factors.
template <class Tiles>
__device__ inline void warp_walk_chunk(State& state, const Tiles& stage, int col, int len, OutType* to,
                                       long long stride) {
    constexpr int kBlocks = kChunk / 16;
    const int t = threadIdx.x % 4;

    // What the state before the chunk does not explain of the values.
    unsigned rest[kBlocks][4], write[kBlocks][4];
    float out[kBlocks][2][4] = {};
    warp_read(out, state, stage.k);
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
        unsigned values[4];
        warp_load_values(values, stage.v, 16 * m, col);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const Factors* factors = stage.factors + 16 * m + 8 * half + 2 * t;
            float v[4];
            unpack2<VType>(values[2 * half], v[0], v[1]);
            unpack2<VType>(values[2 * half + 1], v[2], v[3]);
#pragma unroll
            for (int i = 0; i < 4; ++i) out[m][half][i] = v[i] - factors[i % 2].read_k * out[m][half][i];
        }
        pack_left(rest[m], out[m][0], out[m][1]);
#pragma unroll
        for (int i = 0; i < 8; ++i) out[m][i / 4][i % 4] = 0.0f;
    }
    warp_read(out, state, stage.q);

    // The output of 16 tokens at a time, and their writes as the state will see them.
#pragma unroll
    for (int d = 0; d < kDKey / 8; ++d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) state.at[d][i] *= stage.factors[0].decay;
    }
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
        float sum[2][4] = {};
#pragma unroll
        for (int j = 0; j <= m; ++j) warp_multiply(sum, rest[j], stage.mix.at(16 * m, 16 * j), TriangleTile::stride);
        pack_left(write[m], sum[0], sum[1]);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const Factors* factors = stage.factors + 16 * m + 8 * half + 2 * t;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                out[m][half][i] *= factors[i % 2].read_q;
                sum[half][i] *= factors[i % 2].write;
            }
        }
#pragma unroll
        for (int j = 0; j <= m; ++j) {
            warp_multiply(out[m], write[j], stage.scores.at(16 * m, 16 * j), TriangleTile::stride);
        }
        warp_store_out(to + 16 * m * stride, stride, out[m][0], len - 16 * m);
        warp_store_out(to + (16 * m + 8) * stride, stride, out[m][1], len - 16 * m - 8);

        unsigned faded[4];
        pack_left(faded, sum[0], sum[1]);
#pragma unroll
        for (int d = 0; d < kDKey / 16; ++d) {
            unsigned keys[4];
            warp_load_b_transposed(keys, stage.k.at(16 * m, 16 * d), KeyTile::stride);
            warp_mma<VType>(state.at[2 * d], faded, keys[0], keys[1]);
            warp_mma<VType>(state.at[2 * d + 1], faded, keys[2], keys[3]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(kSolveThreads)
gated_delta_solve(const QType* q, int q_stride, const KType* k, int k_stride, const float* g, int g_stride,
                  const float* beta, int beta_stride, TriangleType* mix, TriangleType* scores, Factors* factors,
                  const Segment* segments, float scale, float l2_eps) {
    extern __shared__ __align__(128) unsigned char bytes[];
    const KeyTile q_tile(bytes), k_tile(bytes + KeyTile::bytes);
    SolveShared& shared = *reinterpret_cast<SolveShared*>(bytes + 2 * KeyTile::bytes);
    const Chunk chunk(segments[blockIdx.y], blockIdx.x);
    const int head = blockIdx.z;
    if (chunk.len <= 0) return;
    const long long first = chunk.first;
    cta_copy_narrow<kSolveThreads, kAlign>(k_tile, k + first * k_stride + head * kDKey, k_stride, chunk.len, kDKey);
    cta_copy_narrow<kSolveThreads, kAlign>(q_tile, q + first * q_stride + head * kDKey, q_stride, chunk.len, kDKey);
    copy_commit();
    cta_load_decays(shared.decays, g, g_stride, beta, beta_stride, chunk, head);
    copy_wait<0>();
    __syncthreads();
    cta_find_norms(shared.decays, q_tile.base, k_tile.base, KeyTile::stride, scale, l2_eps);
    __syncthreads();

    const Decays& decays = shared.decays;
    const int warp = threadIdx.x / 32;
    for (int unit = warp; unit < 2 * (kChunk / 16); unit += kSolveThreads / 32) {
        if (unit < kChunk / 16) {
            warp_dots(k_tile, k_tile, unit, [&](int i, int j, float first_dot, float second_dot) {
                const float pair[2] = {lower_entry(decays, first_dot, i, j), lower_entry(decays, second_dot, i, j + 1)};
                store_floats(&shared.triangles.lower[i][j], pair);
            });
        } else {
            warp_dots(q_tile, k_tile, unit - kChunk / 16, [&](int i, int j, float first_dot, float second_dot) {
                const float pair[2] = {score_entry(decays, first_dot, i, j), score_entry(decays, second_dot, i, j + 1)};
                if (i < chunk.len) store_floats(scores + ((first + i) * kHeads + head) * kChunk + j, pair);
            });
        }
    }
    __syncthreads();
    cta_invert(shared.triangles);
    cta_store_solution(shared.triangles, decays, mix, factors, chunk, head);
}

// What the walk takes of one chunk.
struct Stage {
    KeyTile q, k;
    ValueTile v;
    TriangleTile mix, scores;
    Factors* factors;
    static constexpr int bytes =
        2 * KeyTile::bytes + ValueTile::bytes + 2 * TriangleTile::bytes + kChunk * static_cast<int>(sizeof(Factors));
    __device__ explicit Stage(unsigned char* at)
        : q(at), k(at + KeyTile::bytes), v(at + 2 * KeyTile::bytes), mix(at + 2 * KeyTile::bytes + ValueTile::bytes),
          scores(at + 2 * KeyTile::bytes + ValueTile::bytes + TriangleTile::bytes),
          factors(reinterpret_cast<Factors*>(at + bytes) - kChunk) {}
};

extern "C" __global__ void __launch_bounds__(kThreads)
gated_delta_chunks(const QType* q, int q_stride, const KType* k, int k_stride, const VType* v, int v_stride,
                   const TriangleType* mix, const TriangleType* scores, const Factors* factors, OutType* out,
                   int out_stride, float* state, long long state_slot, const Segment* segments) {
    extern __shared__ __align__(128) unsigned char ring[];
    const Segment segment = segments[blockIdx.y];
    const int head = blockIdx.z, first_col = blockIdx.x * kTileV, steps = ceil_div(segment.len, kChunk);

    const auto cta_load = [&](int step) {
        const Chunk chunk(segment, step);
        const Stage stage(ring + step % kStages * Stage::bytes);
        const long long first = chunk.first, of_head = first * kHeads + head;
        cta_copy_narrow<kThreads, kAlign>(stage.k, k + first * k_stride + head * kDKey, k_stride, chunk.len, kDKey);
        cta_copy_narrow<kThreads, kAlign>(stage.q, q + first * q_stride + head * kDKey, q_stride, chunk.len, kDKey);
        cta_copy_narrow<kThreads, kAlign>(stage.v, v + first * v_stride + head * kDValue + first_col, v_stride,
                                          chunk.len, kDValue - first_col);
        cta_copy_narrow<kThreads, 8>(stage.mix, mix + of_head * kChunk, kHeads * kChunk, chunk.len, kChunk);
        cta_copy_narrow<kThreads, 8>(stage.scores, scores + of_head * kChunk, kHeads * kChunk, chunk.len, kChunk);
        for (int i = threadIdx.x; i < kChunk; i += kThreads) {
            const bool there = i < chunk.len;
            copy_async<16>(stage.factors + i, factors + of_head + (there ? i * kHeads : 0), there ? 16 : 0);
        }
    };

#pragma unroll
    for (int step = 0; step < kStages - 1; ++step) {
        if (step < steps) cta_load(step);
        copy_commit();
    }

    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4;
    const int at = first_col + 16 * warp;  // the warp's first column
    const bool there = at < kDValue;
    float* own = state + segment.slot * state_slot + static_cast<long long>(head) * kDKey * kDValue + at + g;
    State held;
    warp_load_state(held, own, there);

    for (int step = 0; step < steps; ++step) {
        copy_wait<kStages - 2>();
        __syncthreads();
        if (step + kStages - 1 < steps) cta_load(step + kStages - 1);
        copy_commit();
        if (there) {
            const Chunk chunk(segment, step);
            OutType* to = out + static_cast<long long>(chunk.first) * out_stride + head * kDValue + at;
            warp_walk_chunk(held, Stage(ring + step % kStages * Stage::bytes), 16 * warp, chunk.len, to, out_stride);
        }
    }

    if (there) warp_store_state(own, held);
}
