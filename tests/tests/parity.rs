//! A device against plain f64, on small random models of every block kind and of every family of presets: chunked,
//! stepped, split and ragged, with every schedule, in every storage format; and the rewrites against the plain
//! lowering.

use jet_cli::check::case::Array;
use jet_cli::check::expect::Expectations;
use jet_cli::check::forms::{self, Form};
use jet_cli::check::program::buffer;
use jet_cli::check::rig::{Rig, Stream};
use jet_cli::check::tally::{Judge, Tallies, Tolerance, Verdict};
use jet_codegen::program::Program;
use jet_codegen::{LOGITS, LowerOptions, lower, lower_plain};
use jet_dsl::block::{Act, Attention, Block, JetBlock, Mamba2, Mlp, Moe, Rope, RopeScaling};
use jet_dsl::{Binding, ModelSpec, Naming};
use jet_models::session::DeviceWeights;
use jet_models::weights::{RandomWeights, WeightSource};
use jet_numerics::DType;
use jet_runtime::device::{Device, Grade, Precision, device_names, open};
use jet_runtime::select::NoSchedules;
use jet_tests::all_cores;
use jet_tests::reference::Reference;
use std::sync::Arc;

/// float32 against f64, relative to the logits' root mean square: the largest seen is a tenth of it.
const F32: Tolerance = Tolerance { abs: 0.0, rms: 2e-3 };
/// bfloat16 activations in front of each matrix, as a relative root mean square.
const BF16: f64 = 0.08;
/// int8 blocks for quantised weights, float16 caches.
const NATIVE: f64 = 0.08;

/// Choices from a seed, the same on every machine (splitmix64).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((b ^ (b >> 31)) % u64::from(n)) as u32
    }

    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u32) as usize].clone()
    }
}

fn mamba2(d: &mut Dice) -> Block {
    let n_groups = d.of(&[1, 2, 3]);
    Block::Mamba2(Mamba2 {
        n_heads: n_groups * d.of(&[1, 2]),
        d_head: d.of(&[4, 8, 16, 24]),
        d_state: d.of(&[8, 16, 40]),
        n_groups,
        conv: d.of(&[2, 4]),
        conv_bias: d.below(2) == 0,
        proj_bias: d.below(2) == 0,
        dt_min: 0.0,
        dt_max: d.of(&[None, Some(0.2)]),
        ..Mamba2::DEFAULT
    })
}

fn attention(d: &mut Dice, window: Option<u32>) -> Block {
    let n_kv_heads = d.of(&[1, 2, 3]);
    let llama3 = RopeScaling::Llama3 { factor: 8.0, low_freq: 1.0, high_freq: 4.0, original_context: 64 };
    let scaling = d.of(&[RopeScaling::None, llama3]);
    Block::Attention(Attention {
        n_heads: n_kv_heads * d.of(&[1, 2, 3]),
        n_kv_heads,
        d_head: d.of(&[8, 16, 20, 32]),
        window,
        rope: d.of(&[None, Some(Rope { theta: 10_000.0, scaling })]),
        qk_norm: d.below(2) == 0,
        qkv_bias: d.below(2) == 0,
        out_bias: d.below(2) == 0,
    })
}

fn mlp(d: &mut Dice) -> Block {
    Block::Mlp(Mlp {
        hidden: d.of(&[48, 64, 100]),
        act: d.of(&[Act::Relu2, Act::Swiglu, Act::Geglu]),
        bias: d.below(2) == 0,
    })
}

fn jet_block(d: &mut Dice) -> Block {
    let n_heads = d.of(&[1, 2, 3]);
    Block::JetBlock(JetBlock {
        n_heads,
        d_head: d.of(&[8, 16, 24]),
        expand_v: d.of(&[1.0, 2.0]),
        conv: d.of(&[2, 3, 4]),
        reduction: 4,
        ..JetBlock::DEFAULT
    })
}

fn moe(d: &mut Dice) -> Block {
    Block::Moe(Moe {
        n_experts: 8,
        top_k: d.of(&[1, 2, 3]),
        hidden: d.of(&[16, 24]),
        act: d.of(&[Act::Relu2, Act::Swiglu]),
        shared_hidden: d.of(&[0, 24]),
        latent: d.of(&[None, Some(16)]),
        n_group: 2,
        topk_group: d.of(&[1, 2]),
        norm_topk: d.below(2) == 0,
        scale: 2.5,
    })
}

