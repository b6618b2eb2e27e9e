// attention[align=8 d_head=64 heads=9 kv_heads=3 window=0] f32 | simt | sm_80 | codegen 1
// again: jet emit 'attention[align=8 d_head=64 heads=9 kv_heads=3 window=0] f32' --arch sm_80 --schedule 'form=0 pack=1 stages=2 tile_m=16 tile_n=32 warps=4'
constexpr int kPack = 1;
constexpr int kStages = 2;
constexpr int kTileM = 16;
constexpr int kTileN = 32;
constexpr int kWarps = 4;
constexpr int kHeads = 9;
constexpr int kKvHeads = 3;
constexpr int kHead = 64;
constexpr int kWindow = 0;
constexpr int kPage = 0;
constexpr int kCopy = 4;
constexpr bool kCached = false;

// ---- types ----
__host__ __device__ constexpr int ceil_div(int n, int per) { return (n + per - 1) / per; }

// Whether two types are one.
template <class A, class B>
constexpr bool kSame = false;
template <class A>
constexpr bool kSame<A, A> = true;

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
// The address that instructions on shared memory take.
__device__ inline unsigned smem_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

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


// ---- copy ----
// kBytes from global to shared memory, of which the first `valid` are read and the others become zero.
template <int kBytes>
__device__ inline void copy_async(void* to, const void* from, int valid) {
    static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "an asynchronous copy moves 4, 8 or 16 bytes");
    if constexpr (kBytes == 16) {
        asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(smem_address(to)), "l"(from),
                     "r"(valid)
                     : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(smem_address(to)), "l"(from), "n"(kBytes),
                     "r"(valid)
                     : "memory");
    }
}

// Ends a group of this thread's copies.
__device__ inline void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most kLeft of this thread's groups are under way.
template <int kLeft>
__device__ inline void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}


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
using KType = float;
using VType = float;
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

constexpr int kGroup = kHeads / kKvHeads;
constexpr int kPacked = kPack ? kGroup : 1;
constexpr int kTileTokens = kTileM / kPacked;
static_assert(kTileTokens > 0, "a tile has a whole token");

// What this CTA does: its sequence, its heads, and tokens counted from the sequence's first.
struct Work {
    Segment segment;
    int kv_head, head;  // the first query head
    int first, end;     // queries, and the end of the keys
    int begin;          // the first key that any of them sees

    __device__ explicit Work(const Segment* segments) : segment(segments[blockIdx.z]) {
        // The last tokens see most keys: they go first.
        first = segment.past + static_cast<int>(gridDim.x - 1 - blockIdx.x) * kTileTokens;
        end = min(first + kTileTokens, segment.past + segment.len);
        begin = kWindow > 0 ? max(first - kWindow + 1, 0) : 0;
        head = blockIdx.y * kPacked;
        kv_head = head / kGroup;
    }
    __device__ bool idle() const { return first >= end; }
    // Row of the activations that a row of the tile belongs to, and its query head.
    __device__ int row_of(int r) const { return segment.start + first - segment.past + r / kPacked; }
    __device__ int head_of(int r) const { return head + r % kPacked; }
    __device__ int token_of(int r) const { return first + r / kPacked; }
    __device__ bool has(int r) const { return r < kTileTokens * kPacked && token_of(r) < end; }
};

// Whether the query at `token` sees the key.
__device__ inline bool visible(int token, int key) { return key <= token && (kWindow == 0 || key > token - kWindow); }

// One head's keys or values of a sequence: new ones among the activations, old ones in the cache.
template <class T, class C>
struct Rows {
    const T* fresh;  // of the segment's first token
    long long stride;
    const C* cache;
    const float* scales;
};

// Begins to bring kCopy values to shared memory; what has another format is widened and rounded on its way.
template <class T, class S>
__device__ inline void load_piece(T* to, const S* from, float scale) {
    if constexpr (kSame<T, S>) {
        copy_async<kCopy * sizeof(T)>(to, from, kCopy * static_cast<int>(sizeof(T)));
    } else {
        float wide[kCopy];
        load_floats(wide, from);
#pragma unroll
        for (int i = 0; i < kCopy; ++i) wide[i] *= scale;
        store_floats(to, wide);
    }
}

// Shares the pieces of kRows rows out to the threads. They are not unrolled: addresses of many copies at a time take the
// registers that sums need.
template <int kThreads, int kRows, int kPieces, class Do>
__device__ inline void cta_for_pieces(Do each) {
    if constexpr (kThreads % kPieces == 0) {
        const int piece = threadIdx.x % kPieces;
#pragma unroll 1
        for (int row = threadIdx.x / kPieces; row < kRows; row += kThreads / kPieces) each(row, piece);
    } else {
#pragma unroll 1
        for (int i = threadIdx.x; i < kRows * kPieces; i += kThreads) each(i / kPieces, i % kPieces);
    }
}

// All threads begin to load the rows of tokens `first` on. Rows at `end` and beyond, and columns beyond the head, become
// zero: a weight of zero times what memory happens to hold would not be zero.
template <int kThreads, class S, class T, class C, int kDim, int kPad>
__device__ inline void cta_load_keys(SmemTile<S, kTileN, kDim, kPad> to, const Rows<T, C>& rows, const CacheMap& map,
                                     int first, int past, int end) {
    static_assert(kDim % kCopy == 0 && kHead % kCopy == 0, "a row is whole pieces");
    const int old = kCached ? end : past;
    const CachePlace place = first < old ? map.find(first) : CachePlace{0, 0};
    cta_for_pieces<kThreads, kTileN, kDim / kCopy>([&](int row, int piece) {
        const int token = first + row, col = piece * kCopy;
        if (token >= end || col >= kHead) {
            store_vec<kCopy>(to.at(row, col), Vec<S, kCopy>{});
        } else if (token >= old) {
            load_piece(to.at(row, col), rows.fresh + (token - past) * rows.stride + col, 1.0f);
        } else {
            float scale = 1.0f;
            if constexpr (sizeof(C) == 1) scale = rows.scales[map.scale(place, row)];
            load_piece(to.at(row, col), rows.cache + map.element(place, row) + col, scale);
        }
    });
}

