// experts[accumulate=1 align=8 experts=128 hidden=1856 out_align=8 relu2=1 top_k=6 width=2688] f32 | simt | sm_80 | codegen 1
// again: jet emit 'experts[accumulate=1 align=8 experts=128 hidden=1856 out_align=8 relu2=1 top_k=6 width=2688] f32' --arch sm_80 --schedule 'form=0 stages=2 tile_k=16 tile_m=16 tile_n=64 warps_m=2 warps_n=2'
constexpr int kStages = 2;
constexpr int kTileK = 16;
constexpr int kTileM = 16;
constexpr int kTileN = 64;
constexpr int kWarpsM = 2;
constexpr int kWarpsN = 2;
constexpr int kWidth = 2688;
constexpr int kHidden = 1856;
constexpr int kExperts = 128;
constexpr int kTopK = 6;
constexpr int kInnerStride = 1856;
constexpr int kAnswerStride = 2688;
constexpr int kAct = 0;
constexpr bool kAccumulate = true;
constexpr int kSortThreads = 256;
constexpr int kXVec = 8;
constexpr int kCombineVec = 4;

// ---- types ----
__host__ __device__ constexpr int ceil_div(int n, int per) { return (n + per - 1) / per; }

// N values that one access moves.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
    static_assert(sizeof(T) * N <= 16, "one access moves at most 16 bytes");
    T at[N];
};

__device__ inline float to_float(float x) { return x; }

// Rounds to nearest even.
template <class T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) { return x; }


// ---- math ----
__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }

__device__ inline float relu2(float x) {
    const float y = x < 0.0f ? 0.0f : x;
    return y * y;
}

// The tanh form, written with (1 + tanh u) / 2 = sigmoid(2u).
__device__ inline float gelu(float x) {
    return x / (1.0f + expf(-1.5957691216f * fmaf(0.044715f * x * x, x, x)));
}


// ---- memory ----
// The registers of a vector access.
template <int kBytes>
struct Words;
template <>
struct Words<16> { uint4 w; };
template <>
struct Words<8> { uint2 w; };
template <>
struct Words<4> { unsigned w; };
template <>
struct Words<2> { unsigned short w; };
template <>
struct Words<1> { unsigned char w; };

// N values in one access; the address is a multiple of its size.
template <int N, class T>
__device__ inline Vec<T, N> load_vec(const T* from) {
    using W = Words<sizeof(T) * N>;
    const W words = *reinterpret_cast<const W*>(from);
    Vec<T, N> values;
    memcpy(&values, &words, sizeof(words));
    return values;
}

template <int N, class T>
__device__ inline void store_vec(T* to, Vec<T, N> values) {
    using W = Words<sizeof(T) * N>;
    W words;
    memcpy(&words, &values, sizeof(words));
    *reinterpret_cast<W*>(to) = words;
}

// N values, widened. Where a vector of T is wider than 16 bytes it takes several accesses.
template <int N, class T>
__device__ inline void load_floats(float (&to)[N], const T* from) {
    constexpr int kStep = sizeof(T) * N > 16 ? 16 / sizeof(T) : N;
#pragma unroll
    for (int i = 0; i < N; i += kStep) {
        const Vec<T, kStep> part = load_vec<kStep>(from + i);
#pragma unroll
        for (int j = 0; j < kStep; ++j) to[i + j] = to_float(part.at[j]);
    }
}

template <int N, class T>
__device__ inline void store_floats(T* to, const float (&from)[N]) {
    constexpr int kStep = sizeof(T) * N > 16 ? 16 / sizeof(T) : N;
#pragma unroll
    for (int i = 0; i < N; i += kStep) {
        Vec<T, kStep> part;
#pragma unroll
        for (int j = 0; j < kStep; ++j) part.at[j] = from_float<T>(from[i + j]);
        store_vec<kStep>(to + i, part);
    }
}


