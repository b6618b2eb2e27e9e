// ssd[align=8 d_head=80 d_state=128 groups=8 heads=128 step=0] bf16 | mma | sm_90a | codegen 1
// again: jet emit 'ssd[align=8 d_head=80 d_state=128 groups=8 heads=128 step=0] bf16' --arch sm_90a --schedule 'chunk=64 form=2 lanes=8 rows=2 split=1 stages=1 warps=4'
constexpr int kChunk = 64;
constexpr int kLanes = 8;
constexpr int kRows = 2;
constexpr int kSplit = 1;
constexpr int kStages = 1;
constexpr int kWarps = 4;
constexpr int kHeads = 128;
constexpr int kDHead = 80;
constexpr int kGroups = 8;
constexpr int kDState = 128;
constexpr int kVec = 8;

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


// ---- math ----
// ln(1 + e^x): the exponential cannot overflow, and small results keep their digits.
__device__ inline float softplus(float x) { return x > 0.0f ? x + log1pf(expf(-x)) : log1pf(expf(x)); }

// One instruction, two units in the last place; the argument is a base-2 logarithm.
__device__ inline float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}


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

// N values in one access; the address is a multiple of its size.
template <int N, class T>
__device__ inline Vec<T, N> load_vec(const T* from) {
    using W = Words<sizeof(T) * N>;
    const W words = *reinterpret_cast<const W*>(from);
    Vec<T, N> values;
    memcpy(&values, &words, sizeof(words));
    return values;
}

template <int N, class T>
__device__ inline void store_vec(T* to, Vec<T, N> values) {
    using W = Words<sizeof(T) * N>;
    W words;
    memcpy(&words, &values, sizeof(words));
    *reinterpret_cast<W*>(to) = words;
}

// N values, widened. Where a vector of T is wider than 16 bytes it takes several accesses.
template <int N, class T>
__device__ inline void load_floats(float (&to)[N], const T* from) {
    constexpr int kStep = sizeof(T) * N > 16 ? 16 / sizeof(T) : N;
#pragma unroll
    for (int i = 0; i < N; i += kStep) {
        const Vec<T, kStep> part = load_vec<kStep>(from + i);
#pragma unroll
        for (int j = 0; j < kStep; ++j) to[i + j] = to_float(part.at[j]);
    }
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

// 16 bytes to shared memory in one access, written out because the compiler may take a vector apart.
__device__ inline void store_shared(void* to, uint4 words) {
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(smem_address(to)), "r"(words.x), "r"(words.y),
                 "r"(words.z), "r"(words.w)
                 : "memory");
}


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

// All kThreads threads begin to copy a tile: `rows` rows and `cols` columns from `from` on are there, what is beyond
// becomes zero. `kVec` values move at a time, so `from` and its stride are multiples of them.
template <int kThreads, int kVec, class T, int kRows, int kCols, int kPad>
__device__ inline void cta_copy_tile(SmemTile<T, kRows, kCols, kPad> to, const T* from, long long stride, int rows,
                                     int cols) {
    constexpr int kPieces = kCols / kVec;
    static_assert(kCols % kVec == 0, "a row of the tile is whole pieces");
#pragma unroll
    for (int piece = threadIdx.x; piece < kRows * kPieces; piece += kThreads) {
        const int row = piece / kPieces, col = piece % kPieces * kVec;
        const int left = row < rows ? min(max(cols - col, 0), kVec) : 0;
        // A copy of nothing still names an address; the first one is always inside.
        const T* source = left > 0 ? from + row * stride + col : from;
        copy_async<kVec * sizeof(T)>(to.at(row, col), source, left * static_cast<int>(sizeof(T)));
    }
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

// The same from shared memory that holds its transpose: one row per k.
template <class T>
__device__ inline void warp_load_a_transposed(unsigned (&out)[4], const T* tile, int stride) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix_transposed(out, tile + (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8);
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


// ---- ssd decay ----
using XType = bf16;
using BType = bf16;
using CType = bf16;
using DtType = bf16;
using OutType = bf16;

// The step: softplus of the raw value and its bias, held between the limits. Not-a-number stays not-a-number.
__device__ inline float delta_of(float raw, float bias, float dt_min, float dt_max) {
    const float delta = softplus(raw + bias);
    return delta < dt_min ? dt_min : delta > dt_max ? dt_max : delta;
}

// What a step of 1 adds to the base-2 logarithm of the state.
__device__ inline float decay_rate(float a_log) { return -1.4426950408889634f * expf(a_log); }

// A number as the sum of two floats. Sums of logarithms grow to hundreds, and what is needed are their differences:
// in one float those would have lost the digits behind the point.
struct alignas(8) Twofold { float hi, lo; };

__device__ inline Twofold twofold_add(Twofold a, Twofold b) {
    const float sum = a.hi + b.hi;
    const float from_b = sum - a.hi;
    const float lost = (a.hi - (sum - from_b)) + (b.hi - from_b) + (a.lo + b.lo);
    const float hi = sum + lost;
    return Twofold{hi, lost - (hi - sum)};
}

__device__ inline float twofold_difference(Twofold a, Twofold b) { return (a.hi - b.hi) + (a.lo - b.lo); }

// Per token of a chunk, in shared memory. Behind the end of the sequence the step is zero and nothing decays.
struct Decays {
    Twofold sum[kChunk];      // base-2 logarithm of the decay from the chunk's start on, this token's included
    float delta[kChunk];      // the step
    float from_start[kChunk];  // the decay from the chunk's start on
    float to_end[kChunk];     // the step times the decay from here to the chunk's end
};

// In one access, which the compiler makes two of.
__device__ inline void store_shared_pair(Twofold* to, Twofold pair) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(smem_address(to)), "f"(pair.hi), "f"(pair.lo) : "memory");
}

