// ssd[align=8 d_head=80 d_state=128 groups=8 heads=128 step=0] f32 | chunk | sm_90a | codegen 1
// again: jet emit 'ssd[align=8 d_head=80 d_state=128 groups=8 heads=128 step=0] f32' --arch sm_90a --schedule 'chunk=32 form=1 lanes=8 rows=2 split=1 stages=1 warps=4'
constexpr int kChunk = 32;
constexpr int kLanes = 8;
constexpr int kRows = 2;
constexpr int kSplit = 1;
constexpr int kStages = 1;
constexpr int kWarps = 4;
constexpr int kHeads = 128;
constexpr int kDHead = 80;
constexpr int kGroups = 8;
constexpr int kDState = 128;
constexpr int kVec = 1;

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
// ln(1 + e^x): the exponential cannot overflow, and small results keep their digits.
__device__ inline float softplus(float x) { return x > 0.0f ? x + log1pf(expf(-x)) : log1pf(expf(x)); }


// ---- shared ----
// The address that instructions on shared memory take.
__device__ inline unsigned smem_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }


// ---- ssd decay ----
using XType = float;
using BType = float;
using CType = float;
using DtType = float;
using OutType = float;

// The step: softplus of the raw value and its bias, held between the limits. Not-a-number stays not-a-number.
__device__ inline float delta_of(float raw, float bias, float dt_min, float dt_max) {
    const float delta = softplus(raw + bias);
    return delta < dt_min ? dt_min : delta > dt_max ? dt_max : delta;
}

// What a step of 1 adds to the base-2 logarithm of the state.
__device__ inline float decay_rate(float a_log) { return -1.4426950408889634f * expf(a_log); }

// A number as the sum of two floats. Sums of logarithms grow to hundreds, and what is needed are their differences:
// in one float those would have lost the digits behind the point.
struct alignas(8) Twofold { float hi, lo; };

__device__ inline Twofold twofold_add(Twofold a, Twofold b) {
    const float sum = a.hi + b.hi;
    const float from_b = sum - a.hi;
    const float lost = (a.hi - (sum - from_b)) + (b.hi - from_b) + (a.lo + b.lo);
    const float hi = sum + lost;
    return Twofold{hi, lost - (hi - sum)};
}

__device__ inline float twofold_difference(Twofold a, Twofold b) { return (a.hi - b.hi) + (a.lo - b.lo); }

// Per token of a chunk, in shared memory. Behind the end of the sequence the step is zero and nothing decays.
struct Decays {
    Twofold sum[kChunk];      // base-2 logarithm of the decay from the chunk's start on, this token's included
    float delta[kChunk];      // the step
    float from_start[kChunk];  // the decay from the chunk's start on
    float to_end[kChunk];     // the step times the decay from here to the chunk's end
};

// In one access, which the compiler makes two of.
__device__ inline void store_shared_pair(Twofold* to, Twofold pair) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(smem_address(to)), "f"(pair.hi), "f"(pair.lo) : "memory");
}

// Fills `to` from the raw steps of `rows` tokens of one head. All lanes of one warp call it.
__device__ inline void warp_decays(Decays& to, const DtType* raw, long long stride, int rows, float bias, float rate,
                                   float dt_min, float dt_max) {
    constexpr int kRounds = ceil_div(kChunk, 32);
    const int lane = threadIdx.x % 32;
    float delta[kRounds];
    Twofold sum[kRounds];
#pragma unroll
    for (int i = 0; i < kRounds; ++i) {
        const int t = 32 * i + lane;
        delta[i] = t < rows ? delta_of(to_float(raw[t * stride]), bias, dt_min, dt_max) : 0.0f;
    }
    Twofold total = {0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < kRounds; ++i) {
        Twofold own = {rate * delta[i], 0.0f};
#pragma unroll
        for (int step = 1; step < 32; step *= 2) {
            const Twofold before = {__shfl_up_sync(0xffffffffu, own.hi, step), __shfl_up_sync(0xffffffffu, own.lo, step)};
            if (lane >= step) own = twofold_add(before, own);
        }
        sum[i] = twofold_add(total, own);
        total = Twofold{__shfl_sync(0xffffffffu, sum[i].hi, 31), __shfl_sync(0xffffffffu, sum[i].lo, 31)};
    }
#pragma unroll
    for (int i = 0; i < kRounds; ++i) {
        const int t = 32 * i + lane;
        if (t < kChunk) {
            store_shared_pair(&to.sum[t], sum[i]);
            to.delta[t] = delta[i];
            to.from_start[t] = exp2f(sum[i].hi + sum[i].lo);
            to.to_end[t] = delta[i] * exp2f(twofold_difference(total, sum[i]));
        }
    }
}

