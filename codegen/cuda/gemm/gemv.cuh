out (+)= x * weight^T + bias for few tokens, with multiply-adds in float: x waits in shared memory, and each warp streams
rows of weights past it, kWarpsM warps sharing k. Every weight is read once, by a 16-byte access of its own.

//@ kOwn kOwnOut
constexpr int kOwn = kTileN / kWarpsN, kOwnOut = kOwn / kHalves;  // rows of weights of a warp, and results
static_assert(kTileN % kWarpsN == 0 && kOwn % kHalves == 0, "a warp has all sums of its results");

//@ kPiece kRange kPieces kSpan kRounds
constexpr int kPiece = 16 / sizeof(WeightType);                            // weights of an access
constexpr int kRange = ceil_div(ceil_div(kK, kSplits), 16) * 16;           // of k, in this CTA
constexpr int kPieces = kRange / kPiece, kSpan = 32 * kWarpsM * kStages;   // accesses of a row, and those of a round
constexpr int kRounds = ceil_div(kPieces, kSpan);
static_assert(kK % kPiece == 0, "a row of weights is whole accesses");

//@ XTile
using XTile = SmemTile<XType, kTileM, kRange>;

//@ WarpRows
// The rows of weights that a warp streams: those of a gate first.
struct WarpRows {
    const WeightType* first;  // this CTA's part of k of the first row
    long long stride;
    int there;   // rows of the output's that exist
    int pieces;  // of k
    __device__ const WeightType* at(int r) const {
        return first + (r / kOwnOut * static_cast<long long>(kN) + r % kOwnOut) * stride;
    }
};

//@ Held
// The accesses of one round, on their way.
struct Held {
    uint4 at[kStages][kOwn];
};

//@ lane_piece
// This lane's access number `i` of a round.
__device__ inline int lane_piece(int round, int i) {
    const int warp = threadIdx.x / 32 % kWarpsM, lane = threadIdx.x % 32;
    return round * kSpan + (i * kWarpsM + warp) * 32 + lane;
}

//@ warp_load_round
__device__ inline void warp_load_round(Held& held, const WarpRows& rows, int round) {
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
        const int piece = lane_piece(round, i);
#pragma unroll
        for (int r = 0; r < kOwn; ++r) {
            held.at[i][r] = uint4{};
            if (piece < rows.pieces && r % kOwnOut < rows.there) {
                held.at[i][r] = load_stream(rows.at(r) + piece * kPiece);
            }
        }
    }
}

//@ warp_multiply_round
__device__ inline void warp_multiply_round(float (&sum)[kTileM][kOwn], const Held& held, const XTile& x, int pieces,
                                           int round) {
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
        const int piece = lane_piece(round, i);
        if (piece >= pieces) break;
        float weight[kOwn][kPiece];
#pragma unroll
        for (int r = 0; r < kOwn; ++r) {
            Vec<WeightType, kPiece> values;
            memcpy(&values, &held.at[i][r], 16);
#pragma unroll
            for (int j = 0; j < kPiece; ++j) weight[r][j] = to_float(values.at[j]);
        }
#pragma unroll
        for (int t = 0; t < kTileM; ++t) {
            float own[kPiece];
            load_floats(own, x.at(t, piece * kPiece));
#pragma unroll
            for (int r = 0; r < kOwn; ++r) {
#pragma unroll
                for (int j = 0; j < kPiece; ++j) sum[t][r] = fmaf(own[j], weight[r][j], sum[t][r]);
            }
        }
    }
}

//@ gemm_gemv
extern "C" __global__ void __launch_bounds__(kThreads)
gemm_gemv(const XType* x, int x_stride, const WeightType* weight, int weight_stride, const float* row_scale,
          const float* column_scale, const float* bias, OutType* out, int out_stride, float* partial, int rows) {
    extern __shared__ __align__(128) unsigned char memory[];
    const XTile x_tile(memory);
    const Parts parts(memory + XTile::bytes);
    const int first_row = blockIdx.x * kTileM, first_col = blockIdx.y * kTileOut, first_k = blockIdx.z * kRange;
    const int warp_col = static_cast<int>(threadIdx.x) / 32 / kWarpsM * kOwnOut, k = max(min(kRange, kK - first_k), 0);
    const WarpRows warp_rows{weight + static_cast<long long>(first_col + warp_col) * weight_stride + first_k,
                             weight_stride, kN - first_col - warp_col, k / kPiece};

    // Load: the first weights are under way before x is there.
    Held held[2];
    warp_load_round(held[0], warp_rows, 0);
    cta_copy_tile<kThreads, kXAlign>(x_tile, x + static_cast<long long>(first_row) * x_stride + first_k, x_stride,
                                     rows - first_row, k);
    copy_commit();
    copy_wait<0>();
    __syncthreads();

    // Compute, one round behind the loads.
    float sum[kTileM][kOwn] = {};
    for (int round = 0; round < kRounds; round += 2) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            if (round + i + 1 < kRounds) warp_load_round(held[1 - i], warp_rows, round + i + 1);
            if (round + i < kRounds) warp_multiply_round(sum, held[i], x_tile, warp_rows.pieces, round + i);
        }
    }

    // Epilogue.
#pragma unroll
    for (int t = 0; t < kTileM; ++t) {
#pragma unroll
        for (int r = 0; r < kOwn; ++r) {
            const float total = lanes_sum<32>(sum[t][r]);
            if (threadIdx.x % 32 == 0) {
                *parts.at(threadIdx.x / 32 % kWarpsM, t, r / kOwnOut, warp_col + r % kOwnOut) = total;
            }
        }
    }
    cta_finish(parts, first_row, first_col, partial, Results{row_scale, column_scale, bias, out, out_stride, rows});
}
