//! The worker's side: opens one device and does what it is told, one thing after the other.

use super::protocol::{Answer, Ask, Description, PROTOCOL, PlanAsk, finite};
use crate::device::DeviceBench;
use crate::error::TuneError;
use crate::subject::{Details, Subject, Workbench};
use crate::target::plan_target;
use crate::tasks::Task;
use jet_models::target::Target;
use jet_numerics::DType;
use jet_runtime::device::{Device, Precision};
use jet_runtime::recipe::Recipe;
use std::io::{BufRead, Write};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a worker works on.
pub trait Host {
    /// What it is.
    fn describe(&self) -> Description;

    /// The tasks of a model on it.
    ///
    /// # Errors
    /// The reason why there are none.
    fn plan(&self, ask: &PlanAsk) -> Result<Vec<Task>, String>;

    /// Lets `work` work on it.
    fn work(&self, work: &mut dyn FnMut(&dyn Workbench));

    /// Whether the device itself is gone, as opposed to one candidate having failed on it.
    fn lost(&self, _reason: &str) -> bool {
        false
    }
}

/// A device of `jet-runtime`.
pub struct DeviceHost {
    device: Arc<dyn Device>,
}

impl DeviceHost {
    /// Opens the device called `name`.
    ///
    /// # Errors
    /// What the device says.
    pub fn open(name: &str, threads: usize) -> Result<Self, String> {
        let device = jet_runtime::device::open(name, threads).map_err(|e| e.to_string())?;
        Ok(Self { device })
    }

    /// A device that is open already.
    pub fn of(device: Arc<dyn Device>) -> Self {
        Self { device }
    }
}

impl Host for DeviceHost {
    fn describe(&self) -> Description {
        let (device, bench) = (&*self.device, DeviceBench(&*self.device));
        let fingerprint = device.fingerprint();
        Description {
            name: device.name(),
            describe: device.describe(),
            hard: fingerprint.hard,
            soft: fingerprint.soft,
            families: device.families().iter().map(|family| family.name().to_owned()).collect(),
            grade: bench.grade(),
            reference: bench.reference(),
            toolchain: bench.toolchain(),
        }
    }

    fn plan(&self, ask: &PlanAsk) -> Result<Vec<Task>, String> {
        let target = Target::resolve(&ask.target).map_err(|e| e.to_string())?;
        let target = if ask.random { Target::from_spec(target.spec().clone()) } else { target };
        let format = DType::ALL.into_iter().find(|d| d.name() == ask.random_format);
        let format = format.ok_or_else(|| format!("`{}` is no number format", ask.random_format))?;
        let named = |name: &str| Precision::named(name).ok_or_else(|| format!("`{name}` is no precision"));
        let mut recipe = Recipe::from(named(&ask.precision)?);
        for (part, precision) in &ask.parts {
            recipe = recipe.with(part.parse()?, named(precision)?);
        }
        plan_target(&*self.device, &target, format, recipe, &ask.tokens).map_err(|e| e.to_string())
    }

    fn work(&self, work: &mut dyn FnMut(&dyn Workbench)) {
        work(&DeviceBench(&*self.device));
    }

    fn lost(&self, reason: &str) -> bool {
        // What the driver says when the GPU itself is gone; everything else ends with the process's context.
        const GONE: [&str; 4] = [
            "CUDA_ERROR_DEVICE_UNAVAILABLE",
            "CUDA_ERROR_ECC_UNCORRECTABLE",
            "CUDA_ERROR_NO_DEVICE",
            "fallen off",
        ];
        GONE.iter().any(|word| reason.contains(word))
    }
}

/// The way back to the tuner, shared with the signs of life.
struct Out<W>(Arc<Mutex<W>>);

impl<W: Write> Out<W> {
    fn say(&self, answer: &Answer) -> Result<(), TuneError> {
        let line = serde_json::to_string(answer).expect("answers have text keys and finite numbers");
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
        written.map_err(|e| TuneError::Worker { reason: format!("the tuner does not listen any more: {e}") })
    }
}

