// dynamic_conv[align=8 channels=3072 hidden=384 step=0 taps=4] f32 | simt | sm_80 | codegen 1
// again: jet emit 'dynamic_conv[align=8 channels=3072 hidden=384 step=0 taps=4] f32' --arch sm_80 --schedule 'form=0 stages=2 tile_k=16 tile_m=64 tile_n=64 warps_m=2 warps_n=2'
constexpr int kStages = 2;
constexpr int kTileK = 16;
constexpr int kTileM = 64;
constexpr int kTileN = 64;
constexpr int kWarpsM = 2;
constexpr int kWarpsN = 2;
constexpr int kChannels = 3072;
constexpr int kTaps = 4;
constexpr int kHidden = 384;
constexpr bool kStep = false;

// ---- types ----
__host__ __device__ constexpr int ceil_div(int n, int per) { return (n + per - 1) / per; }

__device__ inline float to_float(float x) { return x; }

// Rounds to nearest even.
template <class T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) { return x; }


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


// ---- dynamic_conv history ----
using UType = float;
using HType = float;
using WeightType = float;
using OutType = float;

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

constexpr int kThreads = kWarpsM * kWarpsN * 32;
constexpr int kAcross = 16, kDown = kThreads / kAcross;  // threads along the channels and along the tokens
constexpr int kTileChannels = kTileN / kTaps;
constexpr int kThreadRows = kTileM / kDown, kThreadChannels = ceil_div(kTileChannels, kAcross);
static_assert(kTileM % kDown == 0, "threads share the tokens evenly");

// Both tiles with k outermost; the weights of one tap side by side, so that neighbouring threads read neighbouring words.
struct Shared {
    float h[kTileK][kTileM + 1];
    float weight[kTileK][kTaps][kTileChannels + 1];
};

extern "C" __global__ void __launch_bounds__(kThreads)
dynamic_conv_simt(const UType* u, int u_stride, const HType* h, int h_stride, const WeightType* weight,
                  int weight_stride, const float* bias, OutType* out, int out_stride, float* state,
                  long long state_slot, const Segment* segments, const int* row_segments, int rows) {
    __shared__ Shared tile;
    const int first_row = blockIdx.x * kTileM, first_channel = blockIdx.y * kTileChannels;
    const int across = threadIdx.x % kAcross, down = threadIdx.x / kAcross;
    float taps[kThreadRows][kThreadChannels][kTaps] = {};
    for (int k = 0; k < kHidden; k += kTileK) {
        for (int i = threadIdx.x; i < kTileM * kTileK; i += kThreads) {
            const int row = i / kTileK, col = i % kTileK;
            const bool there = first_row + row < rows && k + col < kHidden;
            tile.h[col][row] =
                there ? to_float(h[static_cast<long long>(first_row + row) * h_stride + k + col]) : 0.0f;
        }
        for (int i = threadIdx.x; i < kTileChannels * kTaps * kTileK; i += kThreads) {
            const int row = i / kTileK, col = i % kTileK;
            const bool there = first_channel + row / kTaps < kChannels && k + col < kHidden;
            const long long from = static_cast<long long>(first_channel * kTaps + row) * weight_stride + k + col;
            tile.weight[col][row % kTaps][row / kTaps] = there ? to_float(weight[from]) : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < kTileK; ++i) {
            float a[kThreadRows];
#pragma unroll
            for (int r = 0; r < kThreadRows; ++r) a[r] = tile.h[i][down + r * kDown];
#pragma unroll
            for (int c = 0; c < kThreadChannels; ++c) {
                const int channel = min(across + c * kAcross, kTileChannels - 1);
#pragma unroll
                for (int w = 0; w < kTaps; ++w) {
                    const float b = tile.weight[i][w][channel];
#pragma unroll
                    for (int r = 0; r < kThreadRows; ++r) taps[r][c][w] = fmaf(a[r], b, taps[r][c][w]);
                }
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int r = 0; r < kThreadRows; ++r) {
        const int row = first_row + down + r * kDown;
        const History history(row, rows, segments, row_segments, state, state_slot);
#pragma unroll
        for (int c = 0; c < kThreadChannels; ++c) {
            const int in_tile = across + c * kAcross, channel = first_channel + in_tile;
            if (row >= rows || in_tile >= kTileChannels || channel >= kChannels) continue;
            float signal[kTaps], sum = 0.0f;
#pragma unroll
            for (int w = 0; w < kTaps; ++w) {
                signal[w] = history.before(w)
                                ? history.past[history.column(w) * kChannels + channel]
                                : to_float(u[static_cast<long long>(row + w - (kTaps - 1)) * u_stride + channel]);
                sum = fmaf(taps[r][c][w] + bias[channel * kTaps + w], signal[w], sum);
            }
            out[static_cast<long long>(row) * out_stride + channel] = from_float<OutType>(silu(sum));
            if constexpr (kStep) {
#pragma unroll
                for (int w = 0; w < kTaps; ++w) history.past[w * kChannels + channel] = signal[w];
            }
        }
    }
}
