// gemm[accumulate=1 align=8 k=8960 n=1536 out_align=8] bf16 out=f32 | mma | sm_80 | codegen 1
// again: jet emit 'gemm[accumulate=1 align=8 k=8960 n=1536 out_align=8] bf16 out=f32' --arch sm_80 --schedule 'form=1 splits=1 stages=3 tile_k=64 tile_m=128 tile_n=64 warps_m=2 warps_n=2'
constexpr int kSplits = 1;
constexpr int kStages = 3;
constexpr int kTileK = 64;
constexpr int kTileM = 128;
constexpr int kTileN = 64;
constexpr int kWarpsM = 2;
constexpr int kWarpsN = 2;
constexpr int kN = 1536;
constexpr int kK = 8960;
constexpr int kOutAlign = 8;
constexpr int kHalves = 1;
constexpr int kScaleBlock = 0;
constexpr bool kRowScale = false;
constexpr bool kColumnScale = false;
constexpr bool kBias = false;
constexpr bool kAccumulate = true;
constexpr bool kCluster = false;
constexpr int kXAlign = 8;
constexpr int kThreads = 128;
constexpr int kLayers = 1;
constexpr int kPartPad = 8;

// ---- types ----
__host__ __device__ constexpr int ceil_div(int n, int per) { return (n + per - 1) / per; }

// A number that the compiler knows, as a value.
template <int kValue>
struct Constant {
    static constexpr int value = kValue;
    __device__ constexpr operator int() const { return kValue; }
};

// Calls f with the constants from kFrom to kCount - 1: a loop whose index may stand where only a constant may.
template <int kCount, int kFrom = 0, class F>
__device__ inline void for_constants(F&& f) {
    if constexpr (kFrom < kCount) {
        f(Constant<kFrom>{});
        for_constants<kCount, kFrom + 1>(f);
    }
}

// Whether two types are one.
template <class A, class B>
constexpr bool kSame = false;
template <class A>
constexpr bool kSame<A, A> = true;

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

// Floats to global memory, four of them in one access. Written out, because the compiler takes a vector apart that has
// lived through a loop.
template <int N>
__device__ inline void store_global(float* to, const float (&from)[N]) {
    if constexpr (N == 4) {
        asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "f"(from[0]),
                     "f"(from[1]), "f"(from[2]), "f"(from[3])
                     : "memory");
    } else {
        store_floats(to, from);
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


// ---- cluster ----
// All threads of the cluster; what they wrote to shared memory before is seen behind it.
__device__ inline void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// kVec floats, 1 or 4, from where `from` is in this CTA's shared memory, but of CTA `rank`.
template <int kVec>
__device__ inline void cluster_load(float (&to)[kVec], const float* from, int rank) {
    static_assert(kVec == 1 || kVec == 4, "one access moves one float or four");
    unsigned there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(smem_address(from)), "r"(rank));
    if constexpr (kVec == 4) {
        asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                     : "=f"(to[0]), "=f"(to[1]), "=f"(to[2]), "=f"(to[3])
                     : "r"(there)
                     : "memory");
    } else {
        asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(to[0]) : "r"(there) : "memory");
    }
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

// 16 bytes to kOffset bytes behind `to` in shared memory, which costs no arithmetic.
template <int kOffset>
__device__ inline void copy_async_at(unsigned to, const void* from) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0 + %2], [%1], 16;" ::"r"(to), "l"(from), "n"(kOffset)
                 : "memory");
}

// The same where only the first `valid` bytes are read and the others become zero.
template <int kOffset>
__device__ inline void copy_async_some_at(unsigned to, const void* from, int valid) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0 + %3], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid),
                 "n"(kOffset)
                 : "memory");
}

