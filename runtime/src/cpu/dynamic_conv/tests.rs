use super::*;
use crate::cpu::conv::{export_state, import_state};
use crate::cpu::golden;
use crate::cpu::scan::testing::{Numbers, close, segments, within_tolerance};
use half::{bf16, f16};
use jet_codegen::schedule::candidates;
use proptest::prelude::*;

struct Case {
    channels: usize,
    taps: usize,
    hidden: usize,
    tokens: usize,
    w2: Vec<f32>,
    bias: Vec<f32>,
    h: Vec<f32>,
    u: Vec<f32>,
    state: Vec<f32>,
}

impl Case {
    fn new(channels: usize, taps: usize, hidden: usize, tokens: usize, seed: u64) -> Self {
        let mut n = Numbers::new(seed);
        Self {
            channels,
            taps,
            hidden,
            tokens,
            w2: n.vec(channels * taps * hidden, -0.5, 0.5),
            bias: n.vec(channels * taps, -1.0, 1.0),
            h: n.vec(tokens * hidden, -1.0, 1.0),
            u: n.vec(tokens * channels, -1.0, 1.0),
            state: n.vec(channels * taps, -1.0, 1.0),
        }
    }

    fn expected(&self, w2: Rows<'_>) -> (Vec<f32>, Vec<f32>) {
        let (mut state, mut out) = (self.state.clone(), vec![0.0; self.u.len()]);
        let sizes = (self.channels, self.taps, self.hidden);
        reference(sizes, w2, &self.bias, &self.h, &self.u, &mut state, &mut out);
        (out, state)
    }

    /// Runs `form` on every segment and on two shares of the channels.
    fn got(
        &self,
        cuts: &[usize],
        split: usize,
        mut form: impl FnMut(Range<usize>, Signal<'_>),
    ) -> (Vec<f32>, Vec<f32>) {
        let mut state = vec![0.0; self.state.len()];
        import_state(&self.state, self.taps, &mut state);
        let mut out = vec![f32::NAN; self.u.len()];
        let split = (split / LANES * LANES).min(self.channels);
        for (at, n) in segments(self.tokens, cuts) {
            for channels in [0..split, split..self.channels] {
                let mut state = MatMut::new(&mut state, self.taps, self.channels);
                let mut out = MatMut::new(&mut out, self.tokens, self.channels);
                let mut out = out.rows_range(at..at + n);
                let u = Mat::new(&self.u, self.tokens, self.channels).rows_range(at..at + n);
                let signal = Signal {
                    channels: channels.clone(),
                    u: u.cols_range(channels.clone()),
                    state: state.cols_range(channels.clone()),
                    out: out.cols_range(channels),
                };
                form(at..at + n, signal);
            }
        }
        let mut exported = vec![0.0; state.len()];
        export_state(&state, self.taps, &mut exported);
        (out, exported)
    }

    fn check_fused(
        &self,
        isa: Isa,
        schedule: DynamicConvSchedule,
        w2: Rows<'_>,
        cuts: &[usize],
        split: usize,
    ) {
        let (want, want_state) = self.expected(w2);
        let (out, state) = self.fused(isa, schedule, w2, cuts, split);
        close("out", &out, &want, 2e-5, 0.0);
        assert_eq!(state, want_state, "the state is the signal's last rows");
    }

    /// The form that makes the taps itself.
    fn fused(
        &self,
        isa: Isa,
        schedule: DynamicConvSchedule,
        w2: Rows<'_>,
        cuts: &[usize],
        split: usize,
    ) -> (Vec<f32>, Vec<f32>) {
        let weights =
            TapWeights::pack(self.channels, self.taps, self.hidden, w2, &self.bias).expect("sizes fit");
        self.got(cuts, split, |tokens, signal| {
            let h = Mat::new(&self.h, self.tokens, self.hidden).rows_range(tokens);
            run(isa, &schedule, &weights, h, signal);
        })
    }

    fn check_apply(&self, isa: Isa, cuts: &[usize], split: usize) {
        let (want, want_state) = self.expected(Rows::F32(&self.w2));
        let (out, state) = self.applied(isa, cuts, split);
        close("out", &out, &want, 2e-5, 0.0);
        assert_eq!(state, want_state, "the state is the signal's last rows");
    }

    /// The form that takes finished taps.
    fn applied(&self, isa: Isa, cuts: &[usize], split: usize) -> (Vec<f32>, Vec<f32>) {
        self.got(cuts, split, |tokens, signal| {
            let order = tap_order(self.channels, self.taps);
            let share = signal.channels.start * self.taps..signal.channels.end * self.taps;
            let mut ker = Vec::new();
            for t in tokens.clone() {
                for row in &order[share.clone()] {
                    let taps = (0..self.hidden)
                        .map(|r| self.h[t * self.hidden + r] * self.w2[row * self.hidden + r]);
                    ker.push(self.bias[*row] + taps.sum::<f32>());
                }
            }
            apply_taps(isa, self.taps, Mat::new(&ker, tokens.len(), share.len()), signal);
        })
    }
}

#[test]
fn every_schedule_and_instruction_set_agrees_with_the_reference() {
    for isa in Isa::all_available() {
        for values in candidates(DynamicConvSchedule::PARAMS) {
            let schedule = DynamicConvSchedule::from_values(&values).expect("a candidate");
            for (channels, taps, hidden) in [(64, 4, 12), (40, 3, 8), (16, 2, 5), (24, 5, 7), (7, 4, 1)] {
                for tokens in [1, 2, 3, 5, 63, 65] {
                    let case = Case::new(channels, taps, hidden, tokens, tokens as u64);
                    case.check_fused(isa, schedule, Rows::F32(&case.w2), &[tokens], 0);
                }
            }
        }
    }
}

#[test]
fn sixteen_bit_weights_stay_as_they_are() {
    let case = Case::new(40, 4, 20, 9, 5);
    let b: Vec<u16> = case.w2.iter().map(|w| bf16::from_f32(*w).to_bits()).collect();
    let h: Vec<u16> = case.w2.iter().map(|w| f16::from_f32(*w).to_bits()).collect();
    for isa in Isa::all_available() {
        case.check_fused(isa, DynamicConvSchedule::default(), Rows::Bf16(&b), &[4, 1], 16);
        case.check_fused(isa, DynamicConvSchedule::default(), Rows::F16(&h), &[9], 32);
    }
    let weights = TapWeights::pack(40, 4, 20, Rows::Bf16(&b), &case.bias).expect("sizes fit");
    assert_eq!(weights.bytes(), 48 * 4 * (20 * 2 + 4));
}

#[test]
fn a_tile_as_long_as_the_segment_is_not_offered_twice() {
    for (tokens, offered) in [(1, 1), (2, 2), (64, 3)] {
        let p = problem(tokens, 64, 4, 8, "f32");
        DynamicConvFamily.legal(&p, &DynamicConvFamily.default_values(&p)).expect("the default is legal");
        assert_eq!(DynamicConvFamily.candidates(&p).len(), offered, "{tokens} tokens");
    }
}

#[test]
fn the_tap_order_is_a_permutation() {
    for (channels, taps) in [(64, 4), (40, 3), (7, 2)] {
        let mut order = tap_order(channels, taps);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..channels * taps));
    }
}

