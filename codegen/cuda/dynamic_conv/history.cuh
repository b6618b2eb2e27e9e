Where the signal of a sequence lies: its new tokens in rows of `u`, what came before in the state, kTaps columns, the
oldest first (the very oldest is never used).

//@ History
// One row's sequence.
struct History {
    int age;      // tokens of the sequence before this one in the run
    float* past;  // the sequence's state
    __device__ History(int row, int rows, const Segment* segments, const int* row_segments, float* state,
                       long long state_slot) {
        const Segment sequence = segments[row_segments[min(row, rows - 1)]];
        age = row - sequence.start;
        past = state + sequence.slot * state_slot;
    }
    // Whether tap w of this token looks into the state.
    __device__ bool before(int w) const { return age + w < kTaps - 1; }
    // The column that it looks at there.
    __device__ int column(int w) const { return age + w + 1; }
};

//@ dynamic_conv_state
// The states afterwards. A launch of its own, because tokens of several CTAs look into the old ones.
extern "C" __global__ void __launch_bounds__(128)
dynamic_conv_state(const UType* u, int u_stride, float* state, long long state_slot,
                   const Segment* __restrict__ segments) {
    const int channel = blockIdx.x * 128 + threadIdx.x;
    const Segment sequence = segments[blockIdx.y];
    if (channel >= kChannels) return;
    float* past = state + sequence.slot * state_slot + channel;
    const UType* rows_in = u + static_cast<long long>(sequence.start) * u_stride + channel;
    // Column k becomes what lies sequence.len further.
    float next[kTaps];
#pragma unroll
    for (int k = 0; k < kTaps; ++k) {
        const int at = sequence.len + k - kTaps;
        next[k] = at >= 0 ? to_float(rows_in[static_cast<long long>(at) * u_stride])
                          : past[(sequence.len + k) * kChannels];
    }
#pragma unroll
    for (int k = 0; k < kTaps; ++k) past[k * kChannels] = next[k];
}
