//! One macro for the operations that 16, 32 and 64 bits share.

/// Writes the operations of one width: `$bits` unsigned, `$signed` its signed twin, `$double` and `$signed_double`
/// twice as wide.
macro_rules! integers {
    ($bits:ident, $signed:ident, $double:ident, $signed_double:ident) => {
        use crate::num::mode::Compare;

        /// `add`, wrapping.
        #[inline]
        #[must_use]
        pub const fn add(a: $bits, b: $bits) -> $bits {
            a.wrapping_add(b)
        }

        /// `sub`, wrapping.
        #[inline]
        #[must_use]
        pub const fn sub(a: $bits, b: $bits) -> $bits {
            a.wrapping_sub(b)
        }

        /// `add.sat` of signed operands.
        #[inline]
        #[must_use]
        pub const fn add_sat_s(a: $bits, b: $bits) -> $bits {
            (a as $signed).saturating_add(b as $signed) as $bits
        }

        /// `sub.sat` of signed operands.
        #[inline]
        #[must_use]
        pub const fn sub_sat_s(a: $bits, b: $bits) -> $bits {
            (a as $signed).saturating_sub(b as $signed) as $bits
        }

        /// a + b + carry, and the carry out: `add.cc`, `addc`.
        #[inline]
        #[must_use]
        pub const fn add_carry(a: $bits, b: $bits, carry: bool) -> ($bits, bool) {
            let (partial, first) = a.overflowing_add(b);
            let (sum, second) = partial.overflowing_add(carry as $bits);
            (sum, first | second)
        }

        /// a - b - borrow, and the borrow out: `sub.cc`, `subc`.
        #[inline]
        #[must_use]
        pub const fn sub_borrow(a: $bits, b: $bits, borrow: bool) -> ($bits, bool) {
            let (partial, first) = a.overflowing_sub(b);
            let (difference, second) = partial.overflowing_sub(borrow as $bits);
            (difference, first | second)
        }

        /// `mul.lo`.
        #[inline]
        #[must_use]
        pub const fn mul_lo(a: $bits, b: $bits) -> $bits {
            a.wrapping_mul(b)
        }

        /// `mul.hi` of unsigned operands.
        #[inline]
        #[must_use]
        pub const fn mul_hi_u(a: $bits, b: $bits) -> $bits {
            ((a as $double * b as $double) >> $bits::BITS) as $bits
        }

        /// `mul.hi` of signed operands.
        #[inline]
        #[must_use]
        pub const fn mul_hi_s(a: $bits, b: $bits) -> $bits {
            ((a as $signed as $signed_double * b as $signed as $signed_double) >> $bits::BITS) as $bits
        }

        /// `mul.wide` of unsigned operands, to twice the width.
        #[inline]
        #[must_use]
        pub const fn mul_wide_u(a: $bits, b: $bits) -> $double {
            a as $double * b as $double
        }

        /// `mul.wide` of signed operands, to twice the width.
        #[inline]
        #[must_use]
        pub const fn mul_wide_s(a: $bits, b: $bits) -> $double {
            (a as $signed as $signed_double * b as $signed as $signed_double) as $double
        }

        /// `mad.lo`.
        #[inline]
        #[must_use]
        pub const fn mad_lo(a: $bits, b: $bits, c: $bits) -> $bits {
            a.wrapping_mul(b).wrapping_add(c)
        }

        /// `mad.hi` of unsigned operands.
        #[inline]
        #[must_use]
        pub const fn mad_hi_u(a: $bits, b: $bits, c: $bits) -> $bits {
            mul_hi_u(a, b).wrapping_add(c)
        }

        /// `mad.hi` of signed operands.
        #[inline]
        #[must_use]
        pub const fn mad_hi_s(a: $bits, b: $bits, c: $bits) -> $bits {
            mul_hi_s(a, b).wrapping_add(c)
        }

        /// `mad.hi.sat` of signed operands: only the sum saturates.
        #[inline]
        #[must_use]
        pub const fn mad_hi_sat_s(a: $bits, b: $bits, c: $bits) -> $bits {
            add_sat_s(mul_hi_s(a, b), c)
        }

        /// `mad.wide` of unsigned factors; `c` has the wide type.
        #[inline]
        #[must_use]
        pub const fn mad_wide_u(a: $bits, b: $bits, c: $double) -> $double {
            mul_wide_u(a, b).wrapping_add(c)
        }

        /// `mad.wide` of signed factors; `c` has the wide type.
        #[inline]
        #[must_use]
        pub const fn mad_wide_s(a: $bits, b: $bits, c: $double) -> $double {
            mul_wide_s(a, b).wrapping_add(c)
        }

        /// `div` of unsigned operands; none for a zero divisor.
        #[inline]
        #[must_use]
        pub const fn div_u(a: $bits, b: $bits) -> Option<$bits> {
            a.checked_div(b)
        }

        /// `div` of signed operands; none for a zero divisor. The lowest number over -1 wraps to itself.
        #[inline]
        #[must_use]
        pub const fn div_s(a: $bits, b: $bits) -> Option<$bits> {
            if b == 0 { None } else { Some((a as $signed).wrapping_div(b as $signed) as $bits) }
        }

        /// `rem` of unsigned operands; none for a zero divisor.
        #[inline]
        #[must_use]
        pub const fn rem_u(a: $bits, b: $bits) -> Option<$bits> {
            a.checked_rem(b)
        }

        /// `rem` of signed operands, with the dividend's sign; none for a zero divisor.
        #[inline]
        #[must_use]
        pub const fn rem_s(a: $bits, b: $bits) -> Option<$bits> {
            if b == 0 { None } else { Some((a as $signed).wrapping_rem(b as $signed) as $bits) }
        }

        /// `min` of unsigned operands.
        #[inline]
        #[must_use]
        pub const fn min_u(a: $bits, b: $bits) -> $bits {
            if b < a { b } else { a }
        }

        /// `max` of unsigned operands.
        #[inline]
        #[must_use]
        pub const fn max_u(a: $bits, b: $bits) -> $bits {
            if b > a { b } else { a }
        }

        /// `min` of signed operands.
        #[inline]
        #[must_use]
        pub const fn min_s(a: $bits, b: $bits) -> $bits {
            if (b as $signed) < a as $signed { b } else { a }
        }

        /// `max` of signed operands.
        #[inline]
        #[must_use]
        pub const fn max_s(a: $bits, b: $bits) -> $bits {
            if b as $signed > a as $signed { b } else { a }
        }

        /// `.relu` of `min` and `max`: a negative result becomes 0.
        #[inline]
        #[must_use]
        pub const fn relu(a: $bits) -> $bits {
            if (a as $signed) < 0 { 0 } else { a }
        }

        /// `abs`; the lowest number stays.
        #[inline]
        #[must_use]
        pub const fn abs(a: $bits) -> $bits {
            (a as $signed).wrapping_abs() as $bits
        }

        /// `neg`; the lowest number stays.
        #[inline]
        #[must_use]
        pub const fn neg(a: $bits) -> $bits {
            a.wrapping_neg()
        }

        /// `sad` of unsigned operands: c + |a - b|.
        #[inline]
        #[must_use]
        pub const fn sad_u(a: $bits, b: $bits, c: $bits) -> $bits {
            c.wrapping_add(a.abs_diff(b))
        }

        /// `sad` of signed operands: c + |a - b|, the difference exact.
        #[inline]
        #[must_use]
        pub const fn sad_s(a: $bits, b: $bits, c: $bits) -> $bits {
            c.wrapping_add((a as $signed).abs_diff(b as $signed))
        }

        /// `shl`: an amount of the width or more gives 0.
        #[inline]
        #[must_use]
        pub const fn shl(a: $bits, amount: u32) -> $bits {
            if amount >= $bits::BITS { 0 } else { a << amount }
        }

        /// `shr` of an unsigned or untyped operand: an amount of the width or more gives 0.
        #[inline]
        #[must_use]
        pub const fn shr_u(a: $bits, amount: u32) -> $bits {
            if amount >= $bits::BITS { 0 } else { a >> amount }
        }

        /// `shr` of a signed operand: an amount of the width or more gives the sign in every bit.
        #[inline]
        #[must_use]
        pub const fn shr_s(a: $bits, amount: u32) -> $bits {
            let amount = if amount >= $bits::BITS { $bits::BITS - 1 } else { amount };
            ((a as $signed) >> amount) as $bits
        }

        /// `cnot`: 1 for 0, otherwise 0.
        #[inline]
        #[must_use]
        pub const fn cnot(a: $bits) -> $bits {
            (a == 0) as $bits
        }

        /// The comparison of `setp` and `set`, unsigned; `lo`, `ls`, `hi`, `hs` are `Lt`, `Le`, `Gt`, `Ge` of this.
        #[inline]
        #[must_use]
        pub const fn compare_u(relation: Compare, a: $bits, b: $bits) -> bool {
            outcome(a < b, a == b) & relation.mask() != 0
        }

        /// The comparison of `setp` and `set`, signed.
        #[inline]
        #[must_use]
        pub const fn compare_s(relation: Compare, a: $bits, b: $bits) -> bool {
            outcome((a as $signed) < b as $signed, a == b) & relation.mask() != 0
        }

        #[inline]
        const fn outcome(less: bool, equal: bool) -> u32 {
            if less {
                Compare::LESS
            } else if equal {
                Compare::EQUAL
            } else {
                Compare::GREATER
            }
        }
    };
}

