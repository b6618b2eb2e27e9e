//! Tensor cores and tensor copies: fragments, accumulation, descriptors, swizzles, tensor maps.