// ---- reduce ----
// The sum over each group of kLanes neighbouring lanes, in all of them.
template <int kLanes>
__device__ inline float lanes_sum(float x) {
    static_assert(kLanes >= 1 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0, "a group of lanes is a power of two");
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

// The sum over the kThreads threads of a CTA, in all of them. All threads call it.
template <int kThreads>
__device__ inline float cta_sum(float x) {
    static_assert(kThreads % 32 == 0 && kThreads <= 1024, "a CTA is whole warps");
    __shared__ float partial[kThreads / 32];
    x = lanes_sum<32>(x);
    __syncthreads();  // whoever still reads the partial sums of the call before
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
    __syncthreads();
    float total = 0.0f;
#pragma unroll
    for (int w = 0; w < kThreads / 32; ++w) total += partial[w];
    return total;
}


// ---- experts sort ----
using XType = float;
using WeightType = float;
using OutType = float;

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

// Rows first .. end of the sorted pairs, all of one expert; none if there is no such tile.
struct Tile {
    int expert = 0, first = 0, end = 0;
    __device__ bool there() const { return first < end; }
};

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

__device__ inline float activate(float up, float gate) {
    if constexpr (kAct == 0) return relu2(up);
    if constexpr (kAct == 1) return silu(gate) * up;
    return gelu(gate) * up;
}

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

constexpr int kThreads = kWarpsM * kWarpsN * 32;
constexpr int kAcross = 16, kDown = kThreads / kAcross;  // threads along the columns and along the rows
constexpr int kThreadRows = kTileM / kDown, kThreadCols = kTileN / kAcross;
static_assert(kTileM % kDown == 0 && kTileN % kAcross == 0, "threads share the tile evenly");

// Both tiles with k outermost, so that neighbouring threads read neighbouring words.
struct Shared {
    float x[kTileK][kTileM + 1];
    float weight[kTileK][kTileN + 1];
};

struct Sums { float at[kThreadRows][kThreadCols] = {}; };

// The first half of a tile's columns is of the one matrix, the second of the other.
struct GatedRow {
    bool of_gate;
    int col;
    __device__ explicit GatedRow(int r) : of_gate(r >= kTileN / 2), col(r % (kTileN / 2)) {}
};

// kRows rows, from column k on, into a tile with k outermost; zero where there is nothing.
template <int kDepth, int kRows, class RowAt>
__device__ inline void cta_gather(float (&to)[kTileK][kRows + 1], RowAt row_at, int k) {
    for (int i = threadIdx.x; i < kRows * kTileK; i += kThreads) {
        const int row = i / kTileK, col = i % kTileK;
        const auto* from = row_at(row);
        to[col][row] = from != nullptr && k + col < kDepth ? to_float(from[k + col]) : 0.0f;
    }
}

template <int kDepth, int kVec, class RowOfX, class RowOfWeight>
__device__ inline void cta_multiply(Sums& sum, unsigned char* memory, RowOfX x_row, RowOfWeight weight_row) {
    Shared& tile = *reinterpret_cast<Shared*>(memory);
    const int across = threadIdx.x % kAcross, down = threadIdx.x / kAcross;
    for (int k = 0; k < kDepth; k += kTileK) {
        cta_gather<kDepth, kTileM>(tile.x, x_row, k);
        cta_gather<kDepth, kTileN>(tile.weight, weight_row, k);
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
                for (int c = 0; c < kThreadCols; ++c) sum.at[r][c] = fmaf(a[r], b[c], sum.at[r][c]);
            }
        }
        __syncthreads();
    }
}

template <class Take>
__device__ inline void for_each_sum(const Sums& sum, Take take) {
    const int across = threadIdx.x % kAcross, down = threadIdx.x / kAcross;
#pragma unroll
    for (int r = 0; r < kThreadRows; ++r) {
#pragma unroll
        for (int c = 0; c < kThreadCols; ++c) take(down + r * kDown, across + c * kAcross, sum.at[r][c]);
    }
}

template <class Take>
__device__ inline void for_each_pair(const Sums& sum, Take take) {
    constexpr int kHalf = kThreadCols / 2;
    static_assert(kThreadCols % 2 == 0, "a thread has the sums of both matrices");
    const int across = threadIdx.x % kAcross, down = threadIdx.x / kAcross;
#pragma unroll
    for (int r = 0; r < kThreadRows; ++r) {
#pragma unroll
        for (int c = 0; c < kHalf; ++c) {
            take(down + r * kDown, across + c * kAcross, sum.at[r][c], sum.at[r][c + kHalf]);
        }
    }
}

