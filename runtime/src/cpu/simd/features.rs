//! What the matrix kernels may use beside the float lanes.

use super::Isa;
use super::bf16::bf16_available;
use super::int8::Int8Isa;

/// An instruction set with the dot products that go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Features {
    /// Float lanes.
    pub isa: Isa,
    /// Byte dot products.
    pub int8: Int8Isa,
    /// Whether bfloat16 pairs have a dot product.
    pub bf16: bool,
}

impl Features {
    /// The best that goes with `isa` on this machine.
    pub fn of(isa: Isa) -> Self {
        Self { isa, int8: Int8Isa::of(isa), bf16: isa == Isa::Avx512 && bf16_available() }
    }

    /// The best here ([`Isa::detect`]).
    pub fn detect() -> Self {
        Self::of(Isa::detect())
    }

    /// Every combination that can run here, for tests.
    pub fn all_available() -> Vec<Self> {
        let mut all = Vec::new();
        for isa in Isa::all_available() {
            let best = Self::of(isa);
            all.push(best);
            let plain = Self { int8: best.int8.min(Int8Isa::Avx512), bf16: false, ..best };
            if plain != best {
                all.push(plain);
            }
        }
        all
    }
}
