A tile of a sequence's queries and the keys that it sees. A CTA has kTileTokens tokens, each with kPacked neighbouring
query heads of one KV head: row r of its tile is head r % kPacked of token r / kPacked, so that the heads of a group share
the keys and values that are loaded. New keys come from the activations, older ones from the cache, which the run's own
tokens enter later: a ring of exactly the window has room for them only then.

//@ kGroup kPacked kTileTokens
constexpr int kGroup = kHeads / kKvHeads;
constexpr int kPacked = kPack ? kGroup : 1;
constexpr int kTileTokens = kTileM / kPacked;
static_assert(kTileTokens > 0, "a tile has a whole token");

//@ Work
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

//@ visible
// Whether the query at `token` sees the key.
__device__ inline bool visible(int token, int key) { return key <= token && (kWindow == 0 || key > token - kWindow); }

//@ Rows
// One head's keys or values of a sequence: new ones among the activations, old ones in the cache.
template <class T, class C>
struct Rows {
    const T* fresh;  // of the segment's first token
    long long stride;
    const C* cache;
    const float* scales;
};

//@ load_piece
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

//@ cta_for_pieces
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

//@ cta_load_keys
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

//@ cta_load_queries
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
