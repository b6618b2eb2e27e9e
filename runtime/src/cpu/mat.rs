//! Row-major matrices with a row stride: how kernels see activations.
//!
//! Activations are packed `[tokens, width]` buffers in which one projection's output holds several operands
//! side by side (`q | k | v`), so a view is a column range: rows are contiguous, the matrix is not. Workers
//! write disjoint rows or columns of one buffer at the same time; [`MatMut`] carries such a share.
#![allow(unsafe_code, reason = "several workers hold disjoint parts of one buffer")]

use std::marker::PhantomData;
use std::ops::Range;

/// A read-only view `[rows, cols]` of float32.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    ptr: *const f32,
    rows: usize,
    cols: usize,
    stride: usize,
    life: PhantomData<&'a [f32]>,
}

/// A view `[rows, cols]` of float32 that its holder alone may touch.
#[derive(Debug)]
pub struct MatMut<'a> {
    ptr: *mut f32,
    rows: usize,
    cols: usize,
    stride: usize,
    life: PhantomData<&'a mut [f32]>,
}

// SAFETY: a `Mat` only reads, like the `&[f32]` it stands for.
unsafe impl Send for Mat<'_> {}
// SAFETY: as above.
unsafe impl Sync for Mat<'_> {}
// SAFETY: a `MatMut` is the only holder of its elements, like the `&mut [f32]` it stands for.
unsafe impl Send for MatMut<'_> {}

impl<'a> Mat<'a> {
    /// The dense matrix `data`, `[rows, cols]`.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a dense matrix fills its slice");
        Self { ptr: data.as_ptr(), rows, cols, stride: cols, life: PhantomData }
    }

    /// A view from raw parts.
    ///
    /// # Safety
    /// `ptr + r * stride + c` is readable for all `r < rows`, `c < cols`, and nobody writes there during `'a`.
    #[inline(always)]
    pub unsafe fn from_raw(ptr: *const f32, rows: usize, cols: usize, stride: usize) -> Self {
        debug_assert!(cols <= stride || rows <= 1);
        Self { ptr, rows, cols, stride, life: PhantomData }
    }

    /// Number of rows.
    #[inline(always)]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[inline(always)]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from one row to the next.
    #[inline(always)]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Row `r`.
    #[inline(always)]
    pub fn row(&self, r: usize) -> &'a [f32] {
        assert!(r < self.rows, "row {r} of {}", self.rows);
        // SAFETY: the constructor's contract, and `r` is in range.
        unsafe { std::slice::from_raw_parts(self.ptr.add(r * self.stride), self.cols) }
    }

    /// The rows of `range`.
    #[inline(always)]
    pub fn rows_range(&self, range: Range<usize>) -> Mat<'a> {
        assert!(range.start <= range.end && range.end <= self.rows, "rows {range:?} of {}", self.rows);
        // SAFETY: a part of what the constructor promised.
        unsafe { Mat::from_raw(self.ptr.add(range.start * self.stride), range.len(), self.cols, self.stride) }
    }

    /// The columns of `range`.
    #[inline(always)]
    pub fn cols_range(&self, range: Range<usize>) -> Mat<'a> {
        assert!(range.start <= range.end && range.end <= self.cols, "columns {range:?} of {}", self.cols);
        // SAFETY: a part of what the constructor promised.
        unsafe { Mat::from_raw(self.ptr.add(range.start), self.rows, range.len(), self.stride) }
    }

    /// Pointer to the first element, for the SIMD files.
    pub fn as_ptr(&self) -> *const f32 {
        self.ptr
    }
}

impl<'a> MatMut<'a> {
    /// The dense matrix `data`, `[rows, cols]`.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a dense matrix fills its slice");
        Self { ptr: data.as_mut_ptr(), rows, cols, stride: cols, life: PhantomData }
    }

    /// A view from raw parts.
    ///
    /// # Safety
    /// `ptr + r * stride + c` is writable for all `r < rows`, `c < cols`, and nobody else touches these elements
    /// during `'a` (elements between the columns may belong to others).
    #[inline(always)]
    pub unsafe fn from_raw(ptr: *mut f32, rows: usize, cols: usize, stride: usize) -> Self {
        debug_assert!(cols <= stride || rows <= 1);
        Self { ptr, rows, cols, stride, life: PhantomData }
    }

    /// Number of rows.
    #[inline(always)]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[inline(always)]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from one row to the next.
    #[inline(always)]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Row `r`.
    #[inline(always)]
    pub fn row(&self, r: usize) -> &[f32] {
        assert!(r < self.rows, "row {r} of {}", self.rows);
        // SAFETY: the constructor's contract, and `r` is in range.
        unsafe { std::slice::from_raw_parts(self.ptr.add(r * self.stride), self.cols) }
    }

    /// Row `r`, to write.
    #[inline(always)]
    pub fn row_mut(&mut self, r: usize) -> &mut [f32] {
        assert!(r < self.rows, "row {r} of {}", self.rows);
        // SAFETY: the constructor's contract, and `r` is in range.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(r * self.stride), self.cols) }
    }

    /// The same elements for a shorter time.
    #[inline(always)]
    pub fn reborrow(&mut self) -> MatMut<'_> {
        MatMut { ptr: self.ptr, rows: self.rows, cols: self.cols, stride: self.stride, life: PhantomData }
    }

    /// Read-only, for as long as the borrow lasts.
    #[inline(always)]
    pub fn as_mat(&self) -> Mat<'_> {
        Mat { ptr: self.ptr, rows: self.rows, cols: self.cols, stride: self.stride, life: PhantomData }
    }

    /// The rows of `range`.
    #[inline(always)]
    pub fn rows_range(&mut self, range: Range<usize>) -> MatMut<'_> {
        assert!(range.start <= range.end && range.end <= self.rows, "rows {range:?} of {}", self.rows);
        // SAFETY: a part of what the constructor promised, borrowed from `self`.
        unsafe {
            MatMut::from_raw(self.ptr.add(range.start * self.stride), range.len(), self.cols, self.stride)
        }
    }

    /// The columns of `range`.
    #[inline(always)]
    pub fn cols_range(&mut self, range: Range<usize>) -> MatMut<'_> {
        assert!(range.start <= range.end && range.end <= self.cols, "columns {range:?} of {}", self.cols);
        // SAFETY: a part of what the constructor promised, borrowed from `self`.
        unsafe { MatMut::from_raw(self.ptr.add(range.start), self.rows, range.len(), self.stride) }
    }

    /// Pointer to the first element, for the SIMD files.
    pub fn as_mut_ptr(&mut self) -> *mut f32 {
        self.ptr
    }
}
