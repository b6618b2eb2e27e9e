//! `jet run`: a prompt in, an answer out.

use super::generation::{self, GenerationArgs, ScheduleCounts};
use crate::common::args::{LoadArgs, TARGET};
use crate::common::exit::{INTERRUPTED, Usage};
use crate::common::signal::Graceful;
use crate::common::{memory, output};
use anyhow::Result;
use clap::Args;
use jet_models::generate::{Finish, GenerateOptions, Generated, Token};
use jet_models::session::{Session, SessionError};
use jet_models::target::Target;
use jet_models::text::{Message, Role};
use serde::Serialize;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::ops::ControlFlow;
use std::process::ExitCode;

/// Continue a prompt, streaming the text.
///
/// The prompt is given to the model as it is; with --chat it becomes the user's turn of the model's chat template. The
/// continuation goes to stdout, everything else to stderr. A model without a tokenizer (a preset with --random) takes
/// each byte of the prompt as a token id and prints token ids.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  jet run model.gguf --prompt 'The capital of France is'
  jet run model.gguf --chat --prompt 'What is the capital of France?' --temperature 0.7 --seed 1
  jet run tiny-hybrid --random 1 --prompt-ids 1,2,3 --max-tokens 16 --json")]
pub(crate) struct RunArgs {
    #[arg(help = TARGET, value_name = "MODEL")]
    target: String,
    /// The prompt; `-` reads it from stdin, as does no prompt where stdin is no terminal.
    #[arg(long, short, value_name = "TEXT")]
    prompt: Option<String>,
    /// The prompt as token ids, separated by commas or spaces.
    #[arg(long, value_name = "IDS", conflicts_with_all = ["prompt", "chat"])]
    prompt_ids: Option<String>,
    /// Put the prompt into the model's chat template, as one turn of the user.
    #[arg(long)]
    chat: bool,
    /// Instructions above the conversation.
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
    #[command(flatten)]
    generation: GenerationArgs,
    #[command(flatten)]
    load: LoadArgs,
    /// Print one JSON object when the answer is complete, instead of streaming text.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    weights: &'a str,
    random_seed: Option<u64>,
    device: String,
    precision: String,
    prompt_ids: &'a [u32],
    prompt_tokens: usize,
    tokens: &'a [u32],
    text: Option<&'a str>,
    finish: &'static str,
    prefill_seconds: f64,
    decode_seconds: f64,
    prefill_tokens_per_second: f64,
    decode_tokens_per_second: f64,
    schedules: ScheduleCounts,
    peak_memory_bytes: Option<u64>,
}

