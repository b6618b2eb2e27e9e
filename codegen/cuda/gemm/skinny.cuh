out (+)= x * weight^T + bias for a few dozen tokens, with mma.sync: the weights are the left operand and go from global
memory straight into registers, 16 bytes a lane, every one of them once; the tokens are the columns and come through a
ring in shared memory. In a block of 64 bytes of k, lane t of a quad has the same 16 bytes of either operand: k is taken
in another order than it lies in, by both alike.

//@ kWarpCols
constexpr int kWarpCols = kTileN / kWarpsN;  // rows of weights of a warp
static_assert(kWarpCols % 16 == 0 && kTileM % 8 == 0, "a warp has whole products of 16 x 8");

//@ kPiece kBlock kDepth kSteps kSplitSteps
constexpr int kPiece = 16 / sizeof(XType), kBlock = 4 * kPiece;  // k of a lane's access, and of a quad's
constexpr int kDepth = kTileK / kWarpsM;                         // k of a warp in one step
constexpr int kSteps = ceil_div(kK, kTileK), kSplitSteps = ceil_div(kSteps, kSplits);
static_assert(kDepth % kBlock == 0, "the warps that share a step have whole blocks of it");
static_assert(kK % kPiece == 0, "a row of weights is whole accesses");

//@ XTile
// Rows are 64 bytes further apart than they are long, so that two rows of a block lie in different banks.
using XTile = SmemTile<XType, kTileM, kTileK, 64 / sizeof(XType)>;

//@ kScales kPerScale
// Scales of a warp's step, and accesses of each.
constexpr int kScales = kScaleBlock > 0 ? kDepth / kScaleBlock : 1, kPerScale = kDepth / kBlock / kScales;
static_assert(kScaleBlock == 0 || kDepth % kScaleBlock == 0, "a warp's step has whole blocks of one scale");

//@ Weights
// A warp's weights of one step: of 16 rows, lane (g, t) has parts of rows g and g + 8. With a gate, those are the gate's
// row and its partner.
struct Weights {
    uint4 at[kWarpCols / 16][2][kDepth / kBlock];
    // Scales of the fragments' rows, and of this lane's tokens.
    float scale[kWarpCols / 16][2][kScales], token_scale[kTileM / 8][2][kScales];
};

//@ WarpRows
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

//@ warp_load_weights
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

//@ warp_load_scales
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

//@ Sums
struct Sums {
    float at[kWarpCols / 16][kTileM / 8][4] = {};
};

//@ warp_multiply_blocks
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

//@ warp_multiply
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

//@ gemm_skinny
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