// Row r of a tile begins at `base + sources[r] * stride`; there is none where the source is negative.
template <class T>
struct XRow {
    const T* base;
    const int* sources;
    long long stride;
    __device__ const T* operator()(int r) const { return sources[r] < 0 ? nullptr : base + sources[r] * stride; }
};

// Rows of the weights from column `first` of the product on.
struct OneMatrix {
    const WeightType* base;
    long long stride;
    int left;  // columns of the product from the first on
    __device__ const WeightType* operator()(int r) const { return r < left ? base + r * stride : nullptr; }
};

// Two matrices with their rows interleaved as the form wants to meet them.
struct TwoMatrices {
    OneMatrix up, gate;
    __device__ const WeightType* operator()(int r) const {
        const GatedRow row(r);
        return row.of_gate ? gate(row.col) : up(row.col);
    }
};

template <bool kGated>
__device__ inline void cta_up(const XType* x, int x_stride, const WeightType* up, int up_stride, const WeightType* gate,
                              int gate_stride, const int* starts, const int* pairs, XType* inner) {
    extern __shared__ __align__(128) unsigned char memory[];
    __shared__ int sources[kTileM];
    const int first_col = blockIdx.y * (kGated ? kTileN / 2 : kTileN), left = kHidden - first_col;
    int index = blockIdx.x;
    for (Tile tile = warp_find_tile(starts, index); tile.there(); tile = warp_find_tile(starts, index += gridDim.x)) {
        __syncthreads();  // the tile before is done with
        for (int r = threadIdx.x; r < kTileM; r += kThreads) {
            sources[r] = tile.first + r < tile.end ? pairs[tile.first + r] / kTopK : -1;
        }
        __syncthreads();
        const long long top = static_cast<long long>(tile.expert) * kHidden + first_col;
        const XRow<XType> rows{x, sources, x_stride};
        const OneMatrix of_up{up + top * up_stride, up_stride, left};
        const auto keep = [&](int row, int col, float value, float by_gate) {
            if (tile.first + row < tile.end && col < left) {
                const long long at = static_cast<long long>(tile.first + row) * kInnerStride + first_col + col;
                inner[at] = from_float<XType>(activate(value, by_gate));
            }
        };
        Sums sum;
        if constexpr (kGated) {
            const OneMatrix of_gate{gate + top * gate_stride, gate_stride, left};
            cta_multiply<kWidth, kXVec>(sum, memory, rows, TwoMatrices{of_up, of_gate});
            for_each_pair(sum, keep);
        } else {
            cta_multiply<kWidth, kXVec>(sum, memory, rows, of_up);
            for_each_sum(sum, [&](int row, int col, float value) { keep(row, col, value, 0.0f); });
        }
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
experts_up(const XType* x, int x_stride, const WeightType* up, int up_stride, const int* starts, const int* pairs,
           XType* inner) {
    cta_up<false>(x, x_stride, up, up_stride, nullptr, 0, starts, pairs, inner);
}

// Each sorted row's answer goes to the place of its pair, so that a token's answers lie side by side.
extern "C" __global__ void __launch_bounds__(kThreads)
experts_down(const XType* inner, const WeightType* down, int down_stride, const int* starts, const int* pairs,
             float* answers) {
    extern __shared__ __align__(128) unsigned char memory[];
    __shared__ int sources[kTileM];
    const int first_col = blockIdx.y * kTileN, left = kWidth - first_col;
    int index = blockIdx.x;
    for (Tile tile = warp_find_tile(starts, index); tile.there(); tile = warp_find_tile(starts, index += gridDim.x)) {
        __syncthreads();  // the tile before is done with
        for (int r = threadIdx.x; r < kTileM; r += kThreads) {
            sources[r] = tile.first + r < tile.end ? tile.first + r : -1;
        }
        __syncthreads();
        const long long top = static_cast<long long>(tile.expert) * kWidth + first_col;
        Sums sum;
        cta_multiply<kHidden, 16 / sizeof(XType)>(sum, memory, XRow<XType>{inner, sources, kInnerStride},
                                                  OneMatrix{down + top * down_stride, down_stride, left});
        for_each_sum(sum, [&](int row, int col, float value) {
            if (tile.first + row < tile.end && col < left) {
                answers[static_cast<long long>(pairs[tile.first + row]) * kAnswerStride + first_col + col] = value;
            }
        });
    }
}