// Fills `to` from the raw steps of `rows` tokens of one head. All lanes of one warp call it.
__device__ inline void warp_decays(Decays& to, const DtType* raw, long long stride, int rows, float bias, float rate,
                                   float dt_min, float dt_max) {
    constexpr int kRounds = ceil_div(kChunk, 32);
    const int lane = threadIdx.x % 32;
    float delta[kRounds];
    Twofold sum[kRounds];
#pragma unroll
    for (int i = 0; i < kRounds; ++i) {
        const int t = 32 * i + lane;
        delta[i] = t < rows ? delta_of(to_float(raw[t * stride]), bias, dt_min, dt_max) : 0.0f;
    }
    Twofold total = {0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < kRounds; ++i) {
        Twofold own = {rate * delta[i], 0.0f};
#pragma unroll
        for (int step = 1; step < 32; step *= 2) {
            const Twofold before = {__shfl_up_sync(0xffffffffu, own.hi, step), __shfl_up_sync(0xffffffffu, own.lo, step)};
            if (lane >= step) own = twofold_add(before, own);
        }
        sum[i] = twofold_add(total, own);
        total = Twofold{__shfl_sync(0xffffffffu, sum[i].hi, 31), __shfl_sync(0xffffffffu, sum[i].lo, 31)};
    }
#pragma unroll
    for (int i = 0; i < kRounds; ++i) {
        const int t = 32 * i + lane;
        if (t < kChunk) {
            store_shared_pair(&to.sum[t], sum[i]);
            to.delta[t] = delta[i];
            to.from_start[t] = exp2f(sum[i].hi + sum[i].lo);
            to.to_end[t] = delta[i] * exp2f(twofold_difference(total, sum[i]));
        }
    }
}

constexpr int kThreads = kWarps * 32;
constexpr int kWidth = kDHead / kSplit;              // channels of the CTA
constexpr int kColumns = kDState / kWarps;           // columns of the state that a warp holds
constexpr int kBlocks = kChunk / (16 * kWarps);      // blocks of 16 tokens that a warp reads out
static_assert(kWidth % 16 == 0 && kColumns % 16 == 0, "the state is whole products");
static_assert(kChunk % (16 * kWarps) == 0, "a chunk is whole blocks of 16 tokens for every warp");
static_assert(kWidth <= kDState, "results are staged where the tile of C was");

