use super::*;
use crate::cpu::golden;
use crate::cpu::scan::testing::{Numbers, close, segments, within_tolerance};
use jet_codegen::schedule::{Family, Schedule, candidates};
use proptest::prelude::*;

struct Case {
    shape: GatedDeltaShape,
    tokens: usize,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    g: Vec<f32>,
    beta: Vec<f32>,
    state: Vec<f32>,
}

fn shape(heads: usize, d_key: usize, d_value: usize) -> GatedDeltaShape {
    GatedDeltaShape { heads, d_key, d_value, scale: (d_key as f32).sqrt().recip(), l2_eps: 1e-6 }
}

impl Case {
    fn new(shape: GatedDeltaShape, tokens: usize, seed: u64) -> Self {
        let mut n = Numbers::new(seed);
        let (h, dk, dv) = (shape.heads, shape.d_key, shape.d_value);
        let mut g = n.vec(tokens * h, -1.0, 0.0);
        // Now and then a token that forgets everything, and one that forgets nothing.
        for (i, g) in g.iter_mut().enumerate() {
            *g = [*g, *g, -100.0, *g, 0.0, *g, *g][(i * 7 + seed as usize) % 37 % 7];
        }
        Self {
            shape,
            tokens,
            q: n.vec(tokens * h * dk, -1.0, 1.0),
            k: n.vec(tokens * h * dk, -1.0, 1.0),
            v: n.vec(tokens * h * dv, -1.0, 1.0),
            g,
            beta: n.vec(tokens * h, 0.0, 1.0),
            state: n.vec(h * dk * dv, -1.0, 1.0),
        }
    }

    fn expected(&self) -> (Vec<f32>, Vec<f32>) {
        let mut state: Vec<f64> = self.state.iter().map(|v| f64::from(*v)).collect();
        let mut o = vec![0.0; self.v.len()];
        reference(&self.shape, (&self.q, &self.k, &self.v), (&self.g, &self.beta), &mut state, &mut o);
        (o, state.into_iter().map(|v| v as f32).collect())
    }

    /// In segments of the lengths `cuts`, the work shared out as `shares` says.
    fn got(
        &self,
        isa: Isa,
        schedule: GatedDeltaSchedule,
        cuts: &[usize],
        shares: &[Share],
    ) -> (Vec<f32>, Vec<f32>) {
        let (h, dk, dv) = (self.shape.heads, self.shape.d_key, self.shape.d_value);
        let len = state_len(dk, dv);
        let mut state = vec![0.0; h * len];
        for (inner, dense) in state.chunks_mut(len).zip(self.state.chunks(dk * dv)) {
            import_state(dk, dv, dense, inner);
        }
        let mut o = vec![f32::NAN; self.v.len()];
        // Scratch as it comes: nothing may depend on what is in it.
        let mut scratch = vec![f32::NAN; scratch_len(&self.shape, &schedule)];
        for (at, n) in segments(self.tokens, cuts) {
            let rows = at..at + n;
            let view = |x, width| Mat::new(x, self.tokens, width).rows_range(rows.clone());
            let input = GatedDeltaInput {
                q: view(&self.q, h * dk),
                k: view(&self.k, h * dk),
                v: view(&self.v, h * dv),
                g: view(&self.g, h),
                beta: view(&self.beta, h),
            };
            for share in shares {
                let mut o = MatMut::new(&mut o, self.tokens, h * dv);
                let mut o = o.rows_range(rows.clone());
                let from = share.heads.start * dv + share.columns.start;
                let columns = from..from + share.heads.len() * share.columns.len();
                let state = &mut state[share.state_range(&self.shape)];
                run(isa, &schedule, &self.shape, share, input, state, o.cols_range(columns), &mut scratch);
            }
        }
        let mut exported = vec![0.0; self.state.len()];
        for (inner, dense) in state.chunks(len).zip(exported.chunks_mut(dk * dv)) {
            export_state(dk, dv, inner, dense);
        }
        (o, exported)
    }

    #[track_caller]
    fn check(&self, isa: Isa, schedule: GatedDeltaSchedule, cuts: &[usize], shares: &[Share]) {
        let (want, want_state) = self.expected();
        let (o, state) = self.got(isa, schedule, cuts, shares);
        close("o", &o, &want, 2e-5, 0.0);
        close("state", &state, &want_state, 2e-5, 0.0);
    }

    fn whole(&self) -> [Share; 1] {
        [Share::heads(&self.shape, 0..self.shape.heads)]
    }
}

