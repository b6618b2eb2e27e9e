// route[experts=512 n_group=1 normalise=1 top_k=22 topk_group=1] f32 | warps | sm_80 | codegen 1
// again: jet emit 'route[experts=512 n_group=1 normalise=1 top_k=22 topk_group=1] f32' --arch sm_80 --schedule 'threads=128'
constexpr int kThreads = 128;
constexpr int kExperts = 512;
constexpr int kTopK = 22;
constexpr int kNGroup = 1;
constexpr int kTopkGroup = 1;
constexpr bool kNormalise = true;

// ---- types ----
__host__ __device__ constexpr int ceil_div(int n, int per) { return (n + per - 1) / per; }

__device__ inline float to_float(float x) { return x; }


// ---- math ----
__device__ inline float infinity() { return __int_as_float(0x7f800000); }

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }


// ---- candidate ----
using LogitsType = float;

__device__ inline float not_a_number() { return __int_as_float(0x7fc00000); }

// The index of no candidate at all.
constexpr int kNone = 0x7fffffff;

// A value and where it stands; what is not a number is no candidate.
struct Candidate {
    float value = 0.0f;
    int index = kNone;
    __device__ void meet(float other, int other_index) {
        const bool better = index == kNone || other > value || (other == value && other_index < index);
        if (other_index != kNone && other == other && better) {
            value = other;
            index = other_index;
        }
    }
};

// The best of all lanes' candidates, in all lanes.
__device__ inline Candidate warp_best(Candidate own) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        const float value = __shfl_xor_sync(0xffffffffu, own.value, step);
        const int index = __shfl_xor_sync(0xffffffffu, own.index, step);
        own.meet(value, index);
    }
    return own;
}

constexpr int kHeld = ceil_div(kExperts, 32);  // experts of a lane: lane, lane + 32, ...
constexpr int kGroupSize = kExperts / kNGroup;
static_assert(kExperts % kNGroup == 0 && kNGroup <= 32, "every group of experts has a lane");
static_assert(kTopK <= 32, "every chosen expert has a lane");

// A token's scores and what the choice is made on, spread over the lanes.
struct Scores {
    float score[kHeld], choice[kHeld];

    __device__ static int expert(int i) { return threadIdx.x % 32 + 32 * i; }

    // The best expert left among first .. end.
    __device__ Candidate best(int first, int end) const {
        Candidate own;
#pragma unroll
        for (int i = 0; i < kHeld; ++i) {
            if (expert(i) >= first && expert(i) < end) own.meet(choice[i], expert(i));
        }
        return warp_best(own);
    }

    // Leaves the choice: not-a-number is never chosen.
    __device__ void take(int index) {
#pragma unroll
        for (int i = 0; i < kHeld; ++i) {
            if (expert(i) == index) choice[i] = not_a_number();
        }
    }

    // The score of an expert, in all lanes.
    __device__ float of(int index) const {
        float own = 0.0f;
#pragma unroll
        for (int i = 0; i < kHeld; ++i) {
            if (i == index / 32) own = score[i];
        }
        return __shfl_sync(0xffffffffu, own, index % 32);
    }
};

// Shuts all but the best groups out. A group is as good as its two best experts together.
__device__ inline void warp_keep_groups(Scores& token) {
    const int lane = threadIdx.x % 32;
    Candidate group;  // the one that this lane speaks for
    for (int n = 0; n < kNGroup; ++n) {
        const Candidate first = token.best(n * kGroupSize, (n + 1) * kGroupSize);
        Scores rest = token;
        rest.take(first.index);
        const Candidate second = rest.best(n * kGroupSize, (n + 1) * kGroupSize);
        const float none = -infinity();
        const float best = first.index == kNone ? none : first.value;
        const float next = second.index == kNone ? none : second.value;
        if (lane == n) group.meet(kGroupSize > 1 ? best + next : best, n);
    }
    unsigned kept = 0;
    for (int n = 0; n < kTopkGroup; ++n) {
        const Candidate best = warp_best(group);
        if (best.index == kNone) break;
        kept |= 1u << best.index;
        if (lane == best.index) group = Candidate{};
    }
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
        if (!(kept >> min(Scores::expert(i) / kGroupSize, 31) & 1)) token.choice[i] = -infinity();
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
route_rows(const LogitsType* logits, int logits_stride, const float* bias, float* ids, int ids_stride, float* gates,
           int gates_stride, int rows, float scale) {
    const int lane = threadIdx.x % 32;
    const long long row = blockIdx.x * (kThreads / 32) + threadIdx.x / 32;
    if (row >= rows) return;
    Scores token;
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
        const int e = Scores::expert(i);
        token.score[i] = e < kExperts ? sigmoid(to_float(logits[row * logits_stride + e])) : 0.0f;
        token.choice[i] = e < kExperts ? token.score[i] + bias[e] : not_a_number();
    }
    if constexpr (kNGroup > 1) warp_keep_groups(token);
    int own = 0;
    float gate = 0.0f, sum = 0.0f;
    for (int n = 0; n < kTopK; ++n) {
        const Candidate best = token.best(0, kExperts);
        const int expert = best.index == kNone ? 0 : best.index;
        const float score = token.of(expert);
        token.take(expert);
        if (lane == n) {
            own = expert;
            gate = score;
        }
        sum += score;
    }
    if (lane < kTopK) {
        const float divisor = kNormalise ? sum + 1e-20f : 1.0f;
        ids[row * ids_stride + lane] = static_cast<float>(own);
        gates[row * gates_stride + lane] = gate / divisor * scale;
    }
}
