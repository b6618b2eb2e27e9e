use super::*;
use crate::cpu::mat::{Mat, MatMut};
use crate::cpu::pool::Pool;
use crate::cpu::simd::Features;
use jet_numerics::philox::{Stream, Tag};
use jet_numerics::quantize_row;
use proptest::prelude::*;

/// Values between -1 and 1.
fn values(seed: u64, n: usize) -> Vec<f32> {
    Stream::new(seed, Tag::Data, 0, 0).uniforms(n).into_iter().map(|u| 2.0 * u - 1.0).collect()
}

/// A stored matrix of `rows` rows.
fn stored(dtype: DType, rows: usize, k: usize, seed: u64) -> Vec<u8> {
    let row = dtype.row_bytes(k).unwrap();
    let mut bytes = vec![0; rows * row];
    for (values, bytes) in values(seed, rows * k).chunks(k).zip(bytes.chunks_mut(row)) {
        quantize_row(dtype, values, bytes).unwrap();
    }
    bytes
}

/// Root mean square error over the root mean square; not-a-number where one of the values is.
fn error(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |x: f64| x * x;
    let err: f64 = got.iter().zip(want).map(|(g, w)| square(f64::from(*g) - w)).sum();
    (err / want.iter().map(|w| square(*w)).sum::<f64>()).sqrt()
}

fn formats() -> impl Iterator<Item = DType> {
    DType::ALL.into_iter().filter(|d| d.is_weight())
}

/// Compares all paths and instruction sets on one shape.
fn compare(dtype: DType, n: usize, k: usize, tokens: usize, workers: usize, tuning: Tuning) {
    let bytes = stored(dtype, n, k, 1 + n as u64);
    let parts = [WeightRows { dtype, bytes: &bytes, rows: n, row_map: None }];
    let w = PackedMatrix::pack(&parts, k).unwrap();
    let x = values(7 + k as u64, tokens * k);
    let want = reference(&parts, k, &x);
    let pool = Pool::new(workers);
    for features in Features::all_available() {
        for path in paths_for(dtype) {
            let got = linear(&pool, &w, Mat::new(&x, tokens, k), *path, &tuning, features);
            let err = error(&got, &want);
            let bound = path.tolerance();
            assert!(
                err <= bound,
                "{dtype} {path:?} {features:?} [{tokens}, {k}] x [{n}, {k}]: {err:.2e} > {bound:.1e}"
            );
        }
    }
}

/// The smallest `k` from `k` on that the format can have.
fn whole(dtype: DType, k: usize) -> usize {
    k.next_multiple_of(dtype.block_len())
}

#[test]
fn every_format_path_and_instruction_set_agrees_with_the_reference() {
    for dtype in formats() {
        for tokens in [1, 2, 3, 4, 5, 8, 9, 13, 33] {
            compare(dtype, 37, whole(dtype, 70), tokens, 1, Tuning::default());
        }
        // More than a piece along k, more than a run of row tiles.
        compare(dtype, 16 * 19, whole(dtype, 1100), 2, 1, Tuning::default());
        compare(dtype, 16, whole(dtype, 1100), 21, 1, Tuning::default());
    }
}

#[test]
fn every_schedule_computes_the_same() {
    for dtype in [DType::Q4_1, DType::Q6K, DType::Bf16, DType::F16, DType::F32] {
        let k = whole(dtype, 200);
        for (family, tokens) in [(GEMV, 1), (GEMV, 3), (GEMM, 9), (GEMM, 150)] {
            let problem = problem(100, k, tokens, dtype, paths_for(dtype)[0]);
            assert_eq!(problem.family, family.name());
            for values in family.candidates(&problem) {
                use jet_codegen::schedule::Schedule;
                let tuning = match family.name() {
                    "gemv" => Gemv::from_values(&values).unwrap().into(),
                    _ => Gemm::from_values(&values).unwrap().into(),
                };
                compare(dtype, 100, k, tokens, 1, tuning);
            }
            let default = family.default_values(&problem);
            assert_eq!(family.legal(&problem, &default), Ok(()));
        }
    }
}

#[test]
fn every_size_of_group_has_a_kernel() {
    for tokens in 1..=40 {
        for mt in 1..=14 {
            compare(DType::Q4_0, 16, 32, tokens, 1, Tuning { mt, token_block: 16, ..Tuning::default() });
        }
    }
}

#[test]
fn workers_share_row_tiles_and_tokens() {
    for workers in [2, 3, 4, 8] {
        for (n, tokens) in [(16, 1), (48, 2), (200, 1), (20, 100), (1000, 20)] {
            compare(DType::Q8_0, n, 64, tokens, workers, Tuning::default());
            compare(DType::Bf16, n, 63, tokens, workers, Tuning::default());
        }
    }
}

