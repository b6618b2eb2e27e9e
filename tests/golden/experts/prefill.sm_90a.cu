// experts[accumulate=1 align=8 experts=128 hidden=1856 out_align=8 relu2=1 top_k=6 width=2688] bf16 out=f32 | mma | sm_90a | codegen 1
// again: jet emit 'experts[accumulate=1 align=8 experts=128 hidden=1856 out_align=8 relu2=1 top_k=6 width=2688] bf16 out=f32' --arch sm_90a --schedule 'form=1 stages=4 tile_k=64 tile_m=128 tile_n=128 warps_m=2 warps_n=4'
constexpr int kStages = 4;
constexpr int kTileK = 64;
constexpr int kTileM = 128;
constexpr int kTileN = 128;
constexpr int kWarpsM = 2;
constexpr int kWarpsN = 4;
constexpr int kWidth = 2688;
constexpr int kHidden = 1856;
constexpr int kExperts = 128;
constexpr int kTopK = 6;
constexpr int kInnerStride = 1856;
constexpr int kAnswerStride = 2688;
constexpr int kAct = 0;
constexpr bool kAccumulate = true;
constexpr int kSortThreads = 256;
constexpr int kXVec = 8;
constexpr int kCombineVec = 4;

// ---- types ----
__host__ __device__ constexpr int ceil_div(int n, int per) { return (n + per - 1) / per; }

// A number that the compiler knows, as a value.
template <int kValue>
struct Constant {
    static constexpr int value = kValue;
    __device__ constexpr operator int() const { return kValue; }
};

// Calls f with the constants from kFrom to kCount - 1: a loop whose index may stand where only a constant may.
template <int kCount, int kFrom = 0, class F>
__device__ inline void for_constants(F&& f) {
    if constexpr (kFrom < kCount) {
        f(Constant<kFrom>{});
        for_constants<kCount, kFrom + 1>(f);
    }
}

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


// ---- math ----
__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }

__device__ inline float relu2(float x) {
    const float y = x < 0.0f ? 0.0f : x;
    return y * y;
}

