//! A program as it is deployed. Its schedules and kernels were found elsewhere, by `jet-tune`, and are part of the binary:
//! where it runs nothing is tuned, nothing is compiled, and no compiler is needed. It prints the counters that prove it.
//!
//! How `model.jetpack` came to be (`cargo xtask bless` does the same):
//!
//! ```sh
//! jet-tune run src/model.rs --device emulated:sm_80 --tokens 1,8 --effort none
//! jet-tune export model.jetpack
//! ```
//!
//! For a GPU that is there, `--device cuda:0` and an effort of `full`.

mod model;

use jet::cache::Pack;
use jet::prelude::*;
use jet::runtime::events;
use jet::{Schedules, schedule_pack};
use model::Deployed;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Tokens of one run: the pack has schedules for token counts up to this.
const PIECE: usize = 8;
/// A deployment has weights of its own; every output of random ones says that they are random, and from which seed.
const SEED: u64 = 7;

const USAGE: &str = "usage: jet-deployment [DEVICE [PACK]]\n\
                     DEVICE is emulated:sm_80 unless it is said; PACK is a file in place of the embedded one";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.len() > 2 || words.iter().any(|w| w.starts_with('-')) {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let device = words.first().map_or("emulated:sm_80", String::as_str);
    match answer(device, words.get(1).map(Path::new)) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The pack in the binary, or the one at `path`.
fn pack(path: Option<&Path>) -> Result<Arc<Pack>, Box<dyn Error>> {
    let Some(path) = path else { return Ok(schedule_pack!("../model.jetpack")?) };
    let pack = Pack::load(path)?.ok_or_else(|| format!("there is no file {}", path.display()))?;
    Ok(Arc::new(pack))
}

/// Generates a few tokens and says what that took.
fn answer(device: &str, path: Option<&Path>) -> Result<String, Box<dyn Error>> {
    let options = LoadOptions {
        device: device.to_owned(),
        piece: PIECE,
        schedules: Schedules::frozen(pack(path)?),
        ..LoadOptions::default()
    };
    let mut session = Deployed::random_with(SEED, &options)?;
    let generate = GenerateOptions { max_tokens: 4, ..GenerateOptions::default() };
    let answer = session.generate(&[1, 2, 3, 5, 8, 13], &generate, |_| ControlFlow::Continue(()))?;
    let events = events::so_far();
    Ok(format!(
        "{} on {device}: {:?}\nschedules: {}\ncompilations: {}, kernels tuned: {}",
        session.origin().weights,
        answer.tokens,
        session.selection().summary(),
        events.compilations,
        events.benches
    ))
}
