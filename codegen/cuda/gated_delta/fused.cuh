The gated delta rule in chunks with mma.sync, in one launch: a CTA solves a chunk and walks over it. Keys and queries are
read once for all of its columns, and what the solution leaves never goes to memory. Of the columns, of a chunk's products
and of its triangles each warp has a share.

//@ Stage
// What copies bring of one chunk.
struct Stage {
    KeyTile q, k;
    ValueTile v;
    float* gate;
    float* beta;
    static constexpr int bytes = 2 * KeyTile::bytes + ValueTile::bytes + 8 * kChunk;
    __device__ explicit Stage(unsigned char* at)
        : q(at), k(at + KeyTile::bytes), v(at + 2 * KeyTile::bytes),
          gate(reinterpret_cast<float*>(at + 2 * KeyTile::bytes + ValueTile::bytes)), beta(gate + kChunk) {}
};

//@ Solution
// A chunk as the walk wants it: tiles of a stage, and what was found of them.
struct Solution {
    KeyTile q, k;
    ValueTile v;
    TriangleTile mix, scores;
    Factors* factors;
    static constexpr int bytes = 2 * TriangleTile::bytes + kChunk * static_cast<int>(sizeof(Factors));
    __device__ Solution(const Stage& stage, unsigned char* at)
        : q(stage.q), k(stage.k), v(stage.v), mix(at), scores(at + TriangleTile::bytes),
          factors(reinterpret_cast<Factors*>(at + 2 * TriangleTile::bytes)) {}
};

//@ cta_find_decays
// Running sums of the gates by the first warp, the other factors by the others; see cta_load_decays for the limit.
__device__ inline void cta_find_decays(Decays& to, const Stage& stage) {
    if (threadIdx.x < 32) {
        float carry = 0.0f;
#pragma unroll
        for (int base = 0; base < kChunk; base += 32) {
            const int i = base + threadIdx.x;
            // Behind the last token both are zero.
            const float sum = carry + warp_scan(i < kChunk ? fmaxf(stage.gate[i], -30.0f) : 0.0f);
            if (i < kChunk) to.gate[i] = sum;
            carry = __shfl_sync(0xffffffffu, sum, 31);
        }
    } else {
        for (int i = threadIdx.x - 32; i < kChunk; i += kSolveThreads - 32) to.beta[i] = stage.beta[i];
    }
}

//@ cta_solve
// All warps find the triangles and factors of a chunk of `len` tokens.
__device__ inline void cta_solve(const Solution& to, SolveShared& shared, const Stage& stage, int len, float scale,
                                 float l2_eps) {
    Decays& decays = shared.decays;
    cta_find_decays(decays, stage);
    cta_find_norms(decays, stage.q.base, stage.k.base, KeyTile::stride, scale, l2_eps);
    __syncthreads();
    constexpr int kBlocks = kChunk / 16;
    for (int unit = threadIdx.x / 32; unit < 2 * kBlocks; unit += kWarps) {
        if (unit < kBlocks) {
            warp_dots(stage.k, stage.k, unit, [&](int i, int j, float first, float second) {
                const float pair[2] = {lower_entry(decays, first, i, j), lower_entry(decays, second, i, j + 1)};
                store_floats(&shared.triangles.lower[i][j], pair);
            });
        } else {
            warp_dots(stage.q, stage.k, unit - kBlocks, [&](int i, int j, float first, float second) {
                const unsigned pair =
                    pack2<TriangleType>(score_entry(decays, first, i, j), score_entry(decays, second, i, j + 1));
                *reinterpret_cast<unsigned*>(to.scores.at(i, j)) = pair;
            });
        }
    }
    __syncthreads();
    cta_invert(shared.triangles);
    for (int n = threadIdx.x; n < kChunk * kChunk; n += kThreads) {
        const int i = n / kChunk, j = n % kChunk;
        *to.mix.at(i, j) = from_float<TriangleType>(mix_entry(shared.triangles, decays, i, j));
    }
    for (int i = threadIdx.x; i < kChunk; i += kThreads) to.factors[i] = factors_of(decays, i, len);
    __syncthreads();
}

//@ gated_delta_fused
extern "C" __global__ void __launch_bounds__(kThreads)
gated_delta_fused(const QType* q, int q_stride, const KType* k, int k_stride, const VType* v, int v_stride,
                  const float* g, int g_stride, const float* beta, int beta_stride, OutType* out, int out_stride,
                  float* state, long long state_slot, const Segment* segments, float scale, float l2_eps) {
    extern __shared__ __align__(128) unsigned char memory[];
    unsigned char* const solved = memory + kStages * Stage::bytes;
    SolveShared& shared = *reinterpret_cast<SolveShared*>(solved + Solution::bytes);
    const Segment segment = segments[blockIdx.y];
    const int head = blockIdx.z, first_col = blockIdx.x * kTileV, steps = ceil_div(segment.len, kChunk);

    const auto cta_load = [&](int step) {
        const Chunk chunk(segment, step);
        const Stage stage(memory + step % kStages * Stage::bytes);
        const long long first = chunk.first;
        cta_copy_narrow<kThreads, kAlign>(stage.k, k + first * k_stride + head * kDKey, k_stride, chunk.len, kDKey);
        cta_copy_narrow<kThreads, kAlign>(stage.q, q + first * q_stride + head * kDKey, q_stride, chunk.len, kDKey);
        cta_copy_narrow<kThreads, kAlign>(stage.v, v + first * v_stride + head * kDValue + first_col, v_stride,
                                          chunk.len, kDValue - first_col);
        for (int i = threadIdx.x; i < kChunk; i += kThreads) {
            const bool there = i < chunk.len;
            const long long row = first + (there ? i : 0);
            copy_async<4>(stage.gate + i, g + row * g_stride + head, there ? 4 : 0);
            copy_async<4>(stage.beta + i, beta + row * beta_stride + head, there ? 4 : 0);
        }
    };
#pragma unroll
    for (int step = 0; step < kStages - 1; ++step) {
        if (step < steps) cta_load(step);
        copy_commit();
    }

    const int warp = threadIdx.x / 32, lane_row = threadIdx.x % 32 / 4;
    const int at = first_col + 16 * warp;  // the warp's first column
    const bool there = at < kDValue;
    float* own = state + segment.slot * state_slot + static_cast<long long>(head) * kDKey * kDValue + at + lane_row;
    State held;
    warp_load_state(held, own, there);

#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
        copy_wait<kStages - 2>();
        __syncthreads();  // the chunk is here, and all are through with the one before
        if (step + kStages - 1 < steps) cta_load(step + kStages - 1);
        copy_commit();
        const Chunk chunk(segment, step);
        const Stage stage(memory + step % kStages * Stage::bytes);
        const Solution solution(stage, solved);
        cta_solve(solution, shared, stage, chunk.len, scale, l2_eps);
        if (there) {
            OutType* to = out + static_cast<long long>(chunk.first) * out_stride + head * kDValue + at;
            warp_walk_chunk(held, solution, 16 * warp, chunk.len, to, out_stride);
        }
    }
    if (there) warp_store_state(own, held);
}
