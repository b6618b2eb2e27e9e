//! Memory that all workers see: each phase gives every worker a part of its own to write.
#![allow(unsafe_code, reason = "disjoint parts of one buffer in several threads")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::ptr::NonNull;

/// Start of every buffer: a cache line, which is also the widest vector.
const ALIGN: usize = 64;

/// Float32 memory shared by the workers of a pool, zeroed, aligned to a cache line.
///
/// The rule that makes it sound: between two barriers an element is either written by one worker and touched by
/// nobody else, or only read. The phases of an op are written so that it holds, and each access says why.
#[derive(Debug)]
pub(crate) struct Shared {
    ptr: NonNull<f32>,
    len: usize,
}

// SAFETY: access goes through unsafe methods whose callers keep the rule above.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(len: usize) -> Self {
        let Some(layout) = Self::layout(len) else { return Self { ptr: NonNull::dangling(), len: 0 } };
        // SAFETY: the layout has a size above zero.
        let ptr = unsafe { alloc_zeroed(layout) }.cast::<f32>();
        let ptr = NonNull::new(ptr).unwrap_or_else(|| handle_alloc_error(layout));
        Self { ptr, len }
    }

    fn layout(len: usize) -> Option<Layout> {
        let bytes =
            len.checked_mul(size_of::<f32>()).expect("sizes were checked against the memory there is");
        (len > 0).then(|| {
            Layout::from_size_align(bytes, ALIGN).expect("sizes were checked against the memory there is")
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All of it, by its only holder.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: `&mut self` excludes everyone else, and the memory is initialised.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }

    /// All of it, while nobody writes: the holder has `&self` outside of any run.
    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: runs take `&mut` of the executable that holds this, so none is under way.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    pub(crate) fn ptr(&self, at: usize) -> *mut f32 {
        assert!(at <= self.len, "element {at} of {}", self.len);
        // SAFETY: inside the allocation, or one past it.
        unsafe { self.ptr.as_ptr().add(at) }
    }

    /// A part, to read.
    ///
    /// # Safety
    /// Nobody writes to it in this phase.
    pub(crate) unsafe fn read(&self, range: Range<usize>) -> &[f32] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: in range; the caller's promise.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr().add(range.start), range.len()) }
    }

    /// A part, to write.
    ///
    /// # Safety
    /// Nobody else touches it in this phase.
    #[allow(clippy::mut_from_ref, reason = "the caller promises that the part is its own")]
    pub(crate) unsafe fn write(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: in range; the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr().add(range.start), range.len()) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len) {
            // SAFETY: allocated with this layout in `new`.
            unsafe { dealloc(self.ptr.as_ptr().cast(), layout) };
        }
    }
}

/// A value that one worker at a time may change, by the same rule.
#[derive(Debug)]
pub(crate) struct SharedCell<T>(UnsafeCell<T>);

// SAFETY: access goes through unsafe methods whose callers keep the rule of `Shared`.
unsafe impl<T: Send + Sync> Sync for SharedCell<T> {}

impl<T> SharedCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    /// To read.
    ///
    /// # Safety
    /// Nobody changes it in this phase.
    pub(crate) unsafe fn read(&self) -> &T {
        // SAFETY: the caller's promise.
        unsafe { &*self.0.get() }
    }

    /// To change.
    ///
    /// # Safety
    /// Nobody else touches it in this phase.
    #[allow(clippy::mut_from_ref, reason = "the caller promises that nobody else holds it")]
    pub(crate) unsafe fn write(&self) -> &mut T {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.0.get() }
    }
}
