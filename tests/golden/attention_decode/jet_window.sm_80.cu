// attention_decode[align=8 d_head=128 heads=12 kv_heads=2 window=1152] bf16 | mma | sm_80 | codegen 1
// again: jet emit 'attention_decode[align=8 d_head=128 heads=12 kv_heads=2 window=1152] bf16' --arch sm_80 --schedule 'form=1 least=256 splits=2 stages=2 tile_n=16 warps=4'
constexpr int kLeast = 256;
constexpr int kSplits = 2;
constexpr int kStages = 2;
constexpr int kTileN = 16;
constexpr int kWarps = 4;
constexpr int kHeads = 12;
constexpr int kKvHeads = 2;
constexpr int kHead = 128;
constexpr int kWindow = 1152;
constexpr int kPage = 0;
constexpr int kAlign = 8;
constexpr int kRows = 6;
constexpr int kDim = 128;
constexpr int kCopy = 8;

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

constexpr bool kNarrow = sizeof(KCacheType) == 1;
// Columns that one ldmatrix brings of a row.
constexpr int kUnit = kNarrow ? 32 : 16;
// Of the 16 rows of a product only the first eight are in use with few heads.
constexpr int kHalves = kRows > 8 ? 2 : 1;
static_assert(kDim % kUnit == 0 && kDim >= kHead, "a row is whole products");
static_assert(kRows <= 16, "the heads of a CTA fit the rows of one product");

// What the products are made of: fp8 becomes f16, which has room for all its digits.
template <bool kWide>
struct kMain { using Type = QType; };
template <>
struct kMain<false> { using Type = f16; };
using MainType = typename kMain<!kNarrow>::Type;

using KeyTile = SmemTile<KCacheType, kTileN, kDim>;
using QTile = SmemTile<MainType, 16, kDim>;
// One stage of a warp's ring.
struct Stage {
    KeyTile k, v;
    float* k_scale;
    float* v_scale;
    static constexpr int bytes = 2 * KeyTile::bytes + (kNarrow ? 8 * kTileN : 0);
    __device__ explicit Stage(unsigned char* at)
        : k(at),
          v(at + KeyTile::bytes),
          k_scale(reinterpret_cast<float*>(at + 2 * KeyTile::bytes)),
          v_scale(k_scale + kTileN) {}
};
static_assert(QTile::bytes <= Stage::bytes, "the queries fit where a stage of keys comes later");

// Keys and values of one head of one sequence.
struct Cache {
    CacheMap map;
    const KCacheType* k;
    const KCacheType* v;
    const float* k_scale;
    const float* v_scale;
};

// The warp begins to load a tile of which the first `left` keys are there; the others become zero. Whole tiles that the
// ring does not cut are one run of memory.
__device__ inline void warp_load_keys(const Stage& to, const Cache& cache, CachePlace place, int left) {
    constexpr int kPieces = kDim / kCopy, kBytes = kCopy * sizeof(KCacheType);
    const int lane = threadIdx.x % 32;
    if (kDim == kHead && left >= kTileN && place.place + kTileN <= cache.map.rows) {
        const long long from = cache.map.element(place, 0) + lane * kCopy;
        const KCacheType* k = cache.k + from;
        const VCacheType* v = cache.v + from;
#pragma unroll
        for (int i = 0; i < kTileN * kPieces / 32; ++i) {
            const int piece = 32 * i + lane;
            copy_async<kBytes>(to.k.at(piece / kPieces, piece % kPieces * kCopy), k + 32 * kCopy * i, kBytes);
            copy_async<kBytes>(to.v.at(piece / kPieces, piece % kPieces * kCopy), v + 32 * kCopy * i, kBytes);
        }
    } else {
#pragma unroll 1
        for (int piece = lane; piece < kTileN * kPieces; piece += 32) {
            const int row = piece / kPieces, col = piece % kPieces * kCopy;
            const bool there = row < left && col < kHead;
            const long long from = there ? cache.map.element(place, row) + col : 0;
            copy_async<kBytes>(to.k.at(row, col), cache.k + from, there ? kBytes : 0);
            copy_async<kBytes>(to.v.at(row, col), cache.v + from, there ? kBytes : 0);
        }
    }
    if constexpr (kNarrow) {
        if (lane < kTileN) {
            const long long from = lane < left ? cache.map.scale(place, lane) : 0;
            copy_async<4>(to.k_scale + lane, cache.k_scale + from, lane < left ? 4 : 0);
            copy_async<4>(to.v_scale + lane, cache.v_scale + from, lane < left ? 4 : 0);
        }
    }
}

// Four fp8 values as f16: bytes 0 and 2 in one register, 1 and 3 in the other. Seven bits moved under the exponent are
// the value over 2^8, subnormals included, and kWiden makes that good later; newer architectures convert.
#if __CUDA_ARCH__ >= 890
constexpr float kWiden = 1.0f;
#else
constexpr float kWiden = 256.0f;
#endif
struct Wide { unsigned even, odd; };
__device__ inline Wide widen_bytes(unsigned bytes) {
#if __CUDA_ARCH__ >= 890
    const unsigned sorted = __byte_perm(bytes, 0, 0x3120);
    Wide wide;
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(wide.even) : "h"(static_cast<unsigned short>(sorted)));
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(wide.odd) : "h"(static_cast<unsigned short>(sorted >> 16)));
    return wide;
