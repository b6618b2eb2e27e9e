//! Functions, sums and softmax.

use crate::bench::{bytes, floats, noise, run};

#[test]
fn activations_are_exact_to_float_precision() {
    let functions: [(&str, fn(f64) -> f64); 5] = [
        ("sigmoid", |x| 1.0 / (1.0 + (-x).exp())),
        ("silu", |x| x / (1.0 + (-x).exp())),
        ("relu2", |x| x.max(0.0).powi(2)),
        ("softplus", |x| if x > 30.0 { x } else { x.exp().ln_1p() }),
        ("gelu", |x| {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
        }),
    ];
    let mut samples: Vec<f32> =
        noise(1, 250).into_iter().enumerate().map(|(i, v)| v * (i + 1) as f32 / 3.0).collect();
    samples.extend([0.0, -0.0, 88.0, -88.0, 1000.0, -1000.0]);
    for (name, want) in functions {
        let text = format!(
            "extern \"C\" __global__ void k(const float* in, float* out) {{
    out[threadIdx.x] = {name}(in[threadIdx.x]);
}}"
        );
        let Some(out) = run(&text, "sm_80", 256, &[bytes(&samples)], 1024) else { return };
        for (x, got) in samples.iter().zip(floats(&out)) {
            let want = want(f64::from(*x));
            // Where the definition in f64 itself cancels, next to nothing is left to compare.
            let allowed =
                want.abs() * 2e-6 + 1e-30 + if name == "gelu" { 1e-7 * f64::from(x.abs()) } else { 0.0 };
            assert!((f64::from(got) - want).abs() <= allowed, "{name}({x}) is {got}, not {want}");
        }
        let nan = run(&text, "sm_80", 1, &[bytes(&[f32::NAN])], 4).expect("it ran above");
        assert!(floats(&nan)[0].is_nan(), "{name}");
    }
}

#[test]
fn sums_are_over_their_group_and_no_other() {
    let values: Vec<f32> = (0..128).map(|i| (i * i % 31) as f32).collect();
    for (call, group) in [
        ("lanes_sum<1>", 1),
        ("lanes_sum<8>", 8),
        ("lanes_sum<32>", 32),
        ("cta_sum<128>", 128),
        ("(team_sum<16, 128>)", 16),
        ("(team_sum<128, 128>)", 128),
    ] {
        let text = format!(
            "extern \"C\" __global__ void k(const float* in, float* out) {{
    const float first = {call}(in[threadIdx.x]);
    out[threadIdx.x] = first + {call}(in[threadIdx.x]);
}}"
        );
        let Some(out) = run(&text, "sm_80", 128, &[bytes(&values)], 512) else { return };
        for (i, got) in floats(&out).into_iter().enumerate() {
            let first = i / group * group;
            let want: f32 = values[first..first + group].iter().sum();
            assert_eq!(got, 2.0 * want, "{call} in thread {i}");
        }
    }
}

#[test]
fn a_maximum_and_a_running_sum_agree_with_their_definitions() {
    let values: Vec<f32> = noise(2, 64);
    let text = "extern \"C\" __global__ void k(const float* in, float* out) {
    out[threadIdx.x] = lanes_max<4>(in[threadIdx.x]);
    out[64 + threadIdx.x] = warp_scan(in[threadIdx.x]);
}";
    let Some(out) = run(text, "sm_80", 64, &[bytes(&values)], 512) else { return };
    let out = floats(&out);
    for i in 0..64 {
        let most = values[i / 4 * 4..i / 4 * 4 + 4].iter().copied().fold(f32::MIN, f32::max);
        assert_eq!(out[i], most);
        let sum: f64 = values[i / 32 * 32..=i].iter().map(|v| f64::from(*v)).sum();
        assert!((f64::from(out[64 + i]) - sum).abs() < 1e-5, "{i}");
    }
}

#[test]
fn softmax_by_parts_is_softmax() {
    // Sixteen scores a thread, in tiles of four; thread 1 has its first tile masked, thread 2 everything.
    let mut scores: Vec<f32> = noise(9, 48).iter().map(|v| v * 40.0).collect();
    scores[16..20].fill(f32::NEG_INFINITY);
    scores[32..48].fill(f32::NEG_INFINITY);
    let values = noise(10, 16);
    let text = "extern \"C\" __global__ void k(const float* scores, const float* values, float* out) {
    OnlineSoftmax row;
    float sum = 0.0f;
    for (int tile = 0; tile < 16; tile += 4) {
        const float* s = scores + threadIdx.x * 16 + tile;
        sum *= row.rise(fmaxf(fmaxf(s[0], s[1]), fmaxf(s[2], s[3])));
        for (int i = 0; i < 4; ++i) {
            const float w = row.weight(s[i]);
            row.sum += w;
            sum += w * values[tile + i];
        }
    }
    out[threadIdx.x] = row.sum == 0.0f ? 0.0f : sum / row.sum;
}";
    let Some(out) = run(text, "sm_80", 3, &[bytes(&scores), bytes(&values)], 12) else { return };
    for (t, got) in floats(&out).into_iter().enumerate() {
        let scores = &scores[t * 16..t * 16 + 16];
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |s: f32| if s == f32::NEG_INFINITY { 0.0 } else { f64::from(s - most).exp2() };
        let total: f64 = scores.iter().map(|s| weight(*s)).sum();
        let sum: f64 = scores.iter().zip(&values).map(|(s, v)| weight(*s) * f64::from(*v)).sum();
        let want = if total == 0.0 { 0.0 } else { sum / total };
        assert!((f64::from(got) - want).abs() < 1e-5, "thread {t}: {got} is not {want}");
    }
}
