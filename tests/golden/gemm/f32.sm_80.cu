// gemm[align=8 bias=1 k=1536 n=1536 out_align=8] f32 | simt | sm_80 | codegen 1
// again: jet emit 'gemm[align=8 bias=1 k=1536 n=1536 out_align=8] f32' --arch sm_80 --schedule 'form=0 stages=2 tile_k=16 tile_m=64 tile_n=64 warps_m=2 warps_n=2'
constexpr int kStages = 2;
constexpr int kTileK = 16;
constexpr int kTileM = 64;
constexpr int kTileN = 64;
constexpr int kWarpsM = 2;
constexpr int kWarpsN = 2;
constexpr int kN = 1536;
constexpr int kK = 1536;
constexpr int kOutAlign = 8;
constexpr bool kBias = true;
constexpr bool kAccumulate = false;

// ---- types ----
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

// One element of the output: the bias, then what the output holds, then the rounding.
__device__ inline void finish(float sum, int row, int col, const float* bias, OutType* out, long long out_stride,
                              int rows) {
    if (row >= rows || col >= kN) return;
    OutType* to = out + row * out_stride + col;
    if constexpr (kBias) sum += bias[col];
    if constexpr (kAccumulate) sum += to_float(*to);
    *to = from_float<OutType>(sum);
}

constexpr int kThreads = kWarpsM * kWarpsN * 32;
constexpr int kAcross = 16, kDown = kThreads / kAcross;  // threads along n and along m
constexpr int kThreadRows = kTileM / kDown, kThreadCols = kTileN / kAcross;
static_assert(kTileM % kDown == 0 && kTileN % kAcross == 0, "threads share the tile evenly");

// Both tiles with k outermost, so that neighbouring threads read neighbouring words.
struct Shared {
    float x[kTileK][kTileM + 1];
    float weight[kTileK][kTileN + 1];
};

// kRows rows of a row-major operand, from column k on, into a tile with k outermost; zero beyond the operand.
template <int kRows, class T>
__device__ inline void cta_load(float (&to)[kTileK][kRows + 1], const T* from, long long stride, int rows, int k) {
    for (int i = threadIdx.x; i < kRows * kTileK; i += kThreads) {
        const int row = i / kTileK, col = i % kTileK;
        const bool there = row < rows && k + col < kK;
        to[col][row] = there ? to_float(from[row * stride + k + col]) : 0.0f;
    }
}

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
