out (+)= x * weight^T + bias with mma.sync on 16-bit operands: tiles come by asynchronous copies through a ring of
kStages stages, warps read them with ldmatrix.

//@ kThreads kWarpRows kWarpCols
constexpr int kThreads = kWarpsM * kWarpsN * 32;
constexpr int kWarpRows = kTileM / kWarpsM, kWarpCols = kTileN / kWarpsN;
static_assert(kWarpRows % 16 == 0 && kWarpCols % 16 == 0, "a warp has whole pairs of 16 x 8 products");

//@ XTile WeightTile Stage
using XTile = SmemTile<XType, kTileM, kTileK>;
using WeightTile = SmemTile<WeightType, kTileN, kTileK>;
// One stage of the ring.
struct Stage {
    XTile x;
    WeightTile weight;
    static constexpr int bytes = XTile::bytes + WeightTile::bytes;
    __device__ explicit Stage(unsigned char* at) : x(at), weight(at + XTile::bytes) {}
};

//@ Accumulators
// The sums of a warp's part of the tile.
struct Accumulators {
    float at[kWarpRows / 16][kWarpCols / 8][4] = {};
};

//@ warp_multiply
// Adds the product of one stage.
__device__ inline void warp_multiply(Accumulators& sum, const Stage& stage, int warp_row, int warp_col) {
#pragma unroll
    for (int k = 0; k < kTileK; k += 16) {
        unsigned a[kWarpRows / 16][4];
#pragma unroll
        for (int m = 0; m < kWarpRows / 16; ++m) warp_load_a(a[m], stage.x.at(warp_row + 16 * m, k), XTile::stride);
#pragma unroll
        for (int n = 0; n < kWarpCols / 16; ++n) {
            unsigned b[4];
            warp_load_b(b, stage.weight.at(warp_col + 16 * n, k), WeightTile::stride);
#pragma unroll
            for (int m = 0; m < kWarpRows / 16; ++m) {
                warp_mma<XType>(sum.at[m][2 * n], a[m], b[0], b[1]);
                warp_mma<XType>(sum.at[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

//@ gemm_mma
extern "C" __global__ void __launch_bounds__(kThreads)
gemm_mma(const XType* x, int x_stride, const WeightType* weight, int weight_stride, const float* bias, OutType* out,
         int out_stride, int rows) {
    extern __shared__ __align__(128) unsigned char ring[];
    constexpr int kSteps = ceil_div(kK, kTileK);
    const int first_row = blockIdx.x * kTileM, first_col = blockIdx.y * kTileN;
    const XType* x_tile = x + static_cast<long long>(first_row) * x_stride;
    const WeightType* weight_tile = weight + static_cast<long long>(first_col) * weight_stride;

    const auto cta_load = [&](int step) {
        const Stage stage(ring + step % kStages * Stage::bytes);
        const int k = step * kTileK;
        cta_copy_tile<kThreads, kXAlign>(stage.x, x_tile + k, x_stride, rows - first_row, kK - k);
        cta_copy_tile<kThreads, 8>(stage.weight, weight_tile + k, weight_stride, kN - first_col, kK - k);
    };

    // Load: the ring is filled but for one stage.
#pragma unroll
    for (int step = 0; step < kStages - 1; ++step) {
        if (step < kSteps) cta_load(step);
        copy_commit();
    }

    // Compute: each step frees the stage of the step before for the copies of a later one.
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_row = warp % kWarpsM * kWarpRows, warp_col = warp / kWarpsM * kWarpCols;
    Accumulators sum;
    for (int step = 0; step < kSteps; ++step) {
        copy_wait<kStages - 2>();
        __syncthreads();
        if (step + kStages - 1 < kSteps) cta_load(step + kStages - 1);
        copy_commit();
        warp_multiply(sum, Stage(ring + step % kStages * Stage::bytes), warp_row, warp_col);
    }

    // Epilogue.
#pragma unroll
    for (int m = 0; m < kWarpRows / 16; ++m) {
        const int row = first_row + warp_row + 16 * m + lane / 4;
        warp_finish<kWarpCols / 8>(&sum.at[m][0][0], row, first_col + warp_col, bias, out, out_stride, rows);
    }
}
