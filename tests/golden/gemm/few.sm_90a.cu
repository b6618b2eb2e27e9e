// gemm[align=8 bias=1 k=1536 n=1536 out_align=8] bf16 | mma | sm_90a | codegen 1
// again: jet emit 'gemm[align=8 bias=1 k=1536 n=1536 out_align=8] bf16' --arch sm_90a --schedule 'form=1 stages=4 tile_k=64 tile_m=16 tile_n=32 warps_m=1 warps_n=2'
constexpr int kStages = 4;
constexpr int kTileK = 64;
constexpr int kTileM = 16;
constexpr int kTileN = 32;
constexpr int kWarpsM = 1;
constexpr int kWarpsN = 2;
constexpr int kN = 1536;
constexpr int kK = 1536;
constexpr int kOutAlign = 8;
constexpr bool kBias = true;
constexpr bool kAccumulate = false;
constexpr int kXAlign = 8;

// ---- types ----
__host__ __device__ constexpr int ceil_div(int n, int per) { return (n + per - 1) / per; }

// N values that one access moves.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
    static_assert(sizeof(T) * N <= 16, "one access moves at most 16 bytes");
    T at[N];
};

__device__ inline float to_float(float x) { return x; }

// Rounds to nearest even.
template <class T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) { return x; }

struct bf16 { unsigned short bits; };
__device__ inline float to_float(bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
template <>
__device__ inline bf16 from_float<bf16>(float x) {
    bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

struct f16 { unsigned short bits; };
__device__ inline float to_float(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}
template <>
__device__ inline f16 from_float<f16>(float x) {
    f16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

// Two floats rounded into one register, the first in the lower half.
template <class T>
__device__ unsigned pack2(float low, float high);
template <>
__device__ inline unsigned pack2<bf16>(float low, float high) {
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}
template <>
__device__ inline unsigned pack2<f16>(float low, float high) {
    unsigned both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}


// ---- memory ----
// The registers of a vector access.
template <int kBytes>
struct Words;
template <>
struct Words<16> { uint4 w; };
template <>
struct Words<8> { uint2 w; };
template <>
struct Words<4> { unsigned w; };
template <>
struct Words<2> { unsigned short w; };
template <>
struct Words<1> { unsigned char w; };

// N values in one access; the address is a multiple of its size.
template <int N, class T>
__device__ inline Vec<T, N> load_vec(const T* from) {
    using W = Words<sizeof(T) * N>;
    const W words = *reinterpret_cast<const W*>(from);
    Vec<T, N> values;
    memcpy(&values, &words, sizeof(words));
    return values;
}

template <int N, class T>
__device__ inline void store_vec(T* to, Vec<T, N> values) {
    using W = Words<sizeof(T) * N>;
    W words;
    memcpy(&words, &values, sizeof(words));
    *reinterpret_cast<W*>(to) = words;
}

// N values, widened. Where a vector of T is wider than 16 bytes it takes several accesses.
template <int N, class T>
__device__ inline void load_floats(float (&to)[N], const T* from) {
    constexpr int kStep = sizeof(T) * N > 16 ? 16 / sizeof(T) : N;
#pragma unroll
    for (int i = 0; i < N; i += kStep) {
        const Vec<T, kStep> part = load_vec<kStep>(from + i);
#pragma unroll
        for (int j = 0; j < kStep; ++j) to[i + j] = to_float(part.at[j]);
    }
}

template <int N, class T>
__device__ inline void store_floats(T* to, const float (&from)[N]) {
    constexpr int kStep = sizeof(T) * N > 16 ? 16 / sizeof(T) : N;
#pragma unroll
    for (int i = 0; i < N; i += kStep) {
        Vec<T, kStep> part;
#pragma unroll
        for (int j = 0; j < kStep; ++j) part.at[j] = from_float<T>(from[i + j]);
        store_vec<kStep>(to + i, part);
    }
}


// ---- shared ----
// The address that instructions on shared memory take.
__device__ inline unsigned smem_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

// kRows rows of kCols values in shared memory, row-major. Rows are kPad values apart beyond their width: with 16 bytes
// more than a multiple of 128 the eight rows that ldmatrix reads at a time lie in different banks.
template <class T, int kRows, int kCols, int kPad = 16 / sizeof(T)>
struct SmemTile {
    static_assert(kCols * sizeof(T) % 16 == 0, "a row of a tile is whole 16-byte pieces");
    static_assert(kPad * sizeof(T) % 16 == 0, "the padding keeps rows aligned to 16 bytes");
    static constexpr int rows = kRows, cols = kCols, stride = kCols + kPad;
    static constexpr int bytes = kRows * stride * static_cast<int>(sizeof(T));
    T* base;
    __device__ explicit SmemTile(void* at) : base(static_cast<T*>(at)) {}
    __device__ T* at(int row, int col) const { return base + row * stride + col; }
};


// ---- copy ----
// kBytes from global to shared memory, of which the first `valid` are read and the others become zero.
template <int kBytes>
__device__ inline void copy_async(void* to, const void* from, int valid) {
    static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "an asynchronous copy moves 4, 8 or 16 bytes");
    if constexpr (kBytes == 16) {
        asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(smem_address(to)), "l"(from),
                     "r"(valid)
                     : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(smem_address(to)), "l"(from), "n"(kBytes),
                     "r"(valid)
                     : "memory");
    }
}

// Ends a group of this thread's copies.
__device__ inline void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most kLeft of this thread's groups are under way.
template <int kLeft>
__device__ inline void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

// All kThreads threads begin to copy a tile: `rows` rows and `cols` columns from `from` on are there, what is beyond
// becomes zero. `kVec` values move at a time, so `from` and its stride are multiples of them.
template <int kThreads, int kVec, class T, int kRows, int kCols, int kPad>
__device__ inline void cta_copy_tile(SmemTile<T, kRows, kCols, kPad> to, const T* from, long long stride, int rows,
                                     int cols) {
    constexpr int kPieces = kCols / kVec;
    static_assert(kCols % kVec == 0, "a row of the tile is whole pieces");
#pragma unroll
    for (int piece = threadIdx.x; piece < kRows * kPieces; piece += kThreads) {
        const int row = piece / kPieces, col = piece % kPieces * kVec;
        const int left = row < rows ? min(max(cols - col, 0), kVec) : 0;
        // A copy of nothing still names an address; the first one is always inside.
        const T* source = left > 0 ? from + row * stride + col : from;
        copy_async<kVec * sizeof(T)>(to.at(row, col), source, left * static_cast<int>(sizeof(T)));
    }
}


// ---- matrix ----
// Four 8x8 tiles of 16-bit values: lane l gives the address of row l % 8 of tile l / 8. Lane (g, t) = (lane / 4,
// lane % 4) gets row g, elements 2t and 2t + 1 of tile i in out[i].
__device__ inline void warp_load_matrix(unsigned (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(smem_address(row))
                 : "memory");
}

// The 16x16 left operand of a warp's matrix product, from row-major shared memory: `tile` is its first element.
template <class T>
__device__ inline void warp_load_a(unsigned (&out)[4], const T* tile, int stride) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix(out, tile + lane % 16 * stride + lane / 16 * 8);
}