using KeyTile = SmemTile<XType, kChunk, kDState>;    // B or C: a row per token
using ValueTile = SmemTile<XType, kChunk, kWidth>;   // x: a row per token
using MirrorTile = SmemTile<XType, kWidth, kDState>; // the state: a row per channel
// What copies bring for one chunk.
struct Stage {
    KeyTile b, c;
    ValueTile x;
    static constexpr int bytes = 2 * KeyTile::bytes + ValueTile::bytes;
    __device__ explicit Stage(unsigned char* at)
        : b(at), c(at + KeyTile::bytes), x(at + 2 * KeyTile::bytes) {}
};

// A warp's columns of the state.
struct Held { float at[kWidth / 16][kColumns / 8][4]; };

// Rounds the warp's columns of the state into the mirror.
__device__ inline void warp_mirror(MirrorTile to, const Held& held, int first_column) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < kWidth / 16; ++m) {
#pragma unroll
        for (int n = 0; n < kColumns / 8; ++n) {
            const float(&d)[4] = held.at[m][n];
            const int row = 16 * m + lane / 4, col = first_column + 8 * n + lane % 4 * 2;
            *reinterpret_cast<unsigned*>(to.at(row, col)) = pack2<XType>(d[0], d[1]);
            *reinterpret_cast<unsigned*>(to.at(row + 8, col)) = pack2<XType>(d[2], d[3]);
        }
    }
}

// Each token's values times its step and its decay to the end of the chunk.
__device__ inline void cta_weigh(ValueTile to, ValueTile from, const float* weight) {
    cta_for_pieces_by_rows<kThreads, kChunk, kWidth / 8>([&](int row, int piece) {
        float values[8];
        load_floats(values, from.at(row, 8 * piece));
        const float by = weight[row];
        const uint4 words =
            make_uint4(pack2<XType>(values[0] * by, values[1] * by), pack2<XType>(values[2] * by, values[3] * by),
                       pack2<XType>(values[4] * by, values[5] * by), pack2<XType>(values[6] * by, values[7] * by));
        store_shared(to.at(row, 8 * piece), words);
    });
}

// The results of a warp's block of 16 tokens.
struct Output { float at[kWidth / 8][4] = {}; };

// What the chunks before have left in the state: rows of C times the mirror, decayed.
__device__ inline void warp_carried(Output& y, const unsigned (&keys)[kDState / 16][4], MirrorTile mirror,
                                    const Decays& decays, int block) {
    const int row = 16 * block + static_cast<int>(threadIdx.x) % 32 / 4;
#pragma unroll
    for (int n = 0; n < kDState / 16; ++n) {
#pragma unroll
        for (int p = 0; p < kWidth / 16; ++p) {
            unsigned b[4];
            warp_load_b(b, mirror.at(16 * p, 16 * n), MirrorTile::stride);
            warp_mma<XType>(y.at[2 * p], keys[n], b[0], b[1]);
            warp_mma<XType>(y.at[2 * p + 1], keys[n], b[2], b[3]);
        }
    }
    const float upper = decays.from_start[row], lower = decays.from_start[row + 8];
#pragma unroll
    for (int p = 0; p < kWidth / 8; ++p) {
        y.at[p][0] *= upper;
        y.at[p][1] *= upper;
        y.at[p][2] *= lower;
        y.at[p][3] *= lower;
    }
}

// What the 16 tokens of block `to` take of the 16 tokens of block `from`, as the left operand of a product.
__device__ inline void warp_scores(unsigned (&scores)[4], const unsigned (&keys)[kDState / 16][4], KeyTile b_tile,
                                   const Decays& decays, int to, int from) {
    const int lane = threadIdx.x % 32, row = 16 * to + lane / 4;
    float sum[2][4] = {};
#pragma unroll
    for (int n = 0; n < kDState / 16; ++n) {
        unsigned b[4];
        warp_load_b(b, b_tile.at(16 * from, 16 * n), KeyTile::stride);
        warp_mma<XType>(sum[0], keys[n], b[0], b[1]);
        warp_mma<XType>(sum[1], keys[n], b[2], b[3]);
    }
    const Twofold upper = decays.sum[row], lower = decays.sum[row + 8];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int col = 16 * from + 8 * half + lane % 4 * 2 + i;
            const Twofold at = decays.sum[col];
            const float delta = decays.delta[col];
            // Exponents are at most 0 but for the tokens that come later, which are left out.
            const float high = exp2_fast(fminf(twofold_difference(upper, at), 0.0f)) * delta;
            const float low = exp2_fast(fminf(twofold_difference(lower, at), 0.0f)) * delta;
            sum[half][i] = col <= row ? sum[half][i] * high : 0.0f;
            sum[half][2 + i] = col <= row + 8 ? sum[half][2 + i] * low : 0.0f;
        }
        scores[2 * half] = pack2<XType>(sum[half][0], sum[half][1]);
        scores[2 * half + 1] = pack2<XType>(sum[half][2], sum[half][3]);
    }
}

