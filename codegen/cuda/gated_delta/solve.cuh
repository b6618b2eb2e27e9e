What the chunk forms of the gated delta rule share: with X = (I + strict_tril(diag(beta) K K^T))^-1 of a chunk's
normalised keys, its gates' running sums G and E_ij = exp(G_i - G_j) for j <= i, the tokens' writes into the state are
mix W with mix = (X o E) diag(beta), whatever the state before the chunk. So mix, the scores Q K^T o E and each token's
factors are found for all chunks at once; only what depends on the state walks from chunk to chunk.

//@ Chunk
// A chunk's tokens: rows first .. first + len of the operands. Chunks begin anew with each sequence.
struct Chunk {
    int first, len;
    __device__ Chunk(const Segment& segment, int index)
        : first(segment.start + index * kChunk), len(min(segment.len - index * kChunk, kChunk)) {}
};

//@ Factors
// Per token and head: of K S in W, of Q S in the output, of the token's write, and of the state over the whole chunk.
struct alignas(16) Factors { float read_k, read_q, write, decay; };

//@ Decays
struct Decays {
    float gate[kChunk];  // running sums of the log decays
    float beta[kChunk];
    float q_factor[kChunk], k_factor[kChunk];
};

//@ Triangles
// Rows are as far apart as keeps accesses from each other's banks: pairs of the fragments of four rows, and 16 columns
// of two rows.
struct Triangles {
    alignas(16) float lower[kChunk][kChunk + 8];
    float inverse[kChunk][kChunk % 32 == 0 ? kChunk + 16 : kChunk];
};

//@ cta_load_decays
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

//@ cta_find_norms
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

//@ between
// E_ij; only differences are raised, which are never above zero.
__device__ inline float between(const Decays& d, int i, int j) { return expf(fminf(d.gate[i] - d.gate[j], 0.0f)); }

//@ lower_entry
__device__ inline float lower_entry(const Decays& d, float dot, int i, int j) {
    return d.beta[i] * d.k_factor[i] * d.k_factor[j] * dot;
}

//@ score_entry
__device__ inline float score_entry(const Decays& d, float dot, int i, int j) {
    return i >= j ? d.q_factor[i] * d.k_factor[j] * between(d, i, j) * dot : 0.0f;
}

//@ cta_invert
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

//@ mix_entry
__device__ inline float mix_entry(const Triangles& m, const Decays& d, int i, int j) {
    return i >= j ? m.inverse[i][j] * between(d, i, j) * d.beta[j] : 0.0f;
}

//@ factors_of
// Of the i-th of `len` tokens.
__device__ inline Factors factors_of(const Decays& d, int i, int len) {
    const float since = expf(d.gate[i]), total = d.gate[len - 1];
    const float rest = expf(fminf(total - d.gate[i], 0.0f));
    return Factors{since * d.k_factor[i], since * d.q_factor[i], rest * d.k_factor[i], expf(total)};
}

//@ cta_store_solution
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
