What becomes of the sums of a matrix product, whichever form made them.

//@ Results
// Where the results go, and what the sums meet on the way. Of a gated product there are kHalves = 2 sums for a result:
// the rows of the gate stand first in the weights, then those of what it lets through.
struct Results {
    const float* row_scale;     // a value per row
    const float* column_scale;  // a value per row of the weights
    const float* bias;          // the same
    OutType* out;
    long long out_stride;
    int rows;
    __device__ OutType* at(int row, int col) const { return out + row * out_stride + col; }
};

//@ kScaleBlocks BlockScales
constexpr int kScaleBlocks = kScaleBlock > 0 ? ceil_div(kK, kScaleBlock) : 0;
// Scales of operands in fp8: for each kScaleBlock values of k one of every row of x, and one of kScaleBlock rows of the
// weights together. The sums over such a block are scaled when they are added up.
struct BlockScales {
    const float* x;       // block by block, one after the other for all rows
    const float* weight;  // kScaleBlocks for each block of rows
    int rows;
    __device__ float of_x(int block, int row) const {
        return row < rows ? x[static_cast<long long>(block) * rows + row] : 0.0f;
    }
    __device__ float of_weight(int block, int row) const { return weight[row / kScaleBlock * kScaleBlocks + block]; }
};

//@ settle
// One result from its sums: the scales, the bias, the activation.
__device__ inline float settle(float (&sum)[kHalves], int row, int col, const Results& to) {
#pragma unroll
    for (int h = 0; h < kHalves; ++h) {
        if constexpr (kRowScale) sum[h] *= to.row_scale[row];
        if constexpr (kColumnScale) sum[h] *= to.column_scale[h * kN + col];
        if constexpr (kBias) sum[h] += to.bias[h * kN + col];
    }
    return activated(sum);
}

//@ column_pair
// The values of two neighbouring columns; those beyond the output keep theirs.
__device__ inline void column_pair(float (&to)[2], const float* from, int col) {
    if constexpr (kN % 2 == 0) {
        if (col < kN) load_floats(to, from + col);
    } else {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            if (col + i < kN) to[i] = from[col + i];
        }
    }
}

//@ warp_settle
// A warp's sums as its products left them become results, in place: this lane's rows `row` and `row` + 8 in kBlocks
// blocks of eight columns from `first_col` on, the pairs of block b from sum[4 * b] on. With a gate, the first half of
// the blocks has its sums and gets the results.
template <int kBlocks>
__device__ inline void warp_settle(float* sum, int row, int first_col, const Results& to) {
    static_assert(kBlocks % kHalves == 0, "a warp has both sums of a result");
    constexpr int kOut = kBlocks / kHalves;
    float scale[2] = {1.0f, 1.0f};
    if constexpr (kRowScale) {
        if (row < to.rows) scale[0] = to.row_scale[row];
        if (row + 8 < to.rows) scale[1] = to.row_scale[row + 8];
    }
#pragma unroll
    for (int block = 0; block < kOut; ++block) {
        const int col = first_col + 8 * block + threadIdx.x % 4 * 2;
        float bias[kHalves][2] = {}, column[kHalves][2] = {};
#pragma unroll
        for (int h = 0; h < kHalves; ++h) {
            if constexpr (kColumnScale) column_pair(column[h], to.column_scale + h * kN, col);
            if constexpr (kBias) column_pair(bias[h], to.bias + h * kN, col);
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float own[kHalves];
#pragma unroll
            for (int h = 0; h < kHalves; ++h) {
                own[h] = sum[4 * (block + h * kOut) + i];
                if constexpr (kRowScale) own[h] *= scale[i / 2];
                if constexpr (kColumnScale) own[h] *= column[h][i % 2];
                if constexpr (kBias) own[h] += bias[h][i % 2];
            }
            sum[4 * block + i] = activated(own);
        }
    }
}

//@ finish
// One result: what the output holds, then the rounding.
__device__ inline void finish(float result, int row, int col, const Results& to) {
    if (row >= to.rows || col >= kN) return;
    if constexpr (kAccumulate) result += to_float(*to.at(row, col));
    *to.at(row, col) = from_float<OutType>(result);
}