#[test]
fn every_schedule_and_instruction_set_agrees_with_the_reference() {
    for isa in Isa::all_available() {
        for values in candidates(GatedDeltaSchedule::PARAMS) {
            let schedule = GatedDeltaSchedule::from_values(&values).expect("a candidate");
            for tokens in [1, 2, 3, 63, 64, 65, 130] {
                let case = Case::new(shape(2, 24, 40), tokens, tokens as u64);
                case.check(isa, schedule, &[tokens], &case.whole());
            }
        }
    }
}

#[test]
fn every_chunk_length_serves_shapes_of_all_kinds() {
    for isa in Isa::all_available() {
        for chunk in [8, 16, 32, 64, 128] {
            let schedule = GatedDeltaSchedule { chunk, ..GatedDeltaSchedule::default() };
            for s in
                [shape(1, 96, 256), shape(1, 128, 128), shape(3, 24, 64), shape(2, 16, 24), shape(1, 1, 1)]
            {
                let case = Case::new(s, 77, chunk as u64);
                case.check(isa, schedule, &[77], &case.whole());
            }
        }
    }
}

#[test]
fn columns_of_one_head_can_be_shared_out() {
    let case = Case::new(shape(2, 24, 88), 50, 3);
    let shares: Vec<_> = (0..2)
        .flat_map(|h| [0..32, 32..48, 48..88].map(|columns| Share { heads: h..h + 1, columns }))
        .collect();
    for isa in Isa::all_available() {
        case.check(isa, GatedDeltaSchedule::default(), &[41, 9], &shares);
    }
}

#[test]
fn nearly_parallel_keys_written_in_full_do_not_grow_the_error() {
    let mut case = Case::new(shape(1, 32, 64), 130, 1);
    case.g.fill(-1e-3);
    case.beta.fill(0.999);
    for t in 1..case.tokens {
        for i in 0..32 {
            case.k[t * 32 + i] = case.k[i] + 1e-2 * case.k[t * 32 + i];
        }
    }
    for isa in Isa::all_available() {
        for chunk in [8, 16, 32, 64, 128] {
            case.check(
                isa,
                GatedDeltaSchedule { chunk, ..GatedDeltaSchedule::default() },
                &[130],
                &case.whole(),
            );
        }
    }
}

#[test]
fn zero_and_tiny_keys_use_the_eps_inside_the_root() {
    let mut case = Case::new(shape(1, 16, 16), 40, 1);
    case.k[..16].fill(0.0);
    case.q[..16].fill(0.0);
    case.k[16 * 30..].iter_mut().for_each(|k| *k *= 1e-4);
    for isa in Isa::all_available() {
        for steps in [1, 1 << 20] {
            let schedule = GatedDeltaSchedule { steps, ..GatedDeltaSchedule::default() };
            case.check(isa, schedule, &[40], &case.whole());
        }
    }
}

#[test]
fn a_nan_in_any_operand_is_not_hidden() {
    for which in 0..5 {
        let mut case = Case::new(shape(2, 16, 16), 40, 1);
        // Of head 1 at token 7.
        match which {
            0 => case.g[15] = f32::NAN,
            1 => case.beta[15] = f32::NAN,
            2 => case.k[15 * 16] = f32::NAN,
            3 => case.v[15 * 16] = f32::NAN,
            _ => case.state[16 * 16] = f32::NAN,
        }
        for isa in Isa::all_available() {
            for steps in [1, 1 << 20] {
                let schedule = GatedDeltaSchedule { steps, ..GatedDeltaSchedule::default() };
                let (o, _) = case.got(isa, schedule, &[40], &case.whole());
                let (of_0, of_1) = o[39 * 32..].split_at(16);
                assert!(of_0.iter().all(|v| v.is_finite()), "{isa:?} operand {which}: head 0 is apart");
                assert!(of_1[0].is_nan(), "{isa:?} operand {which}: {}", of_1[0]);
            }
        }
    }
}

#[test]
fn legality_drops_only_what_cannot_differ() {
    let s = shape(12, 96, 256);
    for tokens in [1, 64, 4096] {
        let p = problem(tokens, &s);
        GatedDeltaFamily.legal(&p, &GatedDeltaFamily.default_values(&p)).expect("the default is legal");
    }
    assert!(GatedDeltaFamily.candidates(&problem(1, &s)).iter().all(|v| v.get("chunk") <= Some(16)));
    let all = candidates(GatedDeltaSchedule::PARAMS).len();
    assert_eq!(GatedDeltaFamily.candidates(&problem(4096, &s)).len(), all);
}

