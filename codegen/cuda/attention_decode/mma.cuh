Decode attention with mma.sync: the query heads of a group are the rows of a 16-row product. Each warp has a ring of its
own for keys and values, so that nobody waits for another warp before the end. fp8 rows are widened in registers.

//@ kNarrow kUnit kHalves
constexpr bool kNarrow = sizeof(KCacheType) == 1;
// Columns that one ldmatrix brings of a row.
constexpr int kUnit = kNarrow ? 32 : 16;
// Of the 16 rows of a product only the first eight are in use with few heads.
constexpr int kHalves = kRows > 8 ? 2 : 1;
static_assert(kDim % kUnit == 0 && kDim >= kHead, "a row is whole products");
static_assert(kRows <= 16, "the heads of a CTA fit the rows of one product");

//@ kMain MainType
// What the products are made of: fp8 becomes f16, which has room for all its digits.
template <bool kWide>
struct kMain { using Type = QType; };
template <>
struct kMain<false> { using Type = f16; };
using MainType = typename kMain<!kNarrow>::Type;

//@ KeyTile QTile Stage
using KeyTile = SmemTile<KCacheType, kTileN, kDim>;
using QTile = SmemTile<MainType, 16, kDim>;
// One stage of a warp's ring.
struct Stage {
    KeyTile k, v;
    float* k_scale;
    float* v_scale;
    static constexpr int bytes = 2 * KeyTile::bytes + (kNarrow ? 8 * kTileN : 0);
    __device__ explicit Stage(unsigned char* at)
        : k(at),
          v(at + KeyTile::bytes),
          k_scale(reinterpret_cast<float*>(at + 2 * KeyTile::bytes)),
          v_scale(k_scale + kTileN) {}
};
static_assert(QTile::bytes <= Stage::bytes, "the queries fit where a stage of keys comes later");

//@ Cache
// Keys and values of one head of one sequence.
struct Cache {
    CacheMap map;
    const KCacheType* k;
    const KCacheType* v;
    const float* k_scale;
    const float* v_scale;
};

//@ warp_load_keys
// The warp begins to load a tile of which the first `left` keys are there; the others become zero. Whole tiles that the
// ring does not cut are one run of memory.
__device__ inline void warp_load_keys(const Stage& to, const Cache& cache, CachePlace place, int left) {
    constexpr int kPieces = kDim / kCopy, kBytes = kCopy * sizeof(KCacheType);
    const int lane = threadIdx.x % 32;
    if (kDim == kHead && left >= kTileN && place.place + kTileN <= cache.map.rows) {
        const long long from = cache.map.element(place, 0) + lane * kCopy;
        const KCacheType* k = cache.k + from;
        const VCacheType* v = cache.v + from;
#pragma unroll
        for (int i = 0; i < kTileN * kPieces / 32; ++i) {
            const int piece = 32 * i + lane;
            copy_async<kBytes>(to.k.at(piece / kPieces, piece % kPieces * kCopy), k + 32 * kCopy * i, kBytes);
            copy_async<kBytes>(to.v.at(piece / kPieces, piece % kPieces * kCopy), v + 32 * kCopy * i, kBytes);
        }
    } else {
#pragma unroll 1
        for (int piece = lane; piece < kTileN * kPieces; piece += 32) {
            const int row = piece / kPieces, col = piece % kPieces * kCopy;
            const bool there = row < left && col < kHead;
            const long long from = there ? cache.map.element(place, row) + col : 0;
            copy_async<kBytes>(to.k.at(row, col), cache.k + from, there ? kBytes : 0);
            copy_async<kBytes>(to.v.at(row, col), cache.v + from, there ? kBytes : 0);
        }
    }
    if constexpr (kNarrow) {
        if (lane < kTileN) {
            const long long from = lane < left ? cache.map.scale(place, lane) : 0;
            copy_async<4>(to.k_scale + lane, cache.k_scale + from, lane < left ? 4 : 0);
            copy_async<4>(to.v_scale + lane, cache.v_scale + from, lane < left ? 4 : 0);
        }
    }
}

//@ kWiden Wide widen_bytes
// Four fp8 values as f16: bytes 0 and 2 in one register, 1 and 3 in the other. Seven bits moved under the exponent are
// the value over 2^8, subnormals included, and kWiden makes that good later; newer architectures convert.
#if __CUDA_ARCH__ >= 890
constexpr float kWiden = 1.0f;
#else
constexpr float kWiden = 256.0f;
#endif
struct Wide { unsigned even, odd; };
__device__ inline Wide widen_bytes(unsigned bytes) {
#if __CUDA_ARCH__ >= 890
    const unsigned sorted = __byte_perm(bytes, 0, 0x3120);
    Wide wide;
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(wide.even) : "h"(static_cast<unsigned short>(sorted)));
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(wide.odd) : "h"(static_cast<unsigned short>(sorted >> 16)));
    return wide;
#else
    return {(bytes << 8 & 0x80008000u) | (bytes << 7 & 0x3f803f80u), (bytes & 0x80008000u) | (bytes >> 1 & 0x3f803f80u)};
