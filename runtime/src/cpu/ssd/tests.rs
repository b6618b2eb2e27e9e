use super::*;
use crate::cpu::golden;
use crate::cpu::scan::testing::{Numbers, close, segments, within_tolerance};
use jet_codegen::schedule::{Family, Schedule, candidates};
use proptest::prelude::*;

struct Case {
    shape: SsdShape,
    tokens: usize,
    limit: (f32, f32),
    dt_bias: Vec<f32>,
    a_log: Vec<f32>,
    d: Vec<f32>,
    x: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
    dt_raw: Vec<f32>,
    state: Vec<f32>,
}

fn shape(heads: usize, d_head: usize, groups: usize, d_state: usize) -> SsdShape {
    SsdShape { heads, d_head, groups, d_state }
}

impl Case {
    fn new(shape: SsdShape, tokens: usize, seed: u64) -> Self {
        let mut n = Numbers::new(seed);
        let (h, p, gn) = (shape.heads, shape.d_head, shape.groups * shape.d_state);
        Self {
            shape,
            tokens,
            limit: if seed.is_multiple_of(3) { (0.01, 0.5) } else { (0.0, f32::INFINITY) },
            dt_bias: n.vec(h, -8.0, 1.0),
            a_log: n.vec(h, -3.0, 3.0),
            d: n.vec(h, -1.0, 1.0),
            x: n.vec(tokens * h * p, -1.0, 1.0),
            b: n.vec(tokens * gn, -1.0, 1.0),
            c: n.vec(tokens * gn, -1.0, 1.0),
            dt_raw: n.vec(tokens * h, -4.0, 4.0),
            state: n.vec(h * p * shape.d_state, -1.0, 1.0),
        }
    }

    fn expected(&self) -> (Vec<f32>, Vec<f32>) {
        let mut state: Vec<f64> = self.state.iter().map(|v| f64::from(*v)).collect();
        let mut y = vec![0.0; self.x.len()];
        reference(
            &self.shape,
            (&self.dt_bias, &self.a_log, &self.d),
            self.limit,
            (&self.x, &self.b, &self.c, &self.dt_raw),
            &mut state,
            &mut y,
        );
        (y, state.into_iter().map(|v| v as f32).collect())
    }

    /// In segments of the lengths `cuts`, the heads in two shares cut at `split`.
    fn got(&self, isa: Isa, schedule: SsdSchedule, cuts: &[usize], split: usize) -> (Vec<f32>, Vec<f32>) {
        let (h, p, n) = (self.shape.heads, self.shape.d_head, self.shape.d_state);
        let gn = self.shape.groups * n;
        let weights = SsdWeights::new(h, &self.dt_bias, &self.a_log, &self.d, self.limit).expect("sizes fit");
        let len = state_len(p, n);
        let mut state = vec![0.0; h * len];
        for (inner, dense) in state.chunks_mut(len).zip(self.state.chunks(p * n)) {
            import_state(p, n, dense, inner);
        }
        let mut y = vec![f32::NAN; self.x.len()];
        // Scratch as it comes: nothing may depend on what is in it.
        let mut scratch = vec![f32::NAN; scratch_len(&self.shape, &schedule)];
        for (at, len_t) in segments(self.tokens, cuts) {
            let rows = at..at + len_t;
            let input = SsdInput {
                x: Mat::new(&self.x, self.tokens, h * p).rows_range(rows.clone()),
                b: Mat::new(&self.b, self.tokens, gn).rows_range(rows.clone()),
                c: Mat::new(&self.c, self.tokens, gn).rows_range(rows.clone()),
                dt_raw: Mat::new(&self.dt_raw, self.tokens, h).rows_range(rows.clone()),
            };
            for heads in [0..split, split..h] {
                let mut y = MatMut::new(&mut y, self.tokens, h * p);
                let mut y = y.rows_range(rows.clone());
                run(
                    isa,
                    &schedule,
                    &self.shape,
                    &weights,
                    heads.clone(),
                    input,
                    &mut state[heads.start * len..heads.end * len],
                    y.cols_range(heads.start * p..heads.end * p),
                    &mut scratch,
                );
            }
        }
        let mut exported = vec![0.0; self.state.len()];
        for (inner, dense) in state.chunks(len).zip(exported.chunks_mut(p * n)) {
            export_state(p, n, inner, dense);
        }
        (y, exported)
    }

