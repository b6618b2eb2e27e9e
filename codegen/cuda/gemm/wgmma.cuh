out (+)= x * weight^T + bias with warpgroup products: one warp brings tiles with tensor copies through a ring of kStages
stages, kConsumers warpgroups multiply out of shared memory, each its own rows of the tile.

//@ kConsumers kConsumerThreads kThreads kConsumerRows kProducts
constexpr int kConsumers = kWarpsM / 4, kConsumerThreads = kConsumers * 128;
// Registers move between whole warpgroups only; where none move, a warp is enough to load.
constexpr int kThreads = kConsumerThreads + (kConsumers > 1 ? 128 : 32);
constexpr int kConsumerRows = kTileM / kConsumers, kProducts = kConsumerRows / 64;
static_assert(kConsumers * 4 == kWarpsM, "the warps along the rows are whole warpgroups");
static_assert(kConsumerRows % 64 == 0, "a warpgroup has whole products of 64 rows");
static_assert(kTileK * sizeof(XType) == 128, "a row of a tile is as long as the swizzle's span");

//@ Stage
// One stage of the ring: both tiles in rows of 128 bytes under the 128-byte swizzle.
struct Stage {
    static constexpr int x_bytes = kTileM * 128, bytes = x_bytes + kTileN * 128;
    unsigned char* x;
    unsigned char* weight;
    __device__ explicit Stage(unsigned char* at) : x(at), weight(at + x_bytes) {}
};

//@ Shared
// The stages stand first, where the swizzle finds them aligned; behind them the barriers.
struct Shared {
    unsigned char* stages;
    unsigned long long* full;   // the tiles of a stage are there
    unsigned long long* empty;  // every warp has read them
    __device__ explicit Shared(unsigned char* at)
        : stages(at), full(reinterpret_cast<unsigned long long*>(at + kStages * Stage::bytes)), empty(full + kStages) {}
    __device__ Stage stage(int i) const { return Stage(stages + i * Stage::bytes); }
};

//@ thread_load
// The whole walk of the one thread that loads.
__device__ inline void thread_load(const Shared& shared, const TensorMap* x, const TensorMap* weight, int first_row,
                                   int first_col) {
    Ring<kStages> at(1);
    for (int k = 0; k < kK; k += kTileK, at.advance()) {
        barrier_wait(&shared.empty[at.stage], at.parity);
        // What lies outside an operand comes as zeros and counts like the rest.
        barrier_expect(&shared.full[at.stage], Stage::bytes);
        const Stage stage = shared.stage(at.stage);
        tensor_load(stage.x, x, k, first_row, &shared.full[at.stage]);
        // With a gate, its rows come first, then those of what it lets through.
#pragma unroll
        for (int h = 0; h < kHalves; ++h) {
            tensor_load(stage.weight + h * kTileOut * 128, weight, k, h * kN + first_col, &shared.full[at.stage]);
        }
    }
}

//@ warpgroup_multiply
// All products of a warpgroup. Those of one stage stay under way while the next stage's begin, so a stage is given back
// one step late.
__device__ inline void warpgroup_multiply(float (&sum)[kProducts][kTileN / 2], const Shared& shared, int first_row) {
    constexpr int kInner = 32 / sizeof(XType);  // k of a product
    Ring<kStages> at(0);
    int before = 0;
    for (int k = 0; k < kK; k += kTileK, at.advance()) {
        barrier_wait(&shared.full[at.stage], at.parity);
        const Stage stage = shared.stage(at.stage);
        const unsigned long long weight = matrix_descriptor(stage.weight);
        warpgroup_fence();
#pragma unroll
        for (int inner = 0; inner < kTileK / kInner; ++inner) {
#pragma unroll
            for (int m = 0; m < kProducts; ++m) {
                const unsigned long long x = matrix_descriptor(stage.x + (first_row + 64 * m) * 128);
                warpgroup_product(sum[m], x + 2 * inner, weight + 2 * inner, k + inner > 0);
            }
        }
        warpgroup_commit();
        if (k > 0) {
            warpgroup_wait<1>();
            if (threadIdx.x % 32 == 0) barrier_arrive(&shared.empty[before]);
        }
        before = at.stage;
    }
    warpgroup_wait<0>();
#pragma unroll
    for (int m = 0; m < kProducts; ++m) warpgroup_hold(sum[m]);
}