template <int kThreads, class S, int kDim, int kPad>
__device__ inline void cta_load_queries(SmemTile<S, kTileM, kDim, kPad> to, const QType* q, int q_stride,
                                        const Work& work) {
    cta_for_pieces<kThreads, kTileM, kDim / kCopy>([&](int row, int piece) {
        const int col = piece * kCopy;
        if (work.has(row) && col < kHead) {
            const long long at = static_cast<long long>(work.row_of(row)) * q_stride + work.head_of(row) * kHead;
            load_piece(to.at(row, col), q + at + col, 1.0f);
        } else {
            store_vec<kCopy>(to.at(row, col), Vec<S, kCopy>{});
        }
    });
}

constexpr int kThreads = kWarps * 32;
constexpr int kWarpRows = kTileM / kWarps;
constexpr int kDim = ceil_div(kHead, 8) * 8, kColumns = ceil_div(kHead, 32);
static_assert(kTileN == 32, "a lane has a key");

using QTile = SmemTile<float, kTileM, kDim, 0>;
// Rows an odd number of 16-byte pieces apart: lanes that read one piece of each row meet different banks.
using KeyTile = SmemTile<float, kTileN, kDim, 4>;
using ValueTile = SmemTile<float, kTileN, kDim, 0>;

// The score of this lane's key under each row of the warp.
__device__ inline void warp_scores(float (&s)[kWarpRows], QTile q, KeyTile k, int warp_row) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) s[r] = 0.0f;
    for (int d = 0; d < kDim; d += 4) {
        const Vec<float, 4> key = load_vec<4>(k.at(lane, d));
#pragma unroll
        for (int r = 0; r < kWarpRows; ++r) {
            const Vec<float, 4> query = load_vec<4>(q.at(warp_row + r, d));
#pragma unroll
            for (int i = 0; i < 4; ++i) s[r] = fmaf(query.at[i], key.at[i], s[r]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
attention_simt(const QType* q, int q_stride, const KType* k, int k_stride, const VType* v, int v_stride,
               const KCacheType* k_cache, long long k_cache_slot, int k_cache_rows, const VCacheType* v_cache,
               const float* k_scale, const float* v_scale, const int* page_table, OutType* out, int out_stride,
               const Segment* segments, float scale) {
    extern __shared__ __align__(128) unsigned char memory[];
    const Work work(segments);
    if (work.idle()) return;
    const int past = work.segment.past;
    const long long start = work.segment.start;
    const int kv_col = work.kv_head * kHead;
    const CacheMap map(page_table, k_cache_slot, k_cache_rows, work.segment.slot, work.kv_head);
    const Rows<KType, KCacheType> keys{k + start * k_stride + kv_col, k_stride, k_cache, k_scale};
    const Rows<VType, VCacheType> values{v + start * v_stride + kv_col, v_stride, v_cache, v_scale};
    const QTile q_tile(memory);
    const KeyTile k_tile(memory + QTile::bytes);
    const ValueTile v_tile(memory + QTile::bytes + KeyTile::bytes);
    cta_load_queries<kThreads>(q_tile, q, q_stride, work);

    const int warp_row = threadIdx.x / 32 * kWarpRows, lane = threadIdx.x % 32;
    const float scale2 = scale * 1.4426950408889634f;
    float sum[kWarpRows][kColumns] = {};
    OnlineSoftmax softmax[kWarpRows];
    for (int first = work.begin; first < work.end; first += kTileN) {
        cta_load_keys<kThreads>(k_tile, keys, map, first, past, work.end);
        cta_load_keys<kThreads>(v_tile, values, map, first, past, work.end);
        copy_commit();
        copy_wait<0>();
        __syncthreads();
        float p[kWarpRows];
        warp_scores(p, q_tile, k_tile, warp_row);
#pragma unroll
        for (int r = 0; r < kWarpRows; ++r) {
            const float score = visible(work.token_of(warp_row + r), first + lane) ? p[r] * scale2 : -infinity();
            const float factor = softmax[r].rise(lanes_max<32>(score));
            p[r] = softmax[r].weight(score);
            softmax[r].sum += p[r];
#pragma unroll
            for (int c = 0; c < kColumns; ++c) sum[r][c] *= factor;
        }
        for (int key = 0; key < kTileN; ++key) {
            float value[kColumns];
#pragma unroll
            for (int c = 0; c < kColumns; ++c) {
                const int col = 32 * c + lane;
                value[c] = col < kHead ? *v_tile.at(key, col) : 0.0f;
            }
#pragma unroll
            for (int r = 0; r < kWarpRows; ++r) {
                const float weight = __shfl_sync(0xffffffffu, p[r], key);
#pragma unroll
                for (int c = 0; c < kColumns; ++c) sum[r][c] = fmaf(weight, value[c], sum[r][c]);
            }
        }
        __syncthreads();  // before the next tile takes the place of this one
    }
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) {
        const int row = warp_row + r;
        const float total = lanes_sum<32>(softmax[r].sum);
        if (!work.has(row)) continue;
        OutType* to = out + static_cast<long long>(work.row_of(row)) * out_stride + work.head_of(row) * kHead;
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
            const int col = 32 * c + lane;
            if (col < kHead) to[col] = from_float<OutType>(sum[r][c] / total);
        }
    }
}