// What a thread copies of one tile after another along the rows of an operand, in pieces of 16 bytes. Where its pieces
// lie is found once, so that a step only moves pointers. Columns from kWidth on become zero.
template <class T, class Tile, int kThreads, int kWidth>
struct TileCopies {
    static constexpr int vec = 16 / sizeof(T), across = Tile::cols / vec, down = kThreads / across;
    static constexpr int pitch = Tile::stride * static_cast<int>(sizeof(T));
    static constexpr int pieces = Tile::rows * across, own = ceil_div(pieces, kThreads);
    static_assert(kThreads % across == 0, "threads copy whole rows");
    // Eight lanes that write at a time have a row of 128 bytes. Of rows of 64 they have two pieces of every other one:
    // with the padding of 16 bytes whole neighbouring rows would meet in a bank.
    __device__ static int row() {
        const int lane = threadIdx.x % 32;
        return across == 4 ? threadIdx.x / 32 * 8 + lane / 2 % 4 * 2 + lane / 8 % 2 : threadIdx.x / across;
    }
    __device__ static int piece() {
        const int lane = threadIdx.x % 32;
        return across == 4 ? lane % 2 + lane / 16 * 2 : threadIdx.x % across;
    }
    const T* base;
    const T* from[own];
    int left;  // columns that are there, from this thread's on
    // Row r of the tile begins `row_at(r)` values behind `base`, the first tile at column `col`. All rows must be there.
    template <class RowAt>
    __device__ TileCopies(const T* base, int col, RowAt row_at) : base(base) {
        const int own_col = col + piece() * vec;
        left = kWidth - own_col;
#pragma unroll
        for (int i = 0; i < own; ++i) from[i] = base + row_at(row() + i * down) + own_col;
    }
    // All threads begin to copy the next tile to the address `to`.
    __device__ void next(unsigned to) {
        to += row() * pitch + piece() * 16;
        for_constants<own>([&](auto i) {
            constexpr int kAt = decltype(i)::value, kOffset = kAt * down * pitch;
            if ((kAt + 1) * kThreads <= pieces || row() + kAt * down < Tile::rows) {
                if constexpr (kWidth % Tile::cols == 0) {
                    copy_async_at<kOffset>(to, from[kAt]);
                } else {
                    // A copy of nothing still names an address.
                    const int valid = min(max(left, 0), vec) * static_cast<int>(sizeof(T));
                    copy_async_some_at<kOffset>(to, valid > 0 ? from[kAt] : base, valid);
                }
            }
            from[kAt] += Tile::cols;
        });
        left -= Tile::cols;
    }
};


// ---- matrix ----
// The same from kOffset bytes behind `row` in shared memory, which costs no arithmetic.
template <int kOffset>
__device__ inline void warp_load_matrix_at(unsigned (&out)[4], unsigned row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4 + %5];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(row), "n"(kOffset)
                 : "memory");
}

// Where this lane's row of a 16x16 left operand lies, in bytes from its first value, `pitch` bytes from row to row.
__device__ inline unsigned lane_row_a(int pitch) {
    const int lane = threadIdx.x % 32;
    return lane % 16 * pitch + lane / 16 * 16;
}

