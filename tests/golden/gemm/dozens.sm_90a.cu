// gemm[align=8 glu=1 k=1536 n=8960 out_align=8] bf16 | skinny | sm_90a | codegen 1
// again: jet emit 'gemm[align=8 glu=1 k=1536 n=8960 out_align=8] bf16' --arch sm_90a --schedule 'form=4 splits=2 stages=4 tile_k=128 tile_m=64 tile_n=128 warps_m=1 warps_n=8'
constexpr int kSplits = 2;
constexpr int kStages = 4;
constexpr int kTileK = 128;
constexpr int kTileM = 64;
constexpr int kTileN = 128;
constexpr int kWarpsM = 1;
constexpr int kWarpsN = 8;
constexpr int kN = 8960;
constexpr int kK = 1536;
constexpr int kOutAlign = 8;
constexpr int kHalves = 2;
constexpr int kScaleBlock = 0;
constexpr bool kRowScale = false;
constexpr bool kColumnScale = false;
constexpr bool kBias = false;
constexpr bool kAccumulate = false;
constexpr bool kCluster = true;
constexpr int kXAlign = 8;
constexpr int kThreads = 256;
constexpr int kLayers = 1;
constexpr int kPartPad = 4;

// ---- types ----
__host__ __device__ constexpr int ceil_div(int n, int per) { return (n + per - 1) / per; }

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


// ---- math ----
__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }


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

// 16 bytes that are read once and by nobody else: they pass the L1 cache by.
__device__ inline uint4 load_stream(const void* from) {
    uint4 w;
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(w.x), "=r"(w.y), "=r"(w.z), "=r"(w.w)
                 : "l"(from));
    return w;
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
using OutType = bf16;

// The result of these sums.
__device__ inline float activated(const float (&sum)[kHalves]) { return silu(sum[0]) * sum[1]; }

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

constexpr int kWarpCols = kTileN / kWarpsN;  // rows of weights of a warp
static_assert(kWarpCols % 16 == 0 && kTileM % 8 == 0, "a warp has whole products of 16 x 8");

constexpr int kPiece = 16 / sizeof(XType), kBlock = 4 * kPiece;  // k of a lane's access, and of a quad's
constexpr int kDepth = kTileK / kWarpsM;                         // k of a warp in one step
constexpr int kSteps = ceil_div(kK, kTileK), kSplitSteps = ceil_div(kSteps, kSplits);
static_assert(kDepth % kBlock == 0, "the warps that share a step have whole blocks of it");
static_assert(kK % kPiece == 0, "a row of weights is whole accesses");

// Rows are 64 bytes further apart than they are long, so that two rows of a block lie in different banks.
using XTile = SmemTile<XType, kTileM, kTileK, 64 / sizeof(XType)>;

// Scales of a warp's step, and accesses of each.
constexpr int kScales = kScaleBlock > 0 ? kDepth / kScaleBlock : 1, kPerScale = kDepth / kBlock / kScales;
static_assert(kScaleBlock == 0 || kDepth % kScaleBlock == 0, "a warp's step has whole blocks of one scale");

// A warp's weights of one step: of 16 rows, lane (g, t) has parts of rows g and g + 8. With a gate, those are the gate's
// row and its partner.
struct Weights {
    uint4 at[kWarpCols / 16][2][kDepth / kBlock];
    // Scales of the fragments' rows, and of this lane's tokens.
    float scale[kWarpCols / 16][2][kScales], token_scale[kTileM / 8][2][kScales];
};

struct WarpRows {
    const WeightType* first;  // the warp's first row, this lane's place in a block
    long long stride;
    int there;  // columns of the output from the warp's first one on
    // Column of the output of fragment row (m, j), relative to the warp's first.
    __device__ static int col(int m, int j) {
        const int g = threadIdx.x % 32 / 4;
        return kHalves == 2 ? 8 * m + g : 16 * m + 8 * j + g;
    }
    __device__ const WeightType* at(int m, int j) const {
        const int row = kHalves == 2 ? j * kN + col(m, j) : col(m, j);
        return first + row * stride;
    }
};

__device__ inline void warp_load_weights(Weights& weights, const WarpRows& rows, int step) {
    const int k = step * kTileK + threadIdx.x / 32 % kWarpsM * kDepth, lane_k = threadIdx.x % 4 * kPiece;
#pragma unroll
    for (int m = 0; m < kWarpCols / 16; ++m) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const WeightType* row = rows.at(m, j);
            const bool there = rows.col(m, j) < rows.there;
#pragma unroll
            for (int b = 0; b < kDepth / kBlock; ++b) {
                weights.at[m][j][b] = uint4{};
                if (there && k + b * kBlock + lane_k < kK) weights.at[m][j][b] = load_stream(row + k + b * kBlock);
            }
        }
    }
}

// Those of a step; `row` and `col` are the first token and the warp's first column.
__device__ inline void warp_load_scales(Weights& weights, const BlockScales& scales, int step, int row, int col) {
    const int first = (step * kTileK + static_cast<int>(threadIdx.x) / 32 % kWarpsM * kDepth) / kScaleBlock;
#pragma unroll
    for (int s = 0; s < kScales; ++s) {
        // What lies beyond k is zero whatever its scale.
        const int block = min(first + s, kScaleBlocks - 1);
#pragma unroll
        for (int m = 0; m < kWarpCols / 16; ++m) {
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                const int at = kHalves == 2 ? j * kN + col + 8 * m : col + 16 * m;
                weights.scale[m][j][s] = scales.of_weight(block, at);
            }
        }
#pragma unroll
        for (int n = 0; n < kTileM / 8; ++n) {
            const int token = row + 8 * n + threadIdx.x % 4 * 2;
#pragma unroll
            for (int i = 0; i < 2; ++i) weights.token_scale[n][i][s] = scales.of_x(block, token + i);
        }
    }
}

