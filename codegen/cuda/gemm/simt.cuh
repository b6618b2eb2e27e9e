out (+)= x * weight^T + bias with ordinary multiply-adds in float, whatever the operands are stored as.

//@ kThreads kAcross kDown kThreadRows kThreadCols
constexpr int kThreads = kWarpsM * kWarpsN * 32;
constexpr int kAcross = 16, kDown = kThreads / kAcross;  // threads along n and along m
constexpr int kThreadRows = kTileM / kDown, kThreadCols = kTileN / kAcross;
static_assert(kTileM % kDown == 0 && kTileN % kAcross == 0, "threads share the tile evenly");

//@ Shared
// Both tiles with k outermost, so that neighbouring threads read neighbouring words.
struct Shared {
    float x[kTileK][kTileM + 1];
    float weight[kTileK][kTileN + 1];
};

//@ cta_load
// kRows rows of a row-major operand, from column k on, into a tile with k outermost; zero beyond the operand.
template <int kRows, class T>
__device__ inline void cta_load(float (&to)[kTileK][kRows + 1], const T* from, long long stride, int rows, int k) {
    for (int i = threadIdx.x; i < kRows * kTileK; i += kThreads) {
        const int row = i / kTileK, col = i % kTileK;
        const bool there = row < rows && k + col < kK;
        to[col][row] = there ? to_float(from[row * stride + k + col]) : 0.0f;
    }
}

//@ gemm_simt
extern "C" __global__ void __launch_bounds__(kThreads)
gemm_simt(const XType* x, int x_stride, const WeightType* weight, int weight_stride, const float* bias, OutType* out,
          int out_stride, int rows) {
    __shared__ Shared tile;
    const int first_row = blockIdx.x * kTileM, first_col = blockIdx.y * kTileN;
    const int across = threadIdx.x % kAcross, down = threadIdx.x / kAcross;
    float sum[kThreadRows][kThreadCols] = {};
    for (int k = 0; k < kK; k += kTileK) {
        cta_load<kTileM>(tile.x, x + static_cast<long long>(first_row) * x_stride, x_stride, rows - first_row, k);
        cta_load<kTileN>(tile.weight, weight + static_cast<long long>(first_col) * weight_stride, weight_stride,
                         kN - first_col, k);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < kTileK; ++i) {
            float a[kThreadRows], b[kThreadCols];
#pragma unroll
            for (int r = 0; r < kThreadRows; ++r) a[r] = tile.x[i][down + r * kDown];
#pragma unroll
            for (int c = 0; c < kThreadCols; ++c) b[c] = tile.weight[i][across + c * kAcross];
#pragma unroll
            for (int r = 0; r < kThreadRows; ++r) {
#pragma unroll
                for (int c = 0; c < kThreadCols; ++c) sum[r][c] = fmaf(a[r], b[c], sum[r][c]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < kThreadRows; ++r) {
#pragma unroll
        for (int c = 0; c < kThreadCols; ++c) {
            finish(sum[r][c], first_row + down + r * kDown, first_col + across + c * kAcross, bias, out, out_stride,
                   rows);
        }
    }
}
