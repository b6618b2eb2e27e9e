The gated delta rule in chunks with mma.sync on 16-bit operands. Keys and queries enter the products as they come, so
their products are exact; norms are factors of rows and columns of the results, in float.

The walk holds S^T: a warp has 16 columns of the values and all of the keys. The sums of one product are then the left
operand of the next, S^T and W^T and the writes never leave the warp's registers, and warps share nothing but the tiles
that come from memory.

//@ kThreads
constexpr int kThreads = kWarps * 32;
static_assert(kTileV == kWarps * 16, "a warp has 16 columns");
static_assert(kDKey % 16 == 0 && kDValue % 16 == 0, "fragments are whole in both widths");

//@ KeyTile TriangleTile ValueTile
using KeyTile = SmemTile<KType, kChunk, kDKey>;
using TriangleTile = SmemTile<TriangleType, kChunk, kChunk>;
using ValueTile = SmemTile<VType, kChunk, kTileV>;

//@ SolveShared
struct SolveShared {
    Triangles triangles;
    Decays decays;
};

//@ warp_dots
// Rows 16 * block .. of the products of `left` with the keys, up to the diagonal, each given to `take`.
template <class Take>
__device__ inline void warp_dots(KeyTile left, KeyTile k, int block, Take take) {
    float sum[kChunk / 8][4] = {};
#pragma unroll
    for (int d = 0; d < kDKey; d += 16) {
        unsigned a[4];
        warp_load_a(a, left.at(16 * block, d), KeyTile::stride);
#pragma unroll
        for (int n = 0; n < kChunk / 16; ++n) {
            if (n > block) continue;
            unsigned b[4];
            warp_load_b(b, k.at(16 * n, d), KeyTile::stride);
            warp_mma<KType>(sum[2 * n], a, b[0], b[1]);
            warp_mma<KType>(sum[2 * n + 1], a, b[2], b[3]);
        }
    }
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < kChunk / 8; ++n) {
        const int i = 16 * block + lane / 4, j = 8 * n + lane % 4 * 2;
        take(i, j, sum[n][0], sum[n][1]);
        take(i + 8, j, sum[n][2], sum[n][3]);
    }
}

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
    cta_copy_tile<kSolveThreads, kAlign>(k_tile, k + first * k_stride + head * kDKey, k_stride, chunk.len, kDKey);
    cta_copy_tile<kSolveThreads, kAlign>(q_tile, q + first * q_stride + head * kDKey, q_stride, chunk.len, kDKey);
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
                shared.triangles.lower[i][j] = lower_entry(decays, first_dot, i, j);
                shared.triangles.lower[i][j + 1] = lower_entry(decays, second_dot, i, j + 1);
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

//@ warp_load_values
// Values of 16 tokens from `token` on and 16 columns from `col` on, transposed: pairs of tokens, as a left operand.
__device__ inline void warp_load_values(unsigned (&out)[4], ValueTile v, int token, int col) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix_transposed(out, v.at(token + lane / 16 * 8 + lane % 8, col + lane / 8 % 2 * 8));
}

//@ unpack2
template <class T>
__device__ inline void unpack2(unsigned both, float& low, float& high) {
    low = to_float(T{static_cast<unsigned short>(both & 0xffff)});
    high = to_float(T{static_cast<unsigned short>(both >> 16)});
}

//@ pack_left
// The sums of two products, 16 x 8 each, as a left operand.
__device__ inline void pack_left(unsigned (&a)[4], const float (&first)[4], const float (&second)[4]) {
    a[0] = pack2<VType>(first[0], first[1]);
    a[1] = pack2<VType>(first[2], first[3]);
    a[2] = pack2<VType>(second[0], second[1]);
    a[3] = pack2<VType>(second[2], second[3]);
}

//@ warp_transpose
// An 8x8 tile of 16-bit values, transposed.
__device__ inline unsigned warp_transpose(unsigned tile) {
    unsigned out;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(out) : "r"(tile));
    return out;
}

//@ warp_multiply
// sum += a b of 16 tokens, b with one row per token: the columns of the result are tokens.
__device__ inline void warp_multiply(float (&sum)[2][4], const unsigned (&a)[4], const VType* b, int stride) {
    unsigned fragment[4];
    warp_load_b(fragment, b, stride);
    warp_mma<VType>(sum[0], a, fragment[0], fragment[1]);
    warp_mma<VType>(sum[1], a, fragment[2], fragment[3]);
}

//@ warp_store_out
// 16 columns (rows of the sums) of 8 tokens; `to` is the first column of the first token, of which `left` are there.
__device__ inline void warp_store_out(OutType* to, long long stride, const float (&sum)[4], int left) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    if constexpr (sizeof(OutType) == 2 && kOutAlign >= 2) {
        const unsigned low = warp_transpose(pack2<OutType>(sum[0], sum[1]));
        const unsigned high = warp_transpose(pack2<OutType>(sum[2], sum[3]));
        if (g < left) {
            *reinterpret_cast<unsigned*>(to + g * stride + 2 * t) = low;
            *reinterpret_cast<unsigned*>(to + g * stride + 2 * t + 8) = high;
        }
    } else {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            if (2 * t + i < left) {
                to[(2 * t + i) * stride + g] = from_float<OutType>(sum[i]);
                to[(2 * t + i) * stride + g + 8] = from_float<OutType>(sum[2 + i]);
            }
        }
    }
}

