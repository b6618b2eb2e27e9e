// gated_delta[align=8 d_key=128 d_value=256 heads=16 out_align=8 step=0] f32 | fma | sm_80 | codegen 1
// again: jet emit 'gated_delta[align=8 d_key=128 d_value=256 heads=16 out_align=8 step=0] f32' --arch sm_80 --schedule 'chunk=32 form=1 stages=2 tile_v=64 vec=4 warps=4'
constexpr int kChunk = 32;
constexpr int kStages = 2;
constexpr int kTileV = 64;
constexpr int kVec = 4;
constexpr int kWarps = 4;
constexpr int kHeads = 16;
constexpr int kDKey = 128;
constexpr int kDValue = 256;
constexpr int kSolveThreads = 128;

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


// ---- reduce ----
// The sum over each group of kLanes neighbouring lanes, in all of them.
template <int kLanes>
__device__ inline float lanes_sum(float x) {
    static_assert(kLanes >= 1 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0, "a group of lanes is a power of two");
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}


// ---- scan ----
// The sum over this lane and those before it.
__device__ inline float warp_scan(float x) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
        const float before = __shfl_up_sync(0xffffffffu, x, step);
        if (lane >= step) x += before;
    }
    return x;
}


// ---- gated_delta solve ----
using QType = float;
using KType = float;
using VType = float;
using OutType = float;
using TriangleType = float;

// A chunk's tokens: rows first .. first + len of the operands. Chunks begin anew with each sequence.
struct Chunk {
    int first, len;
    __device__ Chunk(const Segment& segment, int index)
        : first(segment.start + index * kChunk), len(min(segment.len - index * kChunk, kChunk)) {}
};

// Per token and head: of K S in W, of Q S in the output, of the token's write, and of the state over the whole chunk.
struct alignas(16) Factors { float read_k, read_q, write, decay; };

struct Decays {
    float gate[kChunk];  // running sums of the log decays
    float beta[kChunk];
    float q_factor[kChunk], k_factor[kChunk];
};

// Rows are as far apart as keeps accesses from each other's banks: pairs of the fragments of four rows, and 16 columns
// of two rows.
struct Triangles {
    alignas(16) float lower[kChunk][kChunk + 8];
    float inverse[kChunk][kChunk % 32 == 0 ? kChunk + 16 : kChunk];
};

// A decay below e^-30 is e^-30: what it leaves is far below a float, and sums stay small, so their differences exact.
__device__ inline void cta_load_decays(Decays& to, const float* g, int g_stride, const float* beta, int beta_stride,
                                       Chunk chunk, int head) {
    if (threadIdx.x < 32) {
        float carry = 0.0f;
        for (int base = 0; base < kChunk; base += 32) {
            const int i = base + threadIdx.x;
            const long long row = chunk.first + i;
            const float sum = carry + warp_scan(i < chunk.len ? fmaxf(g[row * g_stride + head], -30.0f) : 0.0f);
            if (i < kChunk) to.gate[i] = sum;
            carry = __shfl_sync(0xffffffffu, sum, 31);
        }
    } else {
        for (int i = threadIdx.x - 32; i < kChunk; i += kSolveThreads - 32) {
            const long long row = chunk.first + i;
            to.beta[i] = i < chunk.len ? beta[row * beta_stride + head] : 0.0f;
        }
    }
}

// The factors that normalise the rows of the tiles, each row by a warp.
template <class T>
__device__ inline void cta_find_norms(Decays& to, const T* q, const T* k, int stride, float scale, float l2_eps) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int i = warp; i < kChunk; i += kSolveThreads / 32) {
        float qq = 0.0f, kk = 0.0f;
        for (int d = lane; d < kDKey; d += 32) {
            const float a = to_float(q[i * stride + d]), b = to_float(k[i * stride + d]);
            qq = fmaf(a, a, qq);
            kk = fmaf(b, b, kk);
        }
        qq = lanes_sum<32>(qq);
        kk = lanes_sum<32>(kk);
        if (lane == 0) {
            to.q_factor[i] = scale / sqrtf(qq + l2_eps);
            to.k_factor[i] = 1.0f / sqrtf(kk + l2_eps);
        }
    }
}

// E_ij; only differences are raised, which are never above zero.
__device__ inline float between(const Decays& d, int i, int j) { return expf(fminf(d.gate[i] - d.gate[j], 0.0f)); }

