Causal attention with multiply-adds in float: any formats, any alignment. A tile of keys is as wide as a warp; a lane has
one key while scores are made and a few columns of the head while values are summed.

//@ kThreads kWarpRows kDim kColumns
constexpr int kThreads = kWarps * 32;
constexpr int kWarpRows = kTileM / kWarps;
constexpr int kDim = ceil_div(kHead, 8) * 8, kColumns = ceil_div(kHead, 32);
static_assert(kTileN == 32, "a lane has a key");

//@ QTile KeyTile ValueTile
using QTile = SmemTile<float, kTileM, kDim, 0>;
// Rows an odd number of 16-byte pieces apart: lanes that read one piece of each row meet different banks.
using KeyTile = SmemTile<float, kTileN, kDim, 4>;
using ValueTile = SmemTile<float, kTileN, kDim, 0>;

//@ warp_scores
// The score of this lane's key under each row of the warp.
__device__ inline void warp_scores(float (&s)[kWarpRows], QTile q, KeyTile k, int warp_row) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) s[r] = 0.0f;
    for (int d = 0; d < kDim; d += 4) {
        const Vec<float, 4> key = load_vec<4>(k.at(lane, d));
#pragma unroll
        for (int r = 0; r < kWarpRows; ++r) {
            const Vec<float, 4> query = load_vec<4>(q.at(warp_row + r, d));
#pragma unroll
            for (int i = 0; i < 4; ++i) s[r] = fmaf(query.at[i], key.at[i], s[r]);
        }
    }
}

//@ attention_simt
extern "C" __global__ void __launch_bounds__(kThreads)
attention_simt(const QType* q, int q_stride, const KType* k, int k_stride, const VType* v, int v_stride,
               const KCacheType* k_cache, long long k_cache_slot, int k_cache_rows, const VCacheType* v_cache,
               const float* k_scale, const float* v_scale, const int* page_table, OutType* out, int out_stride,
               const Segment* segments, float scale) {
    extern __shared__ __align__(128) unsigned char memory[];
    const Work work(segments);
    if (work.idle()) return;
    const int past = work.segment.past;
    const long long start = work.segment.start;
    const int kv_col = work.kv_head * kHead;
    const CacheMap map(page_table, k_cache_slot, k_cache_rows, work.segment.slot, work.kv_head);
    const Rows<KType, KCacheType> keys{k + start * k_stride + kv_col, k_stride, k_cache, k_scale};
    const Rows<VType, VCacheType> values{v + start * v_stride + kv_col, v_stride, v_cache, v_scale};
    const QTile q_tile(memory);
    const KeyTile k_tile(memory + QTile::bytes);
    const ValueTile v_tile(memory + QTile::bytes + KeyTile::bytes);
    cta_load_queries<kThreads>(q_tile, q, q_stride, work);

    const int warp_row = threadIdx.x / 32 * kWarpRows, lane = threadIdx.x % 32;
    const float scale2 = scale * 1.4426950408889634f;
    float sum[kWarpRows][kColumns] = {};
    OnlineSoftmax softmax[kWarpRows];
    for (int first = work.begin; first < work.end; first += kTileN) {
        cta_load_keys<kThreads>(k_tile, keys, map, first, past, work.end);
        cta_load_keys<kThreads>(v_tile, values, map, first, past, work.end);
        copy_commit();
        copy_wait<0>();
        __syncthreads();
        float p[kWarpRows];
        warp_scores(p, q_tile, k_tile, warp_row);
#pragma unroll
        for (int r = 0; r < kWarpRows; ++r) {
            const float score = visible(work.token_of(warp_row + r), first + lane) ? p[r] * scale2 : -infinity();
            const float factor = softmax[r].rise(lanes_max<32>(score));
            p[r] = softmax[r].weight(score);
            softmax[r].sum += p[r];
#pragma unroll
            for (int c = 0; c < kColumns; ++c) sum[r][c] *= factor;
        }
        for (int key = 0; key < kTileN; ++key) {
            float value[kColumns];
#pragma unroll
            for (int c = 0; c < kColumns; ++c) {
                const int col = 32 * c + lane;
                value[c] = col < kHead ? *v_tile.at(key, col) : 0.0f;
            }
#pragma unroll
            for (int r = 0; r < kWarpRows; ++r) {
                const float weight = __shfl_sync(0xffffffffu, p[r], key);
#pragma unroll
                for (int c = 0; c < kColumns; ++c) sum[r][c] = fmaf(weight, value[c], sum[r][c]);
            }
        }
        __syncthreads();  // before the next tile takes the place of this one
    }
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) {
        const int row = warp_row + r;
        const float total = lanes_sum<32>(softmax[r].sum);
        if (!work.has(row)) continue;
        OutType* to = out + static_cast<long long>(work.row_of(row)) * out_stride + work.head_of(row) * kHead;
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
            const int col = 32 * c + lane;
            if (col < kHead) to[col] = from_float<OutType>(sum[r][c] / total);
        }
    }
}
