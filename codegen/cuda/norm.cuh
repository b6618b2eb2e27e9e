RMSNorm of groups of columns: y = w * x / sqrt(mean(x^2) + eps). A team of threads has one group of one row, held in
registers, so that memory is read once.

//@ Group kVectors
// What one thread holds: kHeld / kVec vectors of its team's group.
constexpr int kVectors = ceil_div(kGroup, kTeam * kVec);
struct Group { float at[kVectors][kVec]; };

//@ column
// First column, in the group, of vector `v` of this thread.
__device__ inline int column(int v) { return (v * kTeam + static_cast<int>(threadIdx.x) % kTeam) * kVec; }

//@ team_load
// Columns beyond the group, and all of a row that is not there, read as zero.
template <class T>
__device__ inline void team_load(Group& x, const T* from, bool there = true) {
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
        if (there && column(v) < kGroup) {
            load_floats(x.at[v], from + column(v));
        } else {
#pragma unroll
            for (int i = 0; i < kVec; ++i) x.at[v][i] = 0.0f;
        }
    }
}

//@ team_store
template <class T>
__device__ inline void team_store(T* to, const Group& x) {
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
        if (column(v) < kGroup) store_floats(to + column(v), x.at[v]);
    }
}

//@ team_norm
// Norms the group in place. All threads of the CTA call it.
__device__ inline void team_norm(Group& x, const float* weight, float eps) {
    float squares = 0.0f;
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
#pragma unroll
        for (int i = 0; i < kVec; ++i) squares = fmaf(x.at[v][i], x.at[v][i], squares);
    }
    squares = team_sum<kTeam, kThreads>(squares);
    const float factor = 1.0f / sqrtf(squares / kGroup + eps);
    Group scale;
    team_load(scale, weight);
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
#pragma unroll
        for (int i = 0; i < kVec; ++i) x.at[v][i] = x.at[v][i] * factor * scale.at[v][i];
    }
}

//@ team_gate
// x = x * silu(z).
__device__ inline void team_gate(Group& x, const Group& z) {
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
#pragma unroll
        for (int i = 0; i < kVec; ++i) x.at[v][i] *= silu(z.at[v][i]);
    }
}

//@ Place
// The row and the first column of this thread's team. A team beyond the last row works on zeros and stores nothing: it
// is needed at the barriers.
struct Place {
    long long row;
    int col, weight_col;
    bool there;
    __device__ explicit Place(int rows) {
        row = blockIdx.x * (kThreads / kTeam) + threadIdx.x / kTeam;
        there = row < rows;
        col = blockIdx.y * kGroup;
        weight_col = kSharedWeight ? 0 : col;
    }
};

//@ norm_rows
// Rows, or heads of rows in place.
extern "C" __global__ void __launch_bounds__(kThreads)
norm_rows(const XType* x, int x_stride, const float* weight, OutType* out, int out_stride, int rows, float eps) {
    const Place place(rows);
    Group values;
    team_load(values, x + place.row * x_stride + place.col, place.there);
    team_norm(values, weight + place.weight_col, eps);
    if (place.there) team_store(out + place.row * out_stride + place.col, values);
}

//@ norm_add
// residual = residual + x, and the norm of that.
extern "C" __global__ void __launch_bounds__(kThreads)
norm_add(const XType* x, int x_stride, ResidualType* residual, int residual_stride, const float* weight, OutType* out,
         int out_stride, int rows, float eps) {
    const Place place(rows);
    Group values, sum;
    ResidualType* stream = residual + place.row * residual_stride + place.col;
    team_load(sum, stream, place.there);
    team_load(values, x + place.row * x_stride + place.col, place.there);
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
#pragma unroll
        for (int i = 0; i < kVec; ++i) values.at[v][i] += sum.at[v][i];
    }
    if (place.there) team_store(stream, values);
    team_norm(values, weight + place.weight_col, eps);
    if (place.there) team_store(out + place.row * out_stride + place.col, values);
}

//@ norm_gated
// With a gate before the norm (Mamba-2) or after it (JetBlock).
extern "C" __global__ void __launch_bounds__(kThreads)
norm_gated(const XType* x, int x_stride, const ZType* z, int z_stride, const float* weight, OutType* out,
           int out_stride, int rows, float eps) {
    const Place place(rows);
    Group values, gate;
    team_load(values, x + place.row * x_stride + place.col, place.there);
    team_load(gate, z + place.row * z_stride + place.col, place.there);
    if constexpr (kGateFirst) team_gate(values, gate);
    team_norm(values, weight + place.weight_col, eps);
    if constexpr (!kGateFirst) team_gate(values, gate);
    if (place.there) team_store(out + place.row * out_stride + place.col, values);
}
