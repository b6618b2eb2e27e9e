use super::*;
use crate::cpu::golden;
use crate::cpu::scan::testing::{Numbers, close, segments, within_tolerance};
use jet_codegen::schedule::candidates;
use proptest::prelude::*;

struct Case {
    channels: usize,
    taps: usize,
    tokens: usize,
    silu: bool,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    x: Vec<f32>,
    state: Vec<f32>,
}

impl Case {
    fn new(channels: usize, taps: usize, tokens: usize, silu: bool, seed: u64) -> Self {
        let mut n = Numbers::new(seed);
        Self {
            channels,
            taps,
            tokens,
            silu,
            weight: n.vec(channels * taps, -1.0, 1.0),
            bias: seed.is_multiple_of(2).then(|| n.vec(channels, -1.0, 1.0)),
            x: n.vec(channels * tokens, -2.0, 2.0),
            state: n.vec(channels * (taps - 1), -2.0, 2.0),
        }
    }

    fn expected(&self) -> (Vec<f32>, Vec<f32>) {
        let (mut state, mut out) = (self.state.clone(), vec![0.0; self.x.len()]);
        reference(self.taps, &self.weight, self.bias.as_deref(), self.silu, &self.x, &mut state, &mut out);
        (out, state)
    }

    /// In the given segments, and with the channels split in two shares at `split`.
    fn got(&self, isa: Isa, schedule: ConvSchedule, cuts: &[usize], split: usize) -> (Vec<f32>, Vec<f32>) {
        let weights = ConvWeights::new(self.channels, self.taps, &self.weight, self.bias.as_deref())
            .expect("sizes fit");
        let mut state = vec![0.0; self.state.len()];
        import_state(&self.state, self.taps - 1, &mut state);
        let mut out = vec![f32::NAN; self.x.len()];
        for (at, n) in segments(self.tokens, cuts) {
            let x = Mat::new(&self.x, self.tokens, self.channels).rows_range(at..at + n);
            for share in [0..split, split..self.channels] {
                let mut state = MatMut::new(&mut state, self.taps - 1, self.channels);
                let mut out = MatMut::new(&mut out, self.tokens, self.channels);
                let mut out = out.rows_range(at..at + n);
                run(
                    isa,
                    &schedule,
                    &weights,
                    share.clone(),
                    self.silu,
                    x.cols_range(share.clone()),
                    state.cols_range(share.clone()),
                    out.cols_range(share),
                );
            }
        }
        let mut exported = vec![0.0; state.len()];
        export_state(&state, self.taps - 1, &mut exported);
        (out, exported)
    }

    fn check(&self, isa: Isa, schedule: ConvSchedule, cuts: &[usize], split: usize) {
        let (want, want_state) = self.expected();
        let (out, state) = self.got(isa, schedule, cuts, split);
        close("out", &out, &want, 3e-6, 0.0);
        assert_eq!(state, want_state, "the state is the raw columns");
    }
}

#[test]
fn every_schedule_and_instruction_set_agrees_with_the_reference() {
    for isa in Isa::all_available() {
        for values in candidates(ConvSchedule::PARAMS) {
            let schedule = ConvSchedule::from_values(&values).expect("a candidate");
            for (channels, taps) in [(40, 4), (64, 4), (130, 3), (7, 2), (48, 7), (16, 1)] {
                for tokens in [1, 2, 3, 63, 64, 65, 130] {
                    Case::new(channels, taps, tokens, true, tokens as u64).check(isa, schedule, &[tokens], 0);
                }
            }
        }
    }
}

#[test]
fn a_default_is_legal_for_any_problem_and_too_many_vectors_are_not() {
    for channels in [1, 16, 40, 4096] {
        let p = problem(1, channels, 4);
        ConvFamily.legal(&p, &ConvFamily.default_values(&p)).expect("the default is legal");
    }
    let four = ConvSchedule { vectors: 4 }.values();
    assert!(ConvFamily.legal(&problem(1, 40, 4), &four).is_err());
    assert!(ConvFamily.legal(&problem(1, 64, 4), &four).is_ok());
}

#[test]
fn weights_of_a_wrong_size_are_named() {
    let e = ConvWeights::new(8, 4, &[0.0; 31], None).expect_err("31 is not 8 · 4");
    assert_eq!((e.tensor, e.found, e.expected), ("conv1d.weight", 31, 32));
    assert!(ConvWeights::new(8, 4, &[0.0; 32], Some(&[0.0; 7])).is_err());
}

#[test]
fn golden_convolutions() {
    let files = golden::folder("mamba2", "conv_");
    assert!(files.len() >= 5, "the vectors are there");
    for file in files {
        let [batch, tokens, channels] = file.shape("x")[..] else { panic!("x is [B, T, C]") };
        let taps = file.shape("weight")[2];
        let state_len = channels * (taps - 1);
        let (y, before_silu) = (file.f64("y"), file.f64("y_before_silu"));
        let final_state = file.f32("final_state");
        for row in 0..batch {
            let of = row * tokens * channels..(row + 1) * tokens * channels;
            let of_state = row * state_len..(row + 1) * state_len;
            let mut case = Case {
                channels,
                taps,
                tokens,
                silu: true,
                weight: file.f32("weight"),
                bias: file.has("bias").then(|| file.f32("bias")),
                x: file.f32("x")[of.clone()].to_vec(),
                state: vec![0.0; state_len],
            };
            if file.has("initial_state") {
                case.state.copy_from_slice(&file.f32("initial_state")[of_state.clone()]);
            }
            for (silu, want) in [(true, &y), (false, &before_silu)] {
                case.silu = silu;
                for isa in Isa::all_available() {
                    for cuts in [&[tokens][..], &[1], &[2, 3, 1, 5]] {
                        let (out, state) = case.got(isa, ConvSchedule::default(), cuts, channels / 3);
                        within_tolerance(&file, "y", &out, &want[of.clone()]);
                        assert_eq!(state, final_state[of_state.clone()], "final_state of {}", file.name);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_cut_of_a_sequence_gives_the_same(
        channels in 1usize..80, taps in 2usize..7, tokens in 1usize..40, silu: bool, seed in 0u64..1000,
        cuts in prop::collection::vec(1usize..9, 1..5), share in 0.0..1.0f64,
    ) {
        let case = Case::new(channels, taps, tokens, silu, seed);
        let split = (share * channels as f64) as usize;
        for isa in Isa::all_available() {
            case.check(isa, ConvSchedule::default(), &cuts, split);
        }
    }
}
