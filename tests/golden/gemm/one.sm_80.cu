// gemm[align=8 bias=1 k=1536 n=1536 out_align=8] bf16 | gemv | sm_80 | codegen 1
// again: jet emit 'gemm[align=8 bias=1 k=1536 n=1536 out_align=8] bf16' --arch sm_80 --schedule 'form=3 splits=1 stages=2 tile_k=16 tile_m=1 tile_n=16 warps_m=2 warps_n=4'
constexpr int kSplits = 1;
constexpr int kStages = 2;
constexpr int kTileK = 16;
constexpr int kTileM = 1;
constexpr int kTileN = 16;
constexpr int kWarpsM = 2;
constexpr int kWarpsN = 4;
constexpr int kN = 1536;
constexpr int kK = 1536;
constexpr int kOutAlign = 8;
constexpr int kHalves = 1;
constexpr int kScaleBlock = 0;
constexpr bool kRowScale = false;
constexpr bool kColumnScale = false;
constexpr bool kBias = true;
constexpr bool kAccumulate = false;
constexpr bool kCluster = false;
constexpr int kXAlign = 8;
constexpr int kThreads = 256;
constexpr int kLayers = 2;
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


// ---- reduce ----
// The sum over each group of kLanes neighbouring lanes, in all of them.
template <int kLanes>
__device__ inline float lanes_sum(float x) {
    static_assert(kLanes >= 1 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0, "a group of lanes is a power of two");
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
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


// ---- gemm epilogue ----
using XType = bf16;
using WeightType = bf16;
using OutType = bf16;

// The result of these sums.
__device__ inline float activated(const float (&sum)[kHalves]) { return sum[0]; }

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

constexpr int kOwn = kTileN / kWarpsN, kOwnOut = kOwn / kHalves;  // rows of weights of a warp, and results
static_assert(kTileN % kWarpsN == 0 && kOwn % kHalves == 0, "a warp has all sums of its results");

constexpr int kPiece = 16 / sizeof(WeightType);                            // weights of an access
constexpr int kRange = ceil_div(ceil_div(kK, kSplits), 16) * 16;           // of k, in this CTA
constexpr int kPieces = kRange / kPiece, kSpan = 32 * kWarpsM * kStages;   // accesses of a row, and those of a round
constexpr int kRounds = ceil_div(kPieces, kSpan);
static_assert(kK % kPiece == 0, "a row of weights is whole accesses");

using XTile = SmemTile<XType, kTileM, kRange>;

// The rows of weights that a warp streams: those of a gate first.
struct WarpRows {
    const WeightType* first;  // this CTA's part of k of the first row
    long long stride;
    int there;   // rows of the output's that exist
    int pieces;  // of k
    __device__ const WeightType* at(int r) const {
        return first + (r / kOwnOut * static_cast<long long>(kN) + r % kOwnOut) * stride;
    }
};

// The accesses of one round, on their way.
struct Held {
    uint4 at[kStages][kOwn];
};

// This lane's access number `i` of a round.
__device__ inline int lane_piece(int round, int i) {
    const int warp = threadIdx.x / 32 % kWarpsM, lane = threadIdx.x % 32;
    return round * kSpan + (i * kWarpsM + warp) * 32 + lane;
}

__device__ inline void warp_load_round(Held& held, const WarpRows& rows, int round) {
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
        const int piece = lane_piece(round, i);
#pragma unroll
        for (int r = 0; r < kOwn; ++r) {
            held.at[i][r] = uint4{};
            if (piece < rows.pieces && r % kOwnOut < rows.there) {
                held.at[i][r] = load_stream(rows.at(r) + piece * kPiece);
            }
        }
    }
}

__device__ inline void warp_multiply_round(float (&sum)[kTileM][kOwn], const Held& held, const XTile& x, int pieces,
                                           int round) {
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
        const int piece = lane_piece(round, i);
        if (piece >= pieces) break;
        float weight[kOwn][kPiece];
#pragma unroll
        for (int r = 0; r < kOwn; ++r) {
            Vec<WeightType, kPiece> values;
            memcpy(&values, &held.at[i][r], 16);
#pragma unroll
            for (int j = 0; j < kPiece; ++j) weight[r][j] = to_float(values.at[j]);
        }
#pragma unroll
        for (int t = 0; t < kTileM; ++t) {
            float own[kPiece];
            load_floats(own, x.at(t, piece * kPiece));
#pragma unroll
            for (int r = 0; r < kOwn; ++r) {
#pragma unroll
                for (int j = 0; j < kPiece; ++j) sum[t][r] = fmaf(own[j], weight[r][j], sum[t][r]);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
gemm_gemv(const XType* x, int x_stride, const WeightType* weight, int weight_stride, const float* row_scale,
          const float* column_scale, const float* bias, OutType* out, int out_stride, float* partial, int rows) {
    extern __shared__ __align__(128) unsigned char memory[];
    const XTile x_tile(memory);
    const Parts parts(memory + XTile::bytes);
    const int first_row = blockIdx.x * kTileM, first_col = blockIdx.y * kTileOut, first_k = blockIdx.z * kRange;
    const int warp_col = static_cast<int>(threadIdx.x) / 32 / kWarpsM * kOwnOut, k = max(min(kRange, kK - first_k), 0);
    const WarpRows warp_rows{weight + static_cast<long long>(first_col + warp_col) * weight_stride + first_k,
                             weight_stride, kN - first_col - warp_col, k / kPiece};

    // Load: the first weights are under way before x is there.
    Held held[2];
    warp_load_round(held[0], warp_rows, 0);
    cta_copy_tile<kThreads, kXAlign>(x_tile, x + static_cast<long long>(first_row) * x_stride + first_k, x_stride,
                                     rows - first_row, k);
    copy_commit();
    copy_wait<0>();
    __syncthreads();

    // Compute, one round behind the loads.
    float sum[kTileM][kOwn] = {};
    for (int round = 0; round < kRounds; round += 2) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            if (round + i + 1 < kRounds) warp_load_round(held[1 - i], warp_rows, round + i + 1);
            if (round + i < kRounds) warp_multiply_round(sum, held[i], x_tile, warp_rows.pieces, round + i);
        }
    }

    // Epilogue.
#pragma unroll
    for (int t = 0; t < kTileM; ++t) {
#pragma unroll
        for (int r = 0; r < kOwn; ++r) {
            const float total = lanes_sum<32>(sum[t][r]);
            if (threadIdx.x % 32 == 0) {
                *parts.at(threadIdx.x / 32 % kWarpsM, t, r / kOwnOut, warp_col + r % kOwnOut) = total;
            }
        }
    }
    cta_finish(parts, first_row, first_col, partial, Results{row_scale, column_scale, bias, out, out_stride, rows});
}
