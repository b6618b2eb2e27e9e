//! The tuner's side of the line: a worker process, with an ear that does not wait for ever.

use super::protocol::{Answer, Ask};
use jet_cache::FailureKind;
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line that is longer is no answer.
const LONGEST: u64 = 64 << 20;

/// Lines of the worker's stderr that are kept.
const LAST_WORDS: usize = 4;

/// What went wrong with a worker. It is gone then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) kind: FailureKind,
    pub(super) reason: String,
}

enum Heard {
    Line(Vec<u8>),
    End,
}

/// A worker process.
pub(super) struct Link {
    child: Child,
    stdin: Option<ChildStdin>,
    heard: Receiver<Heard>,
    last_words: Arc<Mutex<VecDeque<String>>>,
}

impl Link {
    /// Starts the worker that `command` describes.
    pub(super) fn start(mut command: Command) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C is for the tuner, which ends its worker by itself when the race has come to an end.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|e| format!("the worker cannot be started: {e}"))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (tell, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout.expect("it is piped"));
            loop {
                let mut line = Vec::new();
                let read = (&mut reader).take(LONGEST).read_until(b'\n', &mut line);
                let end = !matches!(read, Ok(n) if n > 0);
                if tell.send(if end { Heard::End } else { Heard::Line(line) }).is_err() || end {
                    return;
                }
            }
        });
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&last_words);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr.expect("it is piped")).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == LAST_WORDS {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        Ok(Self { stdin: child.stdin.take(), child, heard, last_words })
    }

    /// Its process number.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks, and waits for the answer: `deadline` for all of it, `silence` for any sign of life.
    pub(super) fn ask(
        &mut self,
        ask: &Ask,
        doing: &str,
        deadline: Duration,
        silence: Duration,
    ) -> Result<Answer, Broken> {
        let line = serde_json::to_string(ask).expect("questions have text keys and finite numbers");
        let stdin = self.stdin.as_mut().expect("it is open until the link is dropped");
        if stdin.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdin.flush()).is_err() {
            return Err(self.died(doing));
        }
        let begun = Instant::now();
        let mut alive = begun;
        loop {
            let left = deadline.saturating_sub(begun.elapsed()).min(silence.saturating_sub(alive.elapsed()));
            match self.heard.recv_timeout(left) {
                Ok(Heard::Line(line)) => match serde_json::from_slice(&line) {
                    Ok(Answer::Beat) => alive = Instant::now(),
                    Ok(answer) => return Ok(answer),
                    Err(_) if self.ended() => return Err(self.died(doing)),
                    Err(_) => {
                        let shown: String = String::from_utf8_lossy(&line).chars().take(60).collect();
                        let reason =
                            format!("its worker wrote nonsense while {doing}: {:?}", shown.trim_end());
                        return Err(self.end(FailureKind::Crashed, reason));
                    }
                },
                Ok(Heard::End) | Err(RecvTimeoutError::Disconnected) => return Err(self.died(doing)),
                Err(RecvTimeoutError::Timeout) if begun.elapsed() >= deadline => {
                    let seconds = deadline.as_secs_f64();
                    let reason = format!("no end after {seconds} s of {doing}; its worker was ended");
                    return Err(self.end(FailureKind::Hung, reason));
                }
                Err(RecvTimeoutError::Timeout) if alive.elapsed() >= silence => {
                    let seconds = silence.as_secs_f64();
                    let reason = format!("its worker gave no sign of life for {seconds} s while {doing}");
                    return Err(self.end(FailureKind::Hung, reason));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Whether the process has ended, or is about to: a line that was torn is no nonsense then.
    fn ended(&mut self) -> bool {
        for _ in 0..50 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    fn died(&mut self, doing: &str) -> Broken {
        // Its output may be closed before it is gone.
        self.ended();
        let how = match self.child.try_wait() {
            Ok(Some(status)) => status.to_string(),
            _ => "it closed its output".to_owned(),
        };
        // The last words come through another pipe.
        std::thread::sleep(Duration::from_millis(10));
        let said = {
            let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
            words.iter().find(|line| line.contains("panicked")).or(words.back()).cloned()
        };
        let words = said.map_or_else(String::new, |words| format!(" ({words})"));
        self.end(FailureKind::Crashed, format!("its worker ended while {doing}: {how}{words}"))
    }

    fn end(&mut self, kind: FailureKind, reason: String) -> Broken {
        // Where it has ended already there is nothing to end.
        let _ = self.child.kill();
        Broken { kind, reason }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
