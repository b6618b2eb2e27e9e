// dynamic_conv[align=8 channels=3072 hidden=384 step=1 taps=4] bf16 | mma | sm_80 | codegen 1
// again: jet emit 'dynamic_conv[align=8 channels=3072 hidden=384 step=1 taps=4] bf16' --arch sm_80 --schedule 'form=1 stages=4 tile_k=64 tile_m=16 tile_n=64 warps_m=1 warps_n=4'
constexpr int kStages = 4;
constexpr int kTileK = 64;
constexpr int kTileM = 16;
constexpr int kTileN = 64;
constexpr int kWarpsM = 1;
constexpr int kWarpsN = 4;
constexpr int kChannels = 3072;
constexpr int kTaps = 4;
constexpr int kHidden = 384;
constexpr bool kStep = true;
constexpr int kK = 384;
constexpr int kXAlign = 8;

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


// ---- batch ----
// One sequence of the batch: rows start .. start + len of every activation are its new tokens.
struct alignas(16) Segment {
    int slot;   // its place in the states
    int start;  // first row
    int len;    // new tokens
    int past;   // tokens before them
    int first;  // position of the sequence's first token
    int unused[3];
};


// ---- math ----
__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }


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

// Floats to global memory, four of them in one access. Written out, because the compiler takes a vector apart that has
// lived through a loop.
template <int N>
__device__ inline void store_global(float* to, const float (&from)[N]) {
    if constexpr (N == 4) {
        asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "f"(from[0]),
                     "f"(from[1]), "f"(from[2]), "f"(from[3])
                     : "memory");
    } else {
        store_floats(to, from);
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

// Calls each(row, piece) for the pieces of kRows rows, shared out so that eight neighbouring lanes have one piece of eight
// rows. Rows of a tile are an odd number of 16-byte pieces apart: eight of one column lie in different banks, and eight in
// a row do only where rows are whole eights.
template <int kThreads, int kRows, int kPieces, class Do>
__device__ inline void cta_for_pieces_by_rows(Do each) {
    static_assert(kRows % 8 == 0, "rows are whole eights");
#pragma unroll
    for (int i = threadIdx.x; i < kRows * kPieces; i += kThreads) {
        each(i / (8 * kPieces) * 8 + i % 8, i / 8 % kPieces);
    }
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


// ---- gemm product ----
using UType = bf16;
using HType = bf16;
using WeightType = bf16;
using OutType = bf16;
using XType = HType;

__device__ inline void product(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    warp_mma<bf16>(d, a, b0, b1);
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

// One row's sequence.
struct History {
    int age;      // tokens of the sequence before this one in the run
    float* past;  // the sequence's state
    __device__ History(int row, int rows, const Segment* segments, const int* row_segments, float* state,
                       long long state_slot) {
        const Segment sequence = segments[row_segments[min(row, rows - 1)]];
        age = row - sequence.start;
        past = state + sequence.slot * state_slot;
    }
    // Whether tap w of this token looks into the state.
    __device__ bool before(int w) const { return age + w < kTaps - 1; }
    // The column that it looks at there.
    __device__ int column(int w) const { return age + w + 1; }
};

constexpr int kThreads = kWarpsM * kWarpsN * 32;

constexpr int kTileChannels = kTileN / 4;
constexpr int kHalo = 3;  // rows that the first token of a tile looks back
static_assert(kTaps == 4, "two neighbouring lanes have the four taps of a channel");
// The signal of the tile's tokens and of those before them.
using SignalTile = SmemTile<UType, kTileM + 8, kTileChannels>;
using ResultTile = SmemTile<OutType, kTileM, kTileChannels>;
static_assert(ResultTile::bytes <= kStages * Stage::bytes, "results are staged where the ring was");

// In a step the states pass through shared memory, so that whole pieces of a column are read and written: of each row the
// three columns that its token looks at.
constexpr int kStateVec = kXAlign >= 4 ? 4 : 2;
using PastTile = SmemTile<float, kTileM * kHalo, kTileChannels>;
static_assert(kTileChannels % 4 == 0, "a row of a tile is whole pieces");

// Begins to load the columns of `rows` rows, whose slots are in `slots`.
__device__ inline void cta_load_states(PastTile to, const int* slots, const float* state, long long state_slot,
                                       int first_channel, int channels, int rows) {
    cta_for_pieces_by_rows<kThreads, kTileM * kHalo, kTileChannels / kStateVec>([&](int at, int piece) {
        const int row = at / kHalo, column = at % kHalo + 1, channel = piece * kStateVec;
        if (row >= rows || channel >= channels) return;
        copy_async<4 * kStateVec>(to.at(at, channel),
                                  state + slots[row] * state_slot + column * kChannels + first_channel + channel,
                                  4 * kStateVec);
    });
}

// Every column moves up by one, and the new token's signal is the last.
__device__ inline void cta_store_states(PastTile from, SignalTile signal, const int* slots, float* state,
                                        long long state_slot, int first_channel, int channels, int rows) {
    cta_for_pieces_by_rows<kThreads, kTileM * kTaps, kTileChannels / kStateVec>([&](int at, int piece) {
        const int row = at / kTaps, column = at % kTaps, channel = piece * kStateVec;
        if (row >= rows || channel >= channels) return;
        float values[kStateVec];
        if (column < kHalo) {
            load_floats(values, from.at(row * kHalo + column, channel));
        } else {
            load_floats(values, signal.at(row + kHalo, channel));
        }
        store_global(state + slots[row] * state_slot + column * kChannels + first_channel + channel, values);
    });
}

// What one lane multiplies its two taps of a channel with.
struct Signal { float at[2]; };

// Taps w and w + 1 of a token, `row` in the tile.
__device__ inline Signal lane_signal(const History& history, SignalTile tile, PastTile past, int row, int w, int in_tile,
                                     int channel) {
    Signal signal;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        if constexpr (kStep) {
            signal.at[i] = w + i < kHalo ? *past.at(row * kHalo + w + i, in_tile) : to_float(*tile.at(row + kHalo, in_tile));
            continue;
        }
        signal.at[i] = history.before(w + i) ? history.past[history.column(w + i) * kChannels + channel]
                                             : to_float(*tile.at(row + w + i, in_tile));
    }
    return signal;
}

extern "C" __global__ void __launch_bounds__(kThreads)
dynamic_conv_mma(const UType* u, int u_stride, const HType* h, int h_stride, const WeightType* weight,
                 int weight_stride, const float* bias, OutType* out, int out_stride, float* state,
                 long long state_slot, const Segment* segments, const int* row_segments, int rows) {
    extern __shared__ __align__(128) unsigned char ring[];
    constexpr int kSteps = ceil_div(kK, kTileK);
    const int first_row = blockIdx.x * kTileM, first_channel = blockIdx.y * kTileChannels;
    const HType* h_tile = h + static_cast<long long>(first_row) * h_stride;
    const WeightType* weight_tile = weight + static_cast<long long>(first_channel) * kTaps * weight_stride;
    const int channels = min(kChannels - first_channel, kTileChannels);

    const auto cta_load = [&](int step) {
        const Stage stage(ring + step % kStages * Stage::bytes);
        const int k = step * kTileK;
        cta_copy_tile<kThreads, kXAlign>(stage.x, h_tile + k, h_stride, rows - first_row, kK - k);
        cta_copy_tile<kThreads, 8>(stage.weight, weight_tile + k, weight_stride, kChannels * kTaps - first_channel * kTaps,
                                   kK - k);
    };

    // Load: the signal with the first stage; the ring is filled but for one stage. The first tile of all has no rows
    // before it, and nothing looks at the places where they would be.
    const SignalTile signal(ring + kStages * Stage::bytes);
    constexpr int kPieces = kTileChannels / kXAlign;
    cta_for_pieces_by_rows<kThreads, kTileM + 8, kPieces>([&](int row, int piece) {
        const int col = piece * kXAlign, source = first_row - kHalo + row;
        if (row >= kTileM + kHalo || source < 0 || source >= rows || col >= channels) return;
        copy_async<kXAlign * sizeof(UType)>(signal.at(row, col),
                                            u + static_cast<long long>(source) * u_stride + first_channel + col,
                                            min(channels - col, kXAlign) * static_cast<int>(sizeof(UType)));
    });
    const PastTile past(ring + kStages * Stage::bytes + SignalTile::bytes);
    __shared__ int slots[kStep ? kTileM : 1];
    const int own_rows = min(rows - first_row, kTileM);
    if constexpr (kStep) {
        // The rows of a step are its sequences.
        for (int row = threadIdx.x; row < own_rows; row += kThreads) slots[row] = segments[first_row + row].slot;
        __syncthreads();
        cta_load_states(past, slots, state, state_slot, first_channel, channels, own_rows);
    }
#pragma unroll
    for (int step = 0; step < kStages - 1; ++step) {
        if (step < kSteps) cta_load(step);
        copy_commit();
    }

    // Compute: each step frees the stage of the step before for the copies of a later one.
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_row = warp % kWarpsM * kWarpRows, warp_col = warp / kWarpsM * kWarpCols;
    const LanePlace place(ring, warp_row, warp_col);
    Accumulators taps;
    for (int step = 0; step < kSteps; ++step) {
        copy_wait<kStages - 2>();
        __syncthreads();
        if (step + kStages - 1 < kSteps) cta_load(step + kStages - 1);
        copy_commit();
        warp_multiply(taps, place, step % kStages * Stage::bytes);
    }
    __syncthreads();  // the ring has been read

    // Apply: an even lane has taps 0 and 1 of a channel, the odd one beside it taps 2 and 3, both for two tokens. Each
    // keeps one token and gives its part of the other away.
    const ResultTile results(ring);
    const bool odd = lane % 2 != 0;
    const int w = odd ? 2 : 0;
#pragma unroll
    for (int m = 0; m < kWarpRows / 16; ++m) {
        const int upper = warp_row + 16 * m + lane / 4, lower = upper + 8;
        const History above(first_row + upper, rows, segments, row_segments, state, state_slot);
        const History below(first_row + lower, rows, segments, row_segments, state, state_slot);
#pragma unroll
        for (int n = 0; n < kWarpCols / 8; ++n) {
            const int in_tile = (warp_col + 8 * n) / 4 + lane % 4 / 2, channel = first_channel + in_tile;
            const bool there = in_tile < channels;
            const bool has_upper = there && first_row + upper < rows, has_lower = there && first_row + lower < rows;
            float first_bias = 0.0f, second_bias = 0.0f;
            if (there) {
                first_bias = bias[channel * kTaps + w];
                second_bias = bias[channel * kTaps + w + 1];
            }
            Signal one = {}, two = {};
            if (has_upper) one = lane_signal(above, signal, past, upper, w, in_tile, channel);
            if (has_lower) two = lane_signal(below, signal, past, lower, w, in_tile, channel);
            const float(&d)[4] = taps.at[m][n];
            const float sum = fmaf(d[0] + first_bias, one.at[0], (d[1] + second_bias) * one.at[1]);
            const float sum_below = fmaf(d[2] + first_bias, two.at[0], (d[3] + second_bias) * two.at[1]);
            const float other = __shfl_xor_sync(0xffffffffu, odd ? sum : sum_below, 1);
            const float result = silu((odd ? sum_below : sum) + other);
            *results.at(odd ? lower : upper, in_tile) = from_float<OutType>(result);
        }
    }
    __syncthreads();

    // Store.
    cta_for_pieces_by_rows<kThreads, kTileM, kPieces>([&](int row, int piece) {
        const int col = piece * kXAlign;
        if (first_row + row < rows && col < channels) {
            store_vec<kXAlign>(out + static_cast<long long>(first_row + row) * out_stride + first_channel + col,
                               load_vec<kXAlign>(results.at(row, col)));
        }
    });
    if constexpr (kStep) {
        cta_store_states(past, signal, slots, state, state_slot, first_channel, channels, own_rows);
    }
}