    #[track_caller]
    fn check(&self, isa: Isa, schedule: SsdSchedule, cuts: &[usize], split: usize) {
        let (want, want_state) = self.expected();
        let (y, state) = self.got(isa, schedule, cuts, split);
        close("y", &y, &want, 1e-5, 1e-5);
        close("state", &state, &want_state, 1e-5, 1e-5);
    }
}

#[test]
fn every_schedule_and_instruction_set_agrees_with_the_reference() {
    for isa in Isa::all_available() {
        for values in candidates(SsdSchedule::PARAMS) {
            let schedule = SsdSchedule::from_values(&values).expect("a candidate");
            for tokens in [1, 2, 3, 63, 64, 65, 130] {
                Case::new(shape(2, 24, 1, 16), tokens, tokens as u64).check(isa, schedule, &[tokens], 0);
            }
        }
    }
}

#[test]
fn every_chunk_length_serves_shapes_of_all_kinds() {
    for isa in Isa::all_available() {
        for chunk in [8, 16, 32, 64, 128, 256] {
            let schedule = SsdSchedule { chunk, ..SsdSchedule::default() };
            for s in [
                shape(4, 8, 2, 16),
                shape(4, 80, 2, 128),
                shape(3, 64, 3, 40),
                shape(6, 4, 2, 7),
                shape(1, 1, 1, 1),
            ] {
                Case::new(s, 77, chunk as u64).check(isa, schedule, &[77], s.heads / 2);
            }
        }
    }
}

#[test]
fn tiny_and_huge_deltas_keep_their_digits() {
    // softplus(-17) is 4.1e-8: log(1 + e^x) in float32 would give zero and lose the token.
    let mut case = Case::new(shape(1, 16, 1, 16), 40, 1);
    case.dt_bias.fill(0.0);
    case.a_log.fill(9.9);
    case.state.fill(0.0);
    for (t, raw) in case.dt_raw.iter_mut().enumerate() {
        *raw = if t % 2 == 0 { -17.0 } else { 20.0 };
    }
    let (want, want_state) = case.expected();
    for isa in Isa::all_available() {
        for steps in [1, 1 << 20] {
            let (y, state) = case.got(isa, SsdSchedule { steps, ..SsdSchedule::default() }, &[40], 0);
            close("y", &y, &want, 0.0, 1e-4);
            close("state", &state, &want_state, 0.0, 1e-4);
        }
    }
}

#[test]
fn a_nan_in_the_input_is_not_hidden() {
    let mut case = Case::new(shape(2, 16, 1, 16), 40, 1);
    case.dt_raw[7 * 2] = f32::NAN;
    for isa in Isa::all_available() {
        for steps in [1, 1 << 20] {
            let (y, _) = case.got(isa, SsdSchedule { steps, ..SsdSchedule::default() }, &[40], 0);
            let (of_0, of_1) = (&y[39 * 32..39 * 32 + 16], &y[39 * 32 + 16..]);
            assert!(of_0.iter().all(|v| v.is_nan()) && of_1.iter().all(|v| v.is_finite()), "{isa:?}");
        }
    }
}

#[test]
fn legality_drops_only_what_cannot_differ() {
    let s = shape(8, 64, 1, 128);
    for tokens in [1, 64, 4096] {
        let p = problem(tokens, &s);
        SsdFamily.legal(&p, &SsdFamily.default_values(&p)).expect("the default is legal");
    }
    assert!(SsdFamily.candidates(&problem(1, &s)).iter().all(|v| v.get("chunk") <= Some(16)));
    assert_eq!(SsdFamily.candidates(&problem(4096, &s)).len(), candidates(SsdSchedule::PARAMS).len());
}

