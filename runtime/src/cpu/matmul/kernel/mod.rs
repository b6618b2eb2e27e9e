//! The innermost loops: a tile of 16 rows times a group of tokens.

pub(super) mod bf16;
pub(super) mod float;
pub(super) mod int8;
pub(super) mod prepare;
pub(super) mod unpack;

/// Runs `$body` with the constant `$MT` standing for the group size `$size`.
macro_rules! with_group {
    ($size:expr, $MT:ident => $body:expr) => {
        $crate::cpu::matmul::kernel::with_group!(@pick $size, $MT => $body; 1 2 3 4 5 6 7 8 12)
    };
    (@pick $size:expr, $MT:ident => $body:expr; $($n:literal)*) => {
        match $size {
            $($n => {
                const $MT: usize = $n;
                $body
            })*
            other => unreachable!("there is no kernel for groups of {other} tokens"),
        }
    };
}
pub(super) use with_group;

/// The same for groups of a few tokens, which take their weights straight from the format.
macro_rules! with_few {
    ($size:expr, $MT:ident => $body:expr) => {
        $crate::cpu::matmul::kernel::with_group!(@pick $size, $MT => $body; 1 2 3 4)
    };
}
pub(super) use with_few;
