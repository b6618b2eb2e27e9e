// attention_decode[align=8 d_head=64 heads=9 kv_heads=3 window=0] f32 | simt | sm_90a | codegen 1
// again: jet emit 'attention_decode[align=8 d_head=64 heads=9 kv_heads=3 window=0] f32' --arch sm_90a --schedule 'form=0 least=256 splits=32 stages=2 tile_n=32 warps=4'
constexpr int kLeast = 256;
constexpr int kSplits = 32;
constexpr int kStages = 2;
constexpr int kTileN = 32;
constexpr int kWarps = 4;
constexpr int kHeads = 9;
constexpr int kKvHeads = 3;
constexpr int kHead = 64;
constexpr int kWindow = 0;
constexpr int kPage = 0;
constexpr int kAlign = 8;
constexpr int kRows = 3;
constexpr int kDim = 64;
constexpr int kCopy = 4;

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


// ---- batch ----
// One sequence of the batch: rows start .. start + len of every activation are its new tokens.
struct alignas(16) Segment {
    int slot;   // its place in the states
    int start;  // first row
    int len;    // new tokens
    int past;   // tokens before them
    int first;  // position of the sequence's first token
    int unused[3];
};


// ---- math ----
__device__ inline float infinity() { return __int_as_float(0x7f800000); }


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

