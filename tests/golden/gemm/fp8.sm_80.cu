// gemm[align=16 column_scale=1 glu=1 k=1536 n=8960 out_align=8 row_scale=1] e4m3 out=bf16 | simt | sm_80 | codegen 1
// again: jet emit 'gemm[align=16 column_scale=1 glu=1 k=1536 n=8960 out_align=8 row_scale=1] e4m3 out=bf16' --arch sm_80 --schedule 'form=0 splits=1 stages=2 tile_k=16 tile_m=64 tile_n=64 warps_m=2 warps_n=2'
constexpr int kSplits = 1;
constexpr int kStages = 2;
constexpr int kTileK = 16;
constexpr int kTileM = 64;
constexpr int kTileN = 64;
constexpr int kWarpsM = 2;
constexpr int kWarpsN = 2;
constexpr int kN = 8960;
constexpr int kK = 1536;
constexpr int kOutAlign = 8;
constexpr int kHalves = 2;
constexpr bool kRowScale = true;
constexpr bool kColumnScale = true;
constexpr bool kBias = false;
constexpr bool kAccumulate = false;
constexpr bool kCluster = false;

// ---- types ----
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

// Values beyond 448 saturate.
struct e4m3 { unsigned char bits; };
__device__ inline float to_float(e4m3 x) {
    // Seven bits moved under the exponent of f16 are the value over 2^8, subnormals included.
    const unsigned short half = static_cast<unsigned short>((x.bits & 0x80) << 8 | (x.bits & 0x7f) << 7);
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(half));
    return y * 256.0f;
}
template <>
__device__ inline e4m3 from_float<e4m3>(float x) {
#if __CUDA_ARCH__ >= 890
    unsigned short pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
    return e4m3{static_cast<unsigned char>(pair)};
#else
    const unsigned sign = __float_as_uint(x) >> 24 & 0x80;
    const float magnitude = fminf(fabsf(x), 448.0f);
    // Steps are 2^(e-3), at least 2^-9; adding 1.5 * 2^23 steps rounds to a whole number of them.
    const int exponent = max(static_cast<int>(__float_as_uint(magnitude) >> 23) - 127, -6);
    const float magic = __uint_as_float(static_cast<unsigned>(exponent - 3 + 23 + 127) << 23 | 1u << 22);
    const float rounded = (magnitude + magic) - magic;
    const unsigned normal = (__float_as_uint(rounded) >> 20) - (120u << 3);
    const unsigned subnormal = static_cast<unsigned>(rounded * 512.0f);
    const unsigned code = x != x ? 0x7f : rounded >= 0.015625f ? normal : subnormal;
    return e4m3{static_cast<unsigned char>(sign | code)};
#endif
}


// ---- math ----
__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }


// ---- gemm epilogue ----
using XType = e4m3;
using WeightType = e4m3;
using OutType = bf16;

// The result of these sums.
__device__ inline float activated(const float (&sum)[kHalves]) { return silu(sum[0]) * sum[1]; }

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
gemm_simt(const XType* x, int x_stride, const WeightType* weight, int weight_stride, const float* row_scale,
          const float* column_scale, const float* bias, OutType* out, int out_stride, int rows) {
    __shared__ Shared tile;
    const Results to{row_scale, column_scale, bias, out, out_stride, rows};
    const int first_row = blockIdx.x * kTileM, first_col = blockIdx.y * kTileOut;
    const int across = threadIdx.x % kAcross, down = threadIdx.x / kAcross;
    float sum[kThreadRows][kThreadCols][kHalves] = {};
    for (int k = 0; k < kK; k += kTileK) {
        cta_load<kTileM>(tile.x, x + static_cast<long long>(first_row) * x_stride, x_stride, rows - first_row, k);
#pragma unroll
        for (int h = 0; h < kHalves; ++h) {
            cta_load<kTileOut>(tile.weight[h], weight + (h * static_cast<long long>(kN) + first_col) * weight_stride,
                               weight_stride, kN - first_col, k);
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