#[test]
fn parts_are_stacked_and_rows_mapped() {
    for dtype in formats() {
        let k = whole(dtype, 40);
        let (a, b) = (stored(dtype, 9, k, 1), stored(dtype, 30, k, 2));
        let map: Vec<u32> = (0..20).map(|r| (r * 7 + 3) % 30).collect();
        let parts = [
            WeightRows { dtype, bytes: &a, rows: 9, row_map: None },
            WeightRows { dtype, bytes: &b, rows: 20, row_map: Some(&map) },
        ];
        let pool = Pool::new(2);
        let w = Packer { pool: Some(&pool), ..Packer::default() }.pack(&parts, k).unwrap();
        assert_eq!((w.rows(), w.cols(), w.tiles()), (29, k, 2));
        let stored_as = if dtype == DType::F64 { DType::F32 } else { dtype };
        assert_eq!(w.format(), stored_as);
        assert_eq!(w.bytes(), 32 * stored_as.row_bytes(k).unwrap());
        let row_bytes = dtype.row_bytes(k).unwrap();
        for r in 0..29 {
            let source = if r < 9 { &a[r * row_bytes..] } else { &b[map[r - 9] as usize * row_bytes..] };
            let (mut want, mut got) = (vec![0.0; k], vec![f32::NAN; k]);
            jet_numerics::dequantize_row(dtype, &source[..row_bytes], &mut want).unwrap();
            w.row_f32(r, &mut got);
            assert_eq!(got, want, "{dtype} row {r}");
        }
        let x = values(3, 6 * k);
        let got =
            linear(&pool, &w, Mat::new(&x, 6, k), NumberPath::F32, &Tuning::default(), Features::detect());
        assert!(error(&got, &reference(&parts, k, &x)) < 2e-6);
    }
}

#[test]
fn odd_rows_of_pairs_keep_their_last_value() {
    let bytes = stored(DType::Bf16, 3, 5, 1);
    let w =
        PackedMatrix::pack(&[WeightRows { dtype: DType::Bf16, bytes: &bytes, rows: 3, row_map: None }], 5)
            .unwrap();
    let (mut want, mut got) = (vec![0.0; 5], vec![0.0; 5]);
    jet_numerics::dequantize_row(DType::Bf16, &bytes[10..20], &mut want).unwrap();
    w.row_f32(1, &mut got);
    assert_eq!(got, want);
}

#[test]
fn bias_and_residual_are_added() {
    let (n, k, tokens) = (40, 64, 3);
    let bytes = stored(DType::Q4_1, n, k, 5);
    let parts = [WeightRows { dtype: DType::Q4_1, bytes: &bytes, rows: n, row_map: None }];
    let w = PackedMatrix::pack(&parts, k).unwrap();
    let (x, bias, residual) = (values(1, tokens * k), values(2, n), values(3, tokens * n));
    let want: Vec<f64> = reference(&parts, k, &x)
        .iter()
        .enumerate()
        .map(|(i, y)| y + f64::from(bias[i % n]) + f64::from(residual[i]))
        .collect();
    for path in paths_for(DType::Q4_1) {
        let layout = Layout::new(tokens, k, *path, 8, Features::detect());
        let mut words = vec![0.0; layout.len()];
        layout.prepare(Mat::new(&x, tokens, k), 0..layout.groups(), &mut words);
        let tuning = Tuning::default();
        // The second half of the columns, in a wider buffer.
        let part = Part { tiles: 1..3, groups: 0..layout.groups() };
        let mut scratch = vec![f32::NAN; scratch_len(&layout, &tuning)];
        let mut out = residual.clone();
        let mut all = MatMut::new(&mut out, tokens, n);
        let epilogue = Epilogue { bias: Some(&bias), accumulate: true };
        let x = Prepared::new(layout, &words);
        matmul(&w, x, part.clone(), all.cols_range(16..40), epilogue, &tuning, &mut scratch);
        for t in 0..tokens {
            assert_eq!(out[t * n..t * n + 16], residual[t * n..t * n + 16], "other columns are left alone");
            let (got, want) = (&out[t * n + 16..(t + 1) * n], &want[t * n + 16..(t + 1) * n]);
            assert!(error(got, want) < path.tolerance());
        }
    }
}