#endif
}

//@ cta_load_queries
// Rows beyond the group's heads, and columns beyond the head, become zero.
__device__ inline void cta_load_queries(QTile to, const QType* q, int heads) {
    constexpr int kVec = kAlign >= 8 ? 8 : kAlign;
    for (int piece = threadIdx.x; piece < 16 * (kDim / kVec); piece += kThreads) {
        const int row = piece / (kDim / kVec), col = piece % (kDim / kVec) * kVec;
        float x[kVec] = {};
        if (row < heads && col < kHead) load_floats(x, q + row * kHead + col);
        store_floats(to.at(row, col), x);
    }
}

//@ Queries
// The group's queries as left operands. With fp8 keys, whose fragments hold four neighbouring elements of a row, the
// order of the elements within 16 follows the keys'.
struct Queries {
    unsigned at[kDim / 16][4];
    __device__ explicit Queries(QTile q) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int d = 0; d < kDim / 16; ++d) {
            if constexpr (kNarrow) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const auto four = load_vec<4>(q.at(lane / 4 + 8 * half, 16 * d + lane % 4 * 4));
                    at[d][half] = four.at[0].bits | four.at[2].bits << 16;
                    at[d][half + 2] = four.at[1].bits | four.at[3].bits << 16;
                }
            } else {
                warp_load_a(at[d], q.at(0, 16 * d), QTile::stride);
            }
        }
    }
};

//@ Sums
struct Sums {
    float at[kDim / 8][4] = {};
    OnlineSoftmax softmax[2];
};

//@ sum_column
// Column of element `i` of the j-th 8-column product: fp8 values come as pairs of columns, even ones in one product, odd
// ones in the next.
__device__ inline int sum_column(int j, int i) {
    const int lane = threadIdx.x % 32;
    return kNarrow ? j / 2 * 16 + lane % 4 * 4 + 2 * i + j % 2 : 8 * j + lane % 4 * 2 + i;
}

//@ warp_scores
__device__ inline void warp_scores(float (&s)[kTileN / 8][4], const Queries& q, const Stage& stage) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < kTileN / 16; ++n) {
        unsigned b[4];
        if constexpr (kNarrow) {
#pragma unroll
            for (int d = 0; d < kDim / 32; ++d) {
                warp_load_matrix(b, stage.k.at(16 * n + lane / 16 * 8 + lane % 8, 32 * d + lane / 8 % 2 * 16));
#pragma unroll
                for (int half = 0; half < 2; ++half) {
#pragma unroll
                    for (int step = 0; step < 2; ++step) {
                        const Wide k = widen_bytes(b[2 * half + step]);
                        warp_mma<MainType>(s[2 * n + half], q.at[2 * d + step], k.even, k.odd);
                    }
                }
            }
        } else {
#pragma unroll
            for (int d = 0; d < kDim / 16; ++d) {
                warp_load_b(b, stage.k.at(16 * n, 16 * d), KeyTile::stride);
                warp_mma<MainType>(s[2 * n], q.at[d], b[0], b[1]);
                warp_mma<MainType>(s[2 * n + 1], q.at[d], b[2], b[3]);
            }
        }
    }
}

//@ kLargest
// Weights times the largest value of their row stay in the range of f16; the results are over this.
constexpr float kLargest = 448.0f;

//@ warp_softmax
// Scores of the first `left` keys become weights, the others zero, and the sums so far follow. `scale` is in base 2.
__device__ inline void warp_softmax(float (&s)[kTileN / 8][4], Sums& sum, const Stage& stage, int left, float scale) {
    const int lane = threadIdx.x % 32;
    if constexpr (kNarrow) {
#pragma unroll
        for (int n = 0; n < kTileN / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 2 * kHalves; ++i) s[n][i] *= stage.k_scale[8 * n + lane % 4 * 2 + i % 2] * kWiden;
        }
    }
    if (left < kTileN) {
#pragma unroll
        for (int n = 0; n < kTileN / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 2 * kHalves; ++i) {
                if (8 * n + lane % 4 * 2 + i % 2 >= left) s[n][i] = -infinity();
            }
        }
    }
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
        OnlineSoftmax& row = sum.softmax[half];
        float top = -infinity();
#pragma unroll
        for (int n = 0; n < kTileN / 8; ++n) top = fmaxf(top, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
        const float factor = row.rise(lanes_max<4>(top) * scale);
        const float base = row.base();
#pragma unroll
        for (int n = 0; n < kTileN / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                float& x = s[n][2 * half + i];
                x = exp2_fast(fmaf(x, scale, -base));
                row.sum += x;
            }
        }
        if (__any_sync(0xffffffffu, factor != 1.0f)) {
#pragma unroll
            for (int d = 0; d < kDim / 8; ++d) {
                sum.at[d][2 * half] *= factor;
                sum.at[d][2 * half + 1] *= factor;
            }
        }
    }
    if constexpr (kNarrow) {
#pragma unroll
        for (int n = 0; n < kTileN / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 2 * kHalves; ++i) s[n][i] *= stage.v_scale[8 * n + lane % 4 * 2 + i % 2] * kLargest;
        }
    }
}

