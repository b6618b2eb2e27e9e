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
