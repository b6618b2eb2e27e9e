use super::*;
use crate::cpu::simd::Simd;

/// Every operation on the same bytes, results side by side.
struct Everything<'a> {
    small: &'a [u8; 64],
    full: &'a [u8; 64],
    a: u32,
    out: &'a mut Vec<f32>,
}

impl Int8Kernel for Everything<'_> {
    #[inline(always)]
    fn run<S: Int8>(self, s: S) {
        let f = s.float();
        let mut push = |v| {
            let mut lanes = [0.0; 16];
            f.store(v, &mut lanes);
            self.out.extend(lanes);
        };
        let (small, full) = (s.load(self.small), s.load(self.full));
        push(s.to_f32(s.dot(s.splat(-1000), small, self.a)));
        // What the instructions take off every weight comes back through the sum of the activations.
        let sum: i32 = self.a.to_le_bytes().iter().map(|b| i32::from(b.cast_signed())).sum();
        push(s.to_f32(s.dot_full(s.splat(S::FULL_BIAS * sum), full, self.a)));
        for b in [small, full, s.or(small, full), s.and(full, 0x3c)] {
            s.widen(b).into_iter().for_each(&mut push);
        }
        for n in 0..8 {
            s.widen(s.shl(full, n)).into_iter().for_each(&mut push);
            s.widen(s.shr(full, n)).into_iter().for_each(&mut push);
        }
        let bytes = self.full.first_chunk().expect("64 bytes hold 16");
        push(s.widen_u8(bytes));
        push(s.widen_i8(bytes));
        let halves = f.mul(s.widen_i8(bytes), f.splat(0.5));
        let narrow = s.narrow(halves);
        self.out.extend(narrow.map(f32::from));
        self.out.push(s.sum_bytes(&narrow) as f32);
        self.out.push(s.sum_bytes(&bytes.map(u8::cast_signed)) as f32);
        let mut back = [0; 64];
        s.store(full, &mut back);
        self.out.extend(back.map(f32::from));
        s.prefetch(self.full, 1 << 20);
    }
}

fn everything(isa: Int8Isa, small: &[u8; 64], full: &[u8; 64], a: u32) -> Vec<f32> {
    let mut out = Vec::new();
    dispatch_int8(isa, Everything { small, full, a, out: &mut out });
    out
}

#[test]
fn every_operation_agrees_with_the_portable_one() {
    let spread = |step: usize, limit: usize| std::array::from_fn(|i| (i * step % limit) as u8);
    let extremes = |a, b| std::array::from_fn(|i| if i % 3 == 0 { a } else { b });
    let activations: [[i8; 4]; 4] = [[127; 4], [-127; 4], [1, -127, 0, 99], [127, -127, 127, -127]];
    for (small, full) in [
        (spread(7, 64), spread(37, 256)),
        (extremes(63, 63), extremes(255, 255)),
        (extremes(0, 63), extremes(0, 255)),
        (extremes(63, 0), extremes(0, 0)),
    ] {
        for a in activations {
            let a = u32::from_le_bytes(a.map(i8::cast_unsigned));
            let want = everything(Int8Isa::Portable, &small, &full, a);
            for isa in Int8Isa::ALL.into_iter().filter(|i| i.available()) {
                assert_eq!(everything(isa, &small, &full, a), want, "{isa:?}");
            }
        }
    }
}
