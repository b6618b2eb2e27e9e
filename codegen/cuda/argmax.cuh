The place of the largest logit of each row: first of each of kParts parts of it, by a CTA each, then of those.

//@ cta_best
// The best of all threads' candidates, in the first warp. All threads call it, once.
__device__ inline Candidate cta_best(Candidate own) {
    __shared__ float values[kThreads / 32];
    __shared__ int indices[kThreads / 32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    own = warp_best(own);
    if (lane == 0) {
        values[warp] = own.value;
        indices[warp] = own.index;
    }
    __syncthreads();
    Candidate best;
    if (lane < kThreads / 32) best.meet(values[lane], indices[lane]);
    return warp_best(best);
}

//@ argmax_parts
extern "C" __global__ void __launch_bounds__(kThreads)
argmax_parts(const XType* x, int x_stride, float* best_values, int* best_indices, int rows) {
    constexpr int kPart = ceil_div(ceil_div(kWidth, kParts), kVec) * kVec;  // columns of a part
    const long long row = blockIdx.x;
    if (row >= rows) return;
    const int first = blockIdx.y * kPart, end = min(first + kPart, kWidth);
    Candidate own;
    // Rows end in whole accesses where they are aligned to them, so only the width itself can cut one short.
    for (int col = first + static_cast<int>(threadIdx.x) * kVec; col < end; col += kThreads * kVec) {
        if (kWidth % kVec == 0 || col + kVec <= kWidth) {
            float values[kVec];
            load_floats(values, x + row * x_stride + col);
#pragma unroll
            for (int i = 0; i < kVec; ++i) own.meet(values[i], col + i);
        } else {
            for (int i = col; i < end; ++i) own.meet(to_float(x[row * x_stride + i]), i);
        }
    }
    own = cta_best(own);
    if (threadIdx.x == 0) {
        best_values[row * kParts + blockIdx.y] = own.value;
        best_indices[row * kParts + blockIdx.y] = own.index;
    }
}

//@ argmax_rows
// A warp has a row's parts. The index is written as a float, exact below 2^24; -1 where nothing is a number.
extern "C" __global__ void __launch_bounds__(32)
argmax_rows(const float* best_values, const int* best_indices, float* ids, int ids_stride, int rows) {
    const long long row = blockIdx.x;
    const int lane = threadIdx.x;
    if (row >= rows) return;
    Candidate own;
    if (lane < kParts) own.meet(best_values[row * kParts + lane], best_indices[row * kParts + lane]);
    own = warp_best(own);
    if (lane == 0) ids[row * ids_stride] = own.index == kNone ? -1.0f : static_cast<float>(own.index);
}
