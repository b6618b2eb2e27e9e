out (+)= x * weight^T + bias with mma.sync on 16-bit operands: tiles come by asynchronous copies through a ring of
kStages stages, warps read them with ldmatrix.

//@ kWarpOut
constexpr int kWarpOut = kWarpCols / kHalves;  // columns of the output in a warp

//@ kSteps kSplitSteps
constexpr int kSteps = ceil_div(kK, kTileK), kSplitSteps = ceil_div(kSteps, kSplits);
static_assert(kScaleBlock == 0 || kTileK == kScaleBlock, "a stage is a block of one scale");

//@ WarpScales
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

//@ weight_row
// The row of weights that is row `r` of a tile; beyond the last one that again. With a gate, each warp's columns are rows
// of the gate, then their partners.
__device__ inline int weight_row(int first_col, int r) {
    if constexpr (kHalves == 1) return min(first_col + r, kN - 1);
    const int half = r % kWarpCols / kWarpOut;
    return half * kN + min(first_col + r / kWarpCols * kWarpOut + r % kWarpOut, kN - 1);
}

//@ kXWhole XCopies WeightCopies
// Rows of x that are not aligned to 16 bytes come in smaller pieces.
constexpr bool kXWhole = kXAlign * sizeof(XType) == 16;
using XCopies = TileCopies<XType, XTile, kThreads, kK>;
using WeightCopies = TileCopies<WeightType, WeightTile, kThreads, kK>;

//@ warp_part
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

//@ gemm_mma
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
