// gemm[accumulate=1 align=8 k=8960 n=1536 out_align=8] bf16 out=f32 | wgmma | sm_90a | codegen 1
// again: jet emit 'gemm[accumulate=1 align=8 k=8960 n=1536 out_align=8] bf16 out=f32' --arch sm_90a --schedule 'form=2 splits=1 stages=5 tile_k=64 tile_m=64 tile_n=64 warps_m=4 warps_n=1'
constexpr int kSplits = 1;
constexpr int kStages = 5;
constexpr int kTileK = 64;
constexpr int kTileM = 64;
constexpr int kTileN = 64;
constexpr int kWarpsM = 4;
constexpr int kWarpsN = 1;
constexpr int kN = 1536;
constexpr int kK = 8960;
constexpr int kOutAlign = 8;
constexpr int kHalves = 1;
constexpr int kScaleBlock = 0;
constexpr bool kRowScale = false;
constexpr bool kColumnScale = false;
constexpr bool kBias = false;
constexpr bool kAccumulate = true;
constexpr bool kCluster = false;

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


// ---- pipeline ----
// By one thread, before barrier_init_done.
__device__ inline void barrier_init(unsigned long long* barrier, int arrivals) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(smem_address(barrier)), "r"(arrivals) : "memory");
}

// By the same thread; the others may use the barriers after the next synchronisation of the CTA (or cluster).
__device__ inline void barrier_init_done() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

// Arrives, and announces `bytes` that copies will bring in this phase.
__device__ inline void barrier_expect(unsigned long long* barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(smem_address(barrier)), "r"(bytes)
                 : "memory");
}

__device__ inline void barrier_arrive(unsigned long long* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(smem_address(barrier)) : "memory");
}

// Until the phase of this parity is over. A fresh barrier is in phase 0, and phase 1 counts as over.
__device__ inline void barrier_wait(unsigned long long* barrier, unsigned parity) {
    unsigned done = 0;
    while (!done) {
        asm volatile(
            "{\n\t.reg .pred p;\n\t"
            "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
            "selp.u32 %0, 1, 0, p;\n\t}"
            : "=r"(done)
            : "r"(smem_address(barrier)), "r"(parity)
            : "memory");
    }
}

// Where a walker stands in a ring of kStages stages. Consumers start with parity 0, producers with parity 1.
template <int kStages>
struct Ring {
    int stage = 0;
    unsigned parity;
    __device__ explicit Ring(unsigned first_parity) : parity(first_parity) {}
    __device__ void advance() {
        if (++stage == kStages) {
            stage = 0;
            parity ^= 1;
        }
    }
};


// ---- tma ----
// A tensor map as the driver encodes it.
struct alignas(64) TensorMap { unsigned char bytes[128]; };

__device__ inline void map_prefetch(const TensorMap* map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// The box at column `col`, row `row`; its bytes arrive at `barrier`. What lies outside the tensor becomes zero.
__device__ inline void tensor_load(void* to, const TensorMap* map, int col, int row, unsigned long long* barrier) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::
            "r"(smem_address(to)),
        "l"(map), "r"(col), "r"(row), "r"(smem_address(barrier))
        : "memory");
}


// ---- wgmma ----
// Before the first product that touches these accumulators or registers.
__device__ inline void warpgroup_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ inline void warpgroup_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Until at most kLeft groups are under way.
template <int kLeft>
__device__ inline void warpgroup_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}

// Sums change up to here: keeps the compiler from reading them before the wait that stands in front.
template <int kSums>
__device__ inline void warpgroup_hold(float (&sum)[kSums]) {
#pragma unroll
    for (int i = 0; i < kSums; ++i) asm volatile("" : "+f"(sum[i])::"memory");
}

// A K-major operand in shared memory of rows of 128 bytes under the 128-byte swizzle, its base a multiple of 1024: the
// next 16 values of k are 2 further in the low word.
__device__ inline unsigned long long matrix_descriptor(const void* tile) {
    const unsigned long long start = (smem_address(tile) & 0x3ffff) >> 4;
    return start | 1ull << 16 | (1024ull >> 4) << 32 | 1ull << 62;
}

template <int kRegisters>
__device__ inline void registers_release() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

template <int kRegisters>
__device__ inline void registers_take() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}


// ---- gemm epilogue ----
using XType = bf16;
using WeightType = bf16;
using OutType = float;

// The result of these sums.
__device__ inline float activated(const float (&sum)[kHalves]) { return sum[0]; }

