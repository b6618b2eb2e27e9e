What the chunk forms of the gated delta rule on tensor cores share. Keys and queries enter the products as they come, so
their products are exact; norms are factors of rows and columns of the results, in float.

The walk holds S^T: a warp has 16 columns of the values and all of the keys. The sums of one product are then the left
operand of the next, S^T and W^T and the writes never leave the warp's registers, and warps share nothing but tiles in
shared memory.

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
        if constexpr (kOutAlign >= 4) {
            // Neighbouring lanes exchange halves, so that a token's 32 bytes are written at once.
            const bool odd = t % 2 != 0;
            const unsigned other = __shfl_xor_sync(0xffffffffu, odd ? low : high, 1);
            const uint2 four = odd ? make_uint2(other, high) : make_uint2(low, other);
            if (g < left) *reinterpret_cast<uint2*>(to + g * stride + (odd ? 2 * t + 6 : 2 * t)) = four;
        } else if (g < left) {
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

//@ warp_load_state
// `own` is the column g of the first key.
__device__ inline void warp_load_state(State& held, const float* own, bool there) {
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int d = 0; d < kDKey / 8; ++d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) held.at[d][i] = there ? own[(8 * d + 2 * t + i % 2) * kDValue + i / 2 * 8] : 0.0f;
    }
}

//@ warp_store_state
__device__ inline void warp_store_state(float* own, const State& held) {
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int d = 0; d < kDKey / 8; ++d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) own[(8 * d + 2 * t + i % 2) * kDValue + i / 2 * 8] = held.at[d][i];
    }
}

//@ warp_read
// sum += S^T times the keys or queries of a chunk. The state is rounded here and not kept so: registers are few.
__device__ inline void warp_read(float (&sum)[kChunk / 16][2][4], const State& state, KeyTile keys) {
#pragma unroll
    for (int d = 0; d < kDKey / 16; ++d) {
        unsigned before[4];
        pack_left(before, state.at[2 * d], state.at[2 * d + 1]);
#pragma unroll
        for (int m = 0; m < kChunk / 16; ++m) warp_multiply(sum[m], before, keys.at(16 * m, 16 * d), KeyTile::stride);
    }
}

//@ warp_walk_chunk
// One chunk's output and writes. `to` is the warp's first column of the chunk's first token. The tiles are the
// chunk's keys, queries and values, its triangles and its factors.
template <class Tiles>
__device__ inline void warp_walk_chunk(State& state, const Tiles& stage, int col, int len, OutType* to,
                                       long long stride) {
    constexpr int kBlocks = kChunk / 16;
    const int t = threadIdx.x % 4;

    // What the state before the chunk does not explain of the values.
    unsigned rest[kBlocks][4], write[kBlocks][4];
    float out[kBlocks][2][4] = {};
    warp_read(out, state, stage.k);
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
        unsigned values[4];
        warp_load_values(values, stage.v, 16 * m, col);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const Factors* factors = stage.factors + 16 * m + 8 * half + 2 * t;
            float v[4];
            unpack2<VType>(values[2 * half], v[0], v[1]);
            unpack2<VType>(values[2 * half + 1], v[2], v[3]);
#pragma unroll
            for (int i = 0; i < 4; ++i) out[m][half][i] = v[i] - factors[i % 2].read_k * out[m][half][i];
        }
        pack_left(rest[m], out[m][0], out[m][1]);
#pragma unroll
        for (int i = 0; i < 8; ++i) out[m][i / 4][i % 4] = 0.0f;
    }
    warp_read(out, state, stage.q);

    // The output of 16 tokens at a time, and their writes as the state will see them.
#pragma unroll
    for (int d = 0; d < kDKey / 8; ++d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) state.at[d][i] *= stage.factors[0].decay;
    }
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
        float sum[2][4] = {};
#pragma unroll
        for (int j = 0; j <= m; ++j) warp_multiply(sum, rest[j], stage.mix.at(16 * m, 16 * j), TriangleTile::stride);
        pack_left(write[m], sum[0], sum[1]);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const Factors* factors = stage.factors + 16 * m + 8 * half + 2 * t;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                out[m][half][i] *= factors[i % 2].read_q;
                sum[half][i] *= factors[i % 2].write;
            }
        }
#pragma unroll
        for (int j = 0; j <= m; ++j) {
            warp_multiply(out[m], write[j], stage.scores.at(16 * m, 16 * j), TriangleTile::stride);
        }
        warp_store_out(to + 16 * m * stride, stride, out[m][0], len - 16 * m);
        warp_store_out(to + (16 * m + 8) * stride, stride, out[m][1], len - 16 * m - 8);

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
