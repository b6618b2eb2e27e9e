What becomes of the sums of a matrix product, whichever form made them.

//@ finish
// One element of the output: the bias, then what the output holds, then the rounding.
__device__ inline void finish(float sum, int row, int col, const float* bias, OutType* out, long long out_stride,
                              int rows) {
    if (row >= rows || col >= kN) return;
    OutType* to = out + row * out_stride + col;
    if constexpr (kBias) sum += bias[col];
    if constexpr (kAccumulate) sum += to_float(*to);
    *to = from_float<OutType>(sum);
}

//@ finish_pair
// Two neighbouring elements, the first in an even column.
__device__ inline void finish_pair(float first, float second, int row, int col, const float* bias, OutType* out,
                                   long long out_stride, int rows) {
    if constexpr (kN % 2 != 0 || kOutAlign < 2) {
        finish(first, row, col, bias, out, out_stride, rows);
        finish(second, row, col + 1, bias, out, out_stride, rows);
    } else {
        if (row >= rows || col >= kN) return;
        OutType* to = out + row * out_stride + col;
        float pair[2] = {first, second};
        if constexpr (kBias) {
            pair[0] += bias[col];
            pair[1] += bias[col + 1];
        }
        if constexpr (kAccumulate) {
            float held[2];
            load_floats(held, to);
            pair[0] += held[0];
            pair[1] += held[1];
        }
        store_floats(to, pair);
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
// A warp's sums as its products left them: this lane's rows `row` and `row` + 8 in kBlocks blocks of eight columns from
// `first_col` on, the pairs of block b from sum[4 * b] on. All lanes of the warp call it.
template <int kBlocks>
__device__ inline void warp_finish(const float* sum, int row, int first_col, const float* bias, OutType* out,
                                   long long out_stride, int rows) {
    constexpr int kTogether = kWhole && kBlocks % 4 == 0 ? 4 : 1;
    const int lane_col = first_col + threadIdx.x % 4 * 2;
#pragma unroll
    for (int block = 0; block < kBlocks; block += kTogether) {
        if constexpr (kTogether == 1) {
            const float* d = sum + 4 * block;
            finish_pair(d[0], d[1], row, lane_col + 8 * block, bias, out, out_stride, rows);
            finish_pair(d[2], d[3], row + 8, lane_col + 8 * block, bias, out, out_stride, rows);
        } else {
            float added[4][2] = {};
            if constexpr (kBias) {
#pragma unroll
                for (int b = 0; b < 4; ++b) {
                    const int col = lane_col + 8 * (block + b);
                    if (col < kN) load_floats(added[b], bias + col);
                }
            }
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float pair[4][2];
#pragma unroll
                for (int b = 0; b < 4; ++b) {
                    pair[b][0] = sum[4 * (block + b) + 2 * half] + added[b][0];
                    pair[b][1] = sum[4 * (block + b) + 2 * half + 1] + added[b][1];
                }
                quad_finish(pair, row + 8 * half, first_col + 8 * block, out, out_stride, rows);
            }
        }
    }
}