/// Serves one tuner until it is gone. The end of `input` ends the *process*: the tuner may have been killed, and a kernel
/// that hangs could not be told so.
///
/// # Errors
/// [`TuneError::Worker`] where the tuner is of another version, asks for things out of order, or does not listen any more.
pub fn serve(
    input: impl BufRead + Send + 'static,
    output: impl Write + Send + 'static,
    open: &dyn Fn(&str, usize) -> Result<Box<dyn Host>, String>,
) -> Result<(), TuneError> {
    let (heard, asks) = mpsc::channel();
    std::thread::spawn(move || {
        for line in input.lines() {
            let Ok(line) = line else { break };
            if heard.send(line).is_err() {
                return;
            }
        }
        std::process::exit(0);
    });
    let out = Out(Arc::new(Mutex::new(output)));
    let Ask::Hello { protocol, jet, beat_ms } = next(&asks)? else { return Err(out_of_order("a greeting")) };
    let own = env!("CARGO_PKG_VERSION").to_owned();
    out.say(&Answer::Hello { protocol: PROTOCOL, jet: own.clone() })?;
    if (protocol, &jet) != (PROTOCOL, &own) {
        let reason =
            format!("the tuner is jet {jet} with protocol {protocol}, the worker jet {own} with {PROTOCOL}");
        return Err(TuneError::Worker { reason });
    }
    beat(&out, Duration::from_millis(beat_ms.max(1)));
    let host = loop {
        let Ask::Device { name, threads } = next(&asks)? else {
            return Err(out_of_order("the name of a device"));
        };
        match open(&name, threads) {
            Ok(host) => break host,
            Err(reason) => out.say(&Answer::Refused { reason })?,
        }
    };
    out.say(&Answer::Device(host.describe()))?;
    let mut end = Ok(());
    host.work(&mut |bench| end = work(&*host, bench, &asks, &out));
    end
}

fn beat<W: Write + Send + 'static>(out: &Out<W>, every: Duration) {
    let out = Out(Arc::clone(&out.0));
    std::thread::spawn(move || {
        while out.say(&Answer::Beat).is_ok() {
            std::thread::sleep(every);
        }
    });
}

fn out_of_order(wanted: &str) -> TuneError {
    TuneError::Worker {
        reason: format!("{wanted} was expected; a worker is started by `jet-tune run` alone"),
    }
}

fn next(asks: &Receiver<String>) -> Result<Ask, TuneError> {
    let line = asks.recv().map_err(|_| out_of_order("a question"))?;
    serde_json::from_str(&line)
        .map_err(|e| TuneError::Worker { reason: format!("no question ({e}): {line}") })
}

/// Answers questions until there are no more.
fn work<W: Write>(
    host: &dyn Host,
    bench: &dyn Workbench,
    asks: &Receiver<String>,
    out: &Out<W>,
) -> Result<(), TuneError> {
    let mut subject: Option<Box<dyn Subject + '_>> = None;
    loop {
        let answer = match next(asks)? {
            Ask::Hello { .. } | Ask::Device { .. } => return Err(out_of_order("a task")),
            Ask::Plan(ask) => host.plan(&ask).map(|tasks| Answer::Plan { tasks }),
            Ask::Open { problem } => {
                // One at a time: they are large.
                subject = None;
                bench.open(&problem).map(|opened| {
                    let floor = opened.floor();
                    subject = Some(opened);
                    Answer::Open { floor, bound: bench.bound(floor).and_then(finite) }
                })
            }
            Ask::Conditions => Ok(Answer::Conditions { facts: bench.conditions() }),
            ask => match &mut subject {
                Some(subject) => on(&mut **subject, ask),
                None => return Err(out_of_order("a problem")),
            },
        };
        out.say(&match answer {
            Ok(answer) => answer,
            Err(reason) if host.lost(&reason) => Answer::Lost { reason },
            Err(reason) => Answer::Refused { reason },
        })?;
    }
}

/// What is asked of a problem that is set up.
fn on(subject: &mut dyn Subject, ask: Ask) -> Result<Answer, String> {
    match ask {
        Ask::Prepare { values } => subject.prepare(&values).map(|()| Answer::Prepared),
        Ask::Validate => {
            let errors = subject.validate()?;
            let details = subject.details();
            let known = |x: Option<f64>| x.and_then(finite);
            let details =
                Details { mean_abs: known(details.mean_abs), max_ulp: known(details.max_ulp), ..details };
            Ok(Answer::Validated { errors: errors.into(), details })
        }
        Ask::Time { runs } => Ok(Answer::Timed { seconds: finite(subject.time(runs)) }),
        other => Err(format!("{other:?} is nothing that a problem is asked for")),
    }
}