/// Writes the bit-field operations, which exist for 32 and 64 bits.
macro_rules! bit_fields {
    ($bits:ident, $signed:ident) => {
        /// What `bfind` gives when there is no bit to find.
        const NOT_FOUND: u32 = u32::MAX;

        /// `popc`.
        #[inline]
        #[must_use]
        pub const fn popc(a: $bits) -> u32 {
            a.count_ones()
        }

        /// `clz`.
        #[inline]
        #[must_use]
        pub const fn clz(a: $bits) -> u32 {
            a.leading_zeros()
        }

        /// `brev`.
        #[inline]
        #[must_use]
        pub const fn brev(a: $bits) -> $bits {
            a.reverse_bits()
        }

        /// `bfind` of an unsigned operand: the index of the highest one.
        #[inline]
        #[must_use]
        pub const fn bfind_u(a: $bits) -> u32 {
            if a == 0 { NOT_FOUND } else { $bits::BITS - 1 - a.leading_zeros() }
        }

        /// `bfind` of a signed operand: the index of the highest bit that differs from the sign.
        #[inline]
        #[must_use]
        pub const fn bfind_s(a: $bits) -> u32 {
            bfind_u(if (a as $signed) < 0 { !a } else { a })
        }

        /// `.shiftamt`: the left shift that brings the found bit to the top.
        #[inline]
        #[must_use]
        pub const fn bfind_shift(found: u32) -> u32 {
            if found == NOT_FOUND { found } else { $bits::BITS - 1 - found }
        }

        /// `bfe` of an unsigned operand; position and length count with their low 8 bits.
        #[inline]
        #[must_use]
        pub const fn bfe_u(a: $bits, position: u32, length: u32) -> $bits {
            field(a, position & 0xFF) & low_ones(length & 0xFF)
        }

        /// `bfe` of a signed operand: filled with the field's top bit, or the operand's where the field runs over.
        #[inline]
        #[must_use]
        pub const fn bfe_s(a: $bits, position: u32, length: u32) -> $bits {
            let (position, length) = (position & 0xFF, length & 0xFF);
            if length == 0 {
                return 0;
            }
            let last = position + length - 1;
            let sign = a >> (if last < $bits::BITS { last } else { $bits::BITS - 1 }) & 1;
            // Bits that the field has beyond the operand are the fill too.
            let present = if position >= $bits::BITS { 0 } else { low_ones($bits::BITS - position) };
            let mask = low_ones(length) & present;
            field(a, position) & mask | sign.wrapping_neg() & !mask
        }

        /// `bfi`: the low bits of `a` into `b`; position and length count with their low 8 bits.
        #[inline]
        #[must_use]
        pub const fn bfi(a: $bits, b: $bits, position: u32, length: u32) -> $bits {
            let position = position & 0xFF;
            if position >= $bits::BITS {
                return b;
            }
            let mask = low_ones(length & 0xFF) << position;
            (a << position) & mask | b & !mask
        }

        #[inline]
        const fn field(a: $bits, position: u32) -> $bits {
            if position >= $bits::BITS { 0 } else { a >> position }
        }

        #[inline]
        const fn low_ones(count: u32) -> $bits {
            if count >= $bits::BITS { $bits::MAX } else { (1 << count) - 1 }
        }
    };
}

pub(super) use {bit_fields, integers};
