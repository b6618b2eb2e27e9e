The scan by chunks of kChunk tokens with mma.sync on 16-bit operands: a CTA has kWidth channels of one head of one
sequence and walks over its chunks. The state stays in float, in the registers of the warps, each with its columns; a
16-bit mirror of it in shared memory is what the tokens read. Tiles come by asynchronous copies.

//@ kThreads kWidth kColumns kBlocks
constexpr int kThreads = kWarps * 32;
constexpr int kWidth = kDHead / kSplit;              // channels of the CTA
constexpr int kColumns = kDState / kWarps;           // columns of the state that a warp holds
constexpr int kBlocks = kChunk / (16 * kWarps);      // blocks of 16 tokens that a warp reads out
static_assert(kWidth % 16 == 0 && kColumns % 16 == 0, "the state is whole products");
static_assert(kChunk % (16 * kWarps) == 0, "a chunk is whole blocks of 16 tokens for every warp");
static_assert(kWidth <= kDState, "results are staged where the tile of C was");

//@ KeyTile ValueTile MirrorTile Stage
using KeyTile = SmemTile<XType, kChunk, kDState>;    // B or C: a row per token
using ValueTile = SmemTile<XType, kChunk, kWidth>;   // x: a row per token
using MirrorTile = SmemTile<XType, kWidth, kDState>; // the state: a row per channel
// What copies bring for one chunk.
struct Stage {
    KeyTile b, c;
    ValueTile x;
    static constexpr int bytes = 2 * KeyTile::bytes + ValueTile::bytes;
    __device__ explicit Stage(unsigned char* at)
        : b(at), c(at + KeyTile::bytes), x(at + 2 * KeyTile::bytes) {}
};

//@ Held
// A warp's columns of the state.
struct Held { float at[kWidth / 16][kColumns / 8][4]; };

//@ warp_mirror
// Rounds the warp's columns of the state into the mirror.
__device__ inline void warp_mirror(MirrorTile to, const Held& held, int first_column) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < kWidth / 16; ++m) {
#pragma unroll
        for (int n = 0; n < kColumns / 8; ++n) {
            const float(&d)[4] = held.at[m][n];
            const int row = 16 * m + lane / 4, col = first_column + 8 * n + lane % 4 * 2;
            *reinterpret_cast<unsigned*>(to.at(row, col)) = pack2<XType>(d[0], d[1]);
            *reinterpret_cast<unsigned*>(to.at(row + 8, col)) = pack2<XType>(d[2], d[3]);
        }
    }
}

//@ cta_weigh
// Each token's values times its step and its decay to the end of the chunk.
__device__ inline void cta_weigh(ValueTile to, ValueTile from, const float* weight) {
    cta_for_pieces_by_rows<kThreads, kChunk, kWidth / 8>([&](int row, int piece) {
        float values[8];
        load_floats(values, from.at(row, 8 * piece));
        const float by = weight[row];
        const uint4 words =
            make_uint4(pack2<XType>(values[0] * by, values[1] * by), pack2<XType>(values[2] * by, values[3] * by),
                       pack2<XType>(values[4] * by, values[5] * by), pack2<XType>(values[6] * by, values[7] * by));
        store_shared(to.at(row, 8 * piece), words);
    });
}

//@ Output
// The results of a warp's block of 16 tokens.
struct Output { float at[kWidth / 8][4] = {}; };

//@ warp_carried
// What the chunks before have left in the state: rows of C times the mirror, decayed.
__device__ inline void warp_carried(Output& y, const unsigned (&keys)[kDState / 16][4], MirrorTile mirror,
                                    const Decays& decays, int block) {
    const int row = 16 * block + static_cast<int>(threadIdx.x) % 32 / 4;
#pragma unroll
    for (int n = 0; n < kDState / 16; ++n) {
#pragma unroll
        for (int p = 0; p < kWidth / 16; ++p) {
            unsigned b[4];
            warp_load_b(b, mirror.at(16 * p, 16 * n), MirrorTile::stride);
            warp_mma<XType>(y.at[2 * p], keys[n], b[0], b[1]);
            warp_mma<XType>(y.at[2 * p + 1], keys[n], b[2], b[3]);
        }
    }
    const float upper = decays.from_start[row], lower = decays.from_start[row + 8];
#pragma unroll
    for (int p = 0; p < kWidth / 8; ++p) {
        y.at[p][0] *= upper;
        y.at[p][1] *= upper;
        y.at[p][2] *= lower;
        y.at[p][3] *= lower;
    }
}