//@ finish_pair
// Two neighbouring results, the first in an even column.
__device__ inline void finish_pair(float first, float second, int row, int col, const Results& to) {
    if constexpr (kN % 2 != 0 || kOutAlign < 2) {
        finish(first, row, col, to);
        finish(second, row, col + 1, to);
    } else {
        if (row >= to.rows || col >= kN) return;
        float pair[2] = {first, second};
        if constexpr (kAccumulate) {
            float held[2];
            load_floats(held, to.at(row, col));
            pair[0] += held[0];
            pair[1] += held[1];
        }
        store_floats(to.at(row, col), pair);
    }
}

//@ quad_transpose
// The four lanes of a quad exchange words: lane q gives word j to lane j, and what lane i gave it is then word i.
__device__ inline void quad_transpose(unsigned (&word)[4]) {
#pragma unroll
    for (int bit = 1; bit <= 2; bit *= 2) {
        const bool high = threadIdx.x & bit;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if (i & bit) continue;
            const unsigned got = __shfl_xor_sync(~0u, high ? word[i] : word[i + bit], bit);
            word[i] = high ? got : word[i];
            word[i + bit] = high ? word[i + bit] : got;
        }
    }
}

//@ kWhole
// Whether eight neighbouring columns of the output are one aligned access of 16 bytes.
constexpr bool kWhole = sizeof(OutType) == 2 && kOutAlign % 8 == 0 && kN % 8 == 0;

//@ quad_finish
// Four neighbouring blocks of eight columns of one row, from pair[b] of each lane for block b. Lane q of the quad reads
// and writes all of block q, so that a quad's accesses are whole sectors.
template <class T>
__device__ inline void quad_finish(float (&pair)[4][2], int row, int first_col, T* out, long long out_stride,
                                   int rows) {
    const int col = first_col + threadIdx.x % 4 * 8;
    const bool there = row < rows && col < kN;
    uint4* to = reinterpret_cast<uint4*>(out + row * out_stride + col);
    if constexpr (kAccumulate) {
        const uint4 held = there ? *to : uint4{};
        unsigned word[4] = {held.x, held.y, held.z, held.w};
        quad_transpose(word);
#pragma unroll
        for (int b = 0; b < 4; ++b) {
            pair[b][0] += to_float(T{static_cast<unsigned short>(word[b])});
            pair[b][1] += to_float(T{static_cast<unsigned short>(word[b] >> 16)});
        }
    }
    unsigned word[4];
#pragma unroll
    for (int b = 0; b < 4; ++b) word[b] = pack2<T>(pair[b][0], pair[b][1]);
    quad_transpose(word);
    if (there) *to = uint4{word[0], word[1], word[2], word[3]};
}

//@ warp_finish
// Settles a warp's sums and stores them, see warp_settle. All lanes of the warp call it.
template <int kBlocks>
__device__ inline void warp_finish(float* sum, int row, int first_col, const Results& to) {
    warp_settle<kBlocks>(sum, row, first_col, to);
    constexpr int kOut = kBlocks / kHalves, kTogether = kWhole && kOut % 4 == 0 ? 4 : 1;
#pragma unroll
    for (int block = 0; block < kOut; block += kTogether) {
        if constexpr (kTogether == 1) {
            const float* d = sum + 4 * block;
            const int col = first_col + 8 * block + threadIdx.x % 4 * 2;
            finish_pair(d[0], d[1], row, col, to);
            finish_pair(d[2], d[3], row + 8, col, to);
        } else {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float pair[4][2];
#pragma unroll
                for (int b = 0; b < 4; ++b) {
                    pair[b][0] = sum[4 * (block + b) + 2 * half];
                    pair[b][1] = sum[4 * (block + b) + 2 * half + 1];
                }
                quad_finish(pair, row + 8 * half, first_col + 8 * block, to.out, to.out_stride, to.rows);
            }
        }
    }
}

//@ kVec
// Neighbouring results of one access.
constexpr int kVec = kOutAlign % 4 == 0 && kN % 4 == 0 ? 4 : 1;

//@ store_row
// Neighbouring results in one access.
template <class T>
__device__ inline void store_row(T* to, const float (&result)[kVec]) {
    if constexpr (kSame<T, float>) {
        store_global(to, result);
    } else {
        store_floats(to, result);
    }
}

//@ finish_vec
// kVec neighbouring results from their sums.
__device__ inline void finish_vec(const float (&sum)[kHalves][kVec], int row, int col, const Results& to) {
    float result[kVec];
#pragma unroll
    for (int i = 0; i < kVec; ++i) {
        float own[kHalves];
#pragma unroll
        for (int h = 0; h < kHalves; ++h) own[h] = sum[h][i];
        result[i] = settle(own, row, col + i, to);
    }
    if constexpr (kAccumulate) {
        float held[kVec];
        load_floats(held, to.at(row, col));
#pragma unroll
        for (int i = 0; i < kVec; ++i) result[i] += held[i];
    }
    store_row(to.at(row, col), result);
}

