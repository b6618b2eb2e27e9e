Taps generated per token, weight * h + bias, and applied to the signal, with ordinary multiply-adds in float. The taps of
a token and channel are sums of one thread and never leave it.

//@ kThreads kThreadRows kTileChannels kThreadChannels
constexpr int kThreads = kWarpsM * kWarpsN * 32;
constexpr int kAcross = 16, kDown = kThreads / kAcross;  // threads along the channels and along the tokens
constexpr int kTileChannels = kTileN / kTaps;
constexpr int kThreadRows = kTileM / kDown, kThreadChannels = ceil_div(kTileChannels, kAcross);
static_assert(kTileM % kDown == 0, "threads share the tokens evenly");

//@ Shared
// Both tiles with k outermost; the weights of one tap side by side, so that neighbouring threads read neighbouring words.
struct Shared {
    float h[kTileK][kTileM + 1];
    float weight[kTileK][kTaps][kTileChannels + 1];
};

//@ dynamic_conv_simt
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
