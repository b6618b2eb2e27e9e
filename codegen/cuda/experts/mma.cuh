mma.sync on 16-bit operands, rows gathered by asynchronous copies through a ring of kStages stages.

//@ kThreads
constexpr int kThreads = kWarpsM * kWarpsN * 32;

//@ Sums
using Sums = Accumulators;

//@ GatedRow
// Half of each warp's columns is of the one matrix, half of the other, so that a thread has both sums of a place.
struct GatedRow {
    bool of_gate;
    int col;
    __device__ explicit GatedRow(int r)
        : of_gate(r % kWarpCols >= kWarpCols / 2), col(r / kWarpCols * (kWarpCols / 2) + r % (kWarpCols / 2)) {}
};

//@ cta_copy_rows
// All threads begin to copy a tile whose rows lie anywhere; columns from `cols` on and rows that are not there become
// zero.
template <int kVec, class T, int kRows, int kCols, int kPad, class RowAt>
__device__ inline void cta_copy_rows(SmemTile<T, kRows, kCols, kPad> to, RowAt row_at, int k, int cols, const T* any) {
    constexpr int kPieces = kCols / kVec;
#pragma unroll
    for (int piece = threadIdx.x; piece < kRows * kPieces; piece += kThreads) {
        const int row = piece / kPieces, col = piece % kPieces * kVec;
        const T* from = row_at(row);
        const int left = from != nullptr ? min(max(cols - k - col, 0), kVec) : 0;
        // A copy of nothing still names an address.
        const T* source = left > 0 ? from + k + col : any;
        copy_async<kVec * sizeof(T)>(to.at(row, col), source, left * static_cast<int>(sizeof(T)));
    }
}

//@ cta_multiply
template <int kDepth, int kVec, class RowOfX, class RowOfWeight>
__device__ inline void cta_multiply(Sums& sum, unsigned char* memory, RowOfX x_row, RowOfWeight weight_row) {
    constexpr int kSteps = ceil_div(kDepth, kTileK);
    // The first row is always there.
    const XType* any_x = x_row(0);
    const WeightType* any_weight = weight_row(0);
    const auto cta_fill = [&](int step) {
        const Stage stage(memory + step % kStages * Stage::bytes);
        cta_copy_rows<kVec>(stage.x, x_row, step * kTileK, kDepth, any_x);
        cta_copy_rows<8>(stage.weight, weight_row, step * kTileK, kDepth, any_weight);
    };
#pragma unroll
    for (int step = 0; step < kStages - 1; ++step) {
        if (step < kSteps) cta_fill(step);
        copy_commit();
    }
    const int warp = threadIdx.x / 32;
    const int warp_row = warp % kWarpsM * kWarpRows, warp_col = warp / kWarpsM * kWarpCols;
    const LanePlace place(memory, warp_row, warp_col);
    for (int step = 0; step < kSteps; ++step) {
        copy_wait<kStages - 2>();
        __syncthreads();
        if (step + kStages - 1 < kSteps) cta_fill(step + kStages - 1);
        copy_commit();
        warp_multiply(sum, place, step % kStages * Stage::bytes);
    }
}

//@ for_each_sum
template <class Take>
__device__ inline void for_each_sum(const Sums& sum, Take take) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int first_row = warp % kWarpsM * kWarpRows + lane / 4, first_col = warp / kWarpsM * kWarpCols + lane % 4 * 2;
#pragma unroll
    for (int m = 0; m < kWarpRows / 16; ++m) {
#pragma unroll
        for (int n = 0; n < kWarpCols / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                take(first_row + 16 * m + i / 2 * 8, first_col + 8 * n + i % 2, sum.at[m][n][i]);
            }
        }
    }
}

//@ for_each_pair
template <class Take>
__device__ inline void for_each_pair(const Sums& sum, Take take) {
    constexpr int kHalf = kWarpCols / 16;  // products of one matrix
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int first_row = warp % kWarpsM * kWarpRows + lane / 4;
    const int first_col = warp / kWarpsM * (kWarpCols / 2) + lane % 4 * 2;
#pragma unroll
    for (int m = 0; m < kWarpRows / 16; ++m) {
#pragma unroll
        for (int n = 0; n < kHalf; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int row = first_row + 16 * m + i / 2 * 8, col = first_col + 8 * n + i % 2;
                take(row, col, sum.at[m][n][i], sum.at[m][n + kHalf][i]);
            }
        }
    }
}
