// conv[align=8 bias=1 channels=12288 silu=1 taps=4] bf16 | window | sm_90a | codegen 1
// again: jet emit 'conv[align=8 bias=1 channels=12288 silu=1 taps=4] bf16' --arch sm_90a --schedule 'sequences=1 threads=128 tokens=64 vec=4'
constexpr int kSequences = 1;
constexpr int kThreads = 128;
constexpr int kTokens = 64;
constexpr int kVec = 4;
constexpr int kChannels = 12288;
constexpr int kTaps = 4;
constexpr bool kBias = true;
constexpr bool kSilu = true;

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
__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }


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


// ---- conv ----
using XType = bf16;
using OutType = bf16;

// One value for each of the thread's channels.
struct Channels { float at[kVec]; };

// Rows that a thread asks for before it works on the first of them.
constexpr int kAhead = 4;
static_assert(kTokens % kAhead == 0, "a piece is whole groups of rows");
static_assert(kTokens >= kTaps - 1, "only the first piece of a sequence looks back into the state");

// The taps of the thread's channels, the oldest first, and their bias.
struct Filter {
    float tap[kVec * kTaps];
    Channels bias;
    // `from` are the taps of the thread's first channel, `bias_from` its bias.
    __device__ Filter(const float* from, const float* bias_from) {
        if constexpr (kVec * kTaps % 4 == 0) {
            load_floats(tap, from);
        } else {
#pragma unroll
            for (int i = 0; i < kVec * kTaps; ++i) tap[i] = from[i];
        }
        if constexpr (kBias) {
            load_floats(bias.at, bias_from);
        } else {
#pragma unroll
            for (int i = 0; i < kVec; ++i) bias.at[i] = 0.0f;
        }
    }
};

// A CTA has kSequences sequences: kSequenceRows side by side, each row of threads with kTurns of them. They share the
// taps, which a row of threads would otherwise read for each token of a step anew.
constexpr int kMostRows = ceil_div(256, kThreads);
constexpr int kSequenceRows = kSequences < kMostRows ? kSequences : kMostRows;
constexpr int kTurns = ceil_div(kSequences, kSequenceRows);
constexpr int kBlock = kThreads * kSequenceRows;
struct SharedFilter {
    alignas(16) float tap[kThreads * kVec * kTaps];
    alignas(16) float bias[kThreads * kVec];
};

// The filter of this thread's channels; those beyond the last one have any.
__device__ inline Filter cta_load_filter(const float* weight, const float* bias, int channel) {
    if constexpr (kSequences == 1) {
        return Filter(weight + channel * kTaps, bias + channel);
    } else {
        __shared__ SharedFilter shared;
        const int first = blockIdx.x * kThreads * kVec, count = min(kThreads * kVec, kChannels - first);
        for (int i = threadIdx.x; i < count * kTaps; i += kBlock) shared.tap[i] = weight[first * kTaps + i];
        if constexpr (kBias) {
            for (int i = threadIdx.x; i < count; i += kBlock) shared.bias[i] = bias[first + i];
        }
        __syncthreads();
        const int own = channel < kChannels ? channel - first : 0;
        return Filter(shared.tap + own * kTaps, shared.bias + own);
    }
}

// A piece of one sequence, from its token `first` on.
__device__ inline void walk_rows(const Filter& filter, const Segment& sequence, int first, int channel, const XType* x,
                                 int x_stride, OutType* out, int out_stride, float* state, long long state_slot) {
    const XType* rows_in = x + static_cast<long long>(sequence.start) * x_stride + channel;
    OutType* rows_out = out + static_cast<long long>(sequence.start) * out_stride + channel;
    float* past = state + sequence.slot * state_slot + channel;

    // The kTaps - 1 inputs before the present one, the oldest first; the present one comes last.
    Channels window[kTaps];
#pragma unroll
    for (int k = 0; k < kTaps - 1; ++k) {
        if (first == 0) {
            load_floats(window[k].at, past + k * kChannels);
        } else {
            load_floats(window[k].at, rows_in + static_cast<long long>(first + k - (kTaps - 1)) * x_stride);
        }
    }

    // The thread of the first piece also moves the state on: it is the only one that read the old one. Where the piece is
    // the whole sequence, its window becomes the state in the end.
    const bool whole = sequence.len <= kTokens;
    if (first == 0 && !whole) {
#pragma unroll
        for (int k = 0; k < kTaps - 1; ++k) {
            Channels next;
            load_floats(next.at, rows_in + static_cast<long long>(sequence.len + k - (kTaps - 1)) * x_stride);
            store_global(past + k * kChannels, next.at);
        }
    }

    const int last = min(first + kTokens, sequence.len);
#pragma unroll 1
    for (int group = first; group < last; group += kAhead) {
        Channels ahead[kAhead];
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
            if (group + i < last) load_floats(ahead[i].at, rows_in + static_cast<long long>(group + i) * x_stride);
        }
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
            if (group + i >= last) continue;
            window[kTaps - 1] = ahead[i];
            Channels sum = filter.bias;
#pragma unroll
            for (int k = 0; k < kTaps; ++k) {
#pragma unroll
                for (int c = 0; c < kVec; ++c) {
                    sum.at[c] = fmaf(filter.tap[c * kTaps + k], window[k].at[c], sum.at[c]);
                }
            }
            if constexpr (kSilu) {
#pragma unroll
                for (int c = 0; c < kVec; ++c) sum.at[c] = silu(sum.at[c]);
            }
            store_floats(rows_out + static_cast<long long>(group + i) * out_stride, sum.at);
#pragma unroll
            for (int k = 0; k < kTaps - 1; ++k) window[k] = window[k + 1];
        }
    }
    if (first == 0 && whole) {
#pragma unroll
        for (int k = 0; k < kTaps - 1; ++k) store_global(past + k * kChannels, window[k].at);
    }
}

// Nothing is promised of x and of the state: the compiler joins their loads, and would take both by the read-only path.
extern "C" __global__ void __launch_bounds__(kBlock)
conv_rows(const XType* x, int x_stride, const float* __restrict__ weight, const float* __restrict__ bias,
          OutType* __restrict__ out, int out_stride, float* state, long long state_slot,
          const Segment* __restrict__ segments, int sequences) {
    const int channel = static_cast<int>(blockIdx.x * kThreads + threadIdx.x % kThreads) * kVec;
    const int first = blockIdx.z * kTokens;
    if (kSequences == 1 && (channel >= kChannels || first >= segments[blockIdx.y].len)) return;
    const Filter filter = cta_load_filter(weight, bias, channel);
    if (channel >= kChannels) return;
#pragma unroll 1
    for (int turn = 0; turn < kTurns; ++turn) {
        const int index = blockIdx.y * kSequences + turn * kSequenceRows + static_cast<int>(threadIdx.x) / kThreads;
        if (index >= sequences) return;
        const Segment sequence = segments[index];
        if (first >= sequence.len) continue;
        walk_rows(filter, sequence, first, channel, x, x_stride, out, out_stride, state, state_slot);
    }
}
