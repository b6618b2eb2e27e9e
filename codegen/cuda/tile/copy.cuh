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

//@ copy_async_at
// 16 bytes to kOffset bytes behind `to` in shared memory, which costs no arithmetic.
template <int kOffset>
__device__ inline void copy_async_at(unsigned to, const void* from) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0 + %2], [%1], 16;" ::"r"(to), "l"(from), "n"(kOffset)
                 : "memory");
}

//@ copy_async_some_at
// The same where only the first `valid` bytes are read and the others become zero.
template <int kOffset>
__device__ inline void copy_async_some_at(unsigned to, const void* from, int valid) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0 + %3], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid),
                 "n"(kOffset)
                 : "memory");
}

//@ TileCopies
// What a thread copies of one tile after another along the rows of an operand, in pieces of 16 bytes. Where its pieces
// lie is found once, so that a step only moves pointers. Columns from kWidth on become zero.
template <class T, class Tile, int kThreads, int kWidth>
struct TileCopies {
    static constexpr int vec = 16 / sizeof(T), across = Tile::cols / vec, down = kThreads / across;
    static constexpr int pitch = Tile::stride * static_cast<int>(sizeof(T));
    static constexpr int pieces = Tile::rows * across, own = ceil_div(pieces, kThreads);
    static_assert(kThreads % across == 0, "threads copy whole rows");
    // Eight lanes that write at a time have a row of 128 bytes. Of rows of 64 they have two pieces of every other one:
    // with the padding of 16 bytes whole neighbouring rows would meet in a bank.
    __device__ static int row() {
        const int lane = threadIdx.x % 32;
        return across == 4 ? threadIdx.x / 32 * 8 + lane / 2 % 4 * 2 + lane / 8 % 2 : threadIdx.x / across;
    }
    __device__ static int piece() {
        const int lane = threadIdx.x % 32;
        return across == 4 ? lane % 2 + lane / 16 * 2 : threadIdx.x % across;
    }
    const T* base;
    const T* from[own];
    int left;  // columns that are there, from this thread's on
    // Row r of the tile begins `row_at(r)` values behind `base`, the first tile at column `col`. All rows must be there.
    template <class RowAt>
    __device__ TileCopies(const T* base, int col, RowAt row_at) : base(base) {
        const int own_col = col + piece() * vec;
        left = kWidth - own_col;
#pragma unroll
        for (int i = 0; i < own; ++i) from[i] = base + row_at(row() + i * down) + own_col;
    }
    // All threads begin to copy the next tile to the address `to`.
    __device__ void next(unsigned to) {
        to += row() * pitch + piece() * 16;
        for_constants<own>([&](auto i) {
            constexpr int kAt = decltype(i)::value, kOffset = kAt * down * pitch;
            if ((kAt + 1) * kThreads <= pieces || row() + kAt * down < Tile::rows) {
                if constexpr (kWidth % Tile::cols == 0) {
                    copy_async_at<kOffset>(to, from[kAt]);
                } else {
                    // A copy of nothing still names an address.
                    const int valid = min(max(left, 0), vec) * static_cast<int>(sizeof(T));
                    copy_async_some_at<kOffset>(to, valid > 0 ? from[kAt] : base, valid);
                }
            }
            from[kAt] += Tile::cols;
        });
        left -= Tile::cols;
    }
};

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