//@ kTileOut
// Columns of the output in a tile.
constexpr int kTileOut = kTileN / kHalves;
static_assert(kTileN % kHalves == 0 && kTileOut % 4 == 0, "a tile has whole accesses of results");

//@ Parts
// Sums of a CTA's tile in shared memory, a layer for each of kLayers groups of warps that share k.
struct Parts {
    static constexpr int stride = kTileN + kPartPad, layer = kTileM * stride;
    float* base;
    __device__ explicit Parts(void* at) : base(static_cast<float*>(at)) {}
    __device__ float* at(int which, int row, int half, int col) const {
        return base + which * layer + row * stride + half * kTileOut + col;
    }
};

//@ partial_sum
// Where the sums of one range of k lie until the second entry takes them.
__device__ inline float* partial_sum(float* partial, int split, int row, int half, int col, int rows) {
    return partial + ((static_cast<long long>(split) * rows + row) * kHalves + half) * kN + col;
}

//@ cta_finish
// The results of a tile from the parts that the warps have written, all ranges of k together: the CTAs of a cluster take
// a share of the tile each, and without clusters a second entry does it. The order of the sums is fixed.
__device__ inline void cta_finish(const Parts& parts, int first_row, int first_col, float* partial,
                                  const Results& to) {
    constexpr int kAcross = kTileOut / kVec, kItems = kTileM * kAcross, kRanks = kCluster ? kSplits : 1;
    constexpr int kShare = ceil_div(kItems, kRanks);
    const int begin = kCluster ? static_cast<int>(blockIdx.z) * kShare : 0, end = min(begin + kShare, kItems);
    if constexpr (kCluster) {
        cluster_sync();
    } else {
        __syncthreads();
    }
    for (int item = begin + threadIdx.x; item < end; item += kThreads) {
        const int own_row = item / kAcross, own_col = item % kAcross * kVec;
        const int row = first_row + own_row, col = first_col + own_col;
        if (row >= to.rows || col >= kN) continue;
        float sum[kHalves][kVec] = {};
#pragma unroll
        for (int rank = 0; rank < kRanks; ++rank) {
#pragma unroll
            for (int which = 0; which < kLayers; ++which) {
#pragma unroll
                for (int h = 0; h < kHalves; ++h) {
                    const float* from = parts.at(which, own_row, h, own_col);
                    float part[kVec];
                    if constexpr (kCluster) {
                        cluster_load(part, from, rank);
                    } else {
                        load_floats(part, from);
                    }
#pragma unroll
                    for (int i = 0; i < kVec; ++i) sum[h][i] += part[i];
                }
            }
        }
        if constexpr (kSplits > 1 && !kCluster) {
#pragma unroll
            for (int h = 0; h < kHalves; ++h) {
                store_global(partial_sum(partial, blockIdx.z, row, h, col, to.rows), sum[h]);
            }
        } else {
            finish_vec(sum, row, col, to);
        }
    }
    // Nobody leaves while others read from it.
    if constexpr (kCluster) cluster_sync();
}

//@ kCombineThreads
// Threads of the second entry.
constexpr int kCombineThreads = 128;

//@ gemm_combine
// Adds the ranges of k up, one after the other.
extern "C" __global__ void __launch_bounds__(kCombineThreads)
gemm_combine(const float* partial, const float* row_scale, const float* column_scale, const float* bias, OutType* out,
             int out_stride, int rows) {
    const Results to{row_scale, column_scale, bias, out, out_stride, rows};
    const int row = blockIdx.x, col = (blockIdx.y * kCombineThreads + threadIdx.x) * kVec;
    if (col >= kN) return;
    float sum[kHalves][kVec] = {};
#pragma unroll
    for (int split = 0; split < kSplits; ++split) {
#pragma unroll
        for (int h = 0; h < kHalves; ++h) {
            float part[kVec];
            load_floats(part, partial_sum(const_cast<float*>(partial), split, row, h, col, rows));
#pragma unroll
            for (int i = 0; i < kVec; ++i) sum[h][i] += part[i];
        }
    }
    finish_vec(sum, row, col, to);
}
