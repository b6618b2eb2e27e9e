//! Macros that make a handler from what one lane computes. `W` is a 32-bit register, `L` a 64-bit one.
//!
//! `every!` computes all 32 lanes, which vectorises; `active!` only those of the mask, for functions that cost more
//! than a mask; `active_x!` hands over the instruction's small facts as well.

macro_rules! fetch {
    (W, $cx:ident, $slot:expr) => {
        $cx.word($slot)
    };
    (L, $cx:ident, $slot:expr) => {
        $cx.long($slot)
    };
}

macro_rules! store {
    (W, $cx:ident, $slot:expr, $d:ident, $mask:ident) => {
        $cx.set_word($slot, &$d, $mask)
    };
    (L, $cx:ident, $slot:expr, $d:ident, $mask:ident) => {
        $cx.set_long($slot, &$d, $mask)
    };
}

macro_rules! zeros {
    (W) => {
        [0u32; 32]
    };
    (L) => {
        [0u64; 32]
    };
}

macro_rules! handler {
    (|$cx:ident, $i:ident, $mask:ident| $body:block) => {{
        fn run<'a>(
            $cx: &mut $crate::exec::Cx<'a>,
            $i: &'a $crate::isa::Inst,
            $mask: u32,
        ) -> $crate::isa::Flow {
            $body
        }
        run as $crate::isa::Handler
    }};
}

macro_rules! every {
    ($d:ident = $f:expr; $a:ident) => {
        handler!(|cx, i, mask| {
            let a = fetch!($a, cx, i.a);
            let mut d = zeros!($d);
            for l in 0..32 {
                d[l] = $f(a[l]);
            }
            store!($d, cx, i.d, d, mask);
            $crate::isa::Flow::Next
        })
    };
    ($d:ident = $f:expr; $a:ident, $b:ident) => {
        handler!(|cx, i, mask| {
            let (a, b) = (fetch!($a, cx, i.a), fetch!($b, cx, i.b));
            let mut d = zeros!($d);
            for l in 0..32 {
                d[l] = $f(a[l], b[l]);
            }
            store!($d, cx, i.d, d, mask);
            $crate::isa::Flow::Next
        })
    };
    ($d:ident = $f:expr; $a:ident, $b:ident, $c:ident) => {
        handler!(|cx, i, mask| {
            let (a, b, c) = (fetch!($a, cx, i.a), fetch!($b, cx, i.b), fetch!($c, cx, i.c));
            let mut d = zeros!($d);
            for l in 0..32 {
                d[l] = $f(a[l], b[l], c[l]);
            }
            store!($d, cx, i.d, d, mask);
            $crate::isa::Flow::Next
        })
    };
}

macro_rules! active {
    ($d:ident = $f:expr; $a:ident) => {
        active_x!($d = |_: u32, a| $f(a); $a)
    };
    ($d:ident = $f:expr; $a:ident, $b:ident) => {
        handler!(|cx, i, mask| {
            let (a, b) = (fetch!($a, cx, i.a), fetch!($b, cx, i.b));
            let mut d = zeros!($d);
            for l in $crate::exec::lanes(mask) {
                d[l] = $f(a[l], b[l]);
            }
            store!($d, cx, i.d, d, mask);
            $crate::isa::Flow::Next
        })
    };
}

macro_rules! active_x {
    ($d:ident = $f:expr; $a:ident) => {
        handler!(|cx, i, mask| {
            let a = fetch!($a, cx, i.a);
            let mut d = zeros!($d);
            for l in $crate::exec::lanes(mask) {
                d[l] = $f(i.x, a[l]);
            }
            store!($d, cx, i.d, d, mask);
            $crate::isa::Flow::Next
        })
    };
    ($d:ident = $f:expr; $a:ident, $b:ident) => {
        handler!(|cx, i, mask| {
            let (a, b) = (fetch!($a, cx, i.a), fetch!($b, cx, i.b));
            let mut d = zeros!($d);
            for l in $crate::exec::lanes(mask) {
                d[l] = $f(i.x, (a[l], b[l]));
            }
            store!($d, cx, i.d, d, mask);
            $crate::isa::Flow::Next
        })
    };
    ($d:ident = $f:expr; $a:ident, $b:ident, $c:ident) => {
        handler!(|cx, i, mask| {
            let (a, b, c) = (fetch!($a, cx, i.a), fetch!($b, cx, i.b), fetch!($c, cx, i.c));
            let mut d = zeros!($d);
            for l in $crate::exec::lanes(mask) {
                d[l] = $f(i.x, (a[l], b[l], c[l]));
            }
            store!($d, cx, i.d, d, mask);
            $crate::isa::Flow::Next
        })
    };
}