// The same of two right operands, see warp_load_b.
__device__ inline unsigned lane_row_b(int pitch) {
    const int lane = threadIdx.x % 32;
    return (lane / 16 * 8 + lane % 8) * pitch + lane / 8 % 2 * 16;
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


// ---- gemm epilogue ----
using XType = bf16;
using WeightType = bf16;
using OutType = float;

// The result of these sums.
__device__ inline float activated(const float (&sum)[kHalves]) { return sum[0]; }

__device__ inline void product(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    warp_mma<bf16>(d, a, b0, b1);
}

// Where the results go, and what the sums meet on the way. Of a gated product there are kHalves = 2 sums for a result:
// the rows of the gate stand first in the weights, then those of what it lets through.
struct Results {
    const float* row_scale;     // a value per row
    const float* column_scale;  // a value per row of the weights
    const float* bias;          // the same
    OutType* out;
    long long out_stride;
    int rows;
    __device__ OutType* at(int row, int col) const { return out + row * out_stride + col; }
};

constexpr int kScaleBlocks = kScaleBlock > 0 ? ceil_div(kK, kScaleBlock) : 0;
// Scales of operands in fp8: for each kScaleBlock values of k one of every row of x, and one of kScaleBlock rows of the
// weights together. The sums over such a block are scaled when they are added up.
struct BlockScales {
    const float* x;       // block by block, one after the other for all rows
    const float* weight;  // kScaleBlocks for each block of rows
    int rows;
    __device__ float of_x(int block, int row) const {
        return row < rows ? x[static_cast<long long>(block) * rows + row] : 0.0f;
    }
    __device__ float of_weight(int block, int row) const { return weight[row / kScaleBlock * kScaleBlocks + block]; }
};

// One result from its sums: the scales, the bias, the activation.
__device__ inline float settle(float (&sum)[kHalves], int row, int col, const Results& to) {
#pragma unroll
    for (int h = 0; h < kHalves; ++h) {
        if constexpr (kRowScale) sum[h] *= to.row_scale[row];
        if constexpr (kColumnScale) sum[h] *= to.column_scale[h * kN + col];
        if constexpr (kBias) sum[h] += to.bias[h * kN + col];
    }
    return activated(sum);
}

// The values of two neighbouring columns; those beyond the output keep theirs.
__device__ inline void column_pair(float (&to)[2], const float* from, int col) {
    if constexpr (kN % 2 == 0) {
        if (col < kN) load_floats(to, from + col);
    } else {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            if (col + i < kN) to[i] = from[col + i];
        }
    }
}

// A warp's sums as its products left them become results, in place: this lane's rows `row` and `row` + 8 in kBlocks
// blocks of eight columns from `first_col` on, the pairs of block b from sum[4 * b] on. With a gate, the first half of
// the blocks has its sums and gets the results.
template <int kBlocks>
__device__ inline void warp_settle(float* sum, int row, int first_col, const Results& to) {
    static_assert(kBlocks % kHalves == 0, "a warp has both sums of a result");
    constexpr int kOut = kBlocks / kHalves;
    float scale[2] = {1.0f, 1.0f};
    if constexpr (kRowScale) {
        if (row < to.rows) scale[0] = to.row_scale[row];
        if (row + 8 < to.rows) scale[1] = to.row_scale[row + 8];
    }
#pragma unroll
    for (int block = 0; block < kOut; ++block) {
        const int col = first_col + 8 * block + threadIdx.x % 4 * 2;
        float bias[kHalves][2] = {}, column[kHalves][2] = {};
#pragma unroll
        for (int h = 0; h < kHalves; ++h) {
            if constexpr (kColumnScale) column_pair(column[h], to.column_scale + h * kN, col);
            if constexpr (kBias) column_pair(bias[h], to.bias + h * kN, col);
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float own[kHalves];
#pragma unroll
            for (int h = 0; h < kHalves; ++h) {
                own[h] = sum[4 * (block + h * kOut) + i];
                if constexpr (kRowScale) own[h] *= scale[i / 2];
                if constexpr (kColumnScale) own[h] *= column[h][i % 2];
                if constexpr (kBias) own[h] += bias[h][i % 2];
            }
            sum[4 * block + i] = activated(own);
        }
    }
}

// One result: what the output holds, then the rounding.
__device__ inline void finish(float result, int row, int col, const Results& to) {
    if (row >= to.rows || col >= kN) return;
    if constexpr (kAccumulate) result += to_float(*to.at(row, col));
    *to.at(row, col) = from_float<OutType>(result);
}

// Two neighbouring results, the first in an even column.
__device__ inline void finish_pair(float first, float second, int row, int col, const Results& to) {
    if constexpr (kN % 2 != 0 || kOutAlign < 2) {
        finish(first, row, col, to);
        finish(second, row, col + 1, to);
    } else {
        if (row >= to.rows || col >= kN) return;
        float pair[2] = {first, second};
        if constexpr (kAccumulate) {
            float held[2];
            load_floats(held, to.at(row, col));
            pair[0] += held[0];
            pair[1] += held[1];
        }
        store_floats(to.at(row, col), pair);
    }
}

