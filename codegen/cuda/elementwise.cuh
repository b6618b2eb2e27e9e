Ops whose elements are independent. A thread has kVec neighbouring columns of kRows rows.

//@ Place
// The columns of this thread and the rows of its CTA.
struct Place {
    int col = (blockIdx.y * kThreads + threadIdx.x) * kVec;
    long long row = static_cast<long long>(blockIdx.x) * kRows;
    __device__ bool inside(int i, int rows) const { return row + i < rows && col < kWidth; }
};

//@ silu_rows
extern "C" __global__ void __launch_bounds__(kThreads)
silu_rows(const XType* x, int x_stride, OutType* out, int out_stride, int rows) {
    const Place place;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        if (!place.inside(i, rows)) continue;
        float v[kVec];
        load_floats(v, x + (place.row + i) * x_stride + place.col);
#pragma unroll
        for (int j = 0; j < kVec; ++j) v[j] = silu(v[j]);
        store_floats(out + (place.row + i) * out_stride + place.col, v);
    }
}

//@ relu2_rows
extern "C" __global__ void __launch_bounds__(kThreads)
relu2_rows(const XType* x, int x_stride, OutType* out, int out_stride, int rows) {
    const Place place;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        if (!place.inside(i, rows)) continue;
        float v[kVec];
        load_floats(v, x + (place.row + i) * x_stride + place.col);
#pragma unroll
        for (int j = 0; j < kVec; ++j) v[j] = relu2(v[j]);
        store_floats(out + (place.row + i) * out_stride + place.col, v);
    }
}

//@ copy_rows
extern "C" __global__ void __launch_bounds__(kThreads)
copy_rows(const XType* x, int x_stride, OutType* out, int out_stride, int rows) {
    const Place place;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        if (!place.inside(i, rows)) continue;
        float v[kVec];
        load_floats(v, x + (place.row + i) * x_stride + place.col);
        store_floats(out + (place.row + i) * out_stride + place.col, v);
    }
}

//@ add_rows
// out = out + x.
extern "C" __global__ void __launch_bounds__(kThreads)
add_rows(const XType* x, int x_stride, OutType* out, int out_stride, int rows) {
    const Place place;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        if (!place.inside(i, rows)) continue;
        float v[kVec], sum[kVec];
        OutType* to = out + (place.row + i) * out_stride + place.col;
        load_floats(v, x + (place.row + i) * x_stride + place.col);
        load_floats(sum, to);
#pragma unroll
        for (int j = 0; j < kVec; ++j) sum[j] += v[j];
        store_floats(to, sum);
    }
}

//@ swiglu_rows
extern "C" __global__ void __launch_bounds__(kThreads)
swiglu_rows(const GateType* gate, int gate_stride, const UpType* up, int up_stride, OutType* out, int out_stride,
            int rows) {
    const Place place;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        if (!place.inside(i, rows)) continue;
        float g[kVec], u[kVec];
        load_floats(g, gate + (place.row + i) * gate_stride + place.col);
        load_floats(u, up + (place.row + i) * up_stride + place.col);
#pragma unroll
        for (int j = 0; j < kVec; ++j) g[j] = silu(g[j]) * u[j];
        store_floats(out + (place.row + i) * out_stride + place.col, g);
    }
}

//@ geglu_rows
extern "C" __global__ void __launch_bounds__(kThreads)
geglu_rows(const GateType* gate, int gate_stride, const UpType* up, int up_stride, OutType* out, int out_stride,
           int rows) {
    const Place place;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        if (!place.inside(i, rows)) continue;
        float g[kVec], u[kVec];
        load_floats(g, gate + (place.row + i) * gate_stride + place.col);
        load_floats(u, up + (place.row + i) * up_stride + place.col);
#pragma unroll
        for (int j = 0; j < kVec; ++j) g[j] = gelu(g[j]) * u[j];
        store_floats(out + (place.row + i) * out_stride + place.col, g);
    }
}

//@ gather_rows
// The rows that outputs were asked for.
extern "C" __global__ void __launch_bounds__(kThreads)
gather_rows(const XType* x, int x_stride, const int* out_rows, OutType* out, int out_stride, int rows) {
    const Place place;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        if (!place.inside(i, rows)) continue;
        float v[kVec];
        load_floats(v, x + static_cast<long long>(out_rows[place.row + i]) * x_stride + place.col);
        store_floats(out + (place.row + i) * out_stride + place.col, v);
    }
}

//@ embed_rows
// Rows of the table by token.
extern "C" __global__ void __launch_bounds__(kThreads)
embed_rows(const TableType* table, int table_stride, const int* token_ids, OutType* out, int out_stride, int rows) {
    const Place place;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        if (!place.inside(i, rows)) continue;
        float v[kVec];
        load_floats(v, table + static_cast<long long>(token_ids[place.row + i]) * table_stride + place.col);
        store_floats(out + (place.row + i) * out_stride + place.col, v);
    }
}

//@ rope_rows
// Rotary embedding of every head, half-split, in place: element i of a head pairs with i + kHead / 2. kWidth counts
// pairs. A frequency is the part of a turn that one token adds, in units of 2^-64: the product with the position wraps
// round exactly, so no angle loses digits however far the sequence has come.
extern "C" __global__ void __launch_bounds__(kThreads)
rope_rows(XType* x, int x_stride, const int* positions, const unsigned long long* frequencies, int rows) {
    constexpr int kPairs = kHead / 2;
    const Place place;
    const int head = place.col / kPairs, pair = place.col % kPairs;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        if (!place.inside(i, rows)) continue;
        XType* low = x + (place.row + i) * x_stride + head * kHead + pair;
        float a[kVec], b[kVec];
        load_floats(a, low);
        load_floats(b, low + kPairs);
        const unsigned long long position = positions[place.row + i];
#pragma unroll
        for (int j = 0; j < kVec; ++j) {
            const long long turn = static_cast<long long>(position * frequencies[pair + j]);
            float sine, cosine;
            sincospif(static_cast<float>(turn) * 1.0842021724855044e-19f, &sine, &cosine);  // 2^-63 turns, in halves
            const float first = a[j], second = b[j];
            a[j] = first * cosine - second * sine;
            b[j] = second * cosine + first * sine;
        }
        store_floats(low, a);
        store_floats(low + kPairs, b);
    }
}

//@ gates_rows
// JetBlock's gates, in place: a = -exp(a_log) * softplus(a + dt_bias), the log of the decay; b = sigmoid(b).
extern "C" __global__ void __launch_bounds__(kThreads)
gates_rows(AType* a, int a_stride, BType* b, int b_stride, const float* a_log, const float* dt_bias, int rows) {
    const Place place;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        if (!place.inside(i, rows)) continue;
        AType* decay = a + (place.row + i) * a_stride + place.col;
        BType* strength = b + (place.row + i) * b_stride + place.col;
        float u[kVec], v[kVec];
        load_floats(u, decay);
        load_floats(v, strength);
#pragma unroll
        for (int j = 0; j < kVec; ++j) {
            u[j] = -expf(a_log[place.col + j]) * softplus(u[j] + dt_bias[place.col + j]);
            v[j] = sigmoid(v[j]);
        }
        store_floats(decay, u);
        store_floats(strength, v);
    }
}