// sum = a * b^T (+ sum where `keep`): 64 rows, 64 columns, 16 of k; asynchronous.
__device__ inline void warpgroup_product(float (&sum)[32], unsigned long long a, unsigned long long b,
                                         bool keep) {
    asm volatile(
        "{\n\t.reg .pred p;\n\tsetp.ne.u32 p, %34, 0;\n\t"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "%32, %33, p, 1, 1, 0, 0;\n\t}"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]), "+f"(sum[4]), "+f"(sum[5]), "+f"(sum[6]), "+f"(sum[7]),
          "+f"(sum[8]), "+f"(sum[9]), "+f"(sum[10]), "+f"(sum[11]), "+f"(sum[12]), "+f"(sum[13]), "+f"(sum[14]), "+f"(sum[15]),
          "+f"(sum[16]), "+f"(sum[17]), "+f"(sum[18]), "+f"(sum[19]), "+f"(sum[20]), "+f"(sum[21]), "+f"(sum[22]), "+f"(sum[23]),
          "+f"(sum[24]), "+f"(sum[25]), "+f"(sum[26]), "+f"(sum[27]), "+f"(sum[28]), "+f"(sum[29]), "+f"(sum[30]), "+f"(sum[31])
        : "l"(a), "l"(b), "r"(static_cast<int>(keep)));
}

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

// One result: what the output holds, then the rounding.
__device__ inline void finish(float result, int row, int col, const Results& to) {
    if (row >= to.rows || col >= kN) return;
    if constexpr (kAccumulate) result += to_float(*to.at(row, col));
    *to.at(row, col) = from_float<OutType>(result);
}

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

// Columns of the output in a tile.
constexpr int kTileOut = kTileN / kHalves;
static_assert(kTileN % kHalves == 0 && kTileOut % 4 == 0, "a tile has whole accesses of results");

constexpr int kConsumers = kWarpsM / 4, kConsumerThreads = kConsumers * 128;
// Registers move between whole warpgroups only; where none move, a warp is enough to load.
constexpr int kThreads = kConsumerThreads + (kConsumers > 1 ? 128 : 32);
constexpr int kConsumerRows = kTileM / kConsumers, kProducts = kConsumerRows / 64;
static_assert(kConsumers * 4 == kWarpsM, "the warps along the rows are whole warpgroups");
static_assert(kConsumerRows % 64 == 0, "a warpgroup has whole products of 64 rows");
static_assert(kTileK * sizeof(XType) == 128, "a row of a tile is as long as the swizzle's span");

// One stage of the ring: both tiles in rows of 128 bytes under the 128-byte swizzle.
struct Stage {
    static constexpr int x_bytes = kTileM * 128, bytes = x_bytes + kTileN * 128;
    unsigned char* x;
    unsigned char* weight;
    __device__ explicit Stage(unsigned char* at) : x(at), weight(at + x_bytes) {}
};

// The stages stand first, where the swizzle finds them aligned; behind them the barriers.
struct Shared {
    unsigned char* stages;
    unsigned long long* full;   // the tiles of a stage are there
    unsigned long long* empty;  // every warp has read them
    __device__ explicit Shared(unsigned char* at)
        : stages(at), full(reinterpret_cast<unsigned long long*>(at + kStages * Stage::bytes)), empty(full + kStages) {}
    __device__ Stage stage(int i) const { return Stage(stages + i * Stage::bytes); }
};

// The whole walk of the one thread that loads.
__device__ inline void thread_load(const Shared& shared, const TensorMap* x, const TensorMap* weight, int first_row,
                                   int first_col) {
    Ring<kStages> at(1);
    for (int k = 0; k < kK; k += kTileK, at.advance()) {
        barrier_wait(&shared.empty[at.stage], at.parity);
        // What lies outside an operand comes as zeros and counts like the rest.
        barrier_expect(&shared.full[at.stage], Stage::bytes);
        const Stage stage = shared.stage(at.stage);
        tensor_load(stage.x, x, k, first_row, &shared.full[at.stage]);
        // With a gate, its rows come first, then those of what it lets through.
#pragma unroll
        for (int h = 0; h < kHalves; ++h) {
            tensor_load(stage.weight + h * kTileOut * 128, weight, k, h * kN + first_col, &shared.full[at.stage]);
        }
    }
}

// All products of a warpgroup. Those of one stage stay under way while the next stage's begin, so a stage is given back
// one step late.
__device__ inline void warpgroup_multiply(float (&sum)[kProducts][kTileN / 2], const Shared& shared, int first_row) {
    constexpr int kInner = 32 / sizeof(XType);  // k of a product
    Ring<kStages> at(0);
    int before = 0;
    for (int k = 0; k < kK; k += kTileK, at.advance()) {
        barrier_wait(&shared.full[at.stage], at.parity);
        const Stage stage = shared.stage(at.stage);
        const unsigned long long weight = matrix_descriptor(stage.weight);
        warpgroup_fence();
#pragma unroll
        for (int inner = 0; inner < kTileK / kInner; ++inner) {
#pragma unroll
            for (int m = 0; m < kProducts; ++m) {
                const unsigned long long x = matrix_descriptor(stage.x + (first_row + 64 * m) * 128);
                warpgroup_product(sum[m], x + 2 * inner, weight + 2 * inner, k + inner > 0);
            }
        }
        warpgroup_commit();
        if (k > 0) {
            warpgroup_wait<1>();
            if (threadIdx.x % 32 == 0) barrier_arrive(&shared.empty[before]);
        }
        before = at.stage;
    }
    warpgroup_wait<0>();
#pragma unroll
    for (int m = 0; m < kProducts; ++m) warpgroup_hold(sum[m]);
}