// Floats to global memory, four of them in one access. Written out, because the compiler takes a vector apart that has
// lived through a loop.
template <int N>
__device__ inline void store_global(float* to, const float (&from)[N]) {
    if constexpr (N == 4) {
        asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "f"(from[0]),
                     "f"(from[1]), "f"(from[2]), "f"(from[3])
                     : "memory");
    } else {
        store_floats(to, from);
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

template <int kLanes>
__device__ inline float lanes_max(float x) {
    static_assert(kLanes >= 1 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0, "a group of lanes is a power of two");
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}


// ---- shared ----
// kRows rows of kCols values in shared memory, row-major. Rows are kPad values apart beyond their width: with 16 bytes
// more than a multiple of 128 the eight rows that ldmatrix reads at a time lie in different banks.
template <class T, int kRows, int kCols, int kPad = 16 / sizeof(T)>
struct SmemTile {
    static_assert(kCols * sizeof(T) % 16 == 0, "a row of a tile is whole 16-byte pieces");
    static_assert(kPad * sizeof(T) % 16 == 0, "the padding keeps rows aligned to 16 bytes");
    static constexpr int rows = kRows, cols = kCols, stride = kCols + kPad;
    static constexpr int bytes = kRows * stride * static_cast<int>(sizeof(T));
    T* base;
    __device__ explicit SmemTile(void* at) : base(static_cast<T*>(at)) {}
    __device__ T* at(int row, int col) const { return base + row * stride + col; }
};


// ---- softmax ----
// One row: its running maximum and the sum of its weights against that maximum.
struct OnlineSoftmax {
    float max = -infinity();
    float sum = 0.0f;

    // Takes a new maximum in; gives the factor for everything summed so far. A row that has seen no key stays at zero.
    __device__ float rise(float candidate) {
        const float next = fmaxf(max, candidate);
        const float factor = max == -infinity() ? 0.0f : exp2f(max - next);
        max = next;
        sum *= factor;
        return factor;
    }

    // The weight of a score under the present maximum.
    __device__ float weight(float score) const { return score == -infinity() ? 0.0f : exp2f(score - max); }

    // What is taken from every score, so that a row without keys has weights of zero and not of zero times infinity.
    __device__ float base() const { return max == -infinity() ? 0.0f : max; }
};


// ---- kv cache ----
using QType = float;
using KCacheType = float;
using VCacheType = float;
using OutType = float;

// A token's part and its place there.
struct CachePlace { int part, place; };
// The rows of one head of one sequence.
struct CacheMap {
    const int* pages;
    long long part_stride;
    int slot, rows, head;

    __device__ CacheMap(const int* page_table, long long stride, int cache_rows, int sequence_slot, int kv_head)
        : pages(kPage > 0 ? page_table + page_table[sequence_slot] : nullptr),
          part_stride(stride),
          slot(sequence_slot),
          rows(kPage > 0 ? kPage : cache_rows),
          head(kv_head) {}

    __device__ CachePlace find(int token) const {
        if constexpr (kPage > 0) return {pages[token / rows], token % rows};
        return {slot, token % rows};
    }
    // The row of the token that is `ahead` after the one at `place`: on the same page, or less than a turn of the ring.
    __device__ int row(CachePlace at, int ahead) const {
        const int place = at.place + ahead;
        return head * rows + (kPage == 0 && place >= rows ? place - rows : place);
    }
    // Its first element in the keys or the values, and its number among the scales.
    __device__ long long element(CachePlace at, int ahead) const {
        return at.part * part_stride + static_cast<long long>(row(at, ahead)) * kHead;
    }
    __device__ long long scale(CachePlace at, int ahead) const {
        return static_cast<long long>(at.part) * (kKvHeads * rows) + row(at, ahead);
    }
};

constexpr int kGroup = kHeads / kKvHeads, kBlocks = ceil_div(kGroup, kRows);
constexpr int kThreads = kWarps * 32;

// Keys that a query after `total` tokens sees.
__device__ inline int seen_keys(int total) { return kWindow > 0 ? min(total, kWindow) : total; }
// Keys of one range, in whole tiles of every warp: with few keys, the results would be more to move than the keys.
__device__ inline int split_keys(int longest_total) {
    constexpr int kStep = kWarps * kTileN;
    return ceil_div(max(ceil_div(seen_keys(longest_total), kSplits), kSplits > 1 ? kLeast : 1), kStep) * kStep;
}

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

// Warps of the second entry, each with one head of one sequence.
constexpr int kCombineWarps = 4;

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

constexpr int kColumns = ceil_div(kHead, 32);
static_assert(kTileN == 32, "a lane has a key");

// Rows an odd number of 16-byte pieces apart: lanes that read one piece of each row meet different banks.
using KeyTile = SmemTile<float, kTileN, kDim, 4>;
using QTile = SmemTile<float, kRows, kDim, 0>;

__device__ inline void warp_load_keys(KeyTile to, const KCacheType* k_cache, const float* k_scale, const CacheMap& map,
                                      CachePlace place, int left) {
    constexpr int kPieces = kDim / kCopy;
    static_assert(kDim % kCopy == 0 && kHead % kCopy == 0, "a row is whole pieces");
    for (int piece = threadIdx.x % 32; piece < kTileN * kPieces; piece += 32) {
        const int row = piece / kPieces, col = piece % kPieces * kCopy;
        float wide[kCopy] = {};
        if (row < left && col < kHead) {
            load_floats(wide, k_cache + map.element(place, row) + col);
            if constexpr (sizeof(KCacheType) == 1) {
                const float scale = k_scale[map.scale(place, row)];
#pragma unroll
                for (int i = 0; i < kCopy; ++i) wide[i] *= scale;
            }
        }
        store_floats(to.at(row, col), wide);
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
attention_decode_simt(const QType* q, int q_stride, const KCacheType* k_cache, long long k_cache_slot,
                      int k_cache_rows, const VCacheType* v_cache, const float* k_scale, const float* v_scale,
                      const int* page_table, OutType* out, int out_stride, float* partial, float* partial_log,
                      const Segment* segments, int longest_total, float scale) {
    extern __shared__ __align__(128) unsigned char memory[];
    const Split split(segments, longest_total);
    if (split.idle()) return;
    const CacheMap map(page_table, k_cache_slot, k_cache_rows, split.segment.slot, split.kv_head);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const QTile q_tile(memory);
    const KeyTile k_tile(memory + QTile::bytes + warp * KeyTile::bytes);
    for (int i = threadIdx.x; i < kRows * kDim; i += kThreads) {
        const int row = i / kDim, col = i % kDim;
        const bool there = row < split.heads && col < kHead;
        *q_tile.at(row, col) = there ? to_float(q[split.row() * q_stride + (split.head + row) * kHead + col]) : 0.0f;
    }
    __syncthreads();

    const float scale2 = scale * 1.4426950408889634f;
    float sum[kRows][kColumns] = {};
    OnlineSoftmax softmax[kRows];
    for (int first = split.begin + warp * kTileN; first < split.end; first += kWarps * kTileN) {
        const CachePlace place = map.find(first);
        const int left = min(split.end - first, kTileN);
        __syncwarp();  // whoever still reads the tile before
        warp_load_keys(k_tile, k_cache, k_scale, map, place, left);
        __syncwarp();
        float p[kRows] = {};
        for (int d = 0; d < kDim; d += 4) {
            const Vec<float, 4> key = load_vec<4>(k_tile.at(lane, d));
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                const Vec<float, 4> query = load_vec<4>(q_tile.at(r, d));
#pragma unroll
                for (int i = 0; i < 4; ++i) p[r] = fmaf(query.at[i], key.at[i], p[r]);
            }
        }
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            const float score = lane < left ? p[r] * scale2 : -infinity();
            const float factor = softmax[r].rise(lanes_max<32>(score));
            p[r] = softmax[r].weight(score);
            softmax[r].sum += p[r];
#pragma unroll
            for (int c = 0; c < kColumns; ++c) sum[r][c] *= factor;
        }
        for (int key = 0; key < left; ++key) {
            const VCacheType* row = v_cache + map.element(place, key);
            float value[kColumns], value_scale = 1.0f;
            if constexpr (sizeof(VCacheType) == 1) value_scale = v_scale[map.scale(place, key)];
#pragma unroll
            for (int c = 0; c < kColumns; ++c) {
                const int col = 32 * c + lane;
                value[c] = col < kHead ? to_float(row[col]) * value_scale : 0.0f;
            }
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                const float weight = __shfl_sync(0xffffffffu, p[r], key);
#pragma unroll
                for (int c = 0; c < kColumns; ++c) sum[r][c] = fmaf(weight, value[c], sum[r][c]);
            }
        }
    }

    // Merge, in place of the tiles.
    __syncthreads();
    const Merge merge(memory);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        const float total = lanes_sum<32>(softmax[r].sum);
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
            if (32 * c + lane < kHead) merge.row(warp, r)[32 * c + lane] = sum[r][c];
        }
        if (lane == 0) {
            merge.tops[warp * kRows + r] = softmax[r].max;
            merge.totals[warp * kRows + r] = total;
        }
    }
    __syncthreads();
    cta_merge(merge, split, partial, partial_log, out, out_stride);
}