#else
    return {(bytes << 8 & 0x80008000u) | (bytes << 7 & 0x3f803f80u), (bytes & 0x80008000u) | (bytes >> 1 & 0x3f803f80u)};
#endif
}

// Rows beyond the group's heads, and columns beyond the head, become zero.
__device__ inline void cta_load_queries(QTile to, const QType* q, int heads) {
    constexpr int kVec = kAlign >= 8 ? 8 : kAlign;
    for (int piece = threadIdx.x; piece < 16 * (kDim / kVec); piece += kThreads) {
        const int row = piece / (kDim / kVec), col = piece % (kDim / kVec) * kVec;
        float x[kVec] = {};
        if (row < heads && col < kHead) load_floats(x, q + row * kHead + col);
        store_floats(to.at(row, col), x);
    }
}

// The group's queries as left operands. With fp8 keys, whose fragments hold four neighbouring elements of a row, the
// order of the elements within 16 follows the keys'.
struct Queries {
    unsigned at[kDim / 16][4];
    __device__ explicit Queries(QTile q) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int d = 0; d < kDim / 16; ++d) {
            if constexpr (kNarrow) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const auto four = load_vec<4>(q.at(lane / 4 + 8 * half, 16 * d + lane % 4 * 4));
                    at[d][half] = four.at[0].bits | four.at[2].bits << 16;
                    at[d][half + 2] = four.at[1].bits | four.at[3].bits << 16;
                }
            } else {
                warp_load_a(at[d], q.at(0, 16 * d), QTile::stride);
            }
        }
    }
};

struct Sums {
    float at[kDim / 8][4] = {};
    OnlineSoftmax softmax[2];
};

// Column of element `i` of the j-th 8-column product: fp8 values come as pairs of columns, even ones in one product, odd
// ones in the next.
__device__ inline int sum_column(int j, int i) {
    const int lane = threadIdx.x % 32;
    return kNarrow ? j / 2 * 16 + lane % 4 * 4 + 2 * i + j % 2 : 8 * j + lane % 4 * 2 + i;
}

__device__ inline void warp_scores(float (&s)[kTileN / 8][4], const Queries& q, const Stage& stage) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < kTileN / 16; ++n) {
        unsigned b[4];
        if constexpr (kNarrow) {
#pragma unroll
            for (int d = 0; d < kDim / 32; ++d) {
                warp_load_matrix(b, stage.k.at(16 * n + lane / 16 * 8 + lane % 8, 32 * d + lane / 8 % 2 * 16));
#pragma unroll
                for (int half = 0; half < 2; ++half) {
#pragma unroll
                    for (int step = 0; step < 2; ++step) {
                        const Wide k = widen_bytes(b[2 * half + step]);
                        warp_mma<MainType>(s[2 * n + half], q.at[2 * d + step], k.even, k.odd);
                    }
                }
            }
        } else {
#pragma unroll
            for (int d = 0; d < kDim / 16; ++d) {
                warp_load_b(b, stage.k.at(16 * n, 16 * d), KeyTile::stride);
                warp_mma<MainType>(s[2 * n], q.at[d], b[0], b[1]);
                warp_mma<MainType>(s[2 * n + 1], q.at[d], b[2], b[3]);
            }
        }
    }
}

// Weights times the largest value of their row stay in the range of f16; the results are over this.
constexpr float kLargest = 448.0f;

// Scores of the first `left` keys become weights, the others zero, and the sums so far follow. `scale` is in base 2.
__device__ inline void warp_softmax(float (&s)[kTileN / 8][4], Sums& sum, const Stage& stage, int left, float scale) {
    const int lane = threadIdx.x % 32;
    if constexpr (kNarrow) {
#pragma unroll
        for (int n = 0; n < kTileN / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 2 * kHalves; ++i) s[n][i] *= stage.k_scale[8 * n + lane % 4 * 2 + i % 2] * kWiden;
        }
    }
    if (left < kTileN) {
#pragma unroll
        for (int n = 0; n < kTileN / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 2 * kHalves; ++i) {
                if (8 * n + lane % 4 * 2 + i % 2 >= left) s[n][i] = -infinity();
            }
        }
    }
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
        OnlineSoftmax& row = sum.softmax[half];
        float top = -infinity();
#pragma unroll
        for (int n = 0; n < kTileN / 8; ++n) top = fmaxf(top, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
        const float factor = row.rise(lanes_max<4>(top) * scale);
        const float base = row.base();
#pragma unroll
        for (int n = 0; n < kTileN / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                float& x = s[n][2 * half + i];
                x = exp2_fast(fmaf(x, scale, -base));
                row.sum += x;
            }
        }
        if (__any_sync(0xffffffffu, factor != 1.0f)) {
#pragma unroll
            for (int d = 0; d < kDim / 8; ++d) {
                sum.at[d][2 * half] *= factor;
                sum.at[d][2 * half + 1] *= factor;
            }
        }
    }
    if constexpr (kNarrow) {
#pragma unroll
        for (int n = 0; n < kTileN / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 2 * kHalves; ++i) s[n][i] *= stage.v_scale[8 * n + lane % 4 * 2 + i % 2] * kLargest;
        }
    }
}

