Causal attention with mma.sync on 16-bit operands. Keys and values come by asynchronous copies through a ring of kStages
stages; scores and their weights stay in registers: the sums of one product are the left operand of the next.

//@ kThreads kWarpRows kRowTiles kDim
constexpr int kThreads = kWarps * 32;
constexpr int kWarpRows = kTileM / kWarps, kRowTiles = kWarpRows / 16;
constexpr int kDim = ceil_div(kHead, 16) * 16;
static_assert(kWarpRows % 16 == 0 && kTileN % 16 == 0, "a warp has whole 16 x 16 products");

//@ QTile KeyTile Stage
using QTile = SmemTile<QType, kTileM, kDim>;
using KeyTile = SmemTile<QType, kTileN, kDim>;
// One stage of the ring.
struct Stage {
    KeyTile k, v;
    static constexpr int bytes = 2 * KeyTile::bytes;
    __device__ explicit Stage(unsigned char* at) : k(at), v(at + KeyTile::bytes) {}
};

//@ kQueryInRegisters kQueryAt
// Queries of one 16-row tile stay in registers; their place in shared memory is then the last stage, which is filled
// when they are read.
constexpr bool kQueryInRegisters = kRowTiles == 1 && kDim <= 128;
constexpr int kQueryAt = kQueryInRegisters && QTile::bytes <= Stage::bytes ? (kStages - 1) * Stage::bytes
                                                                           : kStages * Stage::bytes;

//@ Queries
// The queries of a warp as left operands.
struct Queries {
    unsigned held[kQueryInRegisters ? kDim / 16 : 1][4];
    QTile tile;
    int row;
    __device__ Queries(QTile queries, int warp_row) : tile(queries), row(warp_row) {}
    __device__ void hold() {
        if constexpr (kQueryInRegisters) {
#pragma unroll
            for (int d = 0; d < kDim / 16; ++d) warp_load_a(held[d], tile.at(row, 16 * d), QTile::stride);
        }
    }
    __device__ void get(unsigned (&a)[4], int m, int d) const {
        if constexpr (kQueryInRegisters) {
#pragma unroll
            for (int i = 0; i < 4; ++i) a[i] = held[d][i];
        } else {
            warp_load_a(a, tile.at(row + 16 * m, 16 * d), QTile::stride);
        }
    }
};

//@ Scores Sums
// Rows g and g + 8 of each 16-row tile; the columns of a lane are pairs, see warp_mma.
struct Scores { float at[kRowTiles][kTileN / 8][4]; };
struct Sums {
    float at[kRowTiles][kDim / 8][4] = {};
    OnlineSoftmax softmax[kRowTiles][2];
};

//@ warp_scores
__device__ inline void warp_scores(Scores& s, const Queries& q, const KeyTile& k) {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int n = 0; n < kTileN / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) s.at[m][n][i] = 0.0f;
        }
    }
#pragma unroll
    for (int d = 0; d < kDim / 16; ++d) {
        unsigned a[kRowTiles][4];
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) q.get(a[m], m, d);
#pragma unroll
        for (int n = 0; n < kTileN / 16; ++n) {
            unsigned b[4];
            warp_load_b(b, k.at(16 * n, 16 * d), KeyTile::stride);
#pragma unroll
            for (int m = 0; m < kRowTiles; ++m) {
                warp_mma<QType>(s.at[m][2 * n], a[m], b[0], b[1]);
                warp_mma<QType>(s.at[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

//@ warp_mask
// Scores of keys that a row does not see become minus infinity.
__device__ inline void warp_mask(Scores& s, const Work& work, int warp_row, int first_key) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int token = work.token_of(warp_row + 16 * m + 8 * half + lane / 4);
#pragma unroll
            for (int n = 0; n < kTileN / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    const int key = first_key + 8 * n + lane % 4 * 2 + i;
                    if (!visible(token, key)) s.at[m][n][2 * half + i] = -infinity();
                }
            }
        }
    }
}

//@ warp_softmax
// Scores become weights under the rows' new maxima, and the sums so far follow where a maximum rose, which is seldom
// after the first tiles. `scale` is in base 2.
__device__ inline void warp_softmax(Scores& s, Sums& sum, float scale) {
    float factor[kRowTiles][2];
    bool rose = false;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            OnlineSoftmax& row = sum.softmax[m][half];
            float top = -infinity();
#pragma unroll
            for (int n = 0; n < kTileN / 8; ++n) {
                top = fmaxf(top, fmaxf(s.at[m][n][2 * half], s.at[m][n][2 * half + 1]));
            }
            factor[m][half] = row.rise(lanes_max<4>(top) * scale);
            rose = rose || factor[m][half] != 1.0f;
            const float base = row.base();
#pragma unroll
            for (int n = 0; n < kTileN / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float& x = s.at[m][n][2 * half + i];
                    x = exp2_fast(fmaf(x, scale, -base));
                    row.sum += x;
                }
            }
        }
    }
    if (!__any_sync(0xffffffffu, rose)) return;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int d = 0; d < kDim / 8; ++d) {
#pragma unroll
            for (int i = 0; i < 4; ++i) sum.at[m][d][i] *= factor[m][i / 2];
        }
    }
}

//@ warp_values
__device__ inline void warp_values(Sums& sum, const Scores& p, const KeyTile& v) {
#pragma unroll
    for (int k = 0; k < kTileN / 16; ++k) {
        unsigned a[kRowTiles][4];
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
            const auto& s = p.at[m];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                a[m][i] = pack2<QType>(s[2 * k + i / 2][i % 2 * 2], s[2 * k + i / 2][i % 2 * 2 + 1]);
            }
        }