//@ State
// S^T of a warp: at[n][0], at[n][1] are column g of the values with keys 8n + 2t and 8n + 2t + 1, at[n][2], at[n][3]
// the same of column g + 8.
struct State { float at[kDKey / 8][4]; };

//@ warp_walk_chunk
// One chunk's output and writes. `to` is the warp's first column of the chunk's first token.
__device__ inline void warp_walk_chunk(State& state, const Stage& stage, int col, int len, OutType* to,
                                       long long stride) {
    constexpr int kBlocks = kChunk / 16;
    const int t = threadIdx.x % 4;
    unsigned before[kDKey / 16][4], rest[kBlocks][4], write[kBlocks][4];
#pragma unroll
    for (int d = 0; d < kDKey / 16; ++d) pack_left(before[d], state.at[2 * d], state.at[2 * d + 1]);

    // What the state before the chunk does not explain of the values.
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
        float sum[2][4] = {};
#pragma unroll
        for (int d = 0; d < kDKey / 16; ++d) {
            warp_multiply(sum, before[d], stage.k.at(16 * m, 16 * d), KeyTile::stride);
        }
        unsigned values[4];
        warp_load_values(values, stage.v, 16 * m, col);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const Factors* factors = stage.factors + 16 * m + 8 * half + 2 * t;
            float v[4];
            unpack2<VType>(values[2 * half], v[0], v[1]);
            unpack2<VType>(values[2 * half + 1], v[2], v[3]);
#pragma unroll
            for (int i = 0; i < 4; ++i) sum[half][i] = v[i] - factors[i % 2].read_k * sum[half][i];
        }
        pack_left(rest[m], sum[0], sum[1]);
    }

    // The output of 16 tokens at a time, and their writes as the state will see them.
#pragma unroll
    for (int d = 0; d < kDKey / 8; ++d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) state.at[d][i] *= stage.factors[0].decay;
    }
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
        float sum[2][4] = {}, out[2][4] = {};
#pragma unroll
        for (int j = 0; j <= m; ++j) warp_multiply(sum, rest[j], stage.mix.at(16 * m, 16 * j), TriangleTile::stride);
        pack_left(write[m], sum[0], sum[1]);
#pragma unroll
        for (int d = 0; d < kDKey / 16; ++d) {
            warp_multiply(out, before[d], stage.q.at(16 * m, 16 * d), KeyTile::stride);
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const Factors* factors = stage.factors + 16 * m + 8 * half + 2 * t;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                out[half][i] *= factors[i % 2].read_q;
                sum[half][i] *= factors[i % 2].write;
            }
        }
#pragma unroll
        for (int j = 0; j <= m; ++j) {
            warp_multiply(out, write[j], stage.scores.at(16 * m, 16 * j), TriangleTile::stride);
        }
        warp_store_out(to + 16 * m * stride, stride, out[0], len - 16 * m);
        warp_store_out(to + (16 * m + 8) * stride, stride, out[1], len - 16 * m - 8);

        unsigned faded[4];
        pack_left(faded, sum[0], sum[1]);
#pragma unroll
        for (int d = 0; d < kDKey / 16; ++d) {
            unsigned keys[4];
            warp_load_b_transposed(keys, stage.k.at(16 * m, 16 * d), KeyTile::stride);
            warp_mma<VType>(state.at[2 * d], faded, keys[0], keys[1]);
            warp_mma<VType>(state.at[2 * d + 1], faded, keys[2], keys[3]);
        }
    }
}

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
        cta_copy_tile<kThreads, kAlign>(stage.k, k + first * k_stride + head * kDKey, k_stride, chunk.len, kDKey);
        cta_copy_tile<kThreads, kAlign>(stage.q, q + first * q_stride + head * kDKey, q_stride, chunk.len, kDKey);
        cta_copy_tile<kThreads, kAlign>(stage.v, v + first * v_stride + head * kDValue + first_col, v_stride,
                                        chunk.len, kDValue - first_col);
        cta_copy_tile<kThreads, 8>(stage.mix, mix + of_head * kChunk, kHeads * kChunk, chunk.len, kChunk);
        cta_copy_tile<kThreads, 8>(stage.scores, scores + of_head * kChunk, kHeads * kChunk, chunk.len, kChunk);
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

    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int at = first_col + 16 * warp;  // the warp's first column
    const bool there = at < kDValue;
    float* own = state + segment.slot * state_slot + static_cast<long long>(head) * kDKey * kDValue + at + g;
    State held;
#pragma unroll
    for (int d = 0; d < kDKey / 8; ++d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) held.at[d][i] = there ? own[(8 * d + 2 * t + i % 2) * kDValue + i / 2 * 8] : 0.0f;
    }

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

#pragma unroll
    for (int d = 0; d < kDKey / 8; ++d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if (there) own[(8 * d + 2 * t + i % 2) * kDValue + i / 2 * 8] = held.at[d][i];
        }
    }
}