//@ warp_scores
// What the 16 tokens of block `to` take of the 16 tokens of block `from`, as the left operand of a product.
__device__ inline void warp_scores(unsigned (&scores)[4], const unsigned (&keys)[kDState / 16][4], KeyTile b_tile,
                                   const Decays& decays, int to, int from) {
    const int lane = threadIdx.x % 32, row = 16 * to + lane / 4;
    float sum[2][4] = {};
#pragma unroll
    for (int n = 0; n < kDState / 16; ++n) {
        unsigned b[4];
        warp_load_b(b, b_tile.at(16 * from, 16 * n), KeyTile::stride);
        warp_mma<XType>(sum[0], keys[n], b[0], b[1]);
        warp_mma<XType>(sum[1], keys[n], b[2], b[3]);
    }
    const Twofold upper = decays.sum[row], lower = decays.sum[row + 8];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int col = 16 * from + 8 * half + lane % 4 * 2 + i;
            const Twofold at = decays.sum[col];
            const float delta = decays.delta[col];
            // Exponents are at most 0 but for the tokens that come later, which are left out.
            const float high = exp2_fast(fminf(twofold_difference(upper, at), 0.0f)) * delta;
            const float low = exp2_fast(fminf(twofold_difference(lower, at), 0.0f)) * delta;
            sum[half][i] = col <= row ? sum[half][i] * high : 0.0f;
            sum[half][2 + i] = col <= row + 8 ? sum[half][2 + i] * low : 0.0f;
        }
        scores[2 * half] = pack2<XType>(sum[half][0], sum[half][1]);
        scores[2 * half + 1] = pack2<XType>(sum[half][2], sum[half][3]);
    }
}

//@ warp_finish
// Adds the skip, and stores a block of 16 tokens, of which `rows` are there, by way of the warp's own rows of `stage`.
__device__ inline void warp_finish(const Output& y, ValueTile x, KeyTile stage, int block, float skip, OutType* out,
                                   long long out_stride, int rows) {
    const int lane = threadIdx.x % 32;
    __syncwarp();  // all lanes have read the rows
#pragma unroll
    for (int p = 0; p < kWidth / 8; ++p) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int row = 16 * block + 8 * half + lane / 4, col = 8 * p + lane % 4 * 2;
            float values[2];
            load_floats(values, x.at(row, col));
            *reinterpret_cast<unsigned*>(stage.at(row, col)) = pack2<OutType>(
                fmaf(skip, values[0], y.at[p][2 * half]), fmaf(skip, values[1], y.at[p][2 * half + 1]));
        }
    }
    __syncwarp();
    constexpr int kPieces = kWidth / kVec;
#pragma unroll 4
    for (int piece = lane; piece < 16 * kPieces; piece += 32) {
        // As in cta_for_pieces_by_rows.
        const int row = 16 * block + piece / (8 * kPieces) * 8 + piece % 8, col = piece / 8 % kPieces * kVec;
        if (row < rows) store_vec<kVec>(out + row * out_stride + col, load_vec<kVec>(stage.at(row, col)));
    }
}