#[test]
fn weights_of_a_wrong_size_are_named() {
    let e =
        TapWeights::pack(16, 4, 8, Rows::F32(&[0.0; 511]), &[0.0; 64]).expect_err("511 is not 16 · 4 · 8");
    assert_eq!((e.tensor, e.found, e.expected), ("kernel_generator.w2.weight", 511, 512));
}

/// `silu(x W1ᵀ)`, which is the hidden layer the kernel is given.
fn hidden_layer(x: &[f32], w1: &[f32], width: usize) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let rows = x.chunks(width).flat_map(|x| w1.chunks(width).map(move |w| dot(x, w)));
    rows.map(|v| (v / (1.0 + (-v).exp())) as f32).collect()
}

#[test]
fn golden_dynamic_convolutions() {
    let files = golden::folder("jet", "dynconv_");
    assert!(files.len() >= 3, "the vectors are there");
    for file in files {
        let [channels, taps, hidden, width] =
            ["channels", "conv_size", "generator_hidden", "generator_input"].map(|k| file.number(k) as usize);
        let lengths: Vec<usize> =
            serde_json::from_str(file.meta("T").expect("the lengths")).expect("a list of numbers");
        for tokens in lengths {
            let name = |tensor: &str| format!("T{tokens}.{tensor}");
            let batch = file.shape(&name("x"))[0];
            for row in 0..batch {
                let part =
                    |tensor: &str, len: usize| file.f32(&name(tensor))[row * len..(row + 1) * len].to_vec();
                let x = part("generator_input", tokens * width);
                let cached = file.has(&name("cache_in"));
                let case = Case {
                    channels,
                    taps,
                    hidden,
                    tokens,
                    w2: file.f32("w2.weight"),
                    bias: file.f32("w2.bias"),
                    h: hidden_layer(&x, &file.f32("w1.weight"), width),
                    u: part("x", tokens * channels),
                    state: if cached {
                        part("cache_in", channels * taps)
                    } else {
                        vec![0.0; channels * taps]
                    },
                };
                let want = golden::wide(&part("output", tokens * channels));
                for isa in Isa::all_available() {
                    for cuts in [&[tokens][..], &[1], &[2, 3]] {
                        let fused =
                            case.fused(isa, DynamicConvSchedule::default(), Rows::F32(&case.w2), cuts, 32);
                        for (out, state) in [fused, case.applied(isa, cuts, 16)] {
                            within_tolerance(&file, "output", &out, &want);
                            assert_eq!(
                                state,
                                part("cache_out", channels * taps),
                                "cache_out of {}",
                                file.name
                            );
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
        channels in 1usize..80, taps in 1usize..7, hidden in 1usize..30, tokens in 1usize..30, seed in 0u64..1000,
        cuts in prop::collection::vec(1usize..9, 1..5), split in 0usize..80,
    ) {
        let case = Case::new(channels, taps, hidden, tokens, seed);
        for isa in Isa::all_available() {
            case.check_fused(isa, DynamicConvSchedule::default(), Rows::F32(&case.w2), &cuts, split);
            case.check_apply(isa, &cuts, split);
        }
    }
}