// The same of operands with scales of blocks, which a stage has one of: the products of a stage are waited for and added
// to the sums with their scales, which also keeps them from losing digits in the tensor cores. `row` and `col` are this
// lane's first row and the tile's first column.
__device__ inline void warpgroup_multiply_scaled(float (&sum)[kProducts][kTileN / 2], const Shared& shared,
                                                 int first_row, const BlockScales& scales, int row, int col) {
    constexpr int kInner = 32 / sizeof(XType);
    static_assert(kScaleBlock == 0 || kTileK == kScaleBlock, "a stage is a block of one scale");
#pragma unroll
    for (int m = 0; m < kProducts; ++m) {
#pragma unroll
        for (int i = 0; i < kTileN / 2; ++i) sum[m][i] = 0.0f;
    }
    float part[kProducts][kTileN / 2];
    Ring<kStages> at(0);
    for (int k = 0; k < kK; k += kTileK, at.advance()) {
        float of_x[kProducts][2], of_weight[kHalves];
#pragma unroll
        for (int m = 0; m < kProducts; ++m) {
#pragma unroll
            for (int i = 0; i < 2; ++i) of_x[m][i] = scales.of_x(k / kTileK, row + 64 * m + 8 * i);
        }
#pragma unroll
        for (int h = 0; h < kHalves; ++h) of_weight[h] = scales.of_weight(k / kTileK, h * kN + col);
        barrier_wait(&shared.full[at.stage], at.parity);
        const Stage stage = shared.stage(at.stage);
        const unsigned long long weight = matrix_descriptor(stage.weight);
        warpgroup_fence();
#pragma unroll
        for (int inner = 0; inner < kTileK / kInner; ++inner) {
#pragma unroll
            for (int m = 0; m < kProducts; ++m) {
                const unsigned long long x = matrix_descriptor(stage.x + (first_row + 64 * m) * 128);
                warpgroup_product(part[m], x + 2 * inner, weight + 2 * inner, inner > 0);
            }
        }
        warpgroup_commit();
        warpgroup_wait<0>();
#pragma unroll
        for (int m = 0; m < kProducts; ++m) warpgroup_hold(part[m]);
        if (threadIdx.x % 32 == 0) barrier_arrive(&shared.empty[at.stage]);
#pragma unroll
        for (int m = 0; m < kProducts; ++m) {
#pragma unroll
            for (int i = 0; i < kTileN / 2; ++i) {
                const int half = i / (kTileN / 2 / kHalves);
                sum[m][i] = fmaf(part[m][i], of_x[m][i % 4 / 2] * of_weight[half], sum[m][i]);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(kThreads, 1)
gemm_wgmma(const __grid_constant__ TensorMap x_map, const __grid_constant__ TensorMap weight_map,
           const float* x_scale, const float* weight_scale, const float* row_scale, const float* column_scale,
           const float* bias, OutType* out, int out_stride, int rows) {
    extern __shared__ __align__(1024) unsigned char memory[];
    const Shared shared(memory);
    const int first_row = blockIdx.x * kTileM, first_col = blockIdx.y * kTileOut;
    if (threadIdx.x == kConsumerThreads) {
        map_prefetch(&x_map);
        map_prefetch(&weight_map);
        for (int i = 0; i < kStages; ++i) {
            barrier_init(&shared.full[i], 1);
            barrier_init(&shared.empty[i], kConsumerThreads / 32);
        }
        barrier_init_done();
    }
    __syncthreads();

    if (threadIdx.x >= kConsumerThreads) {
        // Load.
        if constexpr (kConsumers > 1) registers_release<40>();
        if (threadIdx.x == kConsumerThreads) thread_load(shared, &x_map, &weight_map, first_row, first_col);
    } else {
        // Compute.
        if constexpr (kConsumers > 1) registers_take<232>();
        const int own_row = threadIdx.x / 128 * kConsumerRows;
        const int lane_row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4, row = first_row + own_row + lane_row;
        float sum[kProducts][kTileN / 2];
        if constexpr (kScaleBlock == 0) {
            warpgroup_multiply(sum, shared, own_row);
        } else {
            warpgroup_multiply_scaled(sum, shared, own_row, BlockScales{x_scale, weight_scale, rows}, row, first_col);
        }

        // Epilogue.
        const Results to{row_scale, column_scale, bias, out, out_stride, rows};
#pragma unroll
        for (int m = 0; m < kProducts; ++m) warp_finish<kTileN / 8>(sum[m], row + 64 * m, first_col, to);
    }
}