//@ ssd_mma
extern "C" __global__ void __launch_bounds__(kThreads)
ssd_mma(const XType* __restrict__ x, int x_stride, const BType* __restrict__ b, int b_stride,
        const CType* __restrict__ c, int c_stride, const DtType* __restrict__ dt, int dt_stride,
        const float* __restrict__ dt_bias, const float* __restrict__ a_log, const float* __restrict__ d_skip,
        OutType* __restrict__ out, int out_stride, float* state, long long state_slot,
        const Segment* __restrict__ segments, float dt_min, float dt_max) {
    extern __shared__ __align__(128) unsigned char memory[];
    __shared__ Decays decays;
    const MirrorTile mirror(memory + kStages * Stage::bytes);
    const ValueTile weighed(memory + kStages * Stage::bytes + MirrorTile::bytes);
    const Segment sequence = segments[blockIdx.y];
    if (sequence.len == 0) return;
    const int head = blockIdx.x / kSplit, group = head / (kHeads / kGroups);
    const int channel = head * kDHead + static_cast<int>(blockIdx.x) % kSplit * kWidth;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const float bias = dt_bias[head], rate = decay_rate(a_log[head]), skip = d_skip[head];
    const int chunks = ceil_div(sequence.len, kChunk);

    const auto cta_load = [&](int chunk) {
        const Stage stage(memory + chunk % kStages * Stage::bytes);
        const long long token = sequence.start + chunk * kChunk;
        const int rows = sequence.len - chunk * kChunk;
        cta_copy_tile<kThreads, kVec>(stage.b, b + token * b_stride + group * kDState, b_stride, rows, kDState);
        cta_copy_tile<kThreads, kVec>(stage.c, c + token * c_stride + group * kDState, c_stride, rows, kDState);
        cta_copy_narrow<kThreads, kVec>(stage.x, x + token * x_stride + channel, x_stride, rows, kWidth);
    };
#pragma unroll
    for (int chunk = 0; chunk < kStages - 1; ++chunk) {
        if (chunk < chunks) cta_load(chunk);
        copy_commit();
    }

    float* matrix = state + sequence.slot * state_slot + static_cast<long long>(channel) * kDState;
    const int first_column = warp * kColumns;
    Held held;
#pragma unroll
    for (int m = 0; m < kWidth / 16; ++m) {
#pragma unroll
        for (int n = 0; n < kColumns / 8; ++n) {
            const float* from = matrix + (16 * m + lane / 4) * kDState + first_column + 8 * n + lane % 4 * 2;
            const Vec<float, 2> upper = load_vec<2>(from), lower = load_vec<2>(from + 8 * kDState);
            held.at[m][n][0] = upper.at[0];
            held.at[m][n][1] = upper.at[1];
            held.at[m][n][2] = lower.at[0];
            held.at[m][n][3] = lower.at[1];
        }
    }
    warp_mirror(mirror, held, first_column);

#pragma unroll 1
    for (int chunk = 0; chunk < chunks; ++chunk) {
        const int rows = sequence.len - chunk * kChunk;
        const long long token = sequence.start + chunk * kChunk;
        const Stage stage(memory + chunk % kStages * Stage::bytes);
        if (chunk + kStages - 1 < chunks) cta_load(chunk + kStages - 1);
        copy_commit();
        if (warp == 0) warp_decays(decays, dt + token * dt_stride + head, dt_stride, rows, bias, rate, dt_min, dt_max);
        copy_wait<kStages - 1>();
        __syncthreads();

        // Read out: every token takes from the state before the chunk and from the tokens before it in the chunk.
        cta_weigh(weighed, stage.x, decays.to_end);
#pragma unroll 1
        for (int m = 0; m < kBlocks; ++m) {
            // Later blocks have more before them; warps get early and late ones by turns.
            const int block = m * kWarps + (m % 2 == 0 ? warp : kWarps - 1 - warp);
            unsigned keys[kDState / 16][4];
#pragma unroll
            for (int n = 0; n < kDState / 16; ++n) warp_load_a(keys[n], stage.c.at(16 * block, 16 * n), KeyTile::stride);
            Output y;
            warp_carried(y, keys, mirror, decays, block);
#pragma unroll 1
            for (int from = 0; from <= block; ++from) {
                unsigned scores[4];
                warp_scores(scores, keys, stage.b, decays, block, from);
#pragma unroll
                for (int p = 0; p < kWidth / 16; ++p) {
                    unsigned values[4];
                    warp_load_b_transposed(values, stage.x.at(16 * from, 16 * p), ValueTile::stride);
                    warp_mma<XType>(y.at[2 * p], scores, values[0], values[1]);
                    warp_mma<XType>(y.at[2 * p + 1], scores, values[2], values[3]);
                }
            }
            warp_finish(y, stage.x, stage.c, block, skip, out + token * out_stride + channel, out_stride, rows);
        }
        __syncthreads();

        // Write: the state decays over the chunk and takes each token's values along its B.
        const float decay = decays.from_start[kChunk - 1];
#pragma unroll
        for (int m = 0; m < kWidth / 16; ++m) {
#pragma unroll
            for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) held.at[m][n][i] *= decay;
            }
        }
#pragma unroll
        for (int k = 0; k < kChunk; k += 16) {
            unsigned keys[kColumns / 16][4];
#pragma unroll
            for (int n = 0; n < kColumns / 16; ++n) {
                warp_load_b_transposed(keys[n], stage.b.at(k, first_column + 16 * n), KeyTile::stride);
            }
#pragma unroll
            for (int m = 0; m < kWidth / 16; ++m) {
                unsigned values[4];
                warp_load_a_transposed(values, weighed.at(k, 16 * m), ValueTile::stride);
#pragma unroll
                for (int n = 0; n < kColumns / 16; ++n) {
                    warp_mma<XType>(held.at[m][2 * n], values, keys[n][0], keys[n][1]);
                    warp_mma<XType>(held.at[m][2 * n + 1], values, keys[n][2], keys[n][3]);
                }
            }
        }
        warp_mirror(mirror, held, first_column);
        __syncthreads();
    }

#pragma unroll
    for (int m = 0; m < kWidth / 16; ++m) {
#pragma unroll
        for (int n = 0; n < kColumns / 8; ++n) {
            float* to = matrix + (16 * m + lane / 4) * kDState + first_column + 8 * n + lane % 4 * 2;
            const float(&d)[4] = held.at[m][n];
            store_vec<2>(to, Vec<float, 2>{{d[0], d[1]}});
            store_vec<2>(to + 8 * kDState, Vec<float, 2>{{d[2], d[3]}});
        }
    }
}
