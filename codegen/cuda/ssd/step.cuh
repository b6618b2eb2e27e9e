The recurrence token by token, the state in registers: read once, written once. What decoding runs with, and any batch
that nothing else serves.

//@ kThreads kTeams kRounds
constexpr int kThreads = kWarps * 32;
constexpr int kTeams = kThreads / kLanes;
constexpr int kRounds = ceil_div(kDState, kLanes * kVec);

//@ Columns
// A thread's columns of one row of the state: vector v begins at column (v * kLanes + lane of its team) * kVec.
struct Columns { float at[kRounds][kVec]; };

//@ team_load
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

//@ ssd_step
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
