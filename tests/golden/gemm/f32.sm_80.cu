// gemm[align=8 bias=1 k=1536 n=1536 out_align=8] f32 | simt | sm_80 | codegen 1
// again: jet emit 'gemm[align=8 bias=1 k=1536 n=1536 out_align=8] f32' --arch sm_80 --schedule 'form=0 splits=1 stages=2 tile_k=16 tile_m=64 tile_n=64 warps_m=2 warps_n=2'
constexpr int kSplits = 1;
constexpr int kStages = 2;
constexpr int kTileK = 16;
constexpr int kTileM = 64;
constexpr int kTileN = 64;
constexpr int kWarpsM = 2;
constexpr int kWarpsN = 2;
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

// ---- types ----
__host__ __device__ constexpr int ceil_div(int n, int per) { return (n + per - 1) / per; }

__device__ inline float to_float(float x) { return x; }

// Rounds to nearest even.
template <class T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) { return x; }


// ---- gemm epilogue ----
using XType = float;
using WeightType = float;
using OutType = float;

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

// One result: what the output holds, then the rounding.
__device__ inline void finish(float result, int row, int col, const Results& to) {
    if (row >= to.rows || col >= kN) return;
    if constexpr (kAccumulate) result += to_float(*to.at(row, col));
    *to.at(row, col) = from_float<OutType>(result);
}

// Columns of the output in a tile.
constexpr int kTileOut = kTileN / kHalves;
static_assert(kTileN % kHalves == 0 && kTileOut % 4 == 0, "a tile has whole accesses of results");

constexpr int kThreads = kWarpsM * kWarpsN * 32;
constexpr int kAcross = 16, kDown = kThreads / kAcross;  // threads along n and along m
constexpr int kThreadRows = kTileM / kDown, kThreadCols = kTileOut / kAcross;  // results of a thread
static_assert(kTileM % kDown == 0 && kTileOut % kAcross == 0, "threads share the tile evenly");

// Both tiles with k outermost, so that neighbouring threads read neighbouring words.
struct Shared {
    float x[kTileK][kTileM + 1];
    float weight[kHalves][kTileK][kTileOut + 1];
};

// kRows rows of a row-major operand, from column k on, into a tile with k outermost, each with its `scale`; zero beyond
// the operand.
template <int kRows, class T, class Scale>
__device__ inline void cta_load(float (&to)[kTileK][kRows + 1], const T* from, long long stride, int rows, int k,
                                Scale scale) {
    for (int i = threadIdx.x; i < kRows * kTileK; i += kThreads) {
        const int row = i / kTileK, col = i % kTileK;
        const bool there = row < rows && k + col < kK;
        to[col][row] = there ? to_float(from[row * stride + k + col]) * scale(row) : 0.0f;
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
gemm_simt(const XType* x, int x_stride, const WeightType* weight, int weight_stride, const float* x_scale,
          const float* weight_scale, const float* row_scale, const float* column_scale, const float* bias, OutType* out,
          int out_stride, int rows) {
    __shared__ Shared tile;
    const Results to{row_scale, column_scale, bias, out, out_stride, rows};
    const int first_row = blockIdx.x * kTileM, first_col = blockIdx.y * kTileOut;
    const int across = threadIdx.x % kAcross, down = threadIdx.x / kAcross;
    const BlockScales scales{x_scale, weight_scale, rows};
    float sum[kThreadRows][kThreadCols][kHalves] = {};
    for (int k = 0; k < kK; k += kTileK) {
        cta_load<kTileM>(tile.x, x + static_cast<long long>(first_row) * x_stride, x_stride, rows - first_row, k,
                         [&](int row) {
                             if constexpr (kScaleBlock > 0) return scales.of_x(k / kScaleBlock, first_row + row);
                             return 1.0f;
                         });
#pragma unroll
        for (int h = 0; h < kHalves; ++h) {
            cta_load<kTileOut>(tile.weight[h], weight + (h * static_cast<long long>(kN) + first_col) * weight_stride,
                               weight_stride, kN - first_col, k, [&](int row) {
                                   const int at = h * kN + first_col + row;
                                   if constexpr (kScaleBlock > 0) return scales.of_weight(k / kScaleBlock, at);
                                   return 1.0f;
                               });
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < kTileK; ++i) {
            float a[kThreadRows], b[kThreadCols][kHalves];
#pragma unroll
            for (int r = 0; r < kThreadRows; ++r) a[r] = tile.x[i][down + r * kDown];
#pragma unroll
            for (int c = 0; c < kThreadCols; ++c) {
#pragma unroll
                for (int h = 0; h < kHalves; ++h) b[c][h] = tile.weight[h][i][across + c * kAcross];
            }
#pragma unroll
            for (int r = 0; r < kThreadRows; ++r) {
#pragma unroll
                for (int c = 0; c < kThreadCols; ++c) {
#pragma unroll
                    for (int h = 0; h < kHalves; ++h) sum[r][c][h] = fmaf(a[r], b[c][h], sum[r][c][h]);
                }
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < kThreadRows; ++r) {
#pragma unroll
        for (int c = 0; c < kThreadCols; ++c) {
            const int row = first_row + down + r * kDown, col = first_col + across + c * kAcross;
            if (row < rows && col < kN) finish(settle(sum[r][c], row, col, to), row, col, to);
        }
    }
}