__device__ inline float lower_entry(const Decays& d, float dot, int i, int j) {
    return d.beta[i] * d.k_factor[i] * d.k_factor[j] * dot;
}

__device__ inline float score_entry(const Decays& d, float dot, int i, int j) {
    return i >= j ? d.q_factor[i] * d.k_factor[j] * between(d, i, j) * dot : 0.0f;
}

// inverse = (I + strict_tril(lower))^-1, in its lower triangle; above the diagonal is waste. Blocks of 16 by forward
// substitution, a column each thread; then pairs of blocks merge: X21 = -X22 L21 X11.
__device__ inline void cta_invert(Triangles& m) {
    if (threadIdx.x < kChunk) {
        const int base = threadIdx.x / 16 * 16, c = threadIdx.x % 16;
        float x[16];
#pragma unroll
        for (int i = 0; i < 16; ++i) {
            float sum = i == c ? 1.0f : 0.0f;
#pragma unroll
            for (int j = 0; j < i; ++j) sum = fmaf(-m.lower[base + i][base + j], x[j], sum);
            x[i] = sum;
            m.inverse[base + i][base + c] = sum;
        }
    }
    __syncthreads();
#pragma unroll
    for (int size = 16; size < kChunk; size *= 2) {
        // L21 X11 waits in the place of the block above the diagonal.
        for (int n = threadIdx.x; n < kChunk / 2 * size; n += kSolveThreads) {
            const int base = n / (size * size) * 2 * size, r = n / size % size, c = n % size;
            float sum = 0.0f;
            // X11 has nothing above its diagonal, but waste may be there. All lanes walk the same way.
            for (int j = 0; j < size; ++j) {
                const float x = j >= c ? m.inverse[base + j][base + c] : 0.0f;
                sum = fmaf(m.lower[base + size + r][base + j], x, sum);
            }
            m.inverse[base + r][base + size + c] = sum;
        }
        __syncthreads();
        for (int n = threadIdx.x; n < kChunk / 2 * size; n += kSolveThreads) {
            const int base = n / (size * size) * 2 * size, r = n / size % size, c = n % size;
            float sum = 0.0f;
            for (int j = 0; j < size; ++j) {
                const float x = j <= r ? -m.inverse[base + size + r][base + size + j] : 0.0f;
                sum = fmaf(x, m.inverse[base + j][base + size + c], sum);
            }
            m.inverse[base + size + r][base + c] = sum;
        }
        __syncthreads();
    }
}

__device__ inline float mix_entry(const Triangles& m, const Decays& d, int i, int j) {
    return i >= j ? m.inverse[i][j] * between(d, i, j) * d.beta[j] : 0.0f;
}

// Of the i-th of `len` tokens.
__device__ inline Factors factors_of(const Decays& d, int i, int len) {
    const float since = expf(d.gate[i]), total = d.gate[len - 1];
    const float rest = expf(fminf(total - d.gate[i], 0.0f));
    return Factors{since * d.k_factor[i], since * d.q_factor[i], rest * d.k_factor[i], expf(total)};
}

__device__ inline void cta_store_solution(const Triangles& m, const Decays& d, TriangleType* mix, Factors* factors,
                                          Chunk chunk, int head) {
    for (int n = threadIdx.x; n < chunk.len * kChunk; n += kSolveThreads) {
        const int i = n / kChunk, j = n % kChunk;
        mix[(static_cast<long long>(chunk.first + i) * kHeads + head) * kChunk + j] =
            from_float<TriangleType>(mix_entry(m, d, i, j));
    }
    for (int i = threadIdx.x; i < chunk.len; i += kSolveThreads) {
        factors[static_cast<long long>(chunk.first + i) * kHeads + head] = factors_of(d, i, chunk.len);
    }
}

constexpr int kThreads = kWarps * 32;
constexpr int kKeyPieces = ceil_div(kDKey, 4);          // of four values, with which products advance
constexpr int kKeyStride = 4 * (kKeyPieces | 1);        // an odd number of them, so that rows lie in different banks
constexpr int kDown = kThreads / kTileV;                // threads along rows; each has one column
constexpr int kRows = kChunk / kDown;
constexpr int kStateRows = ceil_div(4 * kKeyPieces, kDown);
static_assert(kThreads % kTileV == 0 && kChunk % kDown == 0, "threads share rows and columns evenly");

