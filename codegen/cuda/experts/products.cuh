The matrix products of the experts, whichever form multiplies. A CTA takes one tile of sorted rows after another; most
experts have few rows or none, so what is launched is a guess of their number and each CTA goes on while there are more.

//@ XRow
// Row r of a tile begins at `base + sources[r] * stride`; there is none where the source is negative.
template <class T>
struct XRow {
    const T* base;
    const int* sources;
    long long stride;
    __device__ const T* operator()(int r) const { return sources[r] < 0 ? nullptr : base + sources[r] * stride; }
};

//@ OneMatrix
// Rows of the weights from column `first` of the product on.
struct OneMatrix {
    const WeightType* base;
    long long stride;
    int left;  // columns of the product from the first on
    __device__ const WeightType* operator()(int r) const { return r < left ? base + r * stride : nullptr; }
};

//@ TwoMatrices
// Two matrices with their rows interleaved as the form wants to meet them.
struct TwoMatrices {
    OneMatrix up, gate;
    __device__ const WeightType* operator()(int r) const {
        const GatedRow row(r);
        return row.of_gate ? gate(row.col) : up(row.col);
    }
};

//@ cta_up
template <bool kGated>
__device__ inline void cta_up(const XType* x, int x_stride, const WeightType* up, int up_stride, const WeightType* gate,
                              int gate_stride, const int* starts, const int* pairs, XType* inner) {
    extern __shared__ __align__(128) unsigned char memory[];
    __shared__ int sources[kTileM];
    const int first_col = blockIdx.y * (kGated ? kTileN / 2 : kTileN), left = kHidden - first_col;
    int index = blockIdx.x;
    for (Tile tile = warp_find_tile(starts, index); tile.there(); tile = warp_find_tile(starts, index += gridDim.x)) {
        __syncthreads();  // the tile before is done with
        for (int r = threadIdx.x; r < kTileM; r += kThreads) {
            sources[r] = tile.first + r < tile.end ? pairs[tile.first + r] / kTopK : -1;
        }
        __syncthreads();
        const long long top = static_cast<long long>(tile.expert) * kHidden + first_col;
        const XRow<XType> rows{x, sources, x_stride};
        const OneMatrix of_up{up + top * up_stride, up_stride, left};
        const auto keep = [&](int row, int col, float value, float by_gate) {
            if (tile.first + row < tile.end && col < left) {
                const long long at = static_cast<long long>(tile.first + row) * kInnerStride + first_col + col;
                inner[at] = from_float<XType>(activate(value, by_gate));
            }
        };
        Sums sum;
        if constexpr (kGated) {
            const OneMatrix of_gate{gate + top * gate_stride, gate_stride, left};
            cta_multiply<kWidth, kXVec>(sum, memory, rows, TwoMatrices{of_up, of_gate});
            for_each_pair(sum, keep);
        } else {
            cta_multiply<kWidth, kXVec>(sum, memory, rows, of_up);
            for_each_sum(sum, [&](int row, int col, float value) { keep(row, col, value, 0.0f); });
        }
    }
}

//@ experts_up
extern "C" __global__ void __launch_bounds__(kThreads)
experts_up(const XType* x, int x_stride, const WeightType* up, int up_stride, const int* starts, const int* pairs,
           XType* inner) {
    cta_up<false>(x, x_stride, up, up_stride, nullptr, 0, starts, pairs, inner);
}

//@ experts_gated_up
extern "C" __global__ void __launch_bounds__(kThreads)
experts_gated_up(const XType* x, int x_stride, const WeightType* up, int up_stride, const WeightType* gate,
                 int gate_stride, const int* starts, const int* pairs, XType* inner) {
    cta_up<true>(x, x_stride, up, up_stride, gate, gate_stride, starts, pairs, inner);
}

//@ experts_down
// Each sorted row's answer goes to the place of its pair, so that a token's answers lie side by side.
extern "C" __global__ void __launch_bounds__(kThreads)
experts_down(const XType* inner, const WeightType* down, int down_stride, const int* starts, const int* pairs,
             float* answers) {
    extern __shared__ __align__(128) unsigned char memory[];
    __shared__ int sources[kTileM];
    const int first_col = blockIdx.y * kTileN, left = kWidth - first_col;
    int index = blockIdx.x;
    for (Tile tile = warp_find_tile(starts, index); tile.there(); tile = warp_find_tile(starts, index += gridDim.x)) {
        __syncthreads();  // the tile before is done with
        for (int r = threadIdx.x; r < kTileM; r += kThreads) {
            sources[r] = tile.first + r < tile.end ? tile.first + r : -1;
        }
        __syncthreads();
        const long long top = static_cast<long long>(tile.expert) * kWidth + first_col;
        Sums sum;
        cta_multiply<kHidden, 16 / sizeof(XType)>(sum, memory, XRow<XType>{inner, sources, kInnerStride},
                                                  OneMatrix{down + top * down_stride, down_stride, left});
        for_each_sum(sum, [&](int row, int col, float value) {
            if (tile.first + row < tile.end && col < left) {
                answers[static_cast<long long>(pairs[tile.first + row]) * kAnswerStride + first_col + col] = value;
            }
        });
    }
}