/// A model of `pattern`, with sizes from `seed`.
fn model(pattern: &'static str, seed: u64) -> ModelSpec {
    let mut d = Dice::new(seed);
    let mut bindings: Vec<Binding> = Vec::new();
    for symbol in pattern.chars() {
        if bindings.iter().any(|b| b.symbol == symbol) {
            continue;
        }
        let block = match symbol {
            'M' => mamba2(&mut d),
            '*' => attention(&mut d, None),
            'W' => {
                let window = d.of(&[1, 5, 16]);
                attention(&mut d, Some(window))
            }
            '-' => mlp(&mut d),
            'J' => jet_block(&mut d),
            'E' => moe(&mut d),
            other => panic!("no block for {other}"),
        };
        bindings.push(Binding { symbol, block });
    }
    let spec = ModelSpec {
        name: format!("random-{seed}").into(),
        vocab: 90 + d.below(40),
        d_model: d.of(&[32, 48, 64]),
        norm_eps: 1e-5,
        tie_embeddings: d.below(2) == 0,
        max_context: 4096,
        pattern: pattern.into(),
        bindings: bindings.into(),
        naming: Naming::NemotronH,
        precisions: vec![].into(),
    };
    spec.checked().unwrap_or_else(|e| panic!("seed {seed}: {e}"))
}

/// One pattern for each block kind, and one for each family of presets.
const PATTERNS: &[&str] =
    &["M", "*", "W", "-", "J", "E", "M-M-*-", "MEM*E", "J-W-*-", "*-*-", "MM*M-J*", "W*JEM-"];

fn devices() -> Vec<Arc<dyn Device>> {
    let all = device_names().into_iter().map(|name| open(&name, 2).expect("a device of this build opens"));
    all.filter(|d| d.grade() == Grade::Measured).collect()
}

/// Token ids of some sequences of different lengths.
fn prompts(spec: &ModelSpec, seed: u64) -> Vec<Vec<u32>> {
    let mut d = Dice::new(seed ^ 0x5eed);
    let lengths = [d.of(&[65, 70, 81]), d.of(&[1, 2, 3]), d.of(&[17, 31, 33])];
    lengths.iter().map(|n| (0..*n).map(|_| d.below(spec.vocab)).collect()).collect()
}

/// Runs `program` in `forms` (or all, with every schedule, where there are none) and compares its logits with f64.
fn compare(
    device: &dyn Device,
    spec: &ModelSpec,
    program: Program,
    weights: &dyn WeightSource,
    (precision, judge): (Precision, Judge),
    seed: u64,
    forms: Option<&[Form]>,
) {
    let source = DeviceWeights::new(weights);
    let prompts = prompts(spec, seed);
    let reference = lower_plain(spec, LowerOptions::default());
    let vocab = spec.vocab as usize;
    let mut expected = Vec::new();
    for p in &prompts {
        expected.extend_from_slice(Reference::run(&reference, &source, p, 0).read(LOGITS));
    }
    let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
    let mut tallies = Tallies::default();
    tallies.expect("logits", Array { shape: vec![expected.len()], values: expected }, judge);
    let mut expect = Expectations::default();
    expect.batch(0, "logits", &lengths, vocab);
    let logits = buffer(&program, LOGITS).expect("a model has logits");
    let streams = prompts.into_iter().map(|tokens| Stream { tokens, ..Stream::default() }).collect();
    let rig = Rig { device, program, weights: &source, precision, streams, watch: vec![logits], expect };
    let _cores = all_cores();
    let ran = match forms {
        None => rig.check_all(&mut tallies),
        Some(forms) => rig.check(forms, "", &NoSchedules, &mut tallies),
    };
    ran.unwrap_or_else(|e| panic!("{} (seed {seed}): {e:#}", spec.pattern));
    for row in tallies.finish() {
        assert!(
            row.verdict == Verdict::Pass,
            "{} in {precision:?} (seed {seed}): {row:?}\n{spec:?}",
            spec.pattern
        );
    }
}

