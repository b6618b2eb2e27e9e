//! What a float's bits alone decide: signs, classes, comparisons, minimum and maximum. One macro for the four
//! widths, because generic code over `u64` would keep 32 lanes of f16 from vectorising.

/// Writes the functions on patterns of one format: `$bits` the integer type, `$signed` its signed twin, `$infinity`
/// the magnitude of infinity, `$normal` the smallest normal magnitude, `$nan` a function from two operands, of which
/// at least one is NaN, to the resulting NaN, `$unary_nan` one from a NaN operand of `abs` or `neg` to the result.
macro_rules! sign_magnitude {
    ($bits:ty, $signed:ty, $infinity:expr, $normal:expr, $nan:expr, $unary_nan:expr) => {
        const SIGN: $bits = 1 << (<$bits>::BITS - 1);
        const MAGNITUDE: $bits = SIGN - 1;
        const INFINITY: $bits = $infinity;

        /// Whether the pattern is a NaN.
        #[inline]
        #[must_use]
        pub const fn is_nan(a: $bits) -> bool {
            a & MAGNITUDE > INFINITY
        }

        /// `.ftz`: a subnormal becomes the zero of its sign.
        #[inline]
        #[must_use]
        pub const fn flush(a: $bits) -> $bits {
            if a & INFINITY == 0 { a & SIGN } else { a }
        }

        /// `.sat`: clamps to [0, 1]; NaN and minus zero become +0.
        #[inline]
        #[must_use]
        pub const fn saturate(a: $bits) -> $bits {
            // As integers, everything from +0 to +1 is in order and everything else is above.
            if a <= ONE {
                a
            } else if a <= INFINITY {
                ONE
            } else {
                0
            }
        }

        /// `.relu`: a number with the sign bit becomes +0, NaN the canonical one.
        #[inline]
        #[must_use]
        pub const fn relu(a: $bits) -> $bits {
            if is_nan(a) {
                NAN
            } else if a & SIGN != 0 {
                0
            } else {
                a
            }
        }

        /// `abs`.
        #[inline]
        #[must_use]
        pub fn abs(a: $bits) -> $bits {
            if is_nan(a) { $unary_nan(a) } else { a & MAGNITUDE }
        }

        /// `neg`.
        #[inline]
        #[must_use]
        pub fn neg(a: $bits) -> $bits {
            if is_nan(a) { $unary_nan(a) } else { a ^ SIGN }
        }

        /// `copysign d, a, b`: the magnitude of `b` with the sign of `a`.
        #[inline]
        #[must_use]
        pub const fn copysign(a: $bits, b: $bits) -> $bits {
            (a & SIGN) | (b & MAGNITUDE)
        }

        /// `testp`.
        #[inline]
        #[must_use]
        pub const fn testp(class: Class, a: $bits) -> bool {
            let size = a & MAGNITUDE;
            match class {
                Class::Finite => size < INFINITY,
                Class::Infinite => size == INFINITY,
                Class::Number => size <= INFINITY,
                Class::NotANumber => size > INFINITY,
                Class::Normal => size == 0 || (size >= $normal && size < INFINITY),
                Class::Subnormal => size != 0 && size < $normal,
            }
        }

        /// The pattern as an integer that is ordered as the numbers are, minus zero just below plus zero.
        #[inline]
        const fn key(a: $bits) -> $signed {
            let spread = ((a as $signed) >> (<$bits>::BITS - 1)) as $bits;
            (a ^ (spread & MAGNITUDE)) as $signed
        }

        /// The comparison of `setp` and `set`. With `.ftz` the operands go through [`flush`] first.
        #[inline]
        #[must_use]
        pub const fn compare(relation: Compare, a: $bits, b: $bits) -> bool {
            let unordered = is_nan(a) | is_nan(b);
            let equal = (a == b) | ((a | b) & MAGNITUDE == 0);
            let less = key(a) < key(b);
            let outcome = if unordered {
                Compare::UNORDERED
            } else if equal {
                Compare::EQUAL
            } else if less {
                Compare::LESS
            } else {
                Compare::GREATER
            };
            outcome & relation.mask() != 0
        }

        /// `min` without modifiers: a number wins over NaN, minus zero over plus zero.
        #[inline]
        #[must_use]
        pub fn min(a: $bits, b: $bits) -> $bits {
            let lower = if key(b) < key(a) { b } else { a };
            choose(lower, a, b)
        }

        /// `max` without modifiers: a number wins over NaN, plus zero over minus zero.
        #[inline]
        #[must_use]
        pub fn max(a: $bits, b: $bits) -> $bits {
            let upper = if key(b) > key(a) { b } else { a };
            choose(upper, a, b)
        }

        #[inline]
        fn choose(ordered: $bits, a: $bits, b: $bits) -> $bits {
            match (is_nan(a), is_nan(b)) {
                (false, false) => ordered,
                (true, false) => b,
                (false, true) => a,
                (true, true) => $nan(a, b),
            }
        }

        /// `min` with modifiers.
        #[inline]
        #[must_use]
        pub fn min_mode(a: $bits, b: $bits, mode: MinMax) -> $bits {
            extreme(min, a, b, mode)
        }

        /// `max` with modifiers.
        #[inline]
        #[must_use]
        pub fn max_mode(a: $bits, b: $bits, mode: MinMax) -> $bits {
            extreme(max, a, b, mode)
        }

        /// `min` of three operands (sm_100).
        #[inline]
        #[must_use]
        pub fn min3_mode(a: $bits, b: $bits, c: $bits, mode: MinMax) -> $bits {
            extreme(min, extreme(min, a, b, mode), c, mode)
        }

        /// `max` of three operands (sm_100).
        #[inline]
        #[must_use]
        pub fn max3_mode(a: $bits, b: $bits, c: $bits, mode: MinMax) -> $bits {
            extreme(max, extreme(max, a, b, mode), c, mode)
        }

        #[inline]
        fn extreme(pick: impl Fn($bits, $bits) -> $bits, a: $bits, b: $bits, mode: MinMax) -> $bits {
            let (a, b) = if mode.ftz { (flush(a), flush(b)) } else { (a, b) };
            let (x, y) = if mode.abs { (a & MAGNITUDE, b & MAGNITUDE) } else { (a, b) };
            if mode.nan && (is_nan(x) || is_nan(y)) {
                return $nan(x, y);
            }
            let picked = pick(x, y);
            if mode.xorsign && !is_nan(picked) { (picked & MAGNITUDE) | ((a ^ b) & SIGN) } else { picked }
        }
    };
}

pub(super) use sign_magnitude;
