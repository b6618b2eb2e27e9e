//! Tensor and bulk copies, their barriers, products of a warpgroup.

use crate::bench::{Mapped, floats, noise, run, run_mapped};
use half::{bf16, f16};
use jet_codegen::emit::wgmma::product;
use jet_codegen::kernel::Elem;

/// `out` = a * b^T over one box of each, which reach beyond the operands.
fn kernel(n: usize, elem: Elem) -> String {
    format!(
        "{}
using T = {elem};
extern \"C\" __global__ void __launch_bounds__(128) k(const T*, const T*, const __grid_constant__ TensorMap a,
                                                     const __grid_constant__ TensorMap b, float* out) {{
    constexpr int kCols = {n};
    __shared__ __align__(1024) unsigned char memory[(64 + kCols) * 128];
    __shared__ unsigned long long full;
    if (threadIdx.x == 0) {{
        map_prefetch(&a);
        barrier_init(&full, 1);
        barrier_init_done();
    }}
    __syncthreads();
    if (threadIdx.x == 0) {{
        barrier_expect(&full, sizeof(memory));
        tensor_load(memory, &a, 0, 0, &full);
        tensor_load(memory + 64 * 128, &b, 0, 0, &full);
    }}
    barrier_wait(&full, 0);
    float sum[kCols / 2];
    const unsigned long long left = matrix_descriptor(memory), right = matrix_descriptor(memory + 64 * 128);
    warpgroup_fence();
    for (int k = 0; k < 4; ++k) warpgroup_product(sum, left + 2 * k, right + 2 * k, k > 0);
    warpgroup_commit();
    warpgroup_wait<0>();
    warpgroup_hold(sum);
    const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
    for (int i = 0; i < kCols / 2; ++i) {{
        out[(row + i % 4 / 2 * 8) * kCols + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2] = sum[i];
    }}
}}",
        product(n, elem)
    )
}

#[test]
fn a_warpgroup_multiplies_what_tensor_copies_bring() {
    let (m, k, stride) = (50, 41, 48);
    for (n, elem) in [(64, Elem::Bf16), (128, Elem::F16), (256, Elem::Bf16)] {
        let rows = n - 7;
        let round = |v: f32| match elem {
            Elem::F16 => (f16::from_f32(v).to_f64(), f16::from_f32(v).to_le_bytes()),
            _ => (bf16::from_f32(v).to_f64(), bf16::from_f32(v).to_le_bytes()),
        };
        let make = |seed, len: usize| {
            noise(seed, len * stride).into_iter().map(round).unzip::<f64, [u8; 2], Vec<_>, Vec<_>>()
        };
        let ((a, a_bytes), (b, b_bytes)) = (make(1, m), make(2, rows));
        let map = |input, rows, box_rows| Mapped { input, rows, cols: k, stride, box_rows };
        let maps = [map(0, m, 64), map(1, rows, n as u32)];
        let inputs = [a_bytes.concat(), b_bytes.concat()];
        let Some(out) = run_mapped(&kernel(n, elem), "sm_90a", 128, &inputs, &maps, 64 * n * 4) else {
            return;
        };
        for (i, got) in floats(&out).iter().enumerate() {
            let (r, c) = (i / n, i % n);
            let there = r < m && c < rows;
            let dot: f64 =
                (0..k).map(|i| if there { a[r * stride + i] * b[c * stride + i] } else { 0.0 }).sum();
            assert!((f64::from(*got) - dot).abs() < 2e-5, "{elem} {n} at {r}, {c}: {got} is not {dot}");
        }
    }
}

#[test]
fn a_ring_hands_stages_on_in_order() {
    // One thread brings pieces of 64 bytes, a warp adds them up; three stages for ten pieces.
    let text = "extern \"C\" __global__ void k(const float* in, float* out) {
    __shared__ __align__(128) float stages[3][16];
    __shared__ unsigned long long full[3], empty[3];
    if (threadIdx.x == 0) {
        for (int i = 0; i < 3; ++i) {
            barrier_init(&full[i], 1);
            barrier_init(&empty[i], 1);
        }
        barrier_init_done();
    }
    __syncthreads();
    if (threadIdx.x == 32) {
        Ring<3> at(1);
        for (int piece = 0; piece < 10; ++piece, at.advance()) {
            barrier_wait(&empty[at.stage], at.parity);
            barrier_expect(&full[at.stage], 64);
            bulk_load(stages[at.stage], in + piece * 16, 64, &full[at.stage]);
        }
    } else if (threadIdx.x < 32) {
        Ring<3> at(0);
        float sum = 0;
        for (int piece = 0; piece < 10; ++piece, at.advance()) {
            barrier_wait(&full[at.stage], at.parity);
            sum = sum * 0.5f + stages[at.stage][threadIdx.x % 16];
            __syncwarp();
            if (threadIdx.x == 0) barrier_arrive(&empty[at.stage]);
        }
        if (threadIdx.x < 16) out[threadIdx.x] = sum;
    }
}";
    let values = noise(9, 160);
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let Some(out) = run(text, "sm_90a", 64, &[bytes], 64) else { return };
    for (i, got) in floats(&out).iter().enumerate() {
        let want = (0..10).fold(0.0f32, |sum, piece| sum * 0.5 + values[piece * 16 + i]);
        assert!((got - want).abs() < 1e-6, "{i}: {got} is not {want}");
    }
}

#[test]
fn registers_go_from_one_warpgroup_to_another() {
    let text = "extern \"C\" __global__ void __launch_bounds__(256, 1) k(const float* in, float* out) {
    if (threadIdx.x < 128) {
        registers_release<40>();
    } else {
        registers_take<232>();
    }
    out[threadIdx.x] = in[threadIdx.x] + 1;
}";
    let values = noise(5, 256);
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let Some(out) = run(text, "sm_90a", 256, &[bytes], 1024) else { return };
    assert!(floats(&out).iter().zip(&values).all(|(got, v)| *got == v + 1.0));
}
