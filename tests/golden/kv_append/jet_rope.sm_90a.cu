// kv_append[align=8 d_head=128 kv_heads=2 rope=1] bf16 | teams | sm_90a | codegen 1
// again: jet emit 'kv_append[align=8 d_head=128 kv_heads=2 rope=1] bf16' --arch sm_90a --schedule 'team=8 threads=128 vec=8'
constexpr int kTeam = 8;
constexpr int kThreads = 128;
constexpr int kVec = 8;
constexpr int kKvHeads = 2;
constexpr int kHead = 128;
constexpr int kPage = 0;
constexpr bool kRope = true;

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
template <int kLanes>
__device__ inline float lanes_max(float x) {
    static_assert(kLanes >= 1 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0, "a group of lanes is a power of two");
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}


// ---- kv cache ----
using KType = bf16;
using VType = bf16;
using KCacheType = bf16;
using VCacheType = bf16;

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

// A head is one part, or with a rotation two halves whose elements pair up; a lane has the same columns of each.
constexpr int kParts = kRope ? 2 : 1;
constexpr int kPart = kHead / kParts;
constexpr int kVectors = ceil_div(kPart, kTeam * kVec);
static_assert(kHead % kParts == 0 && kPart % kVec == 0, "a part of a head is whole vectors");
struct Row { float at[kParts][kVectors][kVec] = {}; };

// First column, in a part, of vector `v` of this lane.
__device__ inline int column(int v) { return (v * kTeam + static_cast<int>(threadIdx.x) % kTeam) * kVec; }

// Turns a key by its position. A frequency is the part of a turn that one token adds, in units of 2^-64, so that the
// product wraps round exactly.
__device__ inline void lane_turn(Row& x, unsigned long long position, const unsigned long long* frequencies) {
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
            if (column(v) >= kPart) continue;
            const long long turn = static_cast<long long>(position * frequencies[column(v) + i]);
            float sine, cosine;
            sincospif(static_cast<float>(turn) * 1.0842021724855044e-19f, &sine, &cosine);  // 2^-63 turns, in halves
            const float first = x.at[0][v][i], second = x.at[kParts - 1][v][i];
            x.at[0][v][i] = first * cosine - second * sine;
            x.at[kParts - 1][v][i] = second * cosine + first * sine;
        }
    }
}

// Rounds and stores; a row of fp8 has a scale that takes its largest value to the format's largest.
template <class T>
__device__ inline void team_store(T* to, float* scale, Row& x) {
    if constexpr (sizeof(T) == 1) {
        float largest = 0.0f;
#pragma unroll
        for (int p = 0; p < kParts; ++p) {
#pragma unroll
            for (int v = 0; v < kVectors; ++v) {
#pragma unroll
                for (int i = 0; i < kVec; ++i) largest = fmaxf(largest, fabsf(x.at[p][v][i]));
            }
        }
        largest = lanes_max<kTeam>(largest);
        const float factor = largest > 0.0f ? 448.0f / largest : 0.0f;
        if (threadIdx.x % kTeam == 0 && scale != nullptr) *scale = largest * (1.0f / 448.0f);
#pragma unroll
        for (int p = 0; p < kParts; ++p) {
#pragma unroll
            for (int v = 0; v < kVectors; ++v) {
#pragma unroll
                for (int i = 0; i < kVec; ++i) x.at[p][v][i] *= factor;
            }
        }
    }
    if (to == nullptr) return;
#pragma unroll
    for (int p = 0; p < kParts; ++p) {
#pragma unroll
        for (int v = 0; v < kVectors; ++v) {
            if (column(v) < kPart) store_floats(to + p * kPart + column(v), x.at[p][v]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
kv_append(const KType* k, int k_stride, const VType* v, int v_stride, KCacheType* k_cache, long long k_cache_slot,
          int k_cache_rows, VCacheType* v_cache, float* k_scale, float* v_scale, const int* page_table,
          const unsigned long long* frequencies, const int* positions, const int* row_segments,
          const Segment* segments, int rows) {
    const int token = blockIdx.x * (kThreads / kTeam) + threadIdx.x / kTeam;
    const int head = blockIdx.y;
    const bool values = blockIdx.z == 1;
    // Lanes of a team that has no token, or whose token later ones of this run overwrite, are needed for the sums.
    bool there = token < rows;
    const Segment segment = segments[there ? row_segments[token] : 0];
    const int ahead = token - segment.start;
    if constexpr (kPage == 0) there = there && segment.len - ahead <= k_cache_rows;

    Row x;
    if (there) {
#pragma unroll
        for (int p = 0; p < kParts; ++p) {
#pragma unroll
            for (int i = 0; i < kVectors; ++i) {
                if (column(i) >= kPart) continue;
                const long long col = head * kHead + p * kPart + column(i);
                if (values) {
                    load_floats(x.at[p][i], v + static_cast<long long>(token) * v_stride + col);
                } else {
                    load_floats(x.at[p][i], k + static_cast<long long>(token) * k_stride + col);
                }
            }
        }
        if constexpr (kRope) {
            if (!values) lane_turn(x, positions[token], frequencies);
        }
    }
    long long element = 0, scale = 0;
    if (there) {
        const CacheMap map(page_table, k_cache_slot, k_cache_rows, segment.slot, head);
        const CachePlace place = map.find(segment.past + ahead);
        element = map.element(place, 0);
        scale = map.scale(place, 0);
    }
    if (values) {
        team_store(there ? v_cache + element : nullptr, there ? v_scale + scale : nullptr, x);
    } else {
        team_store(there ? k_cache + element : nullptr, there ? k_scale + scale : nullptr, x);
    }
}