#[test]
fn weights_of_a_wrong_size_are_named() {
    let e = SsdWeights::new(2, &[0.0; 2], &[0.0; 3], &[0.0; 2], (0.0, 1.0)).expect_err("three decays");
    assert_eq!((e.tensor, e.found, e.expected), ("A_log", 3, 2));
}

#[test]
fn golden_scans_at_every_chunk_length() {
    let files = golden::folder("mamba2", "ssd_");
    assert!(files.len() >= 11, "the vectors are there");
    for file in files {
        let [batch, tokens, heads, d_head] = file.shape("x")[..] else { panic!("x is [B, T, H, P]") };
        let [_, _, groups, d_state] = file.shape("B")[..] else { panic!("B is [B, T, G, N]") };
        let s = shape(heads, d_head, groups, d_state);
        let limit = file.meta("dt_limit").expect("the clamp").trim_matches(['[', ']']);
        let (lo, hi) = limit.split_once(", ").expect("two numbers");
        let state_len = heads * d_head * d_state;
        for row in 0..batch {
            let part = |name: &str, len: usize| file.f32(name)[row * len..(row + 1) * len].to_vec();
            let wide = |name: &str, len: usize| file.f64(name)[row * len..(row + 1) * len].to_vec();
            let mut case = Case {
                shape: s,
                tokens,
                limit: (lo.parse().expect("a number"), hi.parse().expect("a number")),
                dt_bias: file.f32("dt_bias"),
                a_log: file.f32("A_log"),
                d: file.f32("D"),
                x: part("x", tokens * heads * d_head),
                b: part("B", tokens * groups * d_state),
                c: part("C", tokens * groups * d_state),
                dt_raw: part("dt_raw", tokens * heads),
                state: vec![0.0; state_len],
            };
            if file.has("initial_state") {
                case.state = part("initial_state", state_len);
            }
            let (y, y_no_d) = (wide("y", case.x.len()), wide("y_no_D", case.x.len()));
            let state = wide("final_state", state_len);
            for isa in Isa::all_available() {
                for chunk in SsdSchedule::PARAMS[0].values {
                    for steps in [1, 1 << 20] {
                        let schedule = SsdSchedule { chunk: *chunk as usize, steps, columns: 32 };
                        for cuts in [&[tokens][..], &[tokens / 2 + 1], &[3, 1, 17]] {
                            let (got, got_state) = case.got(isa, schedule, cuts, heads / 2);
                            within_tolerance(&file, "y", &got, &y);
                            within_tolerance(&file, "final_state", &got_state, &state);
                        }
                    }
                }
                let d = std::mem::replace(&mut case.d, vec![0.0; heads]);
                let (got, _) = case.got(isa, SsdSchedule::default(), &[tokens], 0);
                within_tolerance(&file, "y_no_D", &got, &y_no_d);
                case.d = d;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_cut_of_a_sequence_gives_the_same(
        groups in 1usize..4, per_group in 1usize..4, d_head in 1usize..50, d_state in 1usize..40,
        tokens in 1usize..100, seed in 0u64..1000, split in 0usize..10,
        cuts in prop::collection::vec(1usize..70, 1..5), chunk in 0usize..6, steps in 0usize..6,
    ) {
        let s = shape(groups * per_group, d_head, groups, d_state);
        let schedule = SsdSchedule {
            chunk: SsdSchedule::PARAMS[0].values[chunk] as usize,
            steps: SsdSchedule::PARAMS[1].values[steps] as usize,
            columns: 32,
        };
        for isa in Isa::all_available() {
            Case::new(s, tokens, seed).check(isa, schedule, &cuts, split.min(s.heads));
        }
    }
}