#[test]
fn tokens_can_be_gathered() {
    let (k, rows) = (64, [4u32, 0, 0, 3, 1, 4]);
    let x = values(1, 5 * k);
    let gathered: Vec<f32> = rows.iter().flat_map(|r| x[*r as usize * k..][..k].to_vec()).collect();
    for (_, path) in NumberPath::ALL {
        let layout = Layout::new(rows.len(), k, *path, 4, Features::detect());
        let (mut got, mut want) = (vec![0.0; layout.len()], vec![0.0; layout.len()]);
        layout.prepare_rows(Mat::new(&x, 5, k), &rows, 0..layout.groups(), &mut got);
        // Group by group, as several workers do it.
        for g in 0..layout.groups() {
            let words = &mut want[layout.words_of(g..g + 1)];
            layout.prepare(Mat::new(&gathered, rows.len(), k), g..g + 1, words);
        }
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&got), bits(&want));
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    for dtype in [DType::Q4_0, DType::Q4_1, DType::Q8_0, DType::Q6K, DType::F32, DType::Bf16] {
        let k = 256;
        let bytes = stored(dtype, 16, k, 1);
        let w =
            PackedMatrix::pack(&[WeightRows { dtype, bytes: &bytes, rows: 16, row_map: None }], k).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for tokens in [2, 6] {
                let mut x = values(2, tokens * k);
                x[k + 100] = bad;
                for features in Features::all_available() {
                    for path in paths_for(dtype) {
                        let x = Mat::new(&x, tokens, k);
                        let y = linear(&Pool::new(1), &w, x, *path, &Tuning::default(), features);
                        assert!(
                            y[..16].iter().all(|y| y.is_finite()),
                            "{dtype} {path:?} {features:?}: the other token"
                        );
                        assert!(
                            y[16..32].iter().all(|y| !y.is_finite()),
                            "{dtype} {path:?} {features:?}: {bad}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn tokens_of_zeros_give_zeros() {
    for dtype in formats() {
        let k = whole(dtype, 64);
        let bytes = stored(dtype, 16, k, 1);
        let w =
            PackedMatrix::pack(&[WeightRows { dtype, bytes: &bytes, rows: 16, row_map: None }], k).unwrap();
        for path in paths_for(dtype) {
            let x = vec![0.0; k];
            let y =
                linear(&Pool::new(1), &w, Mat::new(&x, 1, k), *path, &Tuning::default(), Features::detect());
            assert!(y.iter().all(|y| *y == 0.0));
        }
    }
}

#[test]
fn says_what_is_wrong_with_a_matrix() {
    let bytes = vec![0; 360];
    let part = |dtype, rows, bytes| WeightRows { dtype, bytes, rows, row_map: None };
    let message = |parts: &[WeightRows<'_>], k| PackedMatrix::pack(parts, k).unwrap_err().to_string();
    assert_eq!(
        message(&[part(DType::Q4_1, 1, &bytes)], 570),
        "a q4_1 row holds a multiple of 32 values, not 570; store the weight in another format"
    );
    assert_eq!(
        message(&[part(DType::Q4_1, 2, &bytes)], 576),
        "part 0: 2 q4_1 rows of 576 values are 720 bytes, not 360"
    );
    assert_eq!(
        message(&[part(DType::Q4_1, 1, &bytes), part(DType::F32, 1, &bytes)], 576),
        "part 1 is f32 and the ones before it are q4_1; pack parts of different formats apart"
    );
    assert!(message(&[part(DType::I32, 1, &bytes)], 90).contains("i32"));
    assert!(message(&[], 32).contains("no elements"));
    assert!(message(&[part(DType::F32, 0, &[])], 32).contains("no elements"));
    let row_map = [0, 1];
    let mapped = |rows| [WeightRows { row_map: Some(&row_map), ..part(DType::Q4_1, rows, &bytes) }];
    assert!(message(&mapped(1), 576).contains("2 entries for 1 rows"));
    assert_eq!(message(&mapped(2), 576), "part 0: 2 q4_1 rows of 576 values are 720 bytes, not 360");
    // A shape beyond all memory is an error as well.
    assert!(message(&[part(DType::F32, usize::MAX / 4, &bytes)], 90).contains("bytes, not 360"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_shape_agrees_with_the_reference(
        dtype in prop::sample::select(formats().collect::<Vec<_>>()),
        n in 1usize..70, k in 1usize..700, tokens in 1usize..40, workers in 1usize..4,
        mt in 1usize..13, token_block in 1usize..64,
    ) {
        let tuning = Tuning { mt, token_block, ..Tuning::default() };
        compare(dtype, n, whole(dtype, k), tokens, workers, tuning);
    }
}
