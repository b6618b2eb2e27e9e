Taps generated per token by mma.sync on 16-bit operands and applied where they come out: the main loop is that of a
matrix product, and of a tile's kTileN columns four are the taps of one channel.

//@ kThreads
constexpr int kThreads = kWarpsM * kWarpsN * 32;

//@ kTileChannels SignalTile ResultTile
constexpr int kTileChannels = kTileN / 4;
constexpr int kHalo = 3;  // rows that the first token of a tile looks back
static_assert(kTaps == 4, "two neighbouring lanes have the four taps of a channel");
// The signal of the tile's tokens and of those before them.
using SignalTile = SmemTile<UType, kTileM + 8, kTileChannels>;
using ResultTile = SmemTile<OutType, kTileM, kTileChannels>;
static_assert(ResultTile::bytes <= kStages * Stage::bytes, "results are staged where the ring was");

//@ kStateVec PastTile
// In a step the states pass through shared memory, so that whole pieces of a column are read and written: of each row the
// three columns that its token looks at.
constexpr int kStateVec = kXAlign >= 4 ? 4 : 2;
using PastTile = SmemTile<float, kTileM * kHalo, kTileChannels>;
static_assert(kTileChannels % 4 == 0, "a row of a tile is whole pieces");

//@ cta_load_states
// Begins to load the columns of `rows` rows, whose slots are in `slots`.
__device__ inline void cta_load_states(PastTile to, const int* slots, const float* state, long long state_slot,
                                       int first_channel, int channels, int rows) {
    cta_for_pieces_by_rows<kThreads, kTileM * kHalo, kTileChannels / kStateVec>([&](int at, int piece) {
        const int row = at / kHalo, column = at % kHalo + 1, channel = piece * kStateVec;
        if (row >= rows || channel >= channels) return;
        copy_async<4 * kStateVec>(to.at(at, channel),
                                  state + slots[row] * state_slot + column * kChannels + first_channel + channel,
                                  4 * kStateVec);
    });
}

//@ cta_store_states
// Every column moves up by one, and the new token's signal is the last.
__device__ inline void cta_store_states(PastTile from, SignalTile signal, const int* slots, float* state,
                                        long long state_slot, int first_channel, int channels, int rows) {
    cta_for_pieces_by_rows<kThreads, kTileM * kTaps, kTileChannels / kStateVec>([&](int at, int piece) {
        const int row = at / kTaps, column = at % kTaps, channel = piece * kStateVec;
        if (row >= rows || channel >= channels) return;
        float values[kStateVec];
        if (column < kHalo) {
            load_floats(values, from.at(row * kHalo + column, channel));
        } else {
            load_floats(values, signal.at(row + kHalo, channel));
        }
        store_global(state + slots[row] * state_slot + column * kChannels + first_channel + channel, values);
    });
}

//@ Signal
// What one lane multiplies its two taps of a channel with.
struct Signal { float at[2]; };

//@ lane_signal
// Taps w and w + 1 of a token, `row` in the tile.
__device__ inline Signal lane_signal(const History& history, SignalTile tile, PastTile past, int row, int w, int in_tile,
                                     int channel) {
    Signal signal;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        if constexpr (kStep) {
            signal.at[i] = w + i < kHalo ? *past.at(row * kHalo + w + i, in_tile) : to_float(*tile.at(row + kHalo, in_tile));
            continue;
        }
        signal.at[i] = history.before(w + i) ? history.past[history.column(w + i) * kChannels + channel]
                                             : to_float(*tile.at(row + w + i, in_tile));
    }
    return signal;
}