#pragma unroll
        for (int d = 0; d < kDim / 16; ++d) {
            unsigned b[4];
            warp_load_b_transposed(b, v.at(16 * k, 16 * d), KeyTile::stride);
#pragma unroll
            for (int m = 0; m < kRowTiles; ++m) {
                warp_mma<QType>(sum.at[m][2 * d], a[m], b[0], b[1]);
                warp_mma<QType>(sum.at[m][2 * d + 1], a[m], b[2], b[3]);
            }
        }
    }
}

//@ warp_store
// Divides and stores the warp's rows. 16-bit results go by way of the warp's own part of shared memory, so that whole
// pieces are written; pairs of floats fill a sector as they are.
__device__ inline void warp_store(const Sums& sum, QTile staging, const Work& work, int warp_row, OutType* out,
                                  int out_stride) {
    const int lane = threadIdx.x % 32;
    const auto place = [&](int row, int col) {
        return out + static_cast<long long>(work.row_of(row)) * out_stride + work.head_of(row) * kHead + col;
    };
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int row = warp_row + 16 * m + 8 * half + lane / 4;
            const float total = lanes_sum<4>(sum.softmax[m][half].sum);
            const float factor = total > 0.0f ? 1.0f / total : 0.0f;
#pragma unroll
            for (int d = 0; d < kDim / 8; ++d) {
                const int col = 8 * d + lane % 4 * 2;
                const float pair[2] = {sum.at[m][d][2 * half] * factor, sum.at[m][d][2 * half + 1] * factor};
                if constexpr (kSame<OutType, float>) {
                    if (work.has(row) && col < kHead) store_floats(place(row, col), pair);
                } else {
                    *reinterpret_cast<unsigned*>(staging.at(row, col)) = pack2<OutType>(pair[0], pair[1]);
                }
            }
        }
    }
    if constexpr (!kSame<OutType, float>) {
        __syncwarp();
        constexpr int kPieces = kHead / kCopy;
#pragma unroll
        for (int piece = lane; piece < kWarpRows * kPieces; piece += 32) {
            const int row = warp_row + piece / kPieces, col = piece % kPieces * kCopy;
            if (!work.has(row)) continue;
            store_vec<kCopy>(reinterpret_cast<QType*>(place(row, col)), load_vec<kCopy>(staging.at(row, col)));
        }
    }
}

//@ attention_mma
extern "C" __global__ void __launch_bounds__(kThreads)
attention_mma(const QType* q, int q_stride, const QType* k, int k_stride, const QType* v, int v_stride,
              const KCacheType* k_cache, long long k_cache_slot, int k_cache_rows, const VCacheType* v_cache,
              const float* k_scale, const float* v_scale, const int* page_table, OutType* out, int out_stride,
              const Segment* segments, float scale) {
    extern __shared__ __align__(128) unsigned char memory[];
    const Work work(segments);
    if (work.idle()) return;
    const int past = work.segment.past, tiles = ceil_div(work.end - work.begin, kTileN);
    const long long start = work.segment.start;
    const int kv_col = work.kv_head * kHead;
    const CacheMap map(page_table, k_cache_slot, k_cache_rows, work.segment.slot, work.kv_head);
    const Rows<QType, KCacheType> keys{k + start * k_stride + kv_col, k_stride, k_cache, k_scale};
    const Rows<QType, VCacheType> values{v + start * v_stride + kv_col, v_stride, v_cache, v_scale};

    // Keys and values of a stage are groups of their own: the values may still be under way when the scores are made.
    const auto cta_load = [&](int tile) {
        const Stage stage(memory + tile % kStages * Stage::bytes);
        const int first = work.begin + tile * kTileN;
        if (tile < tiles) cta_load_keys<kThreads>(stage.k, keys, map, first, past, work.end);
        copy_commit();
        if (tile < tiles) cta_load_keys<kThreads>(stage.v, values, map, first, past, work.end);
        copy_commit();
    };

    const int warp_row = threadIdx.x / 32 * kWarpRows;
    Queries queries(QTile(memory + kQueryAt), warp_row);
    cta_load_queries<kThreads>(queries.tile, q, q_stride, work);
    copy_commit();
#pragma unroll
    for (int tile = 0; tile < kStages - 1; ++tile) cta_load(tile);
    copy_wait<2 * (kStages - 1)>();
    __syncthreads();
    queries.hold();

    // The tokens of this warp decide which tiles it needs, and which of them whole.
    const int oldest = work.token_of(warp_row), newest = min(work.token_of(warp_row + kWarpRows - 1), work.end - 1);
    const float scale2 = scale * 1.4426950408889634f;
    Sums sum;
    for (int tile = 0; tile < tiles; ++tile) {
        const int first = work.begin + tile * kTileN, last = first + kTileN - 1;
        const bool needed = oldest < work.end && first <= newest && (kWindow == 0 || last > oldest - kWindow);
        const Stage stage(memory + tile % kStages * Stage::bytes);
        Scores scores;
        copy_wait<2 * (kStages - 2) + 1>();
        __syncthreads();
        cta_load(tile + kStages - 1);
        if (needed) {
            warp_scores(scores, queries, stage.k);
            if (last > oldest || (kWindow > 0 && first <= newest - kWindow)) warp_mask(scores, work, warp_row, first);
            warp_softmax(scores, sum, scale2);
        }
        copy_wait<2 * (kStages - 1)>();
        __syncthreads();
        if (needed) warp_values(sum, scores, stage.v);
    }

    // The ring is free when all warps are through.
    copy_wait<0>();
    __syncthreads();
    warp_store(sum, QTile(memory), work, warp_row, out, out_stride);
}
