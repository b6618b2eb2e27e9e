//! `gguf_model`: a whole model in a GGUF file: its text, its tensors, and what it computes.
//!
//! The device is judged in float32. The arithmetic that the file's formats are best served with is shown beside it.

mod beside;
mod prompts;

use crate::check::case::CaseFile;
use crate::check::checkpoint::Judges;
use crate::check::tally::{Judge, Tallies};
use crate::check::{Context, Greedy};
use anyhow::{Context as _, Result, ensure};
use jet_models::Target;
use jet_models::weights::Gguf;
use jet_runtime::device::Precision;

pub(super) fn run(cx: &Context<'_>, case: &CaseFile, tallies: &mut Tallies) -> Result<Option<Greedy>> {
    let path = cx.model.context("no model was given")?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let source = case.param("source")?;
    ensure!(name == source, "--model is {name}, and the case is about {source}");
    let file = Gguf::open(path)?;
    beside::tensors(case, &file, tallies)?;
    beside::text(case, &file, tallies)?;

    let target = Target::resolve(&path.to_string_lossy())?;
    let weights = target.checkpoint()?.context("the GGUF file has no weights")?;
    let judges = Judges::of(cx, case)?;
    let judged = prompts::Pass { cx: *cx, case, spec: target.spec(), weights: &*weights, judges, prefix: "" };
    let greedy = judged.check(tallies)?;

    let shown = Judge::Shown("the stored formats' own arithmetic, beside the judged one");
    let native = prompts::Pass {
        cx: Context { precision: Precision::Native, ..*cx },
        judges: Judges { logits: shown, inner: shown },
        prefix: "native ",
        ..judged
    };
    native.check(tallies)?;
    Ok(Some(greedy))
}