// The four lanes of a quad exchange words: lane q gives word j to lane j, and what lane i gave it is then word i.
__device__ inline void quad_transpose(unsigned (&word)[4]) {
#pragma unroll
    for (int bit = 1; bit <= 2; bit *= 2) {
        const bool high = threadIdx.x & bit;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if (i & bit) continue;
            const unsigned got = __shfl_xor_sync(~0u, high ? word[i] : word[i + bit], bit);
            word[i] = high ? got : word[i];
            word[i + bit] = high ? word[i + bit] : got;
        }
    }
}

// Whether eight neighbouring columns of the output are one aligned access of 16 bytes.
constexpr bool kWhole = sizeof(OutType) == 2 && kOutAlign % 8 == 0 && kN % 8 == 0;

// Four neighbouring blocks of eight columns of one row, from pair[b] of each lane for block b. Lane q of the quad reads
// and writes all of block q, so that a quad's accesses are whole sectors.
template <class T>
__device__ inline void quad_finish(float (&pair)[4][2], int row, int first_col, T* out, long long out_stride,
                                   int rows) {
    const int col = first_col + threadIdx.x % 4 * 8;
    const bool there = row < rows && col < kN;
    uint4* to = reinterpret_cast<uint4*>(out + row * out_stride + col);
    if constexpr (kAccumulate) {
        const uint4 held = there ? *to : uint4{};
        unsigned word[4] = {held.x, held.y, held.z, held.w};
        quad_transpose(word);
#pragma unroll
        for (int b = 0; b < 4; ++b) {
            pair[b][0] += to_float(T{static_cast<unsigned short>(word[b])});
            pair[b][1] += to_float(T{static_cast<unsigned short>(word[b] >> 16)});
        }
    }
    unsigned word[4];
#pragma unroll
    for (int b = 0; b < 4; ++b) word[b] = pack2<T>(pair[b][0], pair[b][1]);
    quad_transpose(word);
    if (there) *to = uint4{word[0], word[1], word[2], word[3]};
}

// Settles a warp's sums and stores them, see warp_settle. All lanes of the warp call it.
template <int kBlocks>
__device__ inline void warp_finish(float* sum, int row, int first_col, const Results& to) {
    warp_settle<kBlocks>(sum, row, first_col, to);
    constexpr int kOut = kBlocks / kHalves, kTogether = kWhole && kOut % 4 == 0 ? 4 : 1;
#pragma unroll
    for (int block = 0; block < kOut; block += kTogether) {
        if constexpr (kTogether == 1) {
            const float* d = sum + 4 * block;
            const int col = first_col + 8 * block + threadIdx.x % 4 * 2;
            finish_pair(d[0], d[1], row, col, to);
            finish_pair(d[2], d[3], row + 8, col, to);
        } else {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float pair[4][2];
#pragma unroll
                for (int b = 0; b < 4; ++b) {
                    pair[b][0] = sum[4 * (block + b) + 2 * half];
                    pair[b][1] = sum[4 * (block + b) + 2 * half + 1];
                }
                quad_finish(pair, row + 8 * half, first_col + 8 * block, to.out, to.out_stride, to.rows);
            }
        }
    }
}

// Neighbouring results of one access.
constexpr int kVec = kOutAlign % 4 == 0 && kN % 4 == 0 ? 4 : 1;

// Neighbouring results in one access.
template <class T>
__device__ inline void store_row(T* to, const float (&result)[kVec]) {
    if constexpr (kSame<T, float>) {
        store_global(to, result);
    } else {
        store_floats(to, result);
    }
}

// kVec neighbouring results from their sums.
__device__ inline void finish_vec(const float (&sum)[kHalves][kVec], int row, int col, const Results& to) {
    float result[kVec];
#pragma unroll
    for (int i = 0; i < kVec; ++i) {
        float own[kHalves];
#pragma unroll
        for (int h = 0; h < kHalves; ++h) own[h] = sum[h][i];
        result[i] = settle(own, row, col + i, to);
    }
    if constexpr (kAccumulate) {
        float held[kVec];
        load_floats(held, to.at(row, col));
#pragma unroll
        for (int i = 0; i < kVec; ++i) result[i] += held[i];
    }
    store_row(to.at(row, col), result);
}

