//! The arithmetic that f16 and bf16 share: one macro, as both hold a pattern in `u16` and differ in `widen` and
//! `narrow` only.

/// Writes the functions of one 16-bit format. In scope are `widen(u16) -> f32`, exact, and `narrow(f32) -> u16`,
/// to nearest; `$add`, `$mul`, `$fma` are f32 results of widened operands, exact or such that rounding them again is right.
macro_rules! half_arithmetic {
    ($add:expr, $mul:expr, $fma:expr) => {
        /// The sum, rounded to nearest once.
        #[inline]
        #[must_use]
        pub fn add(a: u16, b: u16) -> u16 {
            narrow($add(widen(a), widen(b)))
        }

        /// The difference, rounded to nearest once.
        #[inline]
        #[must_use]
        pub fn sub(a: u16, b: u16) -> u16 {
            narrow($add(widen(a), -widen(b)))
        }

        /// The product, rounded to nearest once.
        #[inline]
        #[must_use]
        pub fn mul(a: u16, b: u16) -> u16 {
            narrow($mul(widen(a), widen(b)))
        }

        /// a * b + c, rounded to nearest once. A plain f32 `fma` in between would round twice.
        #[inline]
        #[must_use]
        pub fn fma(a: u16, b: u16, c: u16) -> u16 {
            narrow($fma(widen(a), widen(b), widen(c)))
        }

        /// `add` with `.ftz`, `.sat`, `.relu`.
        #[inline]
        #[must_use]
        pub fn add_mode(a: u16, b: u16, mode: Mode) -> u16 {
            leave(add(enter(a, mode), enter(b, mode)), mode)
        }

        /// `sub` with `.ftz`, `.sat`, `.relu`.
        #[inline]
        #[must_use]
        pub fn sub_mode(a: u16, b: u16, mode: Mode) -> u16 {
            leave(sub(enter(a, mode), enter(b, mode)), mode)
        }

        /// `mul` with `.ftz`, `.sat`, `.relu`.
        #[inline]
        #[must_use]
        pub fn mul_mode(a: u16, b: u16, mode: Mode) -> u16 {
            leave(mul(enter(a, mode), enter(b, mode)), mode)
        }

        /// `fma` with `.ftz`, `.sat`, `.relu`.
        #[inline]
        #[must_use]
        pub fn fma_mode(a: u16, b: u16, c: u16, mode: Mode) -> u16 {
            leave(fma(enter(a, mode), enter(b, mode), enter(c, mode)), mode)
        }

        /// `fma.oob`: zero when a multiplicand has the pattern that out-of-bounds elements of a tensor copy are filled
        /// with, [`NAN`]; otherwise `fma`.
        #[inline]
        #[must_use]
        pub fn fma_oob(a: u16, b: u16, c: u16, mode: Mode) -> u16 {
            if a == NAN || b == NAN { 0 } else { fma_mode(a, b, c, mode) }
        }

        /// An f64 rounded to nearest once; NaN gives [`NAN`].
        #[inline]
        #[must_use]
        pub fn from_f64(x: f64) -> u16 {
            narrow(odd::narrow(x))
        }

        #[inline]
        fn enter(a: u16, mode: Mode) -> u16 {
            if mode.ftz { flush(a) } else { a }
        }

        #[inline]
        fn leave(result: u16, mode: Mode) -> u16 {
            let result = if mode.ftz { flush(result) } else { result };
            let result = if mode.relu { relu(result) } else { result };
            if mode.sat { saturate(result) } else { result }
        }
    };
}

pub(super) use half_arithmetic;