constexpr int kThreads = kWarps * 32;
constexpr int kWidth = kDHead / kSplit;
static_assert(kDHead % kSplit == 0, "a head is shared out evenly");

// One column more than is used, so that neither rows nor columns lie in one bank.
struct Shared {
    float state[kWidth][kDState + 1];
    float b[kChunk][kDState + 1];
    float c[kChunk][kDState + 1];
    float x[kChunk][kWidth + 1];
    float y[kChunk][kWidth + 1];
    float scores[kChunk][kChunk + 1];  // row i: what token i takes of the token j before it
    Decays decays;
};

// `rows` rows of an operand, zero behind them.
template <int kCols, class T>
__device__ inline void cta_load(float (&to)[kChunk][kCols + 1], const T* from, long long stride, int rows) {
    for (int i = threadIdx.x; i < kChunk * kCols; i += kThreads) {
        const int row = i / kCols, col = i % kCols;
        to[row][col] = row < rows ? to_float(from[row * stride + col]) : 0.0f;
    }
}

// How many of `count` places, `step` apart, a thread works on at a time: what comes out even, if that is few.
__device__ constexpr int own_share(int count, int step) {
    for (int n = 5; n > 0; --n) {
        if (count % (step * n) == 0) return n;
    }
    return ceil_div(count, step) < 4 ? ceil_div(count, step) : 4;
}