// Columns of the output in a tile.
constexpr int kTileOut = kTileN / kHalves;
static_assert(kTileN % kHalves == 0 && kTileOut % 4 == 0, "a tile has whole accesses of results");

// Sums of a CTA's tile in shared memory, a layer for each of kLayers groups of warps that share k.
struct Parts {
    static constexpr int stride = kTileN + kPartPad, layer = kTileM * stride;
    float* base;
    __device__ explicit Parts(void* at) : base(static_cast<float*>(at)) {}
    __device__ float* at(int which, int row, int half, int col) const {
        return base + which * layer + row * stride + half * kTileOut + col;
    }
};

// Where the sums of one range of k lie until the second entry takes them.
__device__ inline float* partial_sum(float* partial, int split, int row, int half, int col, int rows) {
    return partial + ((static_cast<long long>(split) * rows + row) * kHalves + half) * kN + col;
}

// The results of a tile from the parts that the warps have written, all ranges of k together: the CTAs of a cluster take
// a share of the tile each, and without clusters a second entry does it. The order of the sums is fixed.
__device__ inline void cta_finish(const Parts& parts, int first_row, int first_col, float* partial,
                                  const Results& to) {
    constexpr int kAcross = kTileOut / kVec, kItems = kTileM * kAcross, kRanks = kCluster ? kSplits : 1;
    constexpr int kShare = ceil_div(kItems, kRanks);
    const int begin = kCluster ? static_cast<int>(blockIdx.z) * kShare : 0, end = min(begin + kShare, kItems);
    if constexpr (kCluster) {
        cluster_sync();
    } else {
        __syncthreads();
    }
    for (int item = begin + threadIdx.x; item < end; item += kThreads) {
        const int own_row = item / kAcross, own_col = item % kAcross * kVec;
        const int row = first_row + own_row, col = first_col + own_col;
        if (row >= to.rows || col >= kN) continue;
        float sum[kHalves][kVec] = {};
#pragma unroll
        for (int rank = 0; rank < kRanks; ++rank) {
#pragma unroll
            for (int which = 0; which < kLayers; ++which) {
#pragma unroll
                for (int h = 0; h < kHalves; ++h) {
                    const float* from = parts.at(which, own_row, h, own_col);
                    float part[kVec];
                    if constexpr (kCluster) {
                        cluster_load(part, from, rank);
                    } else {
                        load_floats(part, from);
                    }
#pragma unroll
                    for (int i = 0; i < kVec; ++i) sum[h][i] += part[i];
                }
            }
        }
        if constexpr (kSplits > 1 && !kCluster) {
#pragma unroll
            for (int h = 0; h < kHalves; ++h) {
                store_global(partial_sum(partial, blockIdx.z, row, h, col, to.rows), sum[h]);
            }
        } else {
            finish_vec(sum, row, col, to);
        }
    }
    // Nobody leaves while others read from it.
    if constexpr (kCluster) cluster_sync();
}

constexpr int kWarpRows = kTileM / kWarpsM, kWarpCols = kTileN / kWarpsN;
static_assert(kWarpRows % 16 == 0 && kWarpCols % 16 == 0, "a warp has whole pairs of 16 x 8 products");

using XTile = SmemTile<XType, kTileM, kTileK>;
using WeightTile = SmemTile<WeightType, kTileN, kTileK>;
constexpr int kPitch = XTile::stride * static_cast<int>(sizeof(XType));  // bytes of a row of either
static_assert(sizeof(XType) == sizeof(WeightType), "both operands are of one format");
// One stage of the ring: a tile of x and behind it one of weights, with rows of one length.
struct Stage {
    static constexpr int bytes = XTile::bytes + WeightTile::bytes;
    XTile x;
    WeightTile weight;
    __device__ explicit Stage(unsigned char* at) : x(at), weight(at + XTile::bytes) {}
};