// The tanh form, written with (1 + tanh u) / 2 = sigmoid(2u).
__device__ inline float gelu(float x) {
    return x / (1.0f + expf(-1.5957691216f * fmaf(0.044715f * x * x, x, x)));
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


// ---- reduce ----
// The sum over each group of kLanes neighbouring lanes, in all of them.
template <int kLanes>
__device__ inline float lanes_sum(float x) {
    static_assert(kLanes >= 1 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0, "a group of lanes is a power of two");
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

// The sum over the kThreads threads of a CTA, in all of them. All threads call it.
template <int kThreads>
__device__ inline float cta_sum(float x) {
    static_assert(kThreads % 32 == 0 && kThreads <= 1024, "a CTA is whole warps");
    __shared__ float partial[kThreads / 32];
    x = lanes_sum<32>(x);
    __syncthreads();  // whoever still reads the partial sums of the call before
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
    __syncthreads();
    float total = 0.0f;
#pragma unroll
    for (int w = 0; w < kThreads / 32; ++w) total += partial[w];
    return total;
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


// ---- matrix ----
// The same from kOffset bytes behind `row` in shared memory, which costs no arithmetic.
template <int kOffset>
__device__ inline void warp_load_matrix_at(unsigned (&out)[4], unsigned row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4 + %5];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(row), "n"(kOffset)
                 : "memory");
}

// Where this lane's row of a 16x16 left operand lies, in bytes from its first value, `pitch` bytes from row to row.
__device__ inline unsigned lane_row_a(int pitch) {
    const int lane = threadIdx.x % 32;
    return lane % 16 * pitch + lane / 16 * 16;
}

// The same of two right operands, see warp_load_b.
__device__ inline unsigned lane_row_b(int pitch) {
    const int lane = threadIdx.x % 32;
    return (lane / 16 * 8 + lane % 8) * pitch + lane / 8 % 2 * 16;
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


// ---- experts sort ----

__device__ inline void product(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    warp_mma<bf16>(d, a, b0, b1);
}
using XType = bf16;
using WeightType = bf16;
using OutType = float;

// A CTA has one expert: it counts the pairs of lower experts, which is where its own begin, and lists its own in the
// order of the tokens. `pairs` gets the pair of each sorted row, `starts` the first row of each expert and the end.
extern "C" __global__ void __launch_bounds__(kSortThreads)
experts_sort(const float* ids, int ids_stride, int* starts, int* pairs, int rows) {
    __shared__ int warp_sums[kSortThreads / 32];
    const int expert = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int count = rows * kTopK;
    const auto id = [&](int pair) {
        return static_cast<int>(ids[static_cast<long long>(pair / kTopK) * ids_stride + pair % kTopK]);
    };

    float below = 0.0f;  // exact up to 2^24 in each thread and in the sum
    for (int pair = threadIdx.x; pair < count; pair += kSortThreads) below += id(pair) < expert ? 1.0f : 0.0f;
    int next = static_cast<int>(cta_sum<kSortThreads>(below));
    if (threadIdx.x == 0) starts[expert] = next;

    for (int base = 0; base < count; base += kSortThreads) {
        const int pair = base + threadIdx.x;
        const bool own = pair < count && id(pair) == expert;
        const unsigned votes = __ballot_sync(0xffffffffu, own);
        if (lane == 0) warp_sums[warp] = __popc(votes);
        __syncthreads();
        int before = __popc(votes & ((1u << lane) - 1)), all = 0;
#pragma unroll
        for (int w = 0; w < kSortThreads / 32; ++w) {
            if (w < warp) before += warp_sums[w];
            all += warp_sums[w];
        }
        if (own) pairs[next + before] = pair;
        next += all;
        __syncthreads();  // the sums of this round are read
    }
    if (expert == kExperts - 1 && threadIdx.x == 0) starts[kExperts] = next;
}

// Rows first .. end of the sorted pairs, all of one expert; none if there is no such tile.
struct Tile {
    int expert = 0, first = 0, end = 0;
    __device__ bool there() const { return first < end; }
};

// The tile of this index, if every expert's rows are cut into tiles of kTileM. All lanes get it.
__device__ inline Tile warp_find_tile(const int* starts, int index) {
    const int lane = threadIdx.x % 32;
    int base = -32, row = 0, end = 0, passed = 0;
    unsigned beyond = 0;
    while (beyond == 0 && base + 32 < kExperts) {
        base += 32;
        index -= passed;
        const int expert = base + lane;
        const int first = expert < kExperts ? starts[expert] : 0;
        end = expert < kExperts ? starts[expert + 1] : 0;
        const int own = ceil_div(end - first, kTileM);
        int through = own;  // tiles of this expert and of those before it among the 32
#pragma unroll
        for (int step = 1; step < 32; step *= 2) {
            const int before = __shfl_up_sync(0xffffffffu, through, step);
            if (lane >= step) through += before;
        }
        beyond = __ballot_sync(0xffffffffu, through > index);
        row = first + (index - (through - own)) * kTileM;
        passed = __shfl_sync(0xffffffffu, through, 31);
    }
    const int from = beyond == 0 ? 0 : __ffs(beyond) - 1;
    Tile tile;
    tile.expert = base + from;
    tile.first = __shfl_sync(0xffffffffu, row, from);
    tile.end = min(__shfl_sync(0xffffffffu, end, from), tile.first + kTileM);
    if (beyond == 0) tile.end = tile.first;
    return tile;
}

__device__ inline float activate(float up, float gate) {
    if constexpr (kAct == 0) return relu2(up);
    if constexpr (kAct == 1) return silu(gate) * up;
    return gelu(gate) * up;
}

// out (+)= the answers of a token's experts, weighted, in the order of the choice.
extern "C" __global__ void __launch_bounds__(kSortThreads)
experts_combine(const float* answers, const float* gates, int gates_stride, OutType* out, int out_stride, int rows) {
    const long long row = blockIdx.x;
    const int col = (blockIdx.y * kSortThreads + threadIdx.x) * kCombineVec;
    if (row >= rows || col >= kWidth) return;
    float sum[kCombineVec] = {};
    OutType* to = out + row * out_stride + col;
    if constexpr (kAccumulate) load_floats(sum, to);
    for (int j = 0; j < kTopK; ++j) {
        const float gate = gates[row * gates_stride + j];
        float answer[kCombineVec];
        load_floats(answer, answers + (row * kTopK + j) * kAnswerStride + col);
#pragma unroll
        for (int i = 0; i < kCombineVec; ++i) sum[i] = fmaf(gate, answer[i], sum[i]);
    }
    store_floats(to, sum);
}

constexpr int kWarpRows = kTileM / kWarpsM, kWarpCols = kTileN / kWarpsN;
static_assert(kWarpRows % 16 == 0 && kWarpCols % 16 == 0, "a warp has whole pairs of 16 x 8 products");

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

// The sums of a warp's part of the tile.
struct Accumulators {
    float at[kWarpRows / 16][kWarpCols / 8][4] = {};
};

// Where this lane reads of its warp's first fragments in the first stage of the ring. All others lie at distances that
// the compiler knows, so that reading them takes no arithmetic.
struct LanePlace {
    unsigned x, weight;
    __device__ LanePlace(const void* ring, int warp_row, int warp_col)
        : x(smem_address(ring) + warp_row * kPitch + lane_row_a(kPitch)),
          weight(smem_address(ring) + XTile::bytes + warp_col * kPitch + lane_row_b(kPitch)) {}
};

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

constexpr int kThreads = kWarpsM * kWarpsN * 32;

using Sums = Accumulators;

// Half of each warp's columns is of the one matrix, half of the other, so that a thread has both sums of a place.
struct GatedRow {
    bool of_gate;
    int col;
    __device__ explicit GatedRow(int r)
        : of_gate(r % kWarpCols >= kWarpCols / 2), col(r / kWarpCols * (kWarpCols / 2) + r % (kWarpCols / 2)) {}
};

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

// Row r of a tile begins at `base + sources[r] * stride`; there is none where the source is negative.
template <class T>
struct XRow {
    const T* base;
    const int* sources;
    long long stride;
    __device__ const T* operator()(int r) const { return sources[r] < 0 ? nullptr : base + sources[r] * stride; }
};

// Rows of the weights from column `first` of the product on.
struct OneMatrix {
    const WeightType* base;
    long long stride;
    int left;  // columns of the product from the first on
    __device__ const WeightType* operator()(int r) const { return r < left ? base + r * stride : nullptr; }
};

// Two matrices with their rows interleaved as the form wants to meet them.
struct TwoMatrices {
    OneMatrix up, gate;
    __device__ const WeightType* operator()(int r) const {
        const GatedRow row(r);
        return row.of_gate ? gate(row.col) : up(row.col);
    }
};

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

extern "C" __global__ void __launch_bounds__(kThreads)
experts_up(const XType* x, int x_stride, const WeightType* up, int up_stride, const int* starts, const int* pairs,
           XType* inner) {
    cta_up<false>(x, x_stride, up, up_stride, nullptr, 0, starts, pairs, inner);
}

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
