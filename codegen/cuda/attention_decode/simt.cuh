Decode attention with multiply-adds in float: any formats, any alignment. A warp has tiles of 32 keys of its own: a lane
has one key while scores are made and a few columns of the head while values are summed, which come straight from memory.

//@ kColumns
constexpr int kColumns = ceil_div(kHead, 32);
static_assert(kTileN == 32, "a lane has a key");

//@ KeyTile QTile
// Rows an odd number of 16-byte pieces apart: lanes that read one piece of each row meet different banks.
using KeyTile = SmemTile<float, kTileN, kDim, 4>;
using QTile = SmemTile<float, kRows, kDim, 0>;

//@ warp_load_keys
__device__ inline void warp_load_keys(KeyTile to, const KCacheType* k_cache, const float* k_scale, const CacheMap& map,
                                      CachePlace place, int left) {
    constexpr int kPieces = kDim / kCopy;
    static_assert(kDim % kCopy == 0 && kHead % kCopy == 0, "a row is whole pieces");
    for (int piece = threadIdx.x % 32; piece < kTileN * kPieces; piece += 32) {
        const int row = piece / kPieces, col = piece % kPieces * kCopy;
        float wide[kCopy] = {};
        if (row < left && col < kHead) {
            load_floats(wide, k_cache + map.element(place, row) + col);
            if constexpr (sizeof(KCacheType) == 1) {
                const float scale = k_scale[map.scale(place, row)];
#pragma unroll
                for (int i = 0; i < kCopy; ++i) wide[i] *= scale;
            }
        }
        store_floats(to.at(row, col), wide);
    }
}

//@ attention_decode_simt
extern "C" __global__ void __launch_bounds__(kThreads)
attention_decode_simt(const QType* q, int q_stride, const KCacheType* k_cache, long long k_cache_slot,
                      int k_cache_rows, const VCacheType* v_cache, const float* k_scale, const float* v_scale,
                      const int* page_table, OutType* out, int out_stride, float* partial, float* partial_log,
                      const Segment* segments, int longest_total, float scale) {
    extern __shared__ __align__(128) unsigned char memory[];
    const Split split(segments, longest_total);
    if (split.idle()) return;
    const CacheMap map(page_table, k_cache_slot, k_cache_rows, split.segment.slot, split.kv_head);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const QTile q_tile(memory);
    const KeyTile k_tile(memory + QTile::bytes + warp * KeyTile::bytes);
    for (int i = threadIdx.x; i < kRows * kDim; i += kThreads) {
        const int row = i / kDim, col = i % kDim;
        const bool there = row < split.heads && col < kHead;
        *q_tile.at(row, col) = there ? to_float(q[split.row() * q_stride + (split.head + row) * kHead + col]) : 0.0f;
    }
    __syncthreads();

    const float scale2 = scale * 1.4426950408889634f;
    float sum[kRows][kColumns] = {};
    OnlineSoftmax softmax[kRows];
    for (int first = split.begin + warp * kTileN; first < split.end; first += kWarps * kTileN) {
        const CachePlace place = map.find(first);
        const int left = min(split.end - first, kTileN);
        __syncwarp();  // whoever still reads the tile before
        warp_load_keys(k_tile, k_cache, k_scale, map, place, left);
        __syncwarp();
        float p[kRows] = {};
        for (int d = 0; d < kDim; d += 4) {
            const Vec<float, 4> key = load_vec<4>(k_tile.at(lane, d));
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                const Vec<float, 4> query = load_vec<4>(q_tile.at(r, d));
#pragma unroll
                for (int i = 0; i < 4; ++i) p[r] = fmaf(query.at[i], key.at[i], p[r]);
            }
        }
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            const float score = lane < left ? p[r] * scale2 : -infinity();
            const float factor = softmax[r].rise(lanes_max<32>(score));
            p[r] = softmax[r].weight(score);
            softmax[r].sum += p[r];
#pragma unroll
            for (int c = 0; c < kColumns; ++c) sum[r][c] *= factor;
        }
        for (int key = 0; key < left; ++key) {
            const VCacheType* row = v_cache + map.element(place, key);
            float value[kColumns], value_scale = 1.0f;
            if constexpr (sizeof(VCacheType) == 1) value_scale = v_scale[map.scale(place, key)];
#pragma unroll
            for (int c = 0; c < kColumns; ++c) {
                const int col = 32 * c + lane;
                value[c] = col < kHead ? to_float(row[col]) * value_scale : 0.0f;
            }
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                const float weight = __shfl_sync(0xffffffffu, p[r], key);
#pragma unroll
                for (int c = 0; c < kColumns; ++c) sum[r][c] = fmaf(weight, value[c], sum[r][c]);
            }
        }
    }

    // Merge, in place of the tiles.
    __syncthreads();
    const Merge merge(memory);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        const float total = lanes_sum<32>(softmax[r].sum);
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
            if (32 * c + lane < kHead) merge.row(warp, r)[32 * c + lane] = sum[r][c];
        }
        if (lane == 0) {
            merge.tops[warp * kRows + r] = softmax[r].max;
            merge.totals[warp * kRows + r] = total;
        }
    }
    __syncthreads();
    cta_merge(merge, split, partial, partial_log, out, out_stride);
}
