Asynchronous copies from global to shared memory, by threads.

//@ copy_async
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

//@ copy_commit
// Ends a group of this thread's copies.
__device__ inline void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

//@ copy_wait
// Waits until at most kLeft of this thread's groups are under way.
template <int kLeft>
__device__ inline void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

//@ cta_copy_tile
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

//@ cta_for_pieces_by_rows
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

//@ cta_copy_narrow
// As cta_copy_tile, for tiles whose rows are not whole eights of 16 bytes.
template <int kThreads, int kVec, class T, int kRows, int kCols, int kPad>
__device__ inline void cta_copy_narrow(SmemTile<T, kRows, kCols, kPad> to, const T* from, long long stride, int rows,
                                       int cols) {
    static_assert(kCols % kVec == 0, "a row of the tile is whole pieces");
    cta_for_pieces_by_rows<kThreads, kRows, kCols / kVec>([&](int row, int piece) {
        const int col = piece * kVec, left = row < rows ? min(max(cols - col, 0), kVec) : 0;
        const T* source = left > 0 ? from + row * stride + col : from;
        copy_async<kVec * sizeof(T)>(to.at(row, col), source, left * static_cast<int>(sizeof(T)));
    });
}