// The sums of a warp's part of the tile.
struct Accumulators {
    float at[kWarpRows / 16][kWarpCols / 8][4] = {};
};

// Where this lane reads of its warp's first fragments in the first stage of the ring. All others lie at distances that
// the compiler knows, so that reading them takes no arithmetic.
struct LanePlace {
    unsigned x, weight;
    __device__ LanePlace(const void* ring, int warp_row, int warp_col)
        : x(smem_address(ring) + warp_row * kPitch + lane_row_a(kPitch)),
          weight(smem_address(ring) + XTile::bytes + warp_col * kPitch + lane_row_b(kPitch)) {}
};

// Adds the product of the stage that begins `at` bytes into the ring. The fragments are words of memory, whatever format
// lies in them.
__device__ inline void warp_multiply(Accumulators& sum, const LanePlace& lane, int at) {
    for_constants<XTile::cols * sizeof(XType) / 32>([&](auto step) {
        constexpr int kAt = decltype(step)::value * 32, kBlock = 16 * kPitch;
        unsigned a[kWarpRows / 16][4];
        for_constants<kWarpRows / 16>([&](auto m) { warp_load_matrix_at<m * kBlock + kAt>(a[m], lane.x + at); });
        for_constants<kWarpCols / 16>([&](auto n) {
            unsigned b[4];
            warp_load_matrix_at<n * kBlock + kAt>(b, lane.weight + at);
#pragma unroll
            for (int m = 0; m < kWarpRows / 16; ++m) {
                product(sum.at[m][2 * n], a[m], b[0], b[1]);
                product(sum.at[m][2 * n + 1], a[m], b[2], b[3]);
            }
        });
    });
}

constexpr int kWarpOut = kWarpCols / kHalves;  // columns of the output in a warp

constexpr int kSteps = ceil_div(kK, kTileK), kSplitSteps = ceil_div(kSteps, kSplits);
static_assert(kScaleBlock == 0 || kTileK == kScaleBlock, "a stage is a block of one scale");

// The scales of a warp's part of the tile in one block of k.
struct WarpScales {
    float x[kWarpRows / 16][2];
    float weight[kHalves];
    __device__ WarpScales(const BlockScales& scales, int block, int row, int col) {
#pragma unroll
        for (int m = 0; m < kWarpRows / 16; ++m) {
#pragma unroll
            for (int i = 0; i < 2; ++i) x[m][i] = scales.of_x(block, row + 16 * m + 8 * i + threadIdx.x % 32 / 4);
        }
#pragma unroll
        for (int h = 0; h < kHalves; ++h) weight[h] = scales.of_weight(block, h * kN + col);
    }
    // Adds a block's sums to those of all.
    __device__ void promote(Accumulators& sum, const Accumulators& part) const {
#pragma unroll
        for (int m = 0; m < kWarpRows / 16; ++m) {
#pragma unroll
            for (int n = 0; n < kWarpCols / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    sum.at[m][n][i] = fmaf(part.at[m][n][i], x[m][i / 2] * weight[n * 8 / kWarpOut], sum.at[m][n][i]);
                }
            }
        }
    }
};

// The row of weights that is row `r` of a tile; beyond the last one that again. With a gate, each warp's columns are rows
// of the gate, then their partners.
__device__ inline int weight_row(int first_col, int r) {
    if constexpr (kHalves == 1) return min(first_col + r, kN - 1);
    const int half = r % kWarpCols / kWarpOut;
    return half * kN + min(first_col + r / kWarpCols * kWarpOut + r % kWarpOut, kN - 1);
}

// Rows of x that are not aligned to 16 bytes come in smaller pieces.
constexpr bool kXWhole = kXAlign * sizeof(XType) == 16;
using XCopies = TileCopies<XType, XTile, kThreads, kK>;
using WeightCopies = TileCopies<WeightType, WeightTile, kThreads, kK>;

