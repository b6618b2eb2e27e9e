The gated delta rule in chunks with mma.sync on 16-bit operands, in two launches: the first solves all chunks at once, the
second walks along the sequences.

//@ gated_delta_solve
extern "C" __global__ void __launch_bounds__(kSolveThreads)
gated_delta_solve(const QType* q, int q_stride, const KType* k, int k_stride, const float* g, int g_stride,
                  const float* beta, int beta_stride, TriangleType* mix, TriangleType* scores, Factors* factors,
                  const Segment* segments, float scale, float l2_eps) {
    extern __shared__ __align__(128) unsigned char bytes[];
    const KeyTile q_tile(bytes), k_tile(bytes + KeyTile::bytes);
    SolveShared& shared = *reinterpret_cast<SolveShared*>(bytes + 2 * KeyTile::bytes);
    const Chunk chunk(segments[blockIdx.y], blockIdx.x);
    const int head = blockIdx.z;
    if (chunk.len <= 0) return;
    const long long first = chunk.first;
    cta_copy_narrow<kSolveThreads, kAlign>(k_tile, k + first * k_stride + head * kDKey, k_stride, chunk.len, kDKey);
    cta_copy_narrow<kSolveThreads, kAlign>(q_tile, q + first * q_stride + head * kDKey, q_stride, chunk.len, kDKey);
    copy_commit();
    cta_load_decays(shared.decays, g, g_stride, beta, beta_stride, chunk, head);
    copy_wait<0>();
    __syncthreads();
    cta_find_norms(shared.decays, q_tile.base, k_tile.base, KeyTile::stride, scale, l2_eps);
    __syncthreads();

    const Decays& decays = shared.decays;
    const int warp = threadIdx.x / 32;
    for (int unit = warp; unit < 2 * (kChunk / 16); unit += kSolveThreads / 32) {
        if (unit < kChunk / 16) {
            warp_dots(k_tile, k_tile, unit, [&](int i, int j, float first_dot, float second_dot) {
                const float pair[2] = {lower_entry(decays, first_dot, i, j), lower_entry(decays, second_dot, i, j + 1)};
                store_floats(&shared.triangles.lower[i][j], pair);
            });
        } else {
            warp_dots(q_tile, k_tile, unit - kChunk / 16, [&](int i, int j, float first_dot, float second_dot) {
                const float pair[2] = {score_entry(decays, first_dot, i, j), score_entry(decays, second_dot, i, j + 1)};
                if (i < chunk.len) store_floats(scores + ((first + i) * kHeads + head) * kChunk + j, pair);
            });
        }
    }
    __syncthreads();
    cta_invert(shared.triangles);
    cta_store_solution(shared.triangles, decays, mix, factors, chunk, head);
}

//@ Stage
// What the walk takes of one chunk.
struct Stage {
    KeyTile q, k;
    ValueTile v;
    TriangleTile mix, scores;
    Factors* factors;
    static constexpr int bytes =
        2 * KeyTile::bytes + ValueTile::bytes + 2 * TriangleTile::bytes + kChunk * static_cast<int>(sizeof(Factors));
    __device__ explicit Stage(unsigned char* at)
        : q(at), k(at + KeyTile::bytes), v(at + 2 * KeyTile::bytes), mix(at + 2 * KeyTile::bytes + ValueTile::bytes),
          scores(at + 2 * KeyTile::bytes + ValueTile::bytes + TriangleTile::bytes),
          factors(reinterpret_cast<Factors*>(at + bytes) - kChunk) {}
};

//@ gated_delta_chunks
extern "C" __global__ void __launch_bounds__(kThreads)
gated_delta_chunks(const QType* q, int q_stride, const KType* k, int k_stride, const VType* v, int v_stride,
                   const TriangleType* mix, const TriangleType* scores, const Factors* factors, OutType* out,
                   int out_stride, float* state, long long state_slot, const Segment* segments) {
    extern __shared__ __align__(128) unsigned char ring[];
    const Segment segment = segments[blockIdx.y];
    const int head = blockIdx.z, first_col = blockIdx.x * kTileV, steps = ceil_div(segment.len, kChunk);

    const auto cta_load = [&](int step) {
        const Chunk chunk(segment, step);
        const Stage stage(ring + step % kStages * Stage::bytes);
        const long long first = chunk.first, of_head = first * kHeads + head;
        cta_copy_narrow<kThreads, kAlign>(stage.k, k + first * k_stride + head * kDKey, k_stride, chunk.len, kDKey);
        cta_copy_narrow<kThreads, kAlign>(stage.q, q + first * q_stride + head * kDKey, q_stride, chunk.len, kDKey);
        cta_copy_narrow<kThreads, kAlign>(stage.v, v + first * v_stride + head * kDValue + first_col, v_stride,
                                          chunk.len, kDValue - first_col);
        cta_copy_narrow<kThreads, 8>(stage.mix, mix + of_head * kChunk, kHeads * kChunk, chunk.len, kChunk);
        cta_copy_narrow<kThreads, 8>(stage.scores, scores + of_head * kChunk, kHeads * kChunk, chunk.len, kChunk);
        for (int i = threadIdx.x; i < kChunk; i += kThreads) {
            const bool there = i < chunk.len;
            copy_async<16>(stage.factors + i, factors + of_head + (there ? i * kHeads : 0), there ? 16 : 0);
        }
    };

#pragma unroll
    for (int step = 0; step < kStages - 1; ++step) {
        if (step < steps) cta_load(step);
        copy_commit();
    }

    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4;
    const int at = first_col + 16 * warp;  // the warp's first column
    const bool there = at < kDValue;
    float* own = state + segment.slot * state_slot + static_cast<long long>(head) * kDKey * kDValue + at + g;
    State held;
    warp_load_state(held, own, there);

    for (int step = 0; step < steps; ++step) {
        copy_wait<kStages - 2>();
        __syncthreads();
        if (step + kStages - 1 < steps) cta_load(step + kStages - 1);
        copy_commit();
        if (there) {
            const Chunk chunk(segment, step);
            OutType* to = out + static_cast<long long>(chunk.first) * out_stride + head * kDValue + at;
            warp_walk_chunk(held, Stage(ring + step % kStages * Stage::bytes), 16 * warp, chunk.len, to, out_stride);
        }
    }

    if (there) warp_store_state(own, held);
}
