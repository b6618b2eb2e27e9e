//! `dynamic_conv`: JetBlock's convolution with a kernel per token, generator included.
//!
//! The op ends in a silu. What stands before it is read off by sending the signal through a second time with its
//! sign turned: `silu(a) - silu(-a) = a`, and the sum is linear in the signal. The kernels are the sums for signals
//! with one impulse in every window.

use crate::check::case::{Array, CaseFile};
use crate::check::expect::Expectations;
use crate::check::forms::Form;
use crate::check::program::weight;
use crate::check::rig::{Rig, Stream};
use crate::check::tally::Tallies;
use crate::check::{Context, Greedy};
use anyhow::{Result, ensure};
use jet_codegen::op::{Linear, LinearPart, Op, StateId, Unary, View};
use jet_codegen::program::{Program, Rows, StateShape};
use jet_dsl::weight::Role;
use jet_runtime::select::NoSchedules;
use jet_runtime::weights::MemoryWeights;

pub(super) fn run(cx: &Context<'_>, case: &CaseFile, tallies: &mut Tallies) -> Result<Option<Greedy>> {
    let (channels, taps): (usize, usize) = (case.number("channels")?, case.number("conv_size")?);
    let hidden: usize = case.number("generator_hidden")?;
    let width = case.array_of_rank("w1.weight", 2)?.dim(1);
    ensure!(taps >= 2, "the convolution has {taps} taps, expected at least 2");
    let mut weights = MemoryWeights::default();
    for (name, role, shape) in [
        ("w1.weight", Role::GeneratorW1, vec![hidden, width]),
        ("w2.weight", Role::GeneratorW2, vec![channels * taps, hidden]),
        ("w2.bias", Role::GeneratorBias, vec![channels * taps]),
    ] {
        weights.insert(weight(role), &shape, case.array_of_shape(name, &shape)?.f32());
    }
    let lengths: Vec<usize> = case.list("T")?;
    ensure!(!lengths.is_empty(), "the metadata's `T` is empty");
    for t in lengths {
        Stretch::read(case, t, channels, taps, width, hidden)?.check(cx, case, &weights, tallies)?;
    }
    Ok(None)
}

/// The tensors of one `T`.
struct Stretch {
    prefix: String,
    tokens: usize,
    channels: usize,
    taps: usize,
    width: usize,
    hidden: usize,
    x: Array,
    generator: Array,
    cache: Option<Array>,
}

/// The program of a stretch.
struct Parts {
    program: Program,
    u: View,
    generator: View,
    out: View,
    state: StateId,
}

impl Stretch {
    fn read(
        c: &CaseFile,
        tokens: usize,
        channels: usize,
        taps: usize,
        width: usize,
        hidden: usize,
    ) -> Result<Self> {
        let prefix = format!("T{tokens}.");
        let x = c.array_of_rank(&format!("{prefix}x"), 3)?;
        ensure!(x.shape[1..] == [tokens, channels], "`{prefix}x` has shape {:?}", x.shape);
        let batch = x.dim(0);
        let generator = c.array_of_shape(&format!("{prefix}generator_input"), &[batch, tokens, width])?;
        let cache = format!("{prefix}cache_in");
        let cache = match c.has(&cache) {
            true => Some(c.array_of_shape(&cache, &[batch, channels, taps])?),
            false => None,
        };
        Ok(Self { prefix, tokens, channels, taps, width, hidden, x, generator, cache })
    }

    fn check(
        &self,
        cx: &Context<'_>,
        case: &CaseFile,
        w: &MemoryWeights,
        tallies: &mut Tallies,
    ) -> Result<()> {
        let judge = cx.judge_outputs(case)?;
        let (batch, name) = (self.x.dim(0), |what: &str| format!("{}{what}", self.prefix));
        let cache_shape = [batch, self.channels, self.taps];
        for what in ["output", "pre_activation"] {
            tallies.expect(&name(what), case.array_of_shape(&name(what), &self.x.shape)?, judge);
        }
        tallies.expect(&name("cache_out"), case.array_of_shape(&name("cache_out"), &cache_shape)?, judge);
        let lengths = vec![self.tokens; batch];
        let parts = self.program();
        let mut expect = Expectations::default();
        expect.batch(0, &name("output"), &lengths, self.channels);
        expect.final_states(parts.state, &name("cache_out"), &lengths, self.channels * self.taps);
        let signals: Vec<_> =
            (0..batch).map(|b| (b, self.x.row(b), self.cache.as_ref().map(|c| c.row(b)))).collect();
        self.rig(cx, &parts, w, &signals, expect).check_all(tallies)?;

        for (form, lanes) in self.linear_part(cx, &parts, w, &signals)? {
            for (stream, sums) in lanes {
                let offset = stream * self.tokens * self.channels;
                tallies.compare_f64(&name("pre_activation"), &form, offset, &sums);
            }
        }
        if case.has(&name("kernels")) {
            let shape = [batch, self.tokens, self.channels, self.taps];
            tallies.expect(&name("kernels"), case.array_of_shape(&name("kernels"), &shape)?, judge);
            self.kernels(cx, &parts, w, &name("kernels"), tallies)?;
        }
        Ok(())
    }