// A warp's sums into the parts of the tile.
__device__ inline void warp_part(const Parts& parts, const Accumulators& sum, int warp_row, int warp_col) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < kWarpRows / 16; ++m) {
#pragma unroll
        for (int n = 0; n < kWarpCols / 8; ++n) {
            const int row = warp_row + 16 * m + lane / 4, col = warp_col + n * 8 % kWarpOut + lane % 4 * 2;
            float low[2] = {sum.at[m][n][0], sum.at[m][n][1]}, high[2] = {sum.at[m][n][2], sum.at[m][n][3]};
            store_floats(parts.at(0, row, n * 8 / kWarpOut, col), low);
            store_floats(parts.at(0, row + 8, n * 8 / kWarpOut, col), high);
        }
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
gemm_mma(const XType* x, int x_stride, const WeightType* weight, int weight_stride, const float* x_scale,
         const float* weight_scale, const float* row_scale, const float* column_scale, const float* bias, OutType* out,
         int out_stride, float* partial, int rows) {
    extern __shared__ __align__(128) unsigned char ring[];
    const Results to{row_scale, column_scale, bias, out, out_stride, rows};
    const int first_row = blockIdx.x * kTileM, first_col = blockIdx.y * kTileOut, first_step = blockIdx.z * kSplitSteps;
    const int steps = min(kSplitSteps, kSteps - first_step), first_k = first_step * kTileK;
    const XType* x_tile = x + static_cast<long long>(first_row) * x_stride;
    XCopies x_copies(x, first_k, [&](int r) { return min(first_row + r, rows - 1) * static_cast<long long>(x_stride); });
    WeightCopies weight_copies(weight, first_k, [&](int r) {
        return weight_row(first_col, r) * static_cast<long long>(weight_stride);
    });
    // The next tiles into the stage `at` bytes into the ring.
    const auto cta_load = [&](int step, int at) {
        if constexpr (kXWhole) {
            x_copies.next(smem_address(ring) + at);
        } else {
            const int k = first_k + step * kTileK;
            cta_copy_tile<kThreads, kXAlign>(XTile(ring + at), x_tile + k, x_stride, rows - first_row, kK - k);
        }
        weight_copies.next(smem_address(ring) + at + XTile::bytes);
    };

    // Load: the ring is filled but for one stage.
#pragma unroll
    for (int step = 0; step < kStages - 1; ++step) {
        if (step < steps) cta_load(step, step * Stage::bytes);
        copy_commit();
    }

    // Compute: each step frees the stage of the step before for the copies of a later one.
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_row = warp % kWarpsM * kWarpRows, warp_col = warp / kWarpsM * kWarpCols;
    const LanePlace place(ring, warp_row, warp_col);
    Accumulators sum;
    int at = 0, free = (kStages - 1) * Stage::bytes;
    for (int step = 0; step < steps; ++step) {
        copy_wait<kStages - 2>();
        __syncthreads();
        if (step + kStages - 1 < steps) cta_load(step + kStages - 1, free);
        copy_commit();
        if constexpr (kScaleBlock == 0) {
            warp_multiply(sum, place, at);
        } else {
            const WarpScales scales(BlockScales{x_scale, weight_scale, rows}, first_step + step, first_row + warp_row,
                                    first_col + warp_col / kHalves);
            Accumulators part;
            warp_multiply(part, place, at);
            scales.promote(sum, part);
        }
        free = at;
        at = at + Stage::bytes == kStages * Stage::bytes ? 0 : at + Stage::bytes;
    }

    // Epilogue.
    if constexpr (kSplits == 1) {
#pragma unroll
        for (int m = 0; m < kWarpRows / 16; ++m) {
            const int row = first_row + warp_row + 16 * m + lane / 4;
            warp_finish<kWarpCols / 8>(&sum.at[m][0][0], row, first_col + warp_col / kHalves, to);
        }
    } else {
        copy_wait<0>();
        __syncthreads();
        const Parts parts(ring);
        warp_part(parts, sum, warp_row, warp_col / kHalves);
        cta_finish(parts, first_row, first_col, partial, to);
    }
}
