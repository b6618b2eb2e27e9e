What the forms of the experts share: the pairs (token, choice) sorted by expert, the tiles of their matrix products, and
the weighted sum of each token's answers.

//@ experts_sort
// A CTA has one expert: it counts the pairs of lower experts, which is where its own begin, and lists its own in the
// order of the tokens. `pairs` gets the pair of each sorted row, `starts` the first row of each expert and the end.
extern "C" __global__ void __launch_bounds__(kSortThreads)
experts_sort(const float* ids, int ids_stride, int* starts, int* pairs, int rows) {
    __shared__ int warp_sums[kSortThreads / 32];
    const int expert = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int count = rows * kTopK;
    const auto id = [&](int pair) {
        return static_cast<int>(ids[static_cast<long long>(pair / kTopK) * ids_stride + pair % kTopK]);
    };

    float below = 0.0f;  // exact up to 2^24 in each thread and in the sum
    for (int pair = threadIdx.x; pair < count; pair += kSortThreads) below += id(pair) < expert ? 1.0f : 0.0f;
    int next = static_cast<int>(cta_sum<kSortThreads>(below));
    if (threadIdx.x == 0) starts[expert] = next;

    for (int base = 0; base < count; base += kSortThreads) {
        const int pair = base + threadIdx.x;
        const bool own = pair < count && id(pair) == expert;
        const unsigned votes = __ballot_sync(0xffffffffu, own);
        if (lane == 0) warp_sums[warp] = __popc(votes);
        __syncthreads();
        int before = __popc(votes & ((1u << lane) - 1)), all = 0;
#pragma unroll
        for (int w = 0; w < kSortThreads / 32; ++w) {
            if (w < warp) before += warp_sums[w];
            all += warp_sums[w];
        }
        if (own) pairs[next + before] = pair;
        next += all;
        __syncthreads();  // the sums of this round are read
    }
    if (expert == kExperts - 1 && threadIdx.x == 0) starts[kExperts] = next;
}

//@ Tile
// Rows first .. end of the sorted pairs, all of one expert; none if there is no such tile.
struct Tile {
    int expert = 0, first = 0, end = 0;
    __device__ bool there() const { return first < end; }
};

//@ warp_find_tile
// The tile of this index, if every expert's rows are cut into tiles of kTileM. All lanes get it.
__device__ inline Tile warp_find_tile(const int* starts, int index) {
    const int lane = threadIdx.x % 32;
    int base = -32, row = 0, end = 0, passed = 0;
    unsigned beyond = 0;
    while (beyond == 0 && base + 32 < kExperts) {
        base += 32;
        index -= passed;
        const int expert = base + lane;
        const int first = expert < kExperts ? starts[expert] : 0;
        end = expert < kExperts ? starts[expert + 1] : 0;
        const int own = ceil_div(end - first, kTileM);
        int through = own;  // tiles of this expert and of those before it among the 32
#pragma unroll
        for (int step = 1; step < 32; step *= 2) {
            const int before = __shfl_up_sync(0xffffffffu, through, step);
            if (lane >= step) through += before;
        }
        beyond = __ballot_sync(0xffffffffu, through > index);
        row = first + (index - (through - own)) * kTileM;
        passed = __shfl_sync(0xffffffffu, through, 31);
    }
    const int from = beyond == 0 ? 0 : __ffs(beyond) - 1;
    Tile tile;
    tile.expert = base + from;
    tile.first = __shfl_sync(0xffffffffu, row, from);
    tile.end = min(__shfl_sync(0xffffffffu, end, from), tile.first + kTileM);
    if (beyond == 0) tile.end = tile.first;
    return tile;
}

//@ activate
__device__ inline float activate(float up, float gate) {
    if constexpr (kAct == 0) return relu2(up);
    if constexpr (kAct == 1) return silu(gate) * up;
    return gelu(gate) * up;
}

//@ experts_combine
// out (+)= the answers of a token's experts, weighted, in the order of the choice.
extern "C" __global__ void __launch_bounds__(kSortThreads)
experts_combine(const float* answers, const float* gates, int gates_stride, OutType* out, int out_stride, int rows) {
    const long long row = blockIdx.x;
    const int col = (blockIdx.y * kSortThreads + threadIdx.x) * kCombineVec;
    if (row >= rows || col >= kWidth) return;
    float sum[kCombineVec] = {};
    OutType* to = out + row * out_stride + col;
    if constexpr (kAccumulate) load_floats(sum, to);
    for (int j = 0; j < kTopK; ++j) {
        const float gate = gates[row * gates_stride + j];
        float answer[kCombineVec];
        load_floats(answer, answers + (row * kTopK + j) * kAnswerStride + col);
#pragma unroll
        for (int i = 0; i < kCombineVec; ++i) sum[i] = fmaf(gate, answer[i], sum[i]);
    }
    store_floats(to, sum);
}
