out (+)= x * weight^T + bias with ordinary multiply-adds in float, whatever the operands are stored as.

//@ kThreads kAcross kDown kThreadRows kThreadCols
constexpr int kThreads = kWarpsM * kWarpsN * 32;
constexpr int kAcross = 16, kDown = kThreads / kAcross;  // threads along n and along m
constexpr int kThreadRows = kTileM / kDown, kThreadCols = kTileOut / kAcross;  // results of a thread
static_assert(kTileM % kDown == 0 && kTileOut % kAcross == 0, "threads share the tile evenly");

//@ Shared
// Both tiles with k outermost, so that neighbouring threads read neighbouring words.
struct Shared {
    float x[kTileK][kTileM + 1];
    float weight[kHalves][kTileK][kTileOut + 1];
};

//@ cta_load
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

//@ gemm_simt
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