#[test]
fn every_form_and_schedule_gives_what_f64_gives() {
    for (i, pattern) in PATTERNS.iter().enumerate() {
        let seed = 100 + i as u64;
        let spec = model(pattern, seed);
        let weights = RandomWeights::with_dtype(&spec, seed, DType::F32);
        for device in devices() {
            let program = lower(&spec, LowerOptions::default());
            compare(&*device, &spec, program, &weights, (Precision::F32, Judge::Largest(F32)), seed, None);
        }
    }
}

#[test]
fn many_sizes_give_what_f64_gives() {
    for seed in 0..24 {
        let pattern = PATTERNS[seed as usize % PATTERNS.len()];
        let spec = model(pattern, 1_000 + seed);
        let dtype = [DType::F32, DType::F16, DType::Bf16][seed as usize % 3];
        let weights = RandomWeights::with_dtype(&spec, seed, dtype);
        let lengths: Vec<usize> = prompts(&spec, seed).iter().map(Vec::len).collect();
        for device in devices() {
            let program = lower(&spec, LowerOptions::default());
            let judge = (Precision::F32, Judge::Largest(F32));
            compare(&*device, &spec, program, &weights, judge, seed, Some(&forms::few(&lengths)));
        }
    }
}

#[test]
fn the_plain_lowering_gives_the_same_as_the_rewritten_one() {
    for (i, pattern) in ["M-*E", "J-W-", "*-E"].into_iter().enumerate() {
        let seed = 500 + i as u64;
        let spec = model(pattern, seed);
        let weights = RandomWeights::with_dtype(&spec, seed, DType::F32);
        let lengths: Vec<usize> = prompts(&spec, seed).iter().map(Vec::len).collect();
        for device in devices() {
            let program = lower_plain(&spec, LowerOptions::default());
            let judge = (Precision::F32, Judge::Largest(F32));
            compare(&*device, &spec, program, &weights, judge, seed, Some(&forms::few(&lengths)));
        }
    }
}

/// Sizes that every block format can hold.
fn quantisable(pattern: &'static str) -> ModelSpec {
    let mut spec = model(pattern, 7);
    spec.d_model = 256;
    spec.vocab = 128;
    for binding in spec.bindings.to_mut() {
        binding.block = match &binding.block {
            Block::Attention(a) => {
                Block::Attention(Attention { n_heads: 4, n_kv_heads: 2, d_head: 64, ..a.clone() })
            }
            Block::Mlp(m) => Block::Mlp(Mlp { hidden: 512, ..m.clone() }),
            other => other.clone(),
        };
    }
    spec
}

#[test]
fn block_formats_are_exact_in_f32_and_near_in_their_own_arithmetic() {
    let spec = quantisable("*-W-");
    let lengths: Vec<usize> = prompts(&spec, 7).iter().map(Vec::len).collect();
    let quantised = DType::ALL.into_iter().filter(|d| d.is_quantized());
    for dtype in quantised.chain([DType::F16, DType::Bf16]) {
        let weights = RandomWeights::with_dtype(&spec, 7, dtype);
        for device in devices() {
            for (precision, judge) in [
                (Precision::F32, Judge::Largest(F32)),
                (Precision::Bf16, Judge::RelativeRms(BF16)),
                (Precision::Native, Judge::RelativeRms(NATIVE)),
            ] {
                let program = lower(&spec, LowerOptions::default());
                let forms = forms::few(&lengths);
                compare(&*device, &spec, program, &weights, (precision, judge), 7, Some(&forms));
            }
        }
    }
}

#[test]
fn recurrent_blocks_are_near_in_bf16() {
    for (i, pattern) in ["M-M*", "J-W-"].into_iter().enumerate() {
        let seed = 900 + i as u64;
        let spec = model(pattern, seed);
        let weights = RandomWeights::with_dtype(&spec, seed, DType::Bf16);
        let lengths: Vec<usize> = prompts(&spec, seed).iter().map(Vec::len).collect();
        for device in devices() {
            for (precision, judge) in
                [(Precision::Bf16, Judge::RelativeRms(BF16)), (Precision::Native, Judge::RelativeRms(NATIVE))]
            {
                let program = lower(&spec, LowerOptions::default());
                let forms = forms::few(&lengths);
                compare(&*device, &spec, program, &weights, (precision, judge), seed, Some(&forms));
            }
        }
    }
}
