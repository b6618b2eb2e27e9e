//! Declares a hybrid model, tunes its kernels for this machine and runs it with random weights.
//!
//! `cargo run` keeps the schedules it finds in jet's cache folder, so a second run finds every task done. The same model
//! can be tuned from outside with `jet-tune run src/main.rs`.

use jet::autotune::clock::SystemClock;
use jet::autotune::{DeviceBench, Effort, Options, Report, Silent, Tuner, plan_target};
use jet::cache::{Overlay, folders};
use jet::prelude::*;
use jet::runtime::device::{open, token_buckets};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

jet_model! {
    /// Six blocks: two Mamba-2, full attention, a JetBlock, and MLPs of two widths.
    pub struct Example;
    vocab: 512,
    d_model: 128,
    norm: rms_norm { eps: 1e-5 },
    tie_embeddings: true,
    max_context: 1_024,
    pattern: "MM*-J+",
    blocks {
        'M' => mamba2    { n_heads: 8, d_head: 32, d_state: 32, n_groups: 2, conv: 4 },
        '*' => attention { n_heads: 4, n_kv_heads: 2, d_head: 32, rope: 10_000.0 },
        '-' => mlp       { hidden: 256, act: relu2 },
        '+' => mlp       { hidden: 384, act: swiglu },
        'J' => jet_block { n_heads: 2, d_head: 32, expand_v: 2.0, conv: 4, reduction: 8 },
    }
}

/// Tokens of one run of a session; longer prompts are fed in pieces.
const PIECE: usize = 64;
/// Every output of random weights says that they are random, and from which seed.
const SEED: u64 = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = folders::schedules_folder()?;
    println!("{}: {} parameters, pattern {}", Example::NAME, Example::PARAMS, Example::PATTERN);
    println!("before: {}", schedules(&folder)?);
    let report = tune(&folder, Effort::Quick, Duration::from_secs(20))?;
    println!("{}", report.summary());
    println!("after:  {}", schedules(&folder)?);
    println!("{}", answer(&folder, &[1, 2, 3, 5, 8, 13], 24)?);
    Ok(())
}

fn options(folder: &Path) -> LoadOptions {
    let schedules = jet::Schedules { folder: Some(folder.to_owned()), ..jet::Schedules::default() };
    LoadOptions { piece: PIECE, schedules, ..LoadOptions::default() }
}

/// Finds schedules for every task of the model and stores them in `folder`.
fn tune(folder: &Path, effort: Effort, budget: Duration) -> Result<Report, Box<dyn Error>> {
    let device = open("cpu", 0)?;
    let load = options(folder);
    let tasks =
        plan_target(&*device, &Example::target(), load.random_format, Precision::default(), &token_buckets(PIECE))?;
    let (bench, clock, stop) = (DeviceBench(&*device), SystemClock::default(), AtomicBool::new(false));
    let options = Options { effort, budget: Some(budget), ..Options::default() };
    let mut overlay = Overlay::open(folder, env!("CARGO_PKG_VERSION"))?;
    Ok(Tuner::new(&bench, &clock, &stop, options).run(&tasks, &mut overlay, &mut Silent)?)
}

/// How a session finds its schedules.
fn schedules(folder: &Path) -> Result<String, SessionError> {
    Ok(Example::random_with(SEED, &options(folder))?.selection().summary())
}

/// Generates behind `prompt`, and says where the weights come from.
fn answer(folder: &Path, prompt: &[u32], tokens: usize) -> Result<String, SessionError> {
    let mut session = Example::random_with(SEED, &options(folder))?;
    let options = GenerateOptions { max_tokens: tokens, ..GenerateOptions::default() };
    let answer = session.generate(prompt, &options, |_| ControlFlow::Continue(()))?;
    Ok(format!("{}: {:?}", session.origin().weights, answer.tokens))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("jet-example-{name}-{}", std::process::id()))
    }

    #[test]
    fn tuning_changes_what_a_session_finds_and_not_what_it_says() {
        let folder = folder("tune");
        assert!(schedules(&folder).unwrap().starts_with("exact 0, "));
        let before = answer(&folder, &[1, 2, 3], 8).unwrap();
        assert!(before.starts_with("random weights (seed 7): ["));
        // The least effort: only defaults are timed and stored, so the arithmetic stays the same to the bit.
        tune(&folder, Effort::None, Duration::from_secs(300)).unwrap();
        assert!(schedules(&folder).unwrap().ends_with(", bucket 0, default 0"));
        assert_eq!(answer(&folder, &[1, 2, 3], 8).unwrap(), before);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_declaration_is_what_it_says() {
        assert_eq!(Example::PATTERN, "MM*-J+");
        assert_eq!(Example::PARAMS, Example::spec().params());
    }
}
