//! Number formats, over all their codes.

use crate::bench::{bytes, floats, noise, run};
use half::{bf16, f16};

const WIDEN: &str = "extern \"C\" __global__ void k(const T* in, float* out) {
    for (int i = threadIdx.x; i < N; i += 256) out[i] = to_float(in[i]);
}";
const ROUND: &str = "extern \"C\" __global__ void k(const float* in, T* out) {
    for (int i = threadIdx.x; i < N; i += 256) out[i] = from_float<T>(in[i]);
}";

fn kernel(template: &str, ty: &str, n: usize) -> String {
    // The alias names the type, so its item is reached.
    format!("using T = {ty};\nconstexpr int N = {n};\n{template}")
}

/// Values of every size, halfway cases of both 16-bit formats and of e4m3, infinities left out.
fn samples() -> Vec<f32> {
    let mut all = Vec::new();
    for (i, v) in noise(3, 4000).iter().enumerate() {
        all.push(v * 2f32.powi(i as i32 % 40 - 20));
    }
    for code in 0..=0x7e_u8 {
        let (low, high) = (e4m3(code), e4m3((code + 1).min(0x7e)));
        all.extend([low, (low + high) / 2.0, -(low + high) / 2.0, low * 1.01]);
    }
    for bits in (0..0x7c00u16).step_by(97) {
        let (low, high) = (f16::from_bits(bits).to_f32(), f16::from_bits(bits + 1).to_f32());
        all.extend([low, (low + high) / 2.0]);
    }
    all.extend([0.0, -0.0, 448.0, 460.0, 470.0, 1e9, -1e9]);
    all.retain(|v| v.is_finite());
    all
}

fn e4m3(code: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(code >> 3 & 15), f32::from(code & 7));
    if exponent == 0 {
        mantissa / 8.0 * 2f32.powi(-6)
    } else {
        (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7)
    }
}

#[test]
fn every_code_of_a_format_is_widened_exactly() {
    let codes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let widened: [(&str, fn(u16) -> f32); 2] =
        [("bf16", |c| bf16::from_bits(c).to_f32()), ("f16", |c| f16::from_bits(c).to_f32())];
    for (ty, want) in widened {
        let Some(out) =
            run(&kernel(WIDEN, ty, 65_536), "sm_80", 256, std::slice::from_ref(&codes), 4 * 65_536)
        else {
            return;
        };
        for (code, got) in floats(&out).into_iter().enumerate() {
            let want = want(code as u16);
            assert!(got == want || got.is_nan() && want.is_nan(), "{ty} {code:#x}: {got} is not {want}");
        }
    }
    let codes: Vec<u8> = (0..=255).collect();
    let Some(out) = run(&kernel(WIDEN, "e4m3", 256), "sm_80", 256, &[codes], 1024) else { return };
    for (code, got) in floats(&out).into_iter().enumerate() {
        let magnitude = e4m3(code as u8 & 0x7f);
        let want = if code > 127 { -magnitude } else { magnitude };
        assert!(got == want || code & 0x7f == 0x7f, "{code:#x}: {got} is not {want}");
    }
}

#[test]
fn rounding_is_to_nearest_even() {
    let samples = samples();
    let (n, input) = (samples.len(), [bytes(&samples)]);
    let rounded: [(&str, fn(f32) -> u16); 2] =
        [("bf16", |v| bf16::from_f32(v).to_bits()), ("f16", |v| f16::from_f32(v).to_bits())];
    for (ty, want) in rounded {
        let Some(out) = run(&kernel(ROUND, ty, n), "sm_80", 256, &input, 2 * n) else { return };
        for (v, got) in samples.iter().zip(out.as_chunks::<2>().0) {
            assert_eq!(u16::from_le_bytes(*got), want(*v), "{ty} of {v}");
        }
    }
}

#[test]
fn fp8_rounds_alike_with_and_without_the_instruction() {
    let samples = samples();
    let (n, input) = (samples.len(), [bytes(&samples)]);
    for target in ["sm_80", "sm_90a"] {
        let Some(out) = run(&kernel(ROUND, "e4m3", n), target, 256, &input, n) else { return };
        for (v, got) in samples.iter().zip(out) {
            assert_eq!(v.is_sign_negative(), got > 127, "{target}: the sign of {v}");
            let chosen = e4m3(got & 0x7f);
            let distance = |code: u8| (f64::from(e4m3(code)) - f64::from(v.abs()).min(448.0)).abs();
            for code in 0..=0x7e {
                let (other, own) = (distance(code), distance(got & 0x7f));
                assert!(other >= own, "{target}: {v} became {chosen}, {} is nearer", e4m3(code));
                assert!(
                    other > own || code == got & 0x7f || got & 1 == 0,
                    "{target}: {v} is a tie and became {chosen}"
                );
            }
        }
    }
}

#[test]
fn the_parts_of_a_split_are_tf32_and_nearly_all_of_it() {
    let samples = noise(5, 256);
    let text = "extern \"C\" __global__ void k(const float* in, unsigned* out) {
        split_tf32(in[threadIdx.x], out[2 * threadIdx.x], out[2 * threadIdx.x + 1]);
    }";
    let Some(out) = run(text, "sm_80", 256, &[bytes(&samples)], 8 * 256) else { return };
    for (v, parts) in samples.iter().zip(floats(&out).as_chunks::<2>().0) {
        for p in parts {
            assert_eq!(p.to_bits() & 0x1fff, 0, "{p} is no tf32");
        }
        let sum = f64::from(parts[0]) + f64::from(parts[1]);
        assert!((sum - f64::from(*v)).abs() <= f64::from(v.abs()) * 2f64.powi(-21), "{v}: {parts:?}");
    }
}
