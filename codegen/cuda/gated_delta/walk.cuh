The gated delta rule token by token: a CTA has kTileV columns of the state of one head of one sequence in registers, so
that the state is read once and written once however many tokens come.

//@ kThreads kAcross kGroups kWarpGroups kPartials kHeldRows
constexpr int kThreads = kWarps * 32;
constexpr int kAcross = kTileV / kVec;        // threads along the columns
constexpr int kGroups = kThreads / kAcross;   // groups of rows: the i-th has rows i, i + kGroups, ...
constexpr int kWarpGroups = kAcross < 32 ? 32 / kAcross : 1;
constexpr int kPartials = kGroups / kWarpGroups;
constexpr int kHeldRows = ceil_div(kDKey, kGroups);
static_assert(kThreads % kAcross == 0 && kGroups % kWarpGroups == 0, "groups of rows are whole");

//@ Keys Shared
// One token's key and query as they come, with what normalises them.
struct Keys {
    float q[kGroups * kHeldRows], k[kGroups * kHeldRows];
    float q_factor, k_factor, dot;
};
struct Shared {
    Keys keys[2];  // while a token is still written into the state, the next one arrives
    alignas(16) float partial[2][kPartials][kTileV];
    float write[kTileV];
};

//@ warp_load_keys
__device__ inline void warp_load_keys(Keys& keys, const QType* q, const KType* k, float scale, float l2_eps) {
    const int lane = threadIdx.x % 32;
    float qq = 0.0f, kk = 0.0f, qk = 0.0f;
#pragma unroll
    for (int i = lane; i < kGroups * kHeldRows; i += 32) {
        const float a = i < kDKey ? to_float(q[i]) : 0.0f, b = i < kDKey ? to_float(k[i]) : 0.0f;
        keys.q[i] = a;
        keys.k[i] = b;
        qq = fmaf(a, a, qq);
        kk = fmaf(b, b, kk);
        qk = fmaf(a, b, qk);
    }
    qq = lanes_sum<32>(qq);
    kk = lanes_sum<32>(kk);
    qk = lanes_sum<32>(qk);
    if (lane == 0) {
        keys.q_factor = scale / sqrtf(qq + l2_eps);
        keys.k_factor = 1.0f / sqrtf(kk + l2_eps);
        keys.dot = qk * keys.q_factor * keys.k_factor;
    }
}

//@ warp_groups_sum
// The sum over the groups of rows that a warp has, in the lanes of the first of them.
__device__ inline float warp_groups_sum(float x) {
#pragma unroll
    for (int step = kAcross; step < 32; step *= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

//@ gated_delta_walk
extern "C" __global__ void __launch_bounds__(kThreads)
gated_delta_walk(const QType* q, int q_stride, const KType* k, int k_stride, const VType* v, int v_stride,
                 const float* g, int g_stride, const float* beta, int beta_stride, OutType* out, int out_stride,
                 float* state, long long state_slot, const Segment* segments, float scale, float l2_eps) {
    __shared__ Shared shared;
    const Segment segment = segments[blockIdx.y];
    const int head = blockIdx.z, first_col = blockIdx.x * kTileV;
    const int across = threadIdx.x % kAcross, group = threadIdx.x / kAcross;
    const int col = first_col + across * kVec;
    float* own = state + segment.slot * state_slot + static_cast<long long>(head * kDKey + group) * kDValue + col;

    float held[kHeldRows][kVec];
#pragma unroll
    for (int i = 0; i < kHeldRows; ++i) {
        if (group + i * kGroups < kDKey && col < kDValue) {
            load_floats(held[i], own + i * kGroups * kDValue);
        } else {
#pragma unroll
            for (int c = 0; c < kVec; ++c) held[i][c] = 0.0f;
        }
    }

    for (int t = 0; t < segment.len; ++t) {
        const long long row = segment.start + t;
        Keys& keys = shared.keys[t % 2];
        if (threadIdx.x < 32) {
            warp_load_keys(keys, q + row * q_stride + head * kDKey, k + row * k_stride + head * kDKey, scale, l2_eps);
        }
        const float decay = expf(g[row * g_stride + head]);
        __syncthreads();

        // Both products of the state before the token, in one pass.
        float by_k[kVec] = {}, by_q[kVec] = {};
#pragma unroll
        for (int i = 0; i < kHeldRows; ++i) {
            const float a = keys.k[group + i * kGroups], b = keys.q[group + i * kGroups];
#pragma unroll
            for (int c = 0; c < kVec; ++c) {
                by_k[c] = fmaf(a, held[i][c], by_k[c]);
                by_q[c] = fmaf(b, held[i][c], by_q[c]);
            }
        }
#pragma unroll
        for (int c = 0; c < kVec; ++c) {
            by_k[c] = warp_groups_sum(by_k[c]);
            by_q[c] = warp_groups_sum(by_q[c]);
        }
        if (group % kWarpGroups == 0) {
            store_floats(&shared.partial[0][group / kWarpGroups][across * kVec], by_k);
            store_floats(&shared.partial[1][group / kWarpGroups][across * kVec], by_q);
        }
        __syncthreads();

        for (int c = threadIdx.x; c < kTileV; c += kThreads) {
            float read_k = 0.0f, read_q = 0.0f;
#pragma unroll
            for (int i = 0; i < kPartials; ++i) {
                read_k += shared.partial[0][i][c];
                read_q += shared.partial[1][i][c];
            }
            const bool there = first_col + c < kDValue;
            const int at = head * kDValue + first_col + c;
            const float value = there ? to_float(v[row * v_stride + at]) : 0.0f;
            const float error = beta[row * beta_stride + head] * (value - decay * keys.k_factor * read_k);
            shared.write[c] = error * keys.k_factor;
            if (there) {
                const float y = fmaf(keys.dot, error, decay * keys.q_factor * read_q);
                out[row * out_stride + at] = from_float<OutType>(y);
            }
        }
        __syncthreads();

        float write[kVec];
#pragma unroll
        for (int c = 0; c < kVec; ++c) write[c] = shared.write[across * kVec + c];
#pragma unroll
        for (int i = 0; i < kHeldRows; ++i) {
            const float a = keys.k[group + i * kGroups];
#pragma unroll
            for (int c = 0; c < kVec; ++c) held[i][c] = fmaf(a, write[c], decay * held[i][c]);
        }
    }

#pragma unroll
    for (int i = 0; i < kHeldRows; ++i) {
        if (group + i * kGroups < kDKey && col < kDValue) store_global(own + i * kGroups * kDValue, held[i]);
    }
}