struct alignas(16) KeyTile { float at[kChunk][kKeyStride]; };

// Columns beyond the key and rows beyond the chunk become zero.
template <int kCount, class T>
__device__ inline void cta_load_keys(KeyTile& to, const T* from, long long stride, int rows) {
    for (int n = threadIdx.x; n < kChunk * 4 * kKeyPieces; n += kCount) {
        const int i = n / (4 * kKeyPieces), d = n % (4 * kKeyPieces);
        to.at[i][d] = i < rows && d < kDKey ? to_float(from[i * stride + d]) : 0.0f;
    }
}

struct SolveShared {
    KeyTile q, k;
    Triangles triangles;
    Decays decays;
};

__device__ inline float key_dot(const float* a, const float* b) {
    float sum = 0.0f;
#pragma unroll 4
    for (int d = 0; d < 4 * kKeyPieces; d += 4) {
        float x[4], y[4];
        load_floats(x, a + d);
        load_floats(y, b + d);
#pragma unroll
        for (int i = 0; i < 4; ++i) sum = fmaf(x[i], y[i], sum);
    }
    return sum;
}

extern "C" __global__ void __launch_bounds__(kSolveThreads)
gated_delta_solve(const QType* q, int q_stride, const KType* k, int k_stride, const float* g, int g_stride,
                  const float* beta, int beta_stride, TriangleType* mix, TriangleType* scores, Factors* factors,
                  const Segment* segments, float scale, float l2_eps) {
    extern __shared__ __align__(128) unsigned char bytes[];
    SolveShared& shared = *reinterpret_cast<SolveShared*>(bytes);
    const Chunk chunk(segments[blockIdx.y], blockIdx.x);
    const int head = blockIdx.z;
    if (chunk.len <= 0) return;
    const long long first = chunk.first;
    cta_load_keys<kSolveThreads>(shared.q, q + first * q_stride + head * kDKey, q_stride, chunk.len);
    cta_load_keys<kSolveThreads>(shared.k, k + first * k_stride + head * kDKey, k_stride, chunk.len);
    cta_load_decays(shared.decays, g, g_stride, beta, beta_stride, chunk, head);
    __syncthreads();
    cta_find_norms(shared.decays, &shared.q.at[0][0], &shared.k.at[0][0], kKeyStride, scale, l2_eps);
    __syncthreads();
    for (int n = threadIdx.x; n < kChunk * kChunk; n += kSolveThreads) {
        const int i = n / kChunk, j = n % kChunk;
        if (i > j) {
            const float of = key_dot(shared.k.at[i], shared.k.at[j]);
            shared.triangles.lower[i][j] = lower_entry(shared.decays, of, i, j);
        }
        if (i < chunk.len) {
            const float of = i >= j ? key_dot(shared.q.at[i], shared.k.at[j]) : 0.0f;
            scores[((first + i) * kHeads + head) * kChunk + j] =
                from_float<TriangleType>(score_entry(shared.decays, of, i, j));
        }
    }
    __syncthreads();
    cta_invert(shared.triangles);
    cta_store_solution(shared.triangles, shared.decays, mix, factors, chunk, head);
}

struct ChunksShared {
    KeyTile q, k;
    float state[4 * kKeyPieces][kTileV];
    float mix[kChunk][kChunk], scores[kChunk][kChunk];
    float rest[kChunk][kTileV];   // of each value what the state before the chunk does not explain
    float write[kChunk][kTileV];
    Factors factors[kChunk];
};

