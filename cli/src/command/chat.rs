//! `jet chat`: a conversation in the terminal.

use super::generation::{self, GenerationArgs};
use crate::common::args::{LoadArgs, TARGET};
use crate::common::output;
use crate::common::signal::Graceful;
use anyhow::{Result, anyhow};
use clap::Args;
use jet_models::generate::{Conversation, Finish};
use jet_models::session::SessionError;
use jet_models::target::Target;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::process::ExitCode;

/// Talk with a model, turn by turn, through its chat template.
///
/// Ctrl-C stops the answer, and at the prompt ends the program; Ctrl-D ends it. `/clear` begins a new conversation,
/// `/quit` ends. Lines may come from a pipe, one turn each.
#[derive(Clone, Debug, Args)]
pub(crate) struct ChatArgs {
    #[arg(help = TARGET, value_name = "MODEL")]
    target: String,
    /// Instructions above the conversation.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    #[command(flatten)]
    generation: GenerationArgs,
    #[command(flatten)]
    load: LoadArgs,
}

pub(crate) fn run(args: &ChatArgs, notes: bool) -> Result<ExitCode> {
    let target = Target::resolve(&args.target)?;
    if let Some(text) = target.text()?
        && text.template.is_none()
    {
        return Err(anyhow!(
            "`{}` has no chat template; use `jet run`, which takes plain prompts",
            target.spec().name
        ));
    }
    let mut session = generation::load(&target, &args.load.options(), notes)?;
    // Without a tokenizer there is nothing to talk with; say so before the first line is typed.
    session.text()?;
    let options = args.generation.options(&session);
    if session.origin().seed.is_some() {
        output::line(&session.origin().weights)?;
    }
    let mut talk = Conversation::new(args.system.as_deref());
    let interactive = io::stdin().is_terminal() && io::stderr().is_terminal();
    while let Some(words) = ask(interactive)? {
        match words.trim() {
            "" => continue,
            "/quit" | "/exit" => break,
            "/clear" => {
                talk.clear(&mut session);
                continue;
            }
            _ => {}
        }
        let stop = Graceful::new();
        let mut failed: Option<io::Error> = None;
        let answer = talk.say(&mut session, words.trim(), &options, |token| {
            if let Err(e) = write(token.text) {
                failed = Some(e);
            }
            if failed.is_some() || stop.stopped() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if let Some(e) = failed {
            return Err(e.into());
        }
        match answer {
            Ok(answer) => {
                let cut = match answer.finish {
                    Finish::Interrupted => " [stopped]",
                    Finish::MaxTokens => " […]",
                    Finish::ContextFull => " [the context is full; /clear begins anew]",
                    _ => "",
                };
                output::line(cut)?;
                if notes && interactive {
                    output::complain(&format!("({})", generation::speed(&answer, &session)));
                }
            }
            Err(e @ SessionError::PromptTooLong { .. }) => {
                output::complain(&format!("{e}; /clear begins a new conversation"));
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The next line; `None` at the end of the input.
fn ask(interactive: bool) -> Result<Option<String>> {
    if interactive {
        let mut err = io::stderr().lock();
        // The prompt is for the person only; where it cannot be written, nobody reads it.
        let _ = write!(err, "> ").and_then(|()| err.flush());
    }
    let mut bytes = Vec::new();
    if io::stdin().lock().read_until(b'\n', &mut bytes)? == 0 {
        if interactive {
            output::complain("");
        }
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
