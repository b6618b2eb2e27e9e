Causal depthwise convolution along each sequence, with the last kTaps - 1 inputs of a sequence as its state. A thread has
kVec neighbouring channels and walks over kTokens tokens of one sequence with the window in registers, so that an input
is read once, and its first kTaps - 1 once more by the thread of the piece behind it.

//@ Channels
// One value for each of the thread's channels.
struct Channels { float at[kVec]; };

//@ kAhead
// Rows that a thread asks for before it works on the first of them.
constexpr int kAhead = 4;
static_assert(kTokens % kAhead == 0, "a piece is whole groups of rows");
static_assert(kTokens >= kTaps - 1, "only the first piece of a sequence looks back into the state");

//@ Filter
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

//@ kMostRows kSequenceRows kTurns kBlock SharedFilter
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

//@ cta_load_filter
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

//@ walk_rows
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

//@ conv_rows
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
