Multiply-adds in float, whatever the operands are stored as.

//@ kThreads kAcross kDown kThreadRows kThreadCols
constexpr int kThreads = kWarpsM * kWarpsN * 32;
constexpr int kAcross = 16, kDown = kThreads / kAcross;  // threads along the columns and along the rows
constexpr int kThreadRows = kTileM / kDown, kThreadCols = kTileN / kAcross;
static_assert(kTileM % kDown == 0 && kTileN % kAcross == 0, "threads share the tile evenly");

//@ Shared
// Both tiles with k outermost, so that neighbouring threads read neighbouring words.
struct Shared {
    float x[kTileK][kTileM + 1];
    float weight[kTileK][kTileN + 1];
};

//@ Sums
struct Sums { float at[kThreadRows][kThreadCols] = {}; };

//@ GatedRow
// The first half of a tile's columns is of the one matrix, the second of the other.
struct GatedRow {
    bool of_gate;
    int col;
    __device__ explicit GatedRow(int r) : of_gate(r >= kTileN / 2), col(r % (kTileN / 2)) {}
};

//@ cta_gather
// kRows rows, from column k on, into a tile with k outermost; zero where there is nothing.
template <int kDepth, int kRows, class RowAt>
__device__ inline void cta_gather(float (&to)[kTileK][kRows + 1], RowAt row_at, int k) {
    for (int i = threadIdx.x; i < kRows * kTileK; i += kThreads) {
        const int row = i / kTileK, col = i % kTileK;
        const auto* from = row_at(row);
        to[col][row] = from != nullptr && k + col < kDepth ? to_float(from[k + col]) : 0.0f;
    }
}

//@ cta_multiply
template <int kDepth, int kVec, class RowOfX, class RowOfWeight>
__device__ inline void cta_multiply(Sums& sum, unsigned char* memory, RowOfX x_row, RowOfWeight weight_row) {
    Shared& tile = *reinterpret_cast<Shared*>(memory);
    const int across = threadIdx.x % kAcross, down = threadIdx.x / kAcross;
    for (int k = 0; k < kDepth; k += kTileK) {
        cta_gather<kDepth, kTileM>(tile.x, x_row, k);
        cta_gather<kDepth, kTileN>(tile.weight, weight_row, k);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < kTileK; ++i) {
            float a[kThreadRows], b[kThreadCols];
#pragma unroll
            for (int r = 0; r < kThreadRows; ++r) a[r] = tile.x[i][down + r * kDown];
#pragma unroll
            for (int c = 0; c < kThreadCols; ++c) b[c] = tile.weight[i][across + c * kAcross];
#pragma unroll
            for (int r = 0; r < kThreadRows; ++r) {
#pragma unroll
                for (int c = 0; c < kThreadCols; ++c) sum.at[r][c] = fmaf(a[r], b[c], sum.at[r][c]);
            }
        }
        __syncthreads();
    }
}

//@ for_each_sum
template <class Take>
__device__ inline void for_each_sum(const Sums& sum, Take take) {
    const int across = threadIdx.x % kAcross, down = threadIdx.x / kAcross;
#pragma unroll
    for (int r = 0; r < kThreadRows; ++r) {
#pragma unroll
        for (int c = 0; c < kThreadCols; ++c) take(down + r * kDown, across + c * kAcross, sum.at[r][c]);
    }
}

//@ for_each_pair
template <class Take>
__device__ inline void for_each_pair(const Sums& sum, Take take) {
    constexpr int kHalf = kThreadCols / 2;
    static_assert(kThreadCols % 2 == 0, "a thread has the sums of both matrices");
    const int across = threadIdx.x % kAcross, down = threadIdx.x / kAcross;
#pragma unroll
    for (int r = 0; r < kThreadRows; ++r) {
#pragma unroll
        for (int c = 0; c < kHalf; ++c) {
            take(down + r * kDown, across + c * kAcross, sum.at[r][c], sum.at[r][c + kHalf]);
        }
    }
}
