The gated delta rule in chunks, with multiply-adds in float.

//@ kThreads kKeyPieces kKeyStride kDown kRows kStateRows
constexpr int kThreads = kWarps * 32;
constexpr int kKeyPieces = ceil_div(kDKey, 4);          // of four values, with which products advance
constexpr int kKeyStride = 4 * (kKeyPieces | 1);        // an odd number of them, so that rows lie in different banks
constexpr int kDown = kThreads / kTileV;                // threads along rows; each has one column
constexpr int kRows = kChunk / kDown;
constexpr int kStateRows = ceil_div(4 * kKeyPieces, kDown);
static_assert(kThreads % kTileV == 0 && kChunk % kDown == 0, "threads share rows and columns evenly");

//@ KeyTile
struct alignas(16) KeyTile { float at[kChunk][kKeyStride]; };

//@ cta_load_keys
// Columns beyond the key and rows beyond the chunk become zero.
template <int kCount, class T>
__device__ inline void cta_load_keys(KeyTile& to, const T* from, long long stride, int rows) {
    for (int n = threadIdx.x; n < kChunk * 4 * kKeyPieces; n += kCount) {
        const int i = n / (4 * kKeyPieces), d = n % (4 * kKeyPieces);
        to.at[i][d] = i < rows && d < kDKey ? to_float(from[i * stride + d]) : 0.0f;
    }
}

//@ SolveShared
struct SolveShared {
    KeyTile q, k;
    Triangles triangles;
    Decays decays;
};

//@ key_dot
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

//@ gated_delta_solve
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

//@ ChunksShared
struct ChunksShared {
    KeyTile q, k;
    float state[4 * kKeyPieces][kTileV];
    float mix[kChunk][kChunk], scores[kChunk][kChunk];
    float rest[kChunk][kTileV];   // of each value what the state before the chunk does not explain
    float write[kChunk][kTileV];
    Factors factors[kChunk];
};

//@ gated_delta_chunks
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