// Adds the skip, and stores a block of 16 tokens, of which `rows` are there, by way of the warp's own rows of `stage`.
__device__ inline void warp_finish(const Output& y, ValueTile x, KeyTile stage, int block, float skip, OutType* out,
                                   long long out_stride, int rows) {
    const int lane = threadIdx.x % 32;
    __syncwarp();  // all lanes have read the rows
#pragma unroll
    for (int p = 0; p < kWidth / 8; ++p) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int row = 16 * block + 8 * half + lane / 4, col = 8 * p + lane % 4 * 2;
            float values[2];
            load_floats(values, x.at(row, col));
            *reinterpret_cast<unsigned*>(stage.at(row, col)) = pack2<OutType>(
                fmaf(skip, values[0], y.at[p][2 * half]), fmaf(skip, values[1], y.at[p][2 * half + 1]));
        }
    }
    __syncwarp();
    constexpr int kPieces = kWidth / kVec;
#pragma unroll 4
    for (int piece = lane; piece < 16 * kPieces; piece += 32) {
        // As in cta_for_pieces_by_rows.
        const int row = 16 * block + piece / (8 * kPieces) * 8 + piece % 8, col = piece / 8 % kPieces * kVec;
        if (row < rows) store_vec<kVec>(out + row * out_stride + col, load_vec<kVec>(stage.at(row, col)));
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
ssd_mma(const XType* __restrict__ x, int x_stride, const BType* __restrict__ b, int b_stride,
        const CType* __restrict__ c, int c_stride, const DtType* __restrict__ dt, int dt_stride,
        const float* __restrict__ dt_bias, const float* __restrict__ a_log, const float* __restrict__ d_skip,
        OutType* __restrict__ out, int out_stride, float* state, long long state_slot,
        const Segment* __restrict__ segments, float dt_min, float dt_max) {
    extern __shared__ __align__(128) unsigned char memory[];
    __shared__ Decays decays;
    const MirrorTile mirror(memory + kStages * Stage::bytes);
    const ValueTile weighed(memory + kStages * Stage::bytes + MirrorTile::bytes);
    const Segment sequence = segments[blockIdx.y];
    if (sequence.len == 0) return;
    const int head = blockIdx.x / kSplit, group = head / (kHeads / kGroups);
    const int channel = head * kDHead + static_cast<int>(blockIdx.x) % kSplit * kWidth;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const float bias = dt_bias[head], rate = decay_rate(a_log[head]), skip = d_skip[head];
    const int chunks = ceil_div(sequence.len, kChunk);

    const auto cta_load = [&](int chunk) {
        const Stage stage(memory + chunk % kStages * Stage::bytes);
        const long long token = sequence.start + chunk * kChunk;
        const int rows = sequence.len - chunk * kChunk;
        cta_copy_tile<kThreads, kVec>(stage.b, b + token * b_stride + group * kDState, b_stride, rows, kDState);
        cta_copy_tile<kThreads, kVec>(stage.c, c + token * c_stride + group * kDState, c_stride, rows, kDState);
        cta_copy_narrow<kThreads, kVec>(stage.x, x + token * x_stride + channel, x_stride, rows, kWidth);
    };
#pragma unroll
    for (int chunk = 0; chunk < kStages - 1; ++chunk) {
        if (chunk < chunks) cta_load(chunk);
        copy_commit();
    }

    float* matrix = state + sequence.slot * state_slot + static_cast<long long>(channel) * kDState;
    const int first_column = warp * kColumns;
    Held held;
#pragma unroll
    for (int m = 0; m < kWidth / 16; ++m) {
#pragma unroll
        for (int n = 0; n < kColumns / 8; ++n) {
            const float* from = matrix + (16 * m + lane / 4) * kDState + first_column + 8 * n + lane % 4 * 2;
            const Vec<float, 2> upper = load_vec<2>(from), lower = load_vec<2>(from + 8 * kDState);
            held.at[m][n][0] = upper.at[0];
            held.at[m][n][1] = upper.at[1];
            held.at[m][n][2] = lower.at[0];
            held.at[m][n][3] = lower.at[1];
        }
    }
    warp_mirror(mirror, held, first_column);

#pragma unroll 1
    for (int chunk = 0; chunk < chunks; ++chunk) {
        const int rows = sequence.len - chunk * kChunk;
        const long long token = sequence.start + chunk * kChunk;
        const Stage stage(memory + chunk % kStages * Stage::bytes);
        if (chunk + kStages - 1 < chunks) cta_load(chunk + kStages - 1);
        copy_commit();
        if (warp == 0) warp_decays(decays, dt + token * dt_stride + head, dt_stride, rows, bias, rate, dt_min, dt_max);
        copy_wait<kStages - 1>();
        __syncthreads();

        // Read out: every token takes from the state before the chunk and from the tokens before it in the chunk.
        cta_weigh(weighed, stage.x, decays.to_end);
#pragma unroll 1
        for (int m = 0; m < kBlocks; ++m) {
            // Later blocks have more before them; warps get early and late ones by turns.
            const int block = m * kWarps + (m % 2 == 0 ? warp : kWarps - 1 - warp);
            unsigned keys[kDState / 16][4];
#pragma unroll
            for (int n = 0; n < kDState / 16; ++n) warp_load_a(keys[n], stage.c.at(16 * block, 16 * n), KeyTile::stride);
            Output y;
            warp_carried(y, keys, mirror, decays, block);
#pragma unroll 1
            for (int from = 0; from <= block; ++from) {
                unsigned scores[4];
                warp_scores(scores, keys, stage.b, decays, block, from);
#pragma unroll
                for (int p = 0; p < kWidth / 16; ++p) {
                    unsigned values[4];
                    warp_load_b_transposed(values, stage.x.at(16 * from, 16 * p), ValueTile::stride);
                    warp_mma<XType>(y.at[2 * p], scores, values[0], values[1]);
                    warp_mma<XType>(y.at[2 * p + 1], scores, values[2], values[3]);
                }
            }
            warp_finish(y, stage.x, stage.c, block, skip, out + token * out_stride + channel, out_stride, rows);
        }
        __syncthreads();

        // Write: the state decays over the chunk and takes each token's values along its B.
        const float decay = decays.from_start[kChunk - 1];
#pragma unroll
        for (int m = 0; m < kWidth / 16; ++m) {
#pragma unroll
            for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) held.at[m][n][i] *= decay;
            }
        }
#pragma unroll
        for (int k = 0; k < kChunk; k += 16) {
            unsigned keys[kColumns / 16][4];
#pragma unroll
            for (int n = 0; n < kColumns / 16; ++n) {
                warp_load_b_transposed(keys[n], stage.b.at(k, first_column + 16 * n), KeyTile::stride);
            }
#pragma unroll
            for (int m = 0; m < kWidth / 16; ++m) {
                unsigned values[4];
                warp_load_a_transposed(values, weighed.at(k, 16 * m), ValueTile::stride);
#pragma unroll
                for (int n = 0; n < kColumns / 16; ++n) {
                    warp_mma<XType>(held.at[m][2 * n], values, keys[n][0], keys[n][1]);
                    warp_mma<XType>(held.at[m][2 * n + 1], values, keys[n][2], keys[n][3]);
                }
            }
        }
        warp_mirror(mirror, held, first_column);
        __syncthreads();
    }

#pragma unroll
    for (int m = 0; m < kWidth / 16; ++m) {
#pragma unroll
        for (int n = 0; n < kColumns / 8; ++n) {
            float* to = matrix + (16 * m + lane / 4) * kDState + first_column + 8 * n + lane % 4 * 2;
            const float(&d)[4] = held.at[m][n];
            store_vec<2>(to, Vec<float, 2>{{d[0], d[1]}});
            store_vec<2>(to + 8 * kDState, Vec<float, 2>{{d[2], d[3]}});
        }
    }
}
