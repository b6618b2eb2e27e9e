//! What lies beside the case as JSON: sums of every tensor, and texts with their token ids.

use crate::check::case::CaseFile;
use crate::check::tally::Tallies;
use anyhow::{Context, Result};
use jet_models::text::{Message, Role, Special, Text};
use jet_models::weights::Gguf;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// Sums are taken in another order than the file's maker took them.
const SUM_TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct TensorSum {
    r#type: String,
    dims: Vec<u64>,
    offset: usize,
    sum: f64,
    sumsq: f64,
}

#[derive(Deserialize)]
struct TextCases {
    bytes_without_token: Vec<u8>,
    cases: Vec<TextCase>,
    chats: Vec<ChatCase>,
}

#[derive(Deserialize)]
struct TextCase {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

#[derive(Deserialize)]
struct ChatCase {
    messages: Vec<ChatMessage>,
    add_generation_prompt: bool,
    rendered: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct ChatMessage {
    role: String,
    content: String,
}

/// Reads a JSON file beside the case; `None` where it is not there, which the report says.
fn beside<T: DeserializeOwned>(case: &CaseFile, name: &str, tallies: &mut Tallies) -> Result<Option<T>> {
    let path = case.folder().join(name);
    if !path.is_file() {
        tallies.not_exposed(name, "this file is not beside the case");
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| path.display().to_string()).map(Some)
}

/// Collects what is wrong, and says the first of it.
#[derive(Default)]
struct Faults {
    checked: usize,
    faults: Vec<String>,
}

impl Faults {
    fn check(&mut self, ok: bool, fault: impl FnOnce() -> String) {
        self.checked += 1;
        if !ok {
            self.faults.push(fault());
        }
    }

    fn report(self, name: &str, what: &str, tallies: &mut Tallies) {
        let note = match self.faults.first() {
            None => format!("{} {what} as expected", self.checked),
            Some(first) => format!("{} of {} {what} are not: {first}", self.faults.len(), self.checked),
        };
        tallies.verdict(name, self.faults.is_empty() && self.checked > 0, &note);
    }
}

/// Type, dimensions, place and sums of every tensor.
pub(super) fn tensors(case: &CaseFile, file: &Gguf, tallies: &mut Tallies) -> Result<()> {
    const NAME: &str = "tensor_sums.json";
    let Some(sums) = beside::<BTreeMap<String, TensorSum>>(case, NAME, tallies)? else { return Ok(()) };
    let mut faults = Faults::default();
    for (name, expected) in &sums {
        let (Some(entry), Some(tensor)) = (file.table().get(name), file.tensor(name)) else {
            faults.check(false, || format!("`{name}` is not in the file"));
            continue;
        };
        let values = tensor.to_f64()?;
        let (sum, squares) = values.iter().fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
        let near = |a: f64, b: f64| (a - b).abs() <= SUM_TOLERANCE * squares.max(1.0);
        // GGUF counts dimensions from the fastest.
        let dims: Vec<u64> = tensor.shape.iter().rev().copied().collect();
        let same = tensor.dtype.name() == expected.r#type.to_lowercase()
            && dims == expected.dims
            && entry.range.start == expected.offset;
        faults.check(same && near(sum, expected.sum) && near(squares, expected.sumsq), || {
            format!(
                "`{name}` is {}{dims:?} at {} with sums {sum} and {squares}, expected {}{:?} at {} with {} and {}",
                tensor.dtype,
                entry.range.start,
                expected.r#type,
                expected.dims,
                expected.offset,
                expected.sum,
                expected.sumsq
            )
        });
    }
    faults.check(sums.len() == file.table().entries().len(), || {
        format!("the file has {} tensors, {} were expected", file.table().entries().len(), sums.len())
    });
    faults.report(NAME, "tensors", tallies);
    Ok(())
}

/// Token ids of texts and conversations, and the texts of token ids.
pub(super) fn text(case: &CaseFile, file: &Gguf, tallies: &mut Tallies) -> Result<()> {
    const NAME: &str = "tokenizer_cases.json";
    let Some(cases) = beside::<TextCases>(case, NAME, tallies)? else { return Ok(()) };
    let text = Text::from_gguf(file)?;
    let mut faults = Faults::default();
    for c in &cases.cases {
        let ids = text.tokenizer.encode(&c.text)?;
        faults.check(ids == c.ids, || format!("{:?} gives {ids:?}, expected {:?}", c.text, c.ids));
        let decoded = text.tokenizer.decode(&c.ids, Special::Show)?;
        faults.check(decoded == c.decoded, || {
            format!("{:?} gives {decoded:?}, expected {:?}", c.ids, c.decoded)
        });
    }
    for c in &cases.chats {
        let messages: Result<Vec<Message>> = c.messages.iter().map(message).collect();
        let template = text.template.as_ref().context("the file has no chat template")?;
        let rendered = template.render(&messages?, c.add_generation_prompt)?;
        faults.check(rendered == c.rendered, || {
            format!("a chat gives {rendered:?}, expected {:?}", c.rendered)
        });
        let ids = text.tokenizer.encode_rendered(&c.rendered)?;
        faults.check(ids == c.ids, || format!("{:?} gives {ids:?}, expected {:?}", c.rendered, c.ids));
    }
    // Of the bytes without a token those below 128 are characters of their own: they vanish.
    for byte in cases.bytes_without_token.iter().filter(|b| b.is_ascii()) {
        let ids = text.tokenizer.encode(&char::from(*byte).to_string())?;
        faults.check(ids.is_empty(), || format!("byte {byte} has no token and gives {ids:?}"));
    }
    faults.report(NAME, "texts", tallies);
    Ok(())
}

fn message(m: &ChatMessage) -> Result<Message> {
    let role = match m.role.as_str() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        other => anyhow::bail!("a chat has a message of role `{other}`"),
    };
    Ok(Message::new(role, m.content.clone()))
}