pub(crate) fn run(args: &RunArgs, notes: bool) -> Result<ExitCode> {
    let given = given(args)?;
    if given.is_empty() {
        return Err(SessionError::EmptyPrompt.into());
    }
    let target = Target::resolve(&args.target)?;
    let mut session = generation::load(&target, &args.load.options(), notes)?;
    let prompt = ids(&given, args, &session, notes)?;
    let options = args.generation.options(&session);
    let stop = Graceful::new();
    let answer = if args.json {
        let heed = |_: Token<'_>| heed(&stop);
        session.generate(&prompt, &options, heed)?
    } else {
        stream(&mut session, &prompt, &options, &stop)?
    };
    if args.json {
        json(&session, &prompt, &answer)?;
    } else if notes {
        output::complain(&generation::speed(&answer, &session));
    }
    Ok(if answer.finish == Finish::Interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// What the prompt is made of.
enum Given {
    Text(String),
    Ids(Vec<u32>),
}

impl Given {
    fn is_empty(&self) -> bool {
        match self {
            Given::Text(text) => text.is_empty(),
            Given::Ids(ids) => ids.is_empty(),
        }
    }
}

fn given(args: &RunArgs) -> Result<Given> {
    if let Some(list) = &args.prompt_ids {
        return Ok(Given::Ids(parse_ids(list)?));
    }
    match args.prompt.as_deref() {
        Some("-") => {}
        Some(text) => return Ok(Given::Text(text.to_owned())),
        None if io::stdin().is_terminal() => {
            return Err(
                Usage("no prompt; give --prompt TEXT, --prompt-ids IDS, or text on stdin".into()).into()
            );
        }
        None => {}
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    let wrong = |_| Usage("the prompt on stdin is not UTF-8 text".to_owned());
    Ok(Given::Text(String::from_utf8(bytes).map_err(wrong)?))
}

/// Token ids separated by commas or white space.
pub(crate) fn parse_ids(list: &str) -> Result<Vec<u32>> {
    let words = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|w| !w.is_empty());
    let id = |w: &str| {
        w.parse().map_err(|_| Usage(format!("`{w}` is no token id; expected whole numbers")).into())
    };
    words.map(id).collect()
}

fn ids(given: &Given, args: &RunArgs, session: &Session, notes: bool) -> Result<Vec<u32>> {
    let text = match given {
        Given::Ids(ids) => return Ok(ids.clone()),
        Given::Text(text) => text,
    };
    if args.chat {
        let mut messages: Vec<Message> = args.system.iter().map(|s| Message::new(Role::System, s)).collect();
        messages.push(Message::new(Role::User, text));
        return Ok(session.text()?.encode_chat(&messages)?);
    }
    match session.encode(text) {
        Err(SessionError::NoText { .. }) if session.origin().seed.is_some() => {
            if notes {
                output::complain(
                    "note: no tokenizer; each byte of the prompt is a token id, and ids are printed",
                );
            }
            let vocab = session.spec().vocab;
            Ok(text.bytes().map(|b| u32::from(b) % vocab).collect())
        }
        ids => Ok(ids?),
    }
}

fn heed(stop: &Graceful) -> ControlFlow<()> {
    if stop.stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Answers with the text, or the ids, on stdout as they come.
fn stream(
    session: &mut Session,
    prompt: &[u32],
    options: &GenerateOptions,
    stop: &Graceful,
) -> Result<Generated> {
    let worded = session.text().is_ok();
    if session.origin().seed.is_some() {
        output::line(&session.origin().weights)?;
    }
    let mut out = io::stdout().lock();
    let mut failed: Option<io::Error> = None;
    let mut first = true;
    let answer = session.generate(prompt, options, |token| {
        let space = if first { "" } else { " " };
        first = false;
        let text = if worded { token.text.to_owned() } else { format!("{space}{}", token.id) };
        if let Err(e) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            failed = Some(e);
            return ControlFlow::Break(());
        }
        heed(stop)
    })?;
    match failed {
        Some(e) => Err(e.into()),
        None => {
            writeln!(out)?;
            Ok(answer)
        }
    }
}

fn json(session: &Session, prompt: &[u32], answer: &Generated) -> Result<()> {
    output::json(&Answer {
        model: &session.spec().name,
        weights: &session.origin().weights,
        random_seed: session.origin().seed,
        device: session.device().describe(),
        precision: session.recipe().to_string(),
        prompt_ids: prompt,
        prompt_tokens: answer.prompt_tokens,
        tokens: &answer.tokens,
        text: session.text().is_ok().then_some(&answer.text),
        finish: answer.finish.name(),
        prefill_seconds: answer.prefill.as_secs_f64(),
        decode_seconds: answer.decode.as_secs_f64(),
        prefill_tokens_per_second: answer.prefill_rate(),
        decode_tokens_per_second: answer.decode_rate(),
        schedules: ScheduleCounts::of(session),
        peak_memory_bytes: memory::peak(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_be_separated_as_one_likes() {
        assert_eq!(parse_ids("1, 2,3 4\n5").unwrap(), [1, 2, 3, 4, 5]);
        assert_eq!(parse_ids("").unwrap(), Vec::<u32>::new());
        for wrong in ["-1", "1;2", "4294967296", "a"] {
            assert!(parse_ids(wrong).unwrap_err().to_string().contains("no token id"), "{wrong}");
        }
    }
}