    /// Tap `k` of token `t` meets the signal at `t - taps + 1 + k`. With impulses `taps` apart, in the cache too, each
    /// window has one.
    fn kernels(
        &self,
        cx: &Context<'_>,
        parts: &Parts,
        w: &MemoryWeights,
        tensor: &str,
        tallies: &mut Tallies,
    ) -> Result<()> {
        let impulse = |phase: usize, position: usize| f32::from(u8::from(position % self.taps == phase));
        let (t, c, k) = (self.tokens, self.channels, self.taps);
        for phase in 0..k {
            // Position 0 is the oldest column of the cache, `taps` is the first token.
            let signals: Vec<_> = (0..self.x.dim(0))
                .map(|b| {
                    let x = (0..t * c).map(|i| impulse(phase, k + i / c)).collect();
                    let cache = (0..c * k).map(|i| impulse(phase, i % k)).collect();
                    (b, x, Some(cache))
                })
                .collect();
            for (form, lanes) in self.linear_part(cx, parts, w, &signals)? {
                for (stream, sums) in lanes {
                    for (i, sum) in sums.iter().enumerate() {
                        let (token, channel) = (i / c, i % c);
                        // The window of the token is positions token + 1 ..= token + taps.
                        let tap = (0..k).find(|tap| (token + 1 + tap) % k == phase).expect("one of them is");
                        let at = ((stream * t + token) * c + channel) * k + tap;
                        tallies.compare_f64(tensor, &form, at, &[*sum]);
                    }
                }
            }
        }
        Ok(())
    }

    /// The sums in front of the silu for these signals and caches, per form and stream.
    #[allow(clippy::type_complexity, reason = "a list of forms, each with a list of streams and their sums")]
    fn linear_part(
        &self,
        cx: &Context<'_>,
        parts: &Parts,
        w: &MemoryWeights,
        signals: &[(usize, Vec<f32>, Option<Vec<f32>>)],
    ) -> Result<Vec<(String, Vec<(usize, Vec<f64>)>)>> {
        let turned: Vec<_> = signals
            .iter()
            .map(|(b, x, cache)| {
                let turn = |v: &Vec<f32>| v.iter().map(|v| -v).collect::<Vec<f32>>();
                (*b, turn(x), cache.as_ref().map(turn))
            })
            .collect();
        let lengths = vec![self.tokens; signals.len()];
        let mut forms = vec![Form::one_call(&lengths)];
        if self.tokens > 1 {
            forms.push(Form::token_by_token(&lengths));
        }
        let up = self.rig(cx, parts, w, signals, Expectations::default()).run(&forms, &NoSchedules)?;
        let down = self.rig(cx, parts, w, &turned, Expectations::default()).run(&forms, &NoSchedules)?;
        let sums = forms.iter().zip(up.iter().zip(&down)).map(|(form, (up, down))| {
            let of_lane = up.iter().zip(down).map(|(a, b)| {
                let pairs = a.outputs[0].iter().zip(&b.outputs[0]);
                (a.stream, pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)).collect())
            });
            (format!("both signs, {}", form.name), of_lane.collect())
        });
        Ok(sums.collect())
    }

    fn rig<'a>(
        &self,
        cx: &Context<'a>,
        parts: &Parts,
        weights: &'a MemoryWeights,
        signals: &[(usize, Vec<f32>, Option<Vec<f32>>)],
        expect: Expectations,
    ) -> Rig<'a> {
        let streams = signals.iter().map(|(b, x, cache)| {
            Stream::counted(self.tokens)
                .input(parts.u.buf, x.clone())
                .input(parts.generator.buf, self.generator.row(*b))
                .state(parts.state, cache.clone())
        });
        Rig {
            device: cx.device,
            program: parts.program.clone(),
            weights,
            precision: cx.precision,
            streams: streams.collect(),
            watch: vec![parts.out.buf],
            expect,
        }
    }

    fn program(&self) -> Parts {
        let mut p = Program::new("dynamic_conv");
        let (channels, taps) = (self.channels, self.taps);
        let (u, generator) = (p.input("u", channels), p.input("generator", self.width));
        let h = p.buffer("hidden", self.hidden, Rows::Tokens);
        let part = LinearPart { weight: weight(Role::GeneratorW1), bias: None, rows: self.hidden };
        let linear =
            Linear { x: generator, parts: vec![part], out: h, accumulate: false, exact: false, act: None };
        p.push(Some(0), Op::Linear(linear));
        p.push(Some(0), Op::Unary { f: Unary::Silu, x: h, out: h });
        let out = p.buffer("out", channels, Rows::Tokens);
        p.mark_output(out);
        let state = p.state("conv", 0, StateShape::Conv { channels, columns: taps });
        let (w2, bias) = (weight(Role::GeneratorW2), weight(Role::GeneratorBias));
        p.push(Some(0), Op::DynamicConv { u, h, w2, bias, out, state, taps });
        Parts { program: p, u, generator, out, state }
    }
}