//@ warp_values
__device__ inline void warp_values(Sums& sum, const float (&p)[kTileN / 8][4], const Stage& stage) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < kTileN / 16; ++n) {
        unsigned a[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const float(&from)[4] = p[2 * n + i / 2];
            a[i] = i % 2 < kHalves ? pack2<MainType>(from[i % 2 * 2], from[i % 2 * 2 + 1]) : 0;
        }
#pragma unroll
        for (int d = 0; d < kDim / kUnit; ++d) {
            unsigned b[4];
            if constexpr (kNarrow) {
                warp_load_matrix_transposed(b, stage.v.at(16 * n + lane % 16, 32 * d + lane / 16 * 16));
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const Wide low = widen_bytes(b[2 * half]), high = widen_bytes(b[2 * half + 1]);
                    warp_mma<MainType>(sum.at[4 * d + 2 * half], a, low.even, high.even);
                    warp_mma<MainType>(sum.at[4 * d + 2 * half + 1], a, low.odd, high.odd);
                }
            } else {
                warp_load_b_transposed(b, stage.v.at(16 * n, 16 * d), KeyTile::stride);
                warp_mma<MainType>(sum.at[2 * d], a, b[0], b[1]);
                warp_mma<MainType>(sum.at[2 * d + 1], a, b[2], b[3]);
            }
        }
    }
}

//@ attention_decode_mma
extern "C" __global__ void __launch_bounds__(kThreads)
attention_decode_mma(const QType* q, int q_stride, const KCacheType* k_cache, long long k_cache_slot, int k_cache_rows,
                     const VCacheType* v_cache, const float* k_scale, const float* v_scale, const int* page_table,
                     OutType* out, int out_stride, float* partial, float* partial_log, const Segment* segments,
                     int longest_total, float scale) {
    extern __shared__ __align__(128) unsigned char memory[];
    const Split split(segments, longest_total);
    if (split.idle()) return;
    const CacheMap map(page_table, k_cache_slot, k_cache_rows, split.segment.slot, split.kv_head);
    const Cache cache{map, k_cache, v_cache, k_scale, v_scale};
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int tiles = ceil_div(split.end - split.begin, kTileN);
    const int own = max(tiles - warp + kWarps - 1, 0) / kWarps;
    unsigned char* ring = memory + warp * kStages * Stage::bytes;

    // Load: where the next tile lies is looked up while this one is under way.
    const auto first_of = [&](int i) { return split.begin + (warp + i * kWarps) * kTileN; };
    CachePlace place = own > 0 ? map.find(first_of(0)) : CachePlace{0, 0};
    const auto warp_load = [&](int i) {
        if (i < own) {
            warp_load_keys(Stage(ring + i % kStages * Stage::bytes), cache, place, split.end - first_of(i));
            if (i + 1 < own) place = map.find(first_of(i + 1));
        }
        copy_commit();
    };
#pragma unroll
    for (int i = 0; i < kStages - 1; ++i) warp_load(i);
    // The queries pass through the place of the first warp's last stage, which is filled once all have read them.
    const QTile q_tile(memory + (kStages - 1) * Stage::bytes);
    cta_load_queries(q_tile, q + split.row() * q_stride + split.head * kHead, split.heads);
    __syncthreads();
    const Queries queries(q_tile);
    __syncthreads();

    // Compute: each tile frees the stage of the tile before for the copies of a later one.
    const float scale2 = scale * 1.4426950408889634f;
    Sums sum;
    for (int i = 0; i < own; ++i) {
        copy_wait<kStages - 2>();
        __syncwarp();
        warp_load(i + kStages - 1);
        const Stage stage(ring + i % kStages * Stage::bytes);
        float s[kTileN / 8][4] = {};
        warp_scores(s, queries, stage);
        warp_softmax(s, sum, stage, split.end - first_of(i), scale2);
        warp_values(sum, s, stage);
    }

    // Merge, in place of the rings.
    copy_wait<0>();
    __syncthreads();
    const Merge merge(memory);
    const float unit = kNarrow ? kWiden / kLargest : 1.0f;
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
        const int row = lane / 4 + 8 * half;
        const float total = lanes_sum<4>(sum.softmax[half].sum);
        if (row >= kRows) continue;
#pragma unroll
        for (int d = 0; d < kDim / 8; ++d) {
#pragma unroll
            for (int i = 0; i < 2; ++i) merge.row(warp, row)[sum_column(d, i)] = sum.at[d][2 * half + i] * unit;
        }
        if (lane % 4 == 0) {
            merge.tops[warp * kRows + row] = sum.softmax[half].max;
            merge.totals[warp * kRows + row] = total;
        }
    }
    __syncthreads();
    cta_merge(merge, split, partial, partial_log, out, out_stride);
}