// Two right operands, 16 (k) x 8 (n) each, of 16 neighbouring columns n, from shared memory with one row per n: the
// first in out[0], out[1], the second in out[2], out[3].
template <class T>
__device__ inline void warp_load_b(unsigned (&out)[4], const T* tile, int stride) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix(out, tile + (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8);
}


// ---- mma ----
// 16 x 8 x 16 of 16-bit values.
template <class T>
__device__ void warp_mma(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);
template <>
__device__ inline void warp_mma<bf16>(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ inline void warp_mma<f16>(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}


// ---- gemm epilogue ----
using XType = bf16;
using WeightType = bf16;
using OutType = bf16;

// One element of the output: the bias, then what the output holds, then the rounding.
__device__ inline void finish(float sum, int row, int col, const float* bias, OutType* out, long long out_stride,
                              int rows) {
    if (row >= rows || col >= kN) return;
    OutType* to = out + row * out_stride + col;
    if constexpr (kBias) sum += bias[col];
    if constexpr (kAccumulate) sum += to_float(*to);
    *to = from_float<OutType>(sum);
}

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

// Whether eight neighbouring columns of the output are one aligned access of 16 bytes.
constexpr bool kWhole = sizeof(OutType) == 2 && kOutAlign % 8 == 0 && kN % 8 == 0;

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

constexpr int kThreads = kWarpsM * kWarpsN * 32;
constexpr int kWarpRows = kTileM / kWarpsM, kWarpCols = kTileN / kWarpsN;
static_assert(kWarpRows % 16 == 0 && kWarpCols % 16 == 0, "a warp has whole pairs of 16 x 8 products");

using XTile = SmemTile<XType, kTileM, kTileK>;
using WeightTile = SmemTile<WeightType, kTileN, kTileK>;
// One stage of the ring.
struct Stage {
    XTile x;
    WeightTile weight;
    static constexpr int bytes = XTile::bytes + WeightTile::bytes;
    __device__ explicit Stage(unsigned char* at) : x(at), weight(at + XTile::bytes) {}
};

// The sums of a warp's part of the tile.
struct Accumulators {
    float at[kWarpRows / 16][kWarpCols / 8][4] = {};
};

// Adds the product of one stage.
__device__ inline void warp_multiply(Accumulators& sum, const Stage& stage, int warp_row, int warp_col) {
#pragma unroll
    for (int k = 0; k < kTileK; k += 16) {
        unsigned a[kWarpRows / 16][4];
#pragma unroll
        for (int m = 0; m < kWarpRows / 16; ++m) warp_load_a(a[m], stage.x.at(warp_row + 16 * m, k), XTile::stride);
#pragma unroll
        for (int n = 0; n < kWarpCols / 16; ++n) {
            unsigned b[4];
            warp_load_b(b, stage.weight.at(warp_col + 16 * n, k), WeightTile::stride);
#pragma unroll
            for (int m = 0; m < kWarpRows / 16; ++m) {
                warp_mma<XType>(sum.at[m][2 * n], a[m], b[0], b[1]);
                warp_mma<XType>(sum.at[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
gemm_mma(const XType* x, int x_stride, const WeightType* weight, int weight_stride, const float* bias, OutType* out,
         int out_stride, int rows) {
    extern __shared__ __align__(128) unsigned char ring[];
    constexpr int kSteps = ceil_div(kK, kTileK);
    const int first_row = blockIdx.x * kTileM, first_col = blockIdx.y * kTileN;
    const XType* x_tile = x + static_cast<long long>(first_row) * x_stride;
    const WeightType* weight_tile = weight + static_cast<long long>(first_col) * weight_stride;

    const auto cta_load = [&](int step) {
        const Stage stage(ring + step % kStages * Stage::bytes);
        const int k = step * kTileK;
        cta_copy_tile<kThreads, kXAlign>(stage.x, x_tile + k, x_stride, rows - first_row, kK - k);
        cta_copy_tile<kThreads, 8>(stage.weight, weight_tile + k, weight_stride, kN - first_col, kK - k);
    };

    // Load: the ring is filled but for one stage.
#pragma unroll
    for (int step = 0; step < kStages - 1; ++step) {
        if (step < kSteps) cta_load(step);
        copy_commit();
    }

    // Compute: each step frees the stage of the step before for the copies of a later one.
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_row = warp % kWarpsM * kWarpRows, warp_col = warp / kWarpsM * kWarpCols;
    Accumulators sum;
    for (int step = 0; step < kSteps; ++step) {
        copy_wait<kStages - 2>();
        __syncthreads();
        if (step + kStages - 1 < kSteps) cta_load(step + kStages - 1);
        copy_commit();
        warp_multiply(sum, Stage(ring + step % kStages * Stage::bytes), warp_row, warp_col);
    }

    // Epilogue.
#pragma unroll
    for (int m = 0; m < kWarpRows / 16; ++m) {
        const int row = first_row + warp_row + 16 * m + lane / 4;
        warp_finish<kWarpCols / 8>(&sum.at[m][0][0], row, first_col + warp_col, bias, out, out_stride, rows);
    }
}