//@ warpgroup_multiply_scaled
// The same of operands with scales of blocks, which a stage has one of: the products of a stage are waited for and added
// to the sums with their scales, which also keeps them from losing digits in the tensor cores. `row` and `col` are this
// lane's first row and the tile's first column.
__device__ inline void warpgroup_multiply_scaled(float (&sum)[kProducts][kTileN / 2], const Shared& shared,
                                                 int first_row, const BlockScales& scales, int row, int col) {
    constexpr int kInner = 32 / sizeof(XType);
    static_assert(kScaleBlock == 0 || kTileK == kScaleBlock, "a stage is a block of one scale");
#pragma unroll
    for (int m = 0; m < kProducts; ++m) {
#pragma unroll
        for (int i = 0; i < kTileN / 2; ++i) sum[m][i] = 0.0f;
    }
    float part[kProducts][kTileN / 2];
    Ring<kStages> at(0);
    for (int k = 0; k < kK; k += kTileK, at.advance()) {
        float of_x[kProducts][2], of_weight[kHalves];
#pragma unroll
        for (int m = 0; m < kProducts; ++m) {
#pragma unroll
            for (int i = 0; i < 2; ++i) of_x[m][i] = scales.of_x(k / kTileK, row + 64 * m + 8 * i);
        }
#pragma unroll
        for (int h = 0; h < kHalves; ++h) of_weight[h] = scales.of_weight(k / kTileK, h * kN + col);
        barrier_wait(&shared.full[at.stage], at.parity);
        const Stage stage = shared.stage(at.stage);
        const unsigned long long weight = matrix_descriptor(stage.weight);
        warpgroup_fence();
#pragma unroll
        for (int inner = 0; inner < kTileK / kInner; ++inner) {
#pragma unroll
            for (int m = 0; m < kProducts; ++m) {
                const unsigned long long x = matrix_descriptor(stage.x + (first_row + 64 * m) * 128);
                warpgroup_product(part[m], x + 2 * inner, weight + 2 * inner, inner > 0);
            }
        }
        warpgroup_commit();
        warpgroup_wait<0>();
#pragma unroll
        for (int m = 0; m < kProducts; ++m) warpgroup_hold(part[m]);
        if (threadIdx.x % 32 == 0) barrier_arrive(&shared.empty[at.stage]);
#pragma unroll
        for (int m = 0; m < kProducts; ++m) {
#pragma unroll
            for (int i = 0; i < kTileN / 2; ++i) {
                const int half = i / (kTileN / 2 / kHalves);
                sum[m][i] = fmaf(part[m][i], of_x[m][i % 4 / 2] * of_weight[half], sum[m][i]);
            }
        }
    }
}

//@ gemm_wgmma
extern "C" __global__ void __launch_bounds__(kThreads, 1)
gemm_wgmma(const __grid_constant__ TensorMap x_map, const __grid_constant__ TensorMap weight_map,
           const float* x_scale, const float* weight_scale, const float* row_scale, const float* column_scale,
           const float* bias, OutType* out, int out_stride, int rows) {
    extern __shared__ __align__(1024) unsigned char memory[];
    const Shared shared(memory);
    const int first_row = blockIdx.x * kTileM, first_col = blockIdx.y * kTileOut;
    if (threadIdx.x == kConsumerThreads) {
        map_prefetch(&x_map);
        map_prefetch(&weight_map);
        for (int i = 0; i < kStages; ++i) {
            barrier_init(&shared.full[i], 1);
            barrier_init(&shared.empty[i], kConsumerThreads / 32);
        }
        barrier_init_done();
    }
    __syncthreads();

    if (threadIdx.x >= kConsumerThreads) {
        // Load.
        if constexpr (kConsumers > 1) registers_release<40>();
        if (threadIdx.x == kConsumerThreads) thread_load(shared, &x_map, &weight_map, first_row, first_col);
    } else {
        // Compute.
        if constexpr (kConsumers > 1) registers_take<232>();
        const int own_row = threadIdx.x / 128 * kConsumerRows;
        const int lane_row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4, row = first_row + own_row + lane_row;
        float sum[kProducts][kTileN / 2];
        if constexpr (kScaleBlock == 0) {
            warpgroup_multiply(sum, shared, own_row);
        } else {
            warpgroup_multiply_scaled(sum, shared, own_row, BlockScales{x_scale, weight_scale, rows}, row, first_col);
        }

        // Epilogue.
        const Results to{row_scale, column_scale, bias, out, out_stride, rows};
#pragma unroll
        for (int m = 0; m < kProducts; ++m) warp_finish<kTileN / 8>(sum[m], row + 64 * m, first_col, to);
    }
}