extern "C" __global__ void __launch_bounds__(kThreads)
gated_delta_chunks(const QType* q, int q_stride, const KType* k, int k_stride, const VType* v, int v_stride,
                   const TriangleType* mix, const TriangleType* scores, const Factors* factors, OutType* out,
                   int out_stride, float* state, long long state_slot, const Segment* segments) {
    extern __shared__ __align__(128) unsigned char bytes[];
    ChunksShared& shared = *reinterpret_cast<ChunksShared*>(bytes);
    const Segment segment = segments[blockIdx.y];
    const int head = blockIdx.z, col = threadIdx.x % kTileV, down = threadIdx.x / kTileV;
    const int at = blockIdx.x * kTileV + col;
    const bool there = at < kDValue;
    float* own = state + segment.slot * state_slot + static_cast<long long>(head) * kDKey * kDValue + at;
    for (int d = down; d < 4 * kKeyPieces; d += kDown) {
        shared.state[d][col] = there && d < kDKey ? own[static_cast<long long>(d) * kDValue] : 0.0f;
    }

    for (int index = 0; index * kChunk < segment.len; ++index) {
        const Chunk chunk(segment, index);
        const long long first = chunk.first;
        __syncthreads();  // whoever still reads the chunk before
        cta_load_keys<kThreads>(shared.q, q + first * q_stride + head * kDKey, q_stride, chunk.len);
        cta_load_keys<kThreads>(shared.k, k + first * k_stride + head * kDKey, k_stride, chunk.len);
        for (int n = threadIdx.x; n < kChunk * kChunk; n += kThreads) {
            const int i = n / kChunk, j = n % kChunk;
            const long long from = ((first + i) * kHeads + head) * kChunk + j;
            shared.mix[i][j] = i < chunk.len ? to_float(mix[from]) : 0.0f;
            shared.scores[i][j] = i < chunk.len ? to_float(scores[from]) : 0.0f;
        }
        for (int i = threadIdx.x; i < kChunk; i += kThreads) {
            shared.factors[i] = i < chunk.len ? factors[(first + i) * kHeads + head] : Factors{};
        }
        __syncthreads();

        // Read the state before the chunk with keys and queries.
        float by_k[kRows] = {}, by_q[kRows] = {};
        for (int d = 0; d < 4 * kKeyPieces; d += 4) {
            float held[4];
#pragma unroll
            for (int n = 0; n < 4; ++n) held[n] = shared.state[d + n][col];
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                float a[4], b[4];
                load_floats(a, &shared.k.at[down + r * kDown][d]);
                load_floats(b, &shared.q.at[down + r * kDown][d]);
#pragma unroll
                for (int n = 0; n < 4; ++n) {
                    by_k[r] = fmaf(a[n], held[n], by_k[r]);
                    by_q[r] = fmaf(b[n], held[n], by_q[r]);
                }
            }
        }
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            const int i = down + r * kDown;
            const bool real = there && i < chunk.len;
            const float value = real ? to_float(v[(first + i) * v_stride + head * kDValue + at]) : 0.0f;
            shared.rest[i][col] = value - shared.factors[i].read_k * by_k[r];
            by_q[r] *= shared.factors[i].read_q;
        }
        __syncthreads();

        float write[kRows] = {};
        for (int j = 0; j < kChunk; ++j) {
            const float rest = shared.rest[j][col];
#pragma unroll
            for (int r = 0; r < kRows; ++r) write[r] = fmaf(shared.mix[down + r * kDown][j], rest, write[r]);
        }
#pragma unroll
        for (int r = 0; r < kRows; ++r) shared.write[down + r * kDown][col] = write[r];
        __syncthreads();

        for (int j = 0; j < kChunk; ++j) {
            const float written = shared.write[j][col];
#pragma unroll
            for (int r = 0; r < kRows; ++r) by_q[r] = fmaf(shared.scores[down + r * kDown][j], written, by_q[r]);
        }
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            const int i = down + r * kDown;
            if (there && i < chunk.len) {
                out[(first + i) * out_stride + head * kDValue + at] = from_float<OutType>(by_q[r]);
            }
        }

        // Write the chunk into the state; a thread has the elements that it read and will read.
        float next[kStateRows];
#pragma unroll
        for (int r = 0; r < kStateRows; ++r) {
            const int d = down + r * kDown;
            next[r] = d < 4 * kKeyPieces ? shared.factors[0].decay * shared.state[d][col] : 0.0f;
        }
        for (int i = 0; i < kChunk; ++i) {
            const float written = shared.factors[i].write * shared.write[i][col];
#pragma unroll
            for (int r = 0; r < kStateRows; ++r) {
                const int d = down + r * kDown;
                if (d < 4 * kKeyPieces) next[r] = fmaf(shared.k.at[i][d], written, next[r]);
            }
        }
#pragma unroll
        for (int r = 0; r < kStateRows; ++r) {
            const int d = down + r * kDown;
            if (d < 4 * kKeyPieces) shared.state[d][col] = next[r];
        }
    }

    for (int d = down; d < kDKey; d += kDown) {
        if (there) own[static_cast<long long>(d) * kDValue] = shared.state[d][col];
    }
}