__device__ inline void warp_values(Sums& sum, const float (&p)[kTileN / 8][4], const Stage& stage) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < kTileN / 16; ++n) {
        unsigned a[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const float(&from)[4] = p[2 * n + i / 2];
            a[i] = i % 2 < kHalves ? pack2<MainType>(from[i % 2 * 2], from[i % 2 * 2 + 1]) : 0;
        }
#pragma unroll
        for (int d = 0; d < kDim / kUnit; ++d) {
            unsigned b[4];
            if constexpr (kNarrow) {
                warp_load_matrix_transposed(b, stage.v.at(16 * n + lane % 16, 32 * d + lane / 16 * 16));
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const Wide low = widen_bytes(b[2 * half]), high = widen_bytes(b[2 * half + 1]);
                    warp_mma<MainType>(sum.at[4 * d + 2 * half], a, low.even, high.even);
                    warp_mma<MainType>(sum.at[4 * d + 2 * half + 1], a, low.odd, high.odd);
                }
            } else {
                warp_load_b_transposed(b, stage.v.at(16 * n, 16 * d), KeyTile::stride);
                warp_mma<MainType>(sum.at[2 * d], a, b[0], b[1]);
                warp_mma<MainType>(sum.at[2 * d + 1], a, b[2], b[3]);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
attention_decode_mma(const QType* q, int q_stride, const KCacheType* k_cache, long long k_cache_slot, int k_cache_rows,
                     const VCacheType* v_cache, const float* k_scale, const float* v_scale, const int* page_table,
                     OutType* out, int out_stride, float* partial, float* partial_log, const Segment* segments,
                     int longest_total, float scale) {
    extern __shared__ __align__(128) unsigned char memory[];
    const Split split(segments, longest_total);
    if (split.idle()) return;
    const CacheMap map(page_table, k_cache_slot, k_cache_rows, split.segment.slot, split.kv_head);
    const Cache cache{map, k_cache, v_cache, k_scale, v_scale};
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int tiles = ceil_div(split.end - split.begin, kTileN);
    const int own = max(tiles - warp + kWarps - 1, 0) / kWarps;
    unsigned char* ring = memory + warp * kStages * Stage::bytes;

    // Load: where the next tile lies is looked up while this one is under way.
    const auto first_of = [&](int i) { return split.begin + (warp + i * kWarps) * kTileN; };
    CachePlace place = own > 0 ? map.find(first_of(0)) : CachePlace{0, 0};
    const auto warp_load = [&](int i) {
        if (i < own) {
            warp_load_keys(Stage(ring + i % kStages * Stage::bytes), cache, place, split.end - first_of(i));
            if (i + 1 < own) place = map.find(first_of(i + 1));
        }
        copy_commit();
    };
#pragma unroll
    for (int i = 0; i < kStages - 1; ++i) warp_load(i);
    // The queries pass through the place of the first warp's last stage, which is filled once all have read them.
    const QTile q_tile(memory + (kStages - 1) * Stage::bytes);
    cta_load_queries(q_tile, q + split.row() * q_stride + split.head * kHead, split.heads);
    __syncthreads();
    const Queries queries(q_tile);
    __syncthreads();

    // Compute: each tile frees the stage of the tile before for the copies of a later one.
    const float scale2 = scale * 1.4426950408889634f;
    Sums sum;
    for (int i = 0; i < own; ++i) {
        copy_wait<kStages - 2>();
        __syncwarp();
        warp_load(i + kStages - 1);
        const Stage stage(ring + i % kStages * Stage::bytes);
        float s[kTileN / 8][4] = {};
        warp_scores(s, queries, stage);
        warp_softmax(s, sum, stage, split.end - first_of(i), scale2);
        warp_values(sum, s, stage);
    }

    // Merge, in place of the rings.
    copy_wait<0>();
    __syncthreads();
    const Merge merge(memory);
    const float unit = kNarrow ? kWiden / kLargest : 1.0f;
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
        const int row = lane / 4 + 8 * half;
        const float total = lanes_sum<4>(sum.softmax[half].sum);
        if (row >= kRows) continue;
#pragma unroll
        for (int d = 0; d < kDim / 8; ++d) {
#pragma unroll
            for (int i = 0; i < 2; ++i) merge.row(warp, row)[sum_column(d, i)] = sum.at[d][2 * half + i] * unit;
        }
        if (lane % 4 == 0) {
            merge.tops[warp * kRows + row] = sum.softmax[half].max;
            merge.totals[warp * kRows + row] = total;
        }
    }
    __syncthreads();
    cta_merge(merge, split, partial, partial_log, out, out_stride);
}
