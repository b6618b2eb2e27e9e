Rows to fp8, each with its scale or with one for every kBlock columns: the largest magnitude becomes 448, the largest of
e4m3. A team of kTeam threads has one group of columns in registers, kHeld values a thread.

//@ kTeams kGroup kGroups kPieces
constexpr int kTeams = kThreads / kTeam;
constexpr int kGroup = kBlock > 0 ? kBlock : kWidth, kGroups = ceil_div(kWidth, kGroup);  // columns of one scale
constexpr int kPieces = ceil_div(kGroup, kTeam * kVec);
static_assert(kThreads % kTeam == 0, "a CTA is whole teams");

//@ team_max
// The largest over a team: a part of a warp or the whole CTA.
__device__ inline float team_max(float x) {
    if constexpr (kTeam <= 32) {
        return lanes_max<kTeam>(x);
    } else {
        __shared__ float partial[kThreads / 32];
        x = lanes_max<32>(x);
        if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
        __syncthreads();
#pragma unroll
        for (int w = 0; w < kThreads / 32; ++w) x = fmaxf(x, partial[w]);
        return x;
    }
}

//@ quantise_rows
// Groups are counted along a row first. A row's scales lie with those of the other rows, group after group.
extern "C" __global__ void __launch_bounds__(kThreads)
quantise_rows(const XType* x, int x_stride, e4m3* out, int out_stride, float* scale, int rows) {
    const int team = threadIdx.x / kTeam, member = threadIdx.x % kTeam;
    const int group = blockIdx.y * kTeams + team, first = group * kGroup;
    const long long row = blockIdx.x;
    float value[kPieces][kVec], top = 0.0f;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
        const int own = (i * kTeam + member) * kVec;
#pragma unroll
        for (int j = 0; j < kVec; ++j) value[i][j] = 0.0f;
        if (own < kGroup && first + own < kWidth) load_floats(value[i], x + row * x_stride + first + own);
#pragma unroll
        for (int j = 0; j < kVec; ++j) top = fmaxf(top, fabsf(value[i][j]));
    }
    top = team_max(top);
    if (group >= kGroups) return;
    // A group of zeros has the scale of ones.
    const float factor = top > 0.0f ? 448.0f / top : 1.0f;
    if (member == 0) scale[static_cast<long long>(group) * rows + row] = top > 0.0f ? top / 448.0f : 1.0f;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
        const int own = (i * kTeam + member) * kVec;
        if (own >= kGroup || first + own >= kWidth) continue;
#pragma unroll
        for (int j = 0; j < kVec; ++j) value[i][j] *= factor;
        store_floats(out + row * out_stride + first + own, value[i]);
    }
}
