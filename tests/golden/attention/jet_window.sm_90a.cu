// attention[align=8 d_head=128 heads=12 kv_heads=2 window=1152] bf16 | mma | sm_90a | codegen 1
// again: jet emit 'attention[align=8 d_head=128 heads=12 kv_heads=2 window=1152] bf16' --arch sm_90a --schedule 'form=1 pack=1 stages=2 tile_m=128 tile_n=32 warps=4'
constexpr int kPack = 1;
constexpr int kStages = 2;
constexpr int kTileM = 128;
constexpr int kTileN = 32;
constexpr int kWarps = 4;
constexpr int kHeads = 12;
constexpr int kKvHeads = 2;
constexpr int kHead = 128;
constexpr int kWindow = 1152;
constexpr int kPage = 0;
constexpr int kCopy = 8;
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

struct bf16 { unsigned short bits; };
__device__ inline float to_float(bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
template <>
__device__ inline bf16 from_float<bf16>(float x) {
    bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

struct f16 { unsigned short bits; };
__device__ inline float to_float(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}
template <>
__device__ inline f16 from_float<f16>(float x) {
    f16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

// Two floats rounded into one register, the first in the lower half.
template <class T>
__device__ unsigned pack2(float low, float high);
template <>
__device__ inline unsigned pack2<bf16>(float low, float high) {
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}
template <>
__device__ inline unsigned pack2<f16>(float low, float high) {
    unsigned both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}


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

// One instruction, two units in the last place; the argument is a base-2 logarithm.
__device__ inline float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
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


// ---- matrix ----
// Four 8x8 tiles of 16-bit values: lane l gives the address of row l % 8 of tile l / 8. Lane (g, t) = (lane / 4,
// lane % 4) gets row g, elements 2t and 2t + 1 of tile i in out[i].
__device__ inline void warp_load_matrix(unsigned (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(smem_address(row))
                 : "memory");
}

// The same of the transposed tiles.
__device__ inline void warp_load_matrix_transposed(unsigned (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(smem_address(row))
                 : "memory");
}

// The 16x16 left operand of a warp's matrix product, from row-major shared memory: `tile` is its first element.
template <class T>
__device__ inline void warp_load_a(unsigned (&out)[4], const T* tile, int stride) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix(out, tile + lane % 16 * stride + lane / 16 * 8);
}

// Two right operands, 16 (k) x 8 (n) each, of 16 neighbouring columns n, from shared memory with one row per n: the
// first in out[0], out[1], the second in out[2], out[3].
template <class T>
__device__ inline void warp_load_b(unsigned (&out)[4], const T* tile, int stride) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix(out, tile + (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8);
}

// The same from shared memory with one row per k.
template <class T>
__device__ inline void warp_load_b_transposed(unsigned (&out)[4], const T* tile, int stride) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix_transposed(out, tile + lane % 16 * stride + lane / 16 * 8);
}


// ---- mma ----
// 16 x 8 x 16 of 16-bit values.
template <class T>
__device__ void warp_mma(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);
template <>
__device__ inline void warp_mma<bf16>(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ inline void warp_mma<f16>(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
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
using QType = bf16;
using KType = bf16;
using VType = bf16;
using KCacheType = bf16;
using VCacheType = bf16;
using OutType = bf16;

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
constexpr int kWarpRows = kTileM / kWarps, kRowTiles = kWarpRows / 16;
constexpr int kDim = ceil_div(kHead, 16) * 16;
static_assert(kWarpRows % 16 == 0 && kTileN % 16 == 0, "a warp has whole 16 x 16 products");

using QTile = SmemTile<QType, kTileM, kDim>;
using KeyTile = SmemTile<QType, kTileN, kDim>;
// One stage of the ring.
struct Stage {
    KeyTile k, v;
    static constexpr int bytes = 2 * KeyTile::bytes;
    __device__ explicit Stage(unsigned char* at) : k(at), v(at + KeyTile::bytes) {}
};

// Queries of one 16-row tile stay in registers; their place in shared memory is then the last stage, which is filled
// when they are read.
constexpr bool kQueryInRegisters = kRowTiles == 1 && kDim <= 128;
constexpr int kQueryAt = kQueryInRegisters && QTile::bytes <= Stage::bytes ? (kStages - 1) * Stage::bytes
                                                                           : kStages * Stage::bytes;

// The queries of a warp as left operands.
struct Queries {
    unsigned held[kQueryInRegisters ? kDim / 16 : 1][4];
    QTile tile;
    int row;
    __device__ Queries(QTile queries, int warp_row) : tile(queries), row(warp_row) {}
    __device__ void hold() {
        if constexpr (kQueryInRegisters) {
#pragma unroll
            for (int d = 0; d < kDim / 16; ++d) warp_load_a(held[d], tile.at(row, 16 * d), QTile::stride);
        }
    }
    __device__ void get(unsigned (&a)[4], int m, int d) const {
        if constexpr (kQueryInRegisters) {
#pragma unroll
            for (int i = 0; i < 4; ++i) a[i] = held[d][i];
        } else {
            warp_load_a(a, tile.at(row + 16 * m, 16 * d), QTile::stride);
        }
    }
};

// Rows g and g + 8 of each 16-row tile; the columns of a lane are pairs, see warp_mma.
struct Scores { float at[kRowTiles][kTileN / 8][4]; };
struct Sums {
    float at[kRowTiles][kDim / 8][4] = {};
    OnlineSoftmax softmax[kRowTiles][2];
};

__device__ inline void warp_scores(Scores& s, const Queries& q, const KeyTile& k) {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int n = 0; n < kTileN / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) s.at[m][n][i] = 0.0f;
        }
    }
#pragma unroll
    for (int d = 0; d < kDim / 16; ++d) {
        unsigned a[kRowTiles][4];
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) q.get(a[m], m, d);
#pragma unroll
        for (int n = 0; n < kTileN / 16; ++n) {
            unsigned b[4];
            warp_load_b(b, k.at(16 * n, 16 * d), KeyTile::stride);
#pragma unroll
            for (int m = 0; m < kRowTiles; ++m) {
                warp_mma<QType>(s.at[m][2 * n], a[m], b[0], b[1]);
                warp_mma<QType>(s.at[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

// Scores of keys that a row does not see become minus infinity.
__device__ inline void warp_mask(Scores& s, const Work& work, int warp_row, int first_key) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int token = work.token_of(warp_row + 16 * m + 8 * half + lane / 4);
#pragma unroll
            for (int n = 0; n < kTileN / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    const int key = first_key + 8 * n + lane % 4 * 2 + i;
                    if (!visible(token, key)) s.at[m][n][2 * half + i] = -infinity();
                }
            }
        }
    }
}

// Scores become weights under the rows' new maxima, and the sums so far follow where a maximum rose, which is seldom
// after the first tiles. `scale` is in base 2.
__device__ inline void warp_softmax(Scores& s, Sums& sum, float scale) {
    float factor[kRowTiles][2];
    bool rose = false;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            OnlineSoftmax& row = sum.softmax[m][half];
            float top = -infinity();
#pragma unroll
            for (int n = 0; n < kTileN / 8; ++n) {
                top = fmaxf(top, fmaxf(s.at[m][n][2 * half], s.at[m][n][2 * half + 1]));
            }
            factor[m][half] = row.rise(lanes_max<4>(top) * scale);
            rose = rose || factor[m][half] != 1.0f;
            const float base = row.base();
#pragma unroll
            for (int n = 0; n < kTileN / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float& x = s.at[m][n][2 * half + i];
                    x = exp2_fast(fmaf(x, scale, -base));
                    row.sum += x;
                }
            }
        }
    }
    if (!__any_sync(0xffffffffu, rose)) return;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int d = 0; d < kDim / 8; ++d) {
#pragma unroll
            for (int i = 0; i < 4; ++i) sum.at[m][d][i] *= factor[m][i / 2];
        }
    }
}