#[test]
fn the_gates_are_those_of_the_block() {
    let (heads, tokens) = (19, 3);
    let mut n = Numbers::new(8);
    let (a_log, dt_bias) = (n.vec(heads, -2.0, 2.8), n.vec(heads, -7.0, 1.0));
    let (a, b) = (n.vec(tokens * heads, -20.0, 8.0), n.vec(tokens * heads, -9.0, 9.0));
    let weights = GateWeights::new(heads, &a_log, &dt_bias).expect("sizes fit");
    for isa in Isa::all_available() {
        let (mut g, mut beta) = (a.clone(), b.clone());
        jet_gates(isa, &weights, MatMut::new(&mut g, tokens, heads), MatMut::new(&mut beta, tokens, heads));
        for i in 0..a.len() {
            let x = f64::from(a[i]) + f64::from(dt_bias[i % heads]);
            let want = -f64::from(a_log[i % heads]).exp() * x.exp().ln_1p();
            assert!((f64::from(g[i]) - want).abs() < 1e-5 * want.abs(), "{isa:?} g {} {want}", g[i]);
            let want = 1.0 / (1.0 + (-f64::from(b[i])).exp());
            assert!((f64::from(beta[i]) - want).abs() < 1e-6, "{isa:?} beta {} {want}", beta[i]);
        }
    }
    assert_eq!(GateWeights::new(4, &[0.0; 4], &[0.0; 5]).expect_err("five biases").tensor, "dt_bias");
}

#[test]
fn golden_rules_at_every_chunk_length() {
    let files = golden::folder("jet", "gdr_");
    assert!(files.len() >= 7, "the vectors are there");
    for file in files {
        let [batch, tokens, heads, d_key] = file.shape("k")[..] else { panic!("k is [B, T, H, K]") };
        let d_value = file.shape("v")[3];
        let scale = file.number("scale") as f32;
        let s = GatedDeltaShape { heads, d_key, d_value, scale, l2_eps: file.number("l2norm_eps") as f32 };
        assert_eq!(file.meta("l2norm_qk"), Some("true"), "the op normalises keys and queries");
        let state_len = heads * d_key * d_value;
        for row in 0..batch {
            let part = |name: &str, len: usize| file.f32(name)[row * len..(row + 1) * len].to_vec();
            let initial = file.has("initial_state").then(|| part("initial_state", state_len));
            let case = Case {
                shape: s,
                tokens,
                q: part("q", tokens * heads * d_key),
                k: part("k", tokens * heads * d_key),
                v: part("v", tokens * heads * d_value),
                g: part("g", tokens * heads),
                beta: part("beta", tokens * heads),
                state: initial.unwrap_or_else(|| vec![0.0; state_len]),
            };
            let (o, state) =
                (golden::wide(&part("o", case.v.len())), golden::wide(&part("final_state", state_len)));
            for isa in Isa::all_available() {
                for chunk in GatedDeltaSchedule::PARAMS[0].values {
                    for steps in [1, 1 << 20] {
                        let schedule = GatedDeltaSchedule { chunk: *chunk as usize, steps, columns: 64 };
                        for cuts in [&[tokens][..], &[tokens / 2 + 1], &[3, 1, 17]] {
                            let (got, got_state) = case.got(isa, schedule, cuts, &case.whole());
                            within_tolerance(&file, "o", &got, &o);
                            within_tolerance(&file, "final_state", &got_state, &state);
                        }
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_cut_of_a_sequence_gives_the_same(
        heads in 1usize..4, d_key in 1usize..50, d_value in 1usize..90, tokens in 1usize..100,
        seed in 0u64..1000, split in 0usize..4, cuts in prop::collection::vec(1usize..70, 1..5),
        chunk in 0usize..5, steps in 0usize..7,
    ) {
        let s = shape(heads, d_key, d_value);
        let schedule = GatedDeltaSchedule {
            chunk: GatedDeltaSchedule::PARAMS[0].values[chunk] as usize,
            steps: GatedDeltaSchedule::PARAMS[1].values[steps] as usize,
            columns: 32,
        };
        let split = split.min(heads);
        let shares = [Share::heads(&s, 0..split), Share::heads(&s, split..heads)];
        for isa in Isa::all_available() {
            Case::new(s, tokens, seed).check(isa, schedule, &cuts, &shares);
        }
    }
}
