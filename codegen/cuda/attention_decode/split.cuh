One query token a sequence over its cached keys. The keys are cut into kSplits ranges of equal length for the longest
sequence of the run; a shorter one has fewer of them, so that every CTA moves the same bytes. A CTA has kRows of the
query heads that share a KV head; its warps take tiles of kTileN keys by turns and merge at the end.

//@ kGroup kBlocks kThreads
constexpr int kGroup = kHeads / kKvHeads, kBlocks = ceil_div(kGroup, kRows);
constexpr int kThreads = kWarps * 32;

//@ split_keys seen_keys
// Keys that a query after `total` tokens sees.
__device__ inline int seen_keys(int total) { return kWindow > 0 ? min(total, kWindow) : total; }
// Keys of one range, in whole tiles of every warp: with few keys, the results would be more to move than the keys.
__device__ inline int split_keys(int longest_total) {
    constexpr int kStep = kWarps * kTileN;
    return ceil_div(max(ceil_div(seen_keys(longest_total), kSplits), kSplits > 1 ? kLeast : 1), kStep) * kStep;
}

//@ Split
// What this CTA does: its sequence, its heads, its keys.
struct Split {
    Segment segment;
    int kv_head, head, heads;  // the first query head, and how many
    int begin, end;

    __device__ Split(const Segment* segments, int longest_total) : segment(segments[blockIdx.z]) {
        const int block = blockIdx.y % kBlocks, total = segment.past + segment.len, keys = split_keys(longest_total);
        kv_head = blockIdx.y / kBlocks;
        head = kv_head * kGroup + block * kRows;
        heads = min(kRows, kGroup - block * kRows);
        begin = total - seen_keys(total) + static_cast<int>(blockIdx.x) * keys;
        end = min(begin + keys, total);
    }
    __device__ bool idle() const { return begin >= end; }
    __device__ long long row() const { return segment.start + segment.len - 1; }
};

//@ Merge
// What the warps found, in shared memory: sums of values, maxima in base 2, sums of weights.
struct Merge {
    static constexpr int stride = kDim + 8;
    static constexpr int bytes = kWarps * kRows * (stride + 2) * 4;
    float* sums;
    float* tops;
    float* totals;
    __device__ explicit Merge(unsigned char* at)
        : sums(reinterpret_cast<float*>(at)),
          tops(sums + kWarps * kRows * stride),
          totals(tops + kWarps * kRows) {}
    __device__ float* row(int warp, int r) const { return sums + (warp * kRows + r) * stride; }
};

//@ cta_merge
// All threads call it after the warps have written. The result goes to the output, or with several ranges to the scratch
// with its logarithm (base 2) of the sum of weights.
__device__ inline void cta_merge(const Merge& merge, const Split& split, float* partial, float* partial_log,
                                 OutType* out, int out_stride) {
    constexpr int kVec = kHead % 4 == 0 && kAlign >= 4 ? 4 : 1;
    for (int item = threadIdx.x; item < split.heads * (kHead / kVec); item += kThreads) {
        const int row = item / (kHead / kVec), col = item % (kHead / kVec) * kVec;
        float top = -infinity(), total = 0.0f;
#pragma unroll
        for (int w = 0; w < kWarps; ++w) top = fmaxf(top, merge.tops[w * kRows + row]);
        float value[kVec] = {};
#pragma unroll
        for (int w = 0; w < kWarps; ++w) {
            const float weight = exp2f(merge.tops[w * kRows + row] - top);
            total = fmaf(weight, merge.totals[w * kRows + row], total);
            const Vec<float, kVec> part = load_vec<kVec>(merge.row(w, row) + col);
#pragma unroll
            for (int i = 0; i < kVec; ++i) value[i] = fmaf(weight, part.at[i], value[i]);
        }
#pragma unroll
        for (int i = 0; i < kVec; ++i) value[i] *= 1.0f / total;
        const int head = split.head + row;
        if constexpr (kSplits == 1) {
            store_floats(out + split.row() * out_stride + head * kHead + col, value);
        } else {
            const long long part = (static_cast<long long>(blockIdx.z) * kHeads + head) * kSplits + blockIdx.x;
            store_global(partial + part * kHead + col, value);
            if (col == 0) partial_log[part] = top + log2f(total);
        }
    }
}

//@ kCombineWarps
// Warps of the second entry, each with one head of one sequence.
constexpr int kCombineWarps = 4;

//@ attention_combine
// Weighs the ranges of each head together.
extern "C" __global__ void __launch_bounds__(kCombineWarps * 32)
attention_combine(const float* partial, const float* partial_log, OutType* out, int out_stride,
                  const Segment* segments, int longest_total) {
    constexpr int kVec = kHead % 4 == 0 && kAlign >= 4 ? 4 : 1;
    constexpr int kColumns = ceil_div(kHead, 32 * kVec), kPieces = ceil_div(kSplits, 32);
    const int head = blockIdx.x * kCombineWarps + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (head >= kHeads) return;
    const Segment segment = segments[blockIdx.y];
    const int used = ceil_div(seen_keys(segment.past + segment.len), split_keys(longest_total));
    const long long first = (static_cast<long long>(blockIdx.y) * kHeads + head) * kSplits;
    float weight[kPieces], top = -infinity(), total = 0.0f;
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
        const int split = 32 * p + lane;
        weight[p] = split < used ? partial_log[first + split] : -infinity();
        top = fmaxf(top, weight[p]);
    }
    top = lanes_max<32>(top);
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
        weight[p] = exp2f(weight[p] - top);
        total += weight[p];
    }
    total = lanes_sum<32>(total);
    float value[kColumns][kVec] = {};
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
        const int splits = min(used - 32 * p, 32);
#pragma unroll 4
        for (int s = 0; s < splits; ++s) {
            const float share = __shfl_sync(0xffffffffu, weight[p], s);
#pragma unroll
            for (int c = 0; c < kColumns; ++c) {
                const int col = (32 * c + lane) * kVec;
                if (col >= kHead) continue;
                const Vec<float, kVec> part = load_vec<kVec>(partial + (first + 32 * p + s) * kHead + col);
#pragma unroll
                for (int i = 0; i < kVec; ++i) value[c][i] = fmaf(share, part.at[i], value[c][i]);
            }
        }
    }
    const long long row = segment.start + segment.len - 1;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
        const int col = (32 * c + lane) * kVec;
#pragma unroll
        for (int i = 0; i < kVec; ++i) value[c][i] /= total;
        if (col < kHead) store_floats(out + row * out_stride + head * kHead + col, value[c]);
    }
}