__device__ inline void warp_values(Sums& sum, const Scores& p, const KeyTile& v) {
#pragma unroll
    for (int k = 0; k < kTileN / 16; ++k) {
        unsigned a[kRowTiles][4];
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
            const auto& s = p.at[m];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                a[m][i] = pack2<QType>(s[2 * k + i / 2][i % 2 * 2], s[2 * k + i / 2][i % 2 * 2 + 1]);
            }
        }
#pragma unroll
        for (int d = 0; d < kDim / 16; ++d) {
            unsigned b[4];
            warp_load_b_transposed(b, v.at(16 * k, 16 * d), KeyTile::stride);
#pragma unroll
            for (int m = 0; m < kRowTiles; ++m) {
                warp_mma<QType>(sum.at[m][2 * d], a[m], b[0], b[1]);
                warp_mma<QType>(sum.at[m][2 * d + 1], a[m], b[2], b[3]);
            }
        }
    }
}

// Divides and stores the warp's rows. 16-bit results go by way of the warp's own part of shared memory, so that whole
// pieces are written; pairs of floats fill a sector as they are.
__device__ inline void warp_store(const Sums& sum, QTile staging, const Work& work, int warp_row, OutType* out,
                                  int out_stride) {
    const int lane = threadIdx.x % 32;
    const auto place = [&](int row, int col) {
        return out + static_cast<long long>(work.row_of(row)) * out_stride + work.head_of(row) * kHead + col;
    };
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int row = warp_row + 16 * m + 8 * half + lane / 4;
            const float total = lanes_sum<4>(sum.softmax[m][half].sum);
            const float factor = total > 0.0f ? 1.0f / total : 0.0f;
#pragma unroll
            for (int d = 0; d < kDim / 8; ++d) {
                const int col = 8 * d + lane % 4 * 2;
                const float pair[2] = {sum.at[m][d][2 * half] * factor, sum.at[m][d][2 * half + 1] * factor};
                if constexpr (kSame<OutType, float>) {
                    if (work.has(row) && col < kHead) store_floats(place(row, col), pair);
                } else {
                    *reinterpret_cast<unsigned*>(staging.at(row, col)) = pack2<OutType>(pair[0], pair[1]);
                }
            }
        }
    }
    if constexpr (!kSame<OutType, float>) {
        __syncwarp();
        constexpr int kPieces = kHead / kCopy;
#pragma unroll
        for (int piece = lane; piece < kWarpRows * kPieces; piece += 32) {
            const int row = warp_row + piece / kPieces, col = piece % kPieces * kCopy;
            if (!work.has(row)) continue;
            store_vec<kCopy>(reinterpret_cast<QType*>(place(row, col)), load_vec<kCopy>(staging.at(row, col)));
        }
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
attention_mma(const QType* q, int q_stride, const QType* k, int k_stride, const QType* v, int v_stride,
              const KCacheType* k_cache, long long k_cache_slot, int k_cache_rows, const VCacheType* v_cache,
              const float* k_scale, const float* v_scale, const int* page_table, OutType* out, int out_stride,
              const Segment* segments, float scale) {
    extern __shared__ __align__(128) unsigned char memory[];
    const Work work(segments);
    if (work.idle()) return;
    const int past = work.segment.past, tiles = ceil_div(work.end - work.begin, kTileN);
    const long long start = work.segment.start;
    const int kv_col = work.kv_head * kHead;
    const CacheMap map(page_table, k_cache_slot, k_cache_rows, work.segment.slot, work.kv_head);
    const Rows<QType, KCacheType> keys{k + start * k_stride + kv_col, k_stride, k_cache, k_scale};
    const Rows<QType, VCacheType> values{v + start * v_stride + kv_col, v_stride, v_cache, v_scale};

    // Keys and values of a stage are groups of their own: the values may still be under way when the scores are made.
    const auto cta_load = [&](int tile) {
        const Stage stage(memory + tile % kStages * Stage::bytes);
        const int first = work.begin + tile * kTileN;
        if (tile < tiles) cta_load_keys<kThreads>(stage.k, keys, map, first, past, work.end);
        copy_commit();
        if (tile < tiles) cta_load_keys<kThreads>(stage.v, values, map, first, past, work.end);
        copy_commit();
    };

    const int warp_row = threadIdx.x / 32 * kWarpRows;
    Queries queries(QTile(memory + kQueryAt), warp_row);
    cta_load_queries<kThreads>(queries.tile, q, q_stride, work);
    copy_commit();
#pragma unroll
    for (int tile = 0; tile < kStages - 1; ++tile) cta_load(tile);
    copy_wait<2 * (kStages - 1)>();
    __syncthreads();
    queries.hold();

    // The tokens of this warp decide which tiles it needs, and which of them whole.
    const int oldest = work.token_of(warp_row), newest = min(work.token_of(warp_row + kWarpRows - 1), work.end - 1);
    const float scale2 = scale * 1.4426950408889634f;
    Sums sum;
    for (int tile = 0; tile < tiles; ++tile) {
        const int first = work.begin + tile * kTileN, last = first + kTileN - 1;
        const bool needed = oldest < work.end && first <= newest && (kWindow == 0 || last > oldest - kWindow);
        const Stage stage(memory + tile % kStages * Stage::bytes);
        Scores scores;
        copy_wait<2 * (kStages - 2) + 1>();
        __syncthreads();
        cta_load(tile + kStages - 1);
        if (needed) {
            warp_scores(scores, queries, stage.k);
            if (last > oldest || (kWindow > 0 && first <= newest - kWindow)) warp_mask(scores, work, warp_row, first);
            warp_softmax(scores, sum, scale2);
        }
        copy_wait<2 * (kStages - 1)>();
        __syncthreads();
        if (needed) warp_values(sum, scores, stage.v);
    }

    // The ring is free when all warps are through.
    copy_wait<0>();
    __syncthreads();
    warp_store(sum, QTile(memory), work, warp_row, out, out_stride);
}