//@ dynamic_conv_mma
extern "C" __global__ void __launch_bounds__(kThreads)
dynamic_conv_mma(const UType* u, int u_stride, const HType* h, int h_stride, const WeightType* weight,
                 int weight_stride, const float* bias, OutType* out, int out_stride, float* state,
                 long long state_slot, const Segment* segments, const int* row_segments, int rows) {
    extern __shared__ __align__(128) unsigned char ring[];
    constexpr int kSteps = ceil_div(kK, kTileK);
    const int first_row = blockIdx.x * kTileM, first_channel = blockIdx.y * kTileChannels;
    const HType* h_tile = h + static_cast<long long>(first_row) * h_stride;
    const WeightType* weight_tile = weight + static_cast<long long>(first_channel) * kTaps * weight_stride;
    const int channels = min(kChannels - first_channel, kTileChannels);

    const auto cta_load = [&](int step) {
        const Stage stage(ring + step % kStages * Stage::bytes);
        const int k = step * kTileK;
        cta_copy_tile<kThreads, kXAlign>(stage.x, h_tile + k, h_stride, rows - first_row, kK - k);
        cta_copy_tile<kThreads, 8>(stage.weight, weight_tile + k, weight_stride, kChannels * kTaps - first_channel * kTaps,
                                   kK - k);
    };

    // Load: the signal with the first stage; the ring is filled but for one stage. The first tile of all has no rows
    // before it, and nothing looks at the places where they would be.
    const SignalTile signal(ring + kStages * Stage::bytes);
    constexpr int kPieces = kTileChannels / kXAlign;
    cta_for_pieces_by_rows<kThreads, kTileM + 8, kPieces>([&](int row, int piece) {
        const int col = piece * kXAlign, source = first_row - kHalo + row;
        if (row >= kTileM + kHalo || source < 0 || source >= rows || col >= channels) return;
        copy_async<kXAlign * sizeof(UType)>(signal.at(row, col),
                                            u + static_cast<long long>(source) * u_stride + first_channel + col,
                                            min(channels - col, kXAlign) * static_cast<int>(sizeof(UType)));
    });
    const PastTile past(ring + kStages * Stage::bytes + SignalTile::bytes);
    __shared__ int slots[kStep ? kTileM : 1];
    const int own_rows = min(rows - first_row, kTileM);
    if constexpr (kStep) {
        // The rows of a step are its sequences.
        for (int row = threadIdx.x; row < own_rows; row += kThreads) slots[row] = segments[first_row + row].slot;
        __syncthreads();
        cta_load_states(past, slots, state, state_slot, first_channel, channels, own_rows);
    }
#pragma unroll
    for (int step = 0; step < kStages - 1; ++step) {
        if (step < kSteps) cta_load(step);
        copy_commit();
    }

    // Compute: each step frees the stage of the step before for the copies of a later one.
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_row = warp % kWarpsM * kWarpRows, warp_col = warp / kWarpsM * kWarpCols;
    const LanePlace place(ring, warp_row, warp_col);
    Accumulators taps;
    for (int step = 0; step < kSteps; ++step) {
        copy_wait<kStages - 2>();
        __syncthreads();
        if (step + kStages - 1 < kSteps) cta_load(step + kStages - 1);
        copy_commit();
        warp_multiply(taps, place, step % kStages * Stage::bytes);
    }
    __syncthreads();  // the ring has been read

    // Apply: an even lane has taps 0 and 1 of a channel, the odd one beside it taps 2 and 3, both for two tokens. Each
    // keeps one token and gives its part of the other away.
    const ResultTile results(ring);
    const bool odd = lane % 2 != 0;
    const int w = odd ? 2 : 0;
#pragma unroll
    for (int m = 0; m < kWarpRows / 16; ++m) {
        const int upper = warp_row + 16 * m + lane / 4, lower = upper + 8;
        const History above(first_row + upper, rows, segments, row_segments, state, state_slot);
        const History below(first_row + lower, rows, segments, row_segments, state, state_slot);
#pragma unroll
        for (int n = 0; n < kWarpCols / 8; ++n) {
            const int in_tile = (warp_col + 8 * n) / 4 + lane % 4 / 2, channel = first_channel + in_tile;
            const bool there = in_tile < channels;
            const bool has_upper = there && first_row + upper < rows, has_lower = there && first_row + lower < rows;
            float first_bias = 0.0f, second_bias = 0.0f;
            if (there) {
                first_bias = bias[channel * kTaps + w];
                second_bias = bias[channel * kTaps + w + 1];
            }
            Signal one = {}, two = {};
            if (has_upper) one = lane_signal(above, signal, past, upper, w, in_tile, channel);
            if (has_lower) two = lane_signal(below, signal, past, lower, w, in_tile, channel);
            const float(&d)[4] = taps.at[m][n];
            const float sum = fmaf(d[0] + first_bias, one.at[0], (d[1] + second_bias) * one.at[1]);
            const float sum_below = fmaf(d[2] + first_bias, two.at[0], (d[3] + second_bias) * two.at[1]);
            const float other = __shfl_xor_sync(0xffffffffu, odd ? sum : sum_below, 1);
            const float result = silu((odd ? sum_below : sum) + other);
            *results.at(odd ? lower : upper, in_tile) = from_float<OutType>(result);
        }
    }
    __syncthreads();

    // Store.
    cta_for_pieces_by_rows<kThreads, kTileM, kPieces>([&](int row, int piece) {
        const int col = piece * kXAlign;
        if (first_row + row < rows && col < channels) {
            store_vec<kXAlign>(out + static_cast<long long>(first_row + row) * out_stride + first_channel + col,
                               load_vec<kXAlign>(results.at(row, col)));
        }
    });
    if constexpr (kStep) {
        cta_store_states(past, signal, slots, state, state_slot, first_channel, channels, own_rows);
    }
}
