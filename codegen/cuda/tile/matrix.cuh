Fragments between shared memory and the registers of a warp.

//@ warp_load_matrix
// Four 8x8 tiles of 16-bit values: lane l gives the address of row l % 8 of tile l / 8. Lane (g, t) = (lane / 4,
// lane % 4) gets row g, elements 2t and 2t + 1 of tile i in out[i].
__device__ inline void warp_load_matrix(unsigned (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(smem_address(row))
                 : "memory");
}

//@ warp_load_matrix_at
// The same from kOffset bytes behind `row` in shared memory, which costs no arithmetic.
template <int kOffset>
__device__ inline void warp_load_matrix_at(unsigned (&out)[4], unsigned row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4 + %5];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(row), "n"(kOffset)
                 : "memory");
}

//@ lane_row_a
// Where this lane's row of a 16x16 left operand lies, in bytes from its first value, `pitch` bytes from row to row.
__device__ inline unsigned lane_row_a(int pitch) {
    const int lane = threadIdx.x % 32;
    return lane % 16 * pitch + lane / 16 * 16;
}

//@ lane_row_b
// The same of two right operands, see warp_load_b.
__device__ inline unsigned lane_row_b(int pitch) {
    const int lane = threadIdx.x % 32;
    return (lane / 16 * 8 + lane % 8) * pitch + lane / 8 % 2 * 16;
}

//@ warp_load_matrix_transposed
// The same of the transposed tiles.
__device__ inline void warp_load_matrix_transposed(unsigned (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(smem_address(row))
                 : "memory");
}

//@ warp_store_matrix
// The inverse of warp_load_matrix (sm_90 and later).
__device__ inline void warp_store_matrix(void* row, const unsigned (&in)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(smem_address(row)),
                 "r"(in[0]), "r"(in[1]), "r"(in[2]), "r"(in[3])
                 : "memory");
}

//@ warp_load_a
// The 16x16 left operand of a warp's matrix product, from row-major shared memory: `tile` is its first element.
template <class T>
__device__ inline void warp_load_a(unsigned (&out)[4], const T* tile, int stride) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix(out, tile + lane % 16 * stride + lane / 16 * 8);
}

//@ warp_load_a_transposed
// The same from shared memory that holds its transpose: one row per k.
template <class T>
__device__ inline void warp_load_a_transposed(unsigned (&out)[4], const T* tile, int stride) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix_transposed(out, tile + (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8);
}

//@ warp_load_b
// Two right operands, 16 (k) x 8 (n) each, of 16 neighbouring columns n, from shared memory with one row per n: the
// first in out[0], out[1], the second in out[2], out[3].
template <class T>
__device__ inline void warp_load_b(unsigned (&out)[4], const T* tile, int stride) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix(out, tile + (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8);
}

//@ warp_load_b_transposed
// The same from shared memory with one row per k.
template <class T>
__device__ inline void warp_load_b_transposed(unsigned (&out)[4], const T* tile, int stride) {
    const int lane = threadIdx.x % 32;
    warp_load_matrix_transposed(out, tile + lane % 16 * stride + lane / 16 * 8);
}
