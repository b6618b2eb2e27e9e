The new keys and values of a batch into the KV caches. A team of kTeam lanes has one head of one token: it turns the key
by the token's position (kRope), finds the scale of a row that becomes fp8, rounds, and stores. Keys and values take turns
along the grid.

//@ kPart kParts kVectors Row
// A head is one part, or with a rotation two halves whose elements pair up; a lane has the same columns of each.
constexpr int kParts = kRope ? 2 : 1;
constexpr int kPart = kHead / kParts;
constexpr int kVectors = ceil_div(kPart, kTeam * kVec);
static_assert(kHead % kParts == 0 && kPart % kVec == 0, "a part of a head is whole vectors");
struct Row { float at[kParts][kVectors][kVec] = {}; };

//@ column
// First column, in a part, of vector `v` of this lane.
__device__ inline int column(int v) { return (v * kTeam + static_cast<int>(threadIdx.x) % kTeam) * kVec; }

//@ lane_turn
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

//@ team_store
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

//@ kv_append
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