// kRows x kCols sums over k < kDepth of left(i, k) * right(k, j), each begun with start(i, j) and handed to
// use(i, j, sum). A sum of the same place is always the same thread's.
template <int kRows, int kCols, int kDepth, class Left, class Right, class Start, class Use>
__device__ inline void cta_product(Left left, Right right, Start start, Use use) {
    constexpr int kAcross = 16, kDown = kThreads / kAcross;
    constexpr int kOwnRows = own_share(kRows, kDown), kOwnCols = own_share(kCols, kAcross);
    constexpr bool kEven = kRows % (kDown * kOwnRows) == 0 && kCols % (kAcross * kOwnCols) == 0;
    const int across = threadIdx.x % kAcross, down = threadIdx.x / kAcross;
#pragma unroll 1
    for (int row = down; row < kRows; row += kDown * kOwnRows) {
#pragma unroll 1
        for (int col = across; col < kCols; col += kAcross * kOwnCols) {
            // Places outside are worked on as the last one inside, and not used.
            int is[kOwnRows], js[kOwnCols];
            float sum[kOwnRows][kOwnCols];
#pragma unroll
            for (int r = 0; r < kOwnRows; ++r) is[r] = kEven ? row + r * kDown : min(row + r * kDown, kRows - 1);
#pragma unroll
            for (int c = 0; c < kOwnCols; ++c) js[c] = kEven ? col + c * kAcross : min(col + c * kAcross, kCols - 1);
#pragma unroll
            for (int r = 0; r < kOwnRows; ++r) {
#pragma unroll
                for (int c = 0; c < kOwnCols; ++c) {
                    const bool inside = kEven || (row + r * kDown < kRows && col + c * kAcross < kCols);
                    sum[r][c] = inside ? start(is[r], js[c]) : 0.0f;
                }
            }
#pragma unroll 4
            for (int k = 0; k < kDepth; ++k) {
                float a[kOwnRows], b[kOwnCols];
#pragma unroll
                for (int r = 0; r < kOwnRows; ++r) a[r] = left(is[r], k);
#pragma unroll
                for (int c = 0; c < kOwnCols; ++c) b[c] = right(k, js[c]);
#pragma unroll
                for (int r = 0; r < kOwnRows; ++r) {
#pragma unroll
                    for (int c = 0; c < kOwnCols; ++c) sum[r][c] = fmaf(a[r], b[c], sum[r][c]);
                }
            }
#pragma unroll
            for (int r = 0; r < kOwnRows; ++r) {
#pragma unroll
                for (int c = 0; c < kOwnCols; ++c) {
                    const int i = row + r * kDown, j = col + c * kAcross;
                    if (kEven || (i < kRows && j < kCols)) use(i, j, sum[r][c]);
                }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
ssd_chunk(const XType* __restrict__ x, int x_stride, const BType* __restrict__ b, int b_stride,
          const CType* __restrict__ c, int c_stride, const DtType* __restrict__ dt, int dt_stride,
          const float* __restrict__ dt_bias, const float* __restrict__ a_log, const float* __restrict__ d_skip,
          OutType* __restrict__ out, int out_stride, float* state, long long state_slot,
          const Segment* __restrict__ segments, float dt_min, float dt_max) {
    extern __shared__ __align__(16) unsigned char memory[];
    Shared& s = *reinterpret_cast<Shared*>(memory);
    const Segment sequence = segments[blockIdx.y];
    const int head = blockIdx.x / kSplit, group = head / (kHeads / kGroups);
    const int channel = head * kDHead + static_cast<int>(blockIdx.x) % kSplit * kWidth;
    float* matrix = state + sequence.slot * state_slot + static_cast<long long>(channel) * kDState;
    const float bias = dt_bias[head], rate = decay_rate(a_log[head]), skip = d_skip[head];
    const auto none = [](int, int) { return 0.0f; };

    for (int i = threadIdx.x; i < kWidth * kDState; i += kThreads) s.state[i / kDState][i % kDState] = matrix[i];

#pragma unroll 1
    for (int done = 0; done < sequence.len; done += kChunk) {
        const int rows = min(kChunk, sequence.len - done);
        const long long token = sequence.start + done;
        __syncthreads();  // the chunk before has been read
        if (threadIdx.x < 32) {
            warp_decays(s.decays, dt + token * dt_stride + head, dt_stride, rows, bias, rate, dt_min, dt_max);
        }
        cta_load<kDState>(s.b, b + token * b_stride + group * kDState, b_stride, rows);
        cta_load<kDState>(s.c, c + token * c_stride + group * kDState, c_stride, rows);
        cta_load<kWidth>(s.x, x + token * x_stride + channel, x_stride, rows);
        __syncthreads();

        cta_product<kChunk, kChunk, kDState>(
            [&](int i, int n) { return s.c[i][n]; }, [&](int n, int j) { return s.b[j][n]; }, none,
            [&](int i, int j, float sum) {
                const float decay = exp2f(fminf(twofold_difference(s.decays.sum[i], s.decays.sum[j]), 0.0f));
                s.scores[i][j] = j <= i ? sum * decay * s.decays.delta[j] : 0.0f;
            });
        // What the chunks before have left in the state.
        cta_product<kChunk, kWidth, kDState>(
            [&](int i, int n) { return s.c[i][n]; }, [&](int n, int p) { return s.state[p][n]; }, none,
            [&](int i, int p, float sum) { s.y[i][p] = fmaf(s.decays.from_start[i], sum, skip * s.x[i][p]); });
        __syncthreads();

        cta_product<kChunk, kWidth, kChunk>(
            [&](int i, int j) { return s.scores[i][j]; }, [&](int j, int p) { return s.x[j][p]; },
            [&](int i, int p) { return s.y[i][p]; },
            [&](int i, int p, float sum) {
                if (i < rows) out[(token + i) * out_stride + channel + p] = from_float<OutType>(sum);
            });
        const float decay = s.decays.from_start[kChunk - 1];
        cta_product<kWidth, kDState, kChunk>(
            [&](int p, int j) { return s.x[j][p] * s.decays.to_end[j]; }, [&](int j, int n) { return s.b[j][n]; },
            [&](int p, int n) { return decay * s.state[p][n]; },
            [&](int p, int n, float sum) { s.state[p][n] = sum; });
    }

    __syncthreads();
    for (int i = threadIdx.x; i < kWidth * kDState; i += kThreads) matrix[i] = s.state[i / kDState][i % kDState];
}
