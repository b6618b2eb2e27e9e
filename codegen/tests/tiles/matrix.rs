//! Fragments and products of a warp.

use crate::bench::{floats, noise, run};
use half::{bf16, f16};

/// `a` 16 x 16 and `b` 16 x 16 (rows of n, or rows of k with `transposed`) through shared memory; `out` is a * b.
fn product(ty: &str, transposed: bool) -> String {
    let load = if transposed { "warp_load_b_transposed" } else { "warp_load_b" };
    format!(
        "using T = {ty};
extern \"C\" __global__ void k(const T* a, const T* b, float* out) {{
    __shared__ __align__(128) unsigned char memory[2 * SmemTile<T, 16, 16>::bytes];
    const SmemTile<T, 16, 16> left(memory), right(memory + SmemTile<T, 16, 16>::bytes);
    cta_copy_tile<32, 8>(left, a, 16, 16, 16);
    cta_copy_tile<32, 8>(right, b, 16, 16, 16);
    copy_commit();
    copy_wait<0>();
    __syncthreads();
    unsigned x[4], y[4];
    warp_load_a(x, left.base, left.stride);
    {load}(y, right.base, right.stride);
    const int lane = threadIdx.x;
    for (int n = 0; n < 2; ++n) {{
        float d[4] = {{}};
        warp_mma<T>(d, x, y[2 * n], y[2 * n + 1]);
        for (int i = 0; i < 4; ++i) out[(lane / 4 + i / 2 * 8) * 16 + n * 8 + lane % 4 * 2 + i % 2] = d[i];
    }}
}}"
    )
}

fn reference(a: &[f32], b: &[f32], k: usize, b_at: impl Fn(usize, usize) -> usize) -> Vec<f64> {
    let n = b.len() / k;
    let dot = |r: usize, c: usize| (0..k).map(|i| f64::from(a[r * k + i]) * f64::from(b[b_at(i, c)])).sum();
    (0..a.len() / k * n).map(|i| dot(i / n, i % n)).collect()
}

fn close(got: &[f32], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*g) - w).abs() <= tolerance, "{what}[{i}]: {g} is not {w}");
    }
}

#[test]
fn sixteen_bit_products_take_their_operands_from_shared_memory() {
    /// A value rounded, and its bytes.
    type Round = fn(f32) -> (f32, [u8; 2]);
    let formats: [(&str, Round); 2] = [
        ("bf16", |v| (bf16::from_f32(v).to_f32(), bf16::from_f32(v).to_le_bytes())),
        ("f16", |v| (f16::from_f32(v).to_f32(), f16::from_f32(v).to_le_bytes())),
    ];
    for (ty, round) in formats {
        let make = |seed| noise(seed, 256).into_iter().map(round).unzip::<f32, [u8; 2], Vec<_>, Vec<_>>();
        let ((a, a_bytes), (b, b_bytes)) = (make(1), make(2));
        let inputs = [a_bytes.concat(), b_bytes.concat()];
        for transposed in [false, true] {
            let Some(out) = run(&product(ty, transposed), "sm_80", 32, &inputs, 1024) else { return };
            let at = |k: usize, n: usize| if transposed { k * 16 + n } else { n * 16 + k };
            close(&floats(&out), &reference(&a, &b, 16, at), 1e-5, &format!("{ty} {transposed}"));
        }
    }
}

#[test]
fn a_tf32_product_of_splits_is_nearly_float() {
    let text = "extern \"C\" __global__ void k(const float* a, const float* b, float* out) {
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    unsigned x[4], x_low[4], y[2], y_low[2];
    for (int i = 0; i < 4; ++i) split_tf32(a[(g + i % 2 * 8) * 8 + t + i / 2 * 4], x[i], x_low[i]);
    for (int i = 0; i < 2; ++i) split_tf32(b[g * 8 + t + i * 4], y[i], y_low[i]);
    float d[4] = {};
    warp_mma_tf32(d, x_low, y[0], y[1]);
    warp_mma_tf32(d, x, y_low[0], y_low[1]);
    warp_mma_tf32(d, x, y[0], y[1]);
    for (int i = 0; i < 4; ++i) out[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = d[i];
}";
    let (a, b) = (noise(3, 128), noise(4, 64));
    let bytes = |v: &[f32]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let Some(out) = run(text, "sm_80", 32, &[bytes(&a), bytes(&b)], 512) else { return };
    close(&floats(&out), &reference(&a, &b, 8, |k, n| n * 8 + k), 2e-6, "tf32");
}

#[test]
fn fp8_products_take_four_values_a_register() {
    let text = "extern \"C\" __global__ void k(const unsigned* a, const unsigned* b, float* out) {
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    unsigned x[4];
    for (int i = 0; i < 4; ++i) x[i] = a[(g + i % 2 * 8) * 8 + t + i / 2 * 4];
    float d[4] = {};
    warp_mma_e4m3(d, x, b[g * 8 + t], b[g * 8 + t + 4]);
    for (int i = 0; i < 4; ++i) out[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = d[i];
}";
    // Codes of small whole numbers: 0, 1, 2, 3, -1, -2.
    let codes = [(0x00, 0.0), (0x38, 1.0), (0x40, 2.0), (0x44, 3.0), (0xb8, -1.0), (0xc0, -2.0)];
    let make = |seed, n| {
        let pick = |v: f32| codes[(((v + 1.0) * 3.0) as usize).min(5)];
        noise(seed, n).into_iter().map(pick).unzip::<u8, f32, Vec<_>, Vec<_>>()
    };
    let ((a_codes, a), (b_codes, b)) = (make(6, 512), make(7, 256));
    let Some(out) = run(text, "sm_89", 32, &[a_codes, b_codes], 512) else { return };
    close(&floats(&out), &reference(&a, &b, 32, |k, n| n * 32 + k), 0.0, "e4m3");
}

#[test]
fn a_tile_beyond_its_operand_is_zero() {
    let text = "extern \"C\" __global__ void k(const bf16* in, bf16* out) {
    __shared__ __align__(128) unsigned char memory[SmemTile<bf16, 8, 32>::bytes];
    const SmemTile<bf16, 8, 32> tile(memory);
    cta_copy_tile<32, VEC>(tile, in, 20, 5, 13);
    copy_commit();
    copy_wait<0>();
    __syncthreads();
    for (int i = threadIdx.x; i < 256; i += 32) out[i] = *tile.at(i / 32, i % 32);
}";
    let codes: Vec<u8> = (1..=100u16).flat_map(u16::to_le_bytes).collect();
    for vec in ["2", "4"] {
        let Some(out) = run(&text.replace("VEC", vec), "sm_80", 32, std::slice::from_ref(&codes), 512) else {
            return;
        };
        for (i, got) in out.as_chunks::<2>().0.iter().enumerate() {
            let (row, col) = (i / 32, i % 32);
            let want = if row < 5 && col < 13 { row * 20 + col + 1 } else { 0 };
            assert_eq!(usize::from(u16::from_le_bytes(*got)), want, "{vec} at {row}, {col}");
        }
    }
}
