The product of a tile of x and one of weights by the warps of a CTA, out of a ring of stages in shared memory: what every
kernel with such a main loop shares. Both tiles have k along their rows.

//@ kWarpRows kWarpCols
constexpr int kWarpRows = kTileM / kWarpsM, kWarpCols = kTileN / kWarpsN;
static_assert(kWarpRows % 16 == 0 && kWarpCols % 16 == 0, "a warp has whole pairs of 16 x 8 products");

//@ XTile WeightTile kPitch Stage
using XTile = SmemTile<XType, kTileM, kTileK>;
using WeightTile = SmemTile<WeightType, kTileN, kTileK>;
constexpr int kPitch = XTile::stride * static_cast<int>(sizeof(XType));  // bytes of a row of either
static_assert(sizeof(XType) == sizeof(WeightType), "both operands are of one format");
// One stage of the ring: a tile of x and behind it one of weights, with rows of one length.
struct Stage {
    static constexpr int bytes = XTile::bytes + WeightTile::bytes;
    XTile x;
    WeightTile weight;
    __device__ explicit Stage(unsigned char* at) : x(at), weight(at + XTile::bytes) {}
};

//@ Accumulators
// The sums of a warp's part of the tile.
struct Accumulators {
    float at[kWarpRows / 16][kWarpCols / 8][4] = {};
};

//@ LanePlace
// Where this lane reads of its warp's first fragments in the first stage of the ring. All others lie at distances that
// the compiler knows, so that reading them takes no arithmetic.
struct LanePlace {
    unsigned x, weight;
    __device__ LanePlace(const void* ring, int warp_row, int warp_col)
        : x(smem_address(ring) + warp_row * kPitch + lane_row_a(kPitch)),
          weight(smem_address(ring) + XTile::bytes + warp_col * kPitch + lane_row_b(kPitch)) {}
};

//@ warp_multiply
// Adds the product of the stage that begins `at` bytes into the ring. The fragments are words of memory, whatever format
// lies in them.
__device__ inline void warp_multiply(Accumulators& sum, const LanePlace& lane, int at) {
    for_constants<XTile::cols * sizeof(XType) / 32>([&](auto step) {
        constexpr int kAt = decltype(step)::value * 32, kBlock = 16 * kPitch;
        unsigned a[kWarpRows / 16][4];
        for_constants<kWarpRows / 16>([&](auto m) { warp_load_matrix_at<m * kBlock + kAt>(a[m], lane.x + at); });
        for_constants<kWarpCols / 16>([&](auto n) {
            unsigned b[4];
            warp_load_matrix_at<n * kBlock + kAt>(b, lane.weight + at);
#pragma unroll
            for (int m = 0; m < kWarpRows / 16; ++m) {
                product(sum.at[m][2 * n], a[m], b[0], b[1]);
                product(sum.at[m][2 * n + 1], a[m], b[2], b[3]);
            }
        });
    });
}