struct Sums {
    float at[kWarpCols / 16][kTileM / 8][4] = {};
};

// Adds the products of kBlocks blocks of a step, from `first` on.
template <int kBlocks>
__device__ inline void warp_multiply_blocks(Sums& sum, const Weights& weights, const XTile& x, int first) {
    const int g = threadIdx.x % 32 / 4;
    const int k = threadIdx.x / 32 % kWarpsM * kDepth + threadIdx.x % 4 * kPiece;
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
#pragma unroll
        for (int n = 0; n < kTileM / 8; ++n) {
            const uint4 token = *reinterpret_cast<const uint4*>(x.at(8 * n + g, k + (first + b) * kBlock));
#pragma unroll
            for (int m = 0; m < kWarpCols / 16; ++m) {
                const uint4 low = weights.at[m][0][first + b], high = weights.at[m][1][first + b];
                product(sum.at[m][n], {low.x, high.x, low.y, high.y}, token.x, token.y);
                product(sum.at[m][n], {low.z, high.z, low.w, high.w}, token.z, token.w);
            }
        }
    }
}

// Adds the product of one step, block by block of one scale where there are such.
__device__ inline void warp_multiply(Sums& sum, const Weights& weights, const XTile& x) {
    if constexpr (kScaleBlock == 0) {
        warp_multiply_blocks<kPerScale>(sum, weights, x, 0);
    } else {
#pragma unroll
        for (int s = 0; s < kScales; ++s) {
            Sums part;
            warp_multiply_blocks<kPerScale>(part, weights, x, s * kPerScale);
#pragma unroll
            for (int m = 0; m < kWarpCols / 16; ++m) {
#pragma unroll
                for (int n = 0; n < kTileM / 8; ++n) {
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        const float scale = weights.scale[m][i / 2][s] * weights.token_scale[n][i % 2][s];
                        sum.at[m][n][i] = fmaf(part.at[m][n][i], scale, sum.at[m][n][i]);
                    }
                }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
gemm_skinny(const XType* x, int x_stride, const WeightType* weight, int weight_stride, const float* x_scale,
            const float* weight_scale, const float* row_scale, const float* column_scale, const float* bias,
            OutType* out, int out_stride, float* partial, int rows) {
    extern __shared__ __align__(128) unsigned char memory[];
    const int first_row = blockIdx.x * kTileM, first_col = blockIdx.y * kTileOut, first_step = blockIdx.z * kSplitSteps;
    const int steps = min(kSplitSteps, kSteps - first_step);
    const int warp_col = static_cast<int>(threadIdx.x) / 32 / kWarpsM * (kWarpCols / kHalves);
    const WarpRows warp_rows{
        weight + static_cast<long long>(first_col + warp_col) * weight_stride + threadIdx.x % 4 * kPiece, weight_stride,
        kN - first_col - warp_col};
    const BlockScales scales{x_scale, weight_scale, rows};
    const auto warp_load = [&](Weights& weights, int step) {
        warp_load_weights(weights, warp_rows, step);
        if constexpr (kScaleBlock > 0) warp_load_scales(weights, scales, step, first_row, first_col + warp_col);
    };
    const auto stage = [&](int step) { return XTile(memory + step % kStages * XTile::bytes); };
    const auto cta_load = [&](int step) {
        const int k = (first_step + step) * kTileK;
        cta_copy_tile<kThreads, kXAlign>(stage(step), x + static_cast<long long>(first_row) * x_stride + k, x_stride,
                                         rows - first_row, kK - k);
    };

    // Load: the first weights, then the ring but for one stage.
    Weights weights[2];
    if (steps > 0) warp_load(weights[0], first_step);
#pragma unroll
    for (int step = 0; step < kStages - 1; ++step) {
        if (step < steps) cta_load(step);
        copy_commit();
    }

    // Compute: weights are one step ahead, tokens kStages - 1.
    Sums sum;
    for (int step = 0; step < steps; step += 2) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int at = step + i;
            if (at >= steps) break;
            if (at + 1 < steps) warp_load(weights[1 - i], first_step + at + 1);
            copy_wait<kStages - 2>();
            __syncthreads();
            if (at + kStages - 1 < steps) cta_load(at + kStages - 1);
            copy_commit();
            warp_multiply(sum, weights[i], stage(at));
        }
    }

    // Epilogue: the parts lie where the ring was.
    copy_wait<0>();
    __syncthreads();
    const Parts parts(memory);
#pragma unroll
    for (int m = 0; m < kWarpCols / 16; ++m) {
#pragma unroll
        for (int n = 0; n < kTileM / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int token = 8 * n + threadIdx.x % 4 * 2 + i % 2, half = kHalves == 2 ? i / 2 : 0;
                *parts.at(threadIdx.x / 32 % kWarpsM, token, half, warp_col + WarpRows::col(m, i / 2)) =
                    sum.at[m][n][i];
            }
        }
    }
    cta_finish(parts, first_row, first_col, partial, Results{row_scale, column_scale, bias, out, out_stride, rows});
}
