// ssd[align=8 d_head=80 d_state=128 groups=8 heads=128 step=1] bf16 | step | sm_90a | codegen 1
// again: jet emit 'ssd[align=8 d_head=80 d_state=128 groups=8 heads=128 step=1] bf16' --arch sm_90a --schedule 'chunk=32 form=0 lanes=8 rows=1 split=1 stages=1 warps=4'
constexpr int kChunk = 32;
constexpr int kLanes = 8;
constexpr int kRows = 1;
constexpr int kSplit = 1;
constexpr int kStages = 1;
constexpr int kWarps = 4;
constexpr int kHeads = 128;
constexpr int kDHead = 80;
constexpr int kGroups = 8;
constexpr int kDState = 128;
constexpr int kVec = 4;

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


// ---- math ----
// ln(1 + e^x): the exponential cannot overflow, and small results keep their digits.
__device__ inline float softplus(float x) { return x > 0.0f ? x + log1pf(expf(-x)) : log1pf(expf(x)); }


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


// ---- ssd decay ----
using XType = bf16;
using BType = bf16;
using CType = bf16;
using DtType = bf16;
using OutType = bf16;

// The step: softplus of the raw value and its bias, held between the limits. Not-a-number stays not-a-number.
__device__ inline float delta_of(float raw, float bias, float dt_min, float dt_max) {
    const float delta = softplus(raw + bias);
    return delta < dt_min ? dt_min : delta > dt_max ? dt_max : delta;
}

// What a step of 1 adds to the base-2 logarithm of the state.
__device__ inline float decay_rate(float a_log) { return -1.4426950408889634f * expf(a_log); }

constexpr int kThreads = kWarps * 32;
constexpr int kTeams = kThreads / kLanes;
constexpr int kRounds = ceil_div(kDState, kLanes * kVec);

// A thread's columns of one row of the state: vector v begins at column (v * kLanes + lane of its team) * kVec.
struct Columns { float at[kRounds][kVec]; };

// Columns beyond the state, and all of a row that is not there, are zero.
template <class T>
__device__ inline void team_load(Columns& to, const T* from, bool there = true) {
    const int lane = threadIdx.x % kLanes;
#pragma unroll
    for (int v = 0; v < kRounds; ++v) {
        const int column = (v * kLanes + lane) * kVec;
        if (there && column < kDState) {
            load_floats(to.at[v], from + column);
        } else {
#pragma unroll
            for (int i = 0; i < kVec; ++i) to.at[v][i] = 0.0f;
        }
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
ssd_step(const XType* __restrict__ x, int x_stride, const BType* __restrict__ b, int b_stride,
         const CType* __restrict__ c, int c_stride, const DtType* __restrict__ dt, int dt_stride,
         const float* __restrict__ dt_bias, const float* __restrict__ a_log, const float* __restrict__ d_skip,
         OutType* __restrict__ out, int out_stride, float* __restrict__ state, long long state_slot,
         const Segment* __restrict__ segments, float dt_min, float dt_max) {
    constexpr int kPieces = ceil_div(kDHead, kTeams * kRows);
    const Segment sequence = segments[blockIdx.y];
    const int head = blockIdx.x / kPieces, group = head / (kHeads / kGroups);
    // Neighbouring teams have neighbouring rows.
    const int first = blockIdx.x % kPieces * kTeams * kRows + threadIdx.x / kLanes;
    const bool writes = threadIdx.x % kLanes == 0;

    float* matrix = state + sequence.slot * state_slot + static_cast<long long>(head) * kDHead * kDState;
    Columns held[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        const int row = first + r * kTeams;
        team_load(held[r], matrix + row * kDState, row < kDHead);
    }

    const float bias = dt_bias[head], rate = decay_rate(a_log[head]), skip = d_skip[head];
#pragma unroll 1
    for (int t = 0; t < sequence.len; ++t) {
        const long long token = sequence.start + t;
        const float delta = delta_of(to_float(dt[token * dt_stride + head]), bias, dt_min, dt_max);
        const float decay = exp2f(rate * delta);
        Columns write, read;
        team_load(write, b + token * b_stride + group * kDState);
        team_load(read, c + token * c_stride + group * kDState);
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            const int row = first + r * kTeams;
            const float value = row < kDHead ? to_float(x[token * x_stride + head * kDHead + row]) : 0.0f;
            const float step = delta * value;
            float sum = 0.0f;
#pragma unroll
            for (int v = 0; v < kRounds; ++v) {
#pragma unroll
                for (int i = 0; i < kVec; ++i) {
                    held[r].at[v][i] = fmaf(decay, held[r].at[v][i], step * write.at[v][i]);
                    sum = fmaf(held[r].at[v][i], read.at[v][i], sum);
                }
            }
            sum = lanes_sum<kLanes>(sum);
            if (writes && row < kDHead) {
                out[token * out_stride + head * kDHead + row] = from_float<OutType>(fmaf(skip, value, sum));
            }
        }
    }

#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        const int row = first + r * kTeams;
#pragma unroll
        for (int v = 0; v < kRounds; ++v) {
            const int column = (v * kLanes + static_cast<int>(threadIdx.x) % kLanes) * kVec;
            if (row < kDHead && column < kDState) store_global(matrix + row * kDState + column, held[r].at[v]);
        }
    }
}
