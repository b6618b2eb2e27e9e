// conv[align=8 bias=1 channels=12288 silu=1 taps=4] bf16 | window | sm_80 | codegen 1
// again: jet emit 'conv[align=8 bias=1 channels=12288 silu=1 taps=4] bf16' --arch sm_80 --schedule 'threads=128 tokens=64 vec=4'
constexpr int kThreads = 128;
constexpr int kTokens = 64;
constexpr int kVec = 4;
constexpr int kChannels = 12288;
constexpr int kTaps = 4;
constexpr bool kBias = true;
constexpr bool kSilu = true;

// ---- types ----
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
    __device__ Filter(const float* weight, const float* bias_from, int channel) {
        const float* from = weight + channel * kTaps;
        if constexpr (kVec * kTaps % 4 == 0) {
            load_floats(tap, from);
        } else {
#pragma unroll
            for (int i = 0; i < kVec * kTaps; ++i) tap[i] = from[i];
        }
        if constexpr (kBias) {
            load_floats(bias.at, bias_from + channel);
        } else {
#pragma unroll
            for (int i = 0; i < kVec; ++i) bias.at[i] = 0.0f;
        }
    }
};

// Nothing is promised of x and of the state: the compiler joins their loads, and would take both by the read-only path.
extern "C" __global__ void __launch_bounds__(kThreads)
conv_rows(const XType* x, int x_stride, const float* __restrict__ weight, const float* __restrict__ bias,
          OutType* __restrict__ out, int out_stride, float* state, long long state_slot,
          const Segment* __restrict__ segments) {
    const int channel = static_cast<int>(blockIdx.x * kThreads + threadIdx.x) * kVec;
    const Segment sequence = segments[blockIdx.y];
    const int first = blockIdx.z * kTokens;
    if (channel >= kChannels || first >= sequence.len) return;
    const XType* rows_in = x + static_cast<long long>(sequence.start) * x_stride + channel;
    OutType* rows_out = out + static_cast<long long>(sequence.start) * out_stride + channel;
    float* past = state + sequence.slot * state_slot + channel;

    const Filter filter(weight, bias, channel);
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

    // The thread of the first piece also moves the state on: it is the only one that read the old one.
    if (first == 0) {
        Channels next[kTaps];
#pragma unroll
        for (int k = 0; k < kTaps - 1; ++k) {
            const int at = sequence.len + k - (kTaps - 1);
            if (at >= 0) {
                load_floats(next[k].at, rows_in + static_cast<long long>(at) * x_stride);
            } else {
                // Fewer new tokens than columns: an old column moves up.
#pragma unroll
                for (int j = 0; j < kTaps - 1; ++j) {
                    if (j == sequence.len + k) next[k] = window[j];
                }
            }
        }
#pragma unroll
        for (int k = 0; k < kTaps - 1; ++k) store_floats(past + k * kChannels, next[k].at);
    }

    const int last = min(first + kTokens, sequence.len);
#pragma unroll 1
    for (int group = first; group < last; group += kAhead) {
        Channels ahead[kAhead];
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
            // Beyond the last row the last one is read again, and nothing stored.
            load_floats(ahead[i].at, rows_in + static_cast<long long>(min(group + i, last - 1)) * x_stride);
        }
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
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
            if (group + i < last) store_floats(rows_out + static_cast<long long>(group + i) * out_stride, sum.at);
#pragma unroll
            for (int k = 0; k < kTaps - 1; ++k) window[k] = window[k + 1];
        }
    }
}
