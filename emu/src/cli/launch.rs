//! From the command line to the launch and its results.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use safetensors::Dtype;
use serde::Serialize;

use super::arguments::{self, Argument, Arguments, Fresh};
use super::options::{Check, Options};
use super::tensors::{self, Tensor};
use super::{Outcome, files, summary};
use crate::count::listing;
use crate::exec::{Arg, BufferId, Emulator, LaunchConfig, ModuleId, Report};
use crate::isa::Program;

/// Lines of each table of hot lines.
const TOP: usize = 20;

/// A buffer of the launch.
struct Named {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    id: BufferId,
}

/// What the report file holds.
#[derive(Serialize)]
struct Written<'a> {
    file: String,
    grid: [u32; 3],
    block: [u32; 3],
    cluster: Option<[u32; 3]>,
    dynamic_shared: u32,
    seed: u64,
    checks: &'static str,
    seconds: f64,
    clean: bool,
    #[serde(flatten)]
    report: &'a Report,
}

/// Does what the command line says.
pub(super) fn run(options: &Options) -> Result<Outcome> {
    let text = ptx(options)?;
    let mut emulator = Emulator::new(options.emulator());
    let module =
        emulator.load(&text).map_err(|e| anyhow!("`{}` cannot be run:\n{e}", options.file.display()))?;
    let program = kernel(&emulator, module, options)?;
    let given = match &options.args {
        None => Arguments::default(),
        Some(path) => {
            let bytes = files::read("the arguments", path)?;
            let text = String::from_utf8(bytes).ok().context("it is no text");
            let read = text.and_then(|t| arguments::parse(&t));
            read.with_context(|| format!("the arguments `{}`", path.display()))?
        }
    };
    let (buffers, args) = prepare(&mut emulator, options, &given)?;
    check_arguments(&program, &given.list, &args)?;
    let config = LaunchConfig {
        kernel: program.name.clone(),
        grid: options.grid.0,
        block: options.block.0,
        cluster: options.cluster.map(|c| c.0),
        dynamic_shared: options.smem,
    };
    let start = Instant::now();
    let report = emulator.launch(module, &config, &args)?;
    let took = start.elapsed();
    write_results(options, &emulator, &buffers, &text, &report, took)?;
    let shown = summary::text(options, &program, &report, took);
    // Whoever closes the pipe does not want the rest.
    let _ = std::io::stdout().write_all(shown.as_bytes());
    Ok(match (report.completed, report.clean()) {
        (false, _) => Outcome::Failed,
        (true, true) => Outcome::Clean,
        (true, false) => Outcome::Findings,
    })
}

fn ptx(options: &Options) -> Result<String> {
    let bytes = files::read("the PTX", &options.file)?;
    String::from_utf8(bytes).map_err(|_| {
        let name = options.file.display();
        anyhow!(
            "`{name}` is no text, so it is no PTX; a cubin or fatbin cannot be run, compile to PTX instead"
        )
    })
}

/// The kernel to run.
fn kernel(emulator: &Emulator, module: ModuleId, options: &Options) -> Result<std::sync::Arc<Program>> {
    let known = emulator.kernels(module);
    let file = options.file.display();
    let name = match (&options.kernel, &known[..]) {
        (Some(name), _) => name.as_str(),
        (None, [only]) => only,
        (None, []) => bail!("`{file}` has no kernel"),
        (None, _) => {
            bail!("`{file}` has {} kernels, name one with --kernel: {}", known.len(), known.join(", "))
        }
    };
    emulator.program(module, name).ok_or_else(|| {
        let mut message = format!("`{file}` has no kernel `{name}`");
        if let Some(near) = nearest(name, &known) {
            let _ = write!(message, "; did you mean `{near}`?");
        }
        if known.is_empty() {
            message.push_str("; it has none at all");
        } else {
            let _ = write!(message, "\nits kernels are:");
            known.iter().for_each(|k| {
                let _ = write!(message, "\n  {k}");
            });
        }
        anyhow!(message)
    })
}

/// The kernel that a name was likely meant to be: one that contains it, or differs in few letters.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let wanted = name.to_lowercase();
    let inside = known.iter().find(|k| !wanted.is_empty() && k.to_lowercase().contains(&wanted));
    let close = || {
        let distances = known.iter().map(|k| (distance(&wanted, &k.to_lowercase()), *k));
        distances.min().filter(|(d, _)| *d <= wanted.chars().count().div_ceil(3)).map(|(_, k)| k)
    };
    inside.copied().or_else(close)
}

/// Letters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Makes the buffers and what the kernel is given.
fn prepare(emulator: &mut Emulator, options: &Options, given: &Arguments) -> Result<(Vec<Named>, Vec<Arg>)> {
    let inputs = options.input.as_deref().map(tensors::read).transpose()?.unwrap_or_default();
    let mut buffers: Vec<Named> = Vec::new();
    for fresh in &given.buffers {
        make(emulator, &mut buffers, &inputs, fresh)?;
    }
    // All fresh buffers first, so that an entry may name one that a later entry makes.
    let mut made = Vec::new();
    for (i, argument) in given.list.iter().enumerate() {
        made.push(match argument {
            Argument::Fresh(fresh) => {
                Some(make(emulator, &mut buffers, &inputs, fresh).with_context(|| format!("argument {i}"))?)
            }
            _ => None,
        });
    }
    let mut args = Vec::new();
    for (i, (argument, made)) in given.list.iter().zip(made).enumerate() {
        let arg = match (argument, made) {
            (_, Some(id)) => Ok(Arg::Buffer(id)),
            (Argument::Tensor { name, offset }, _) => {
                find(emulator, &mut buffers, &inputs, name, options).map(|id| Arg::BufferAt(id, *offset))
            }
            (Argument::Map(spec), _) => find(emulator, &mut buffers, &inputs, &spec.tensor, options)
                .and_then(|id| {
                    let map = spec.build(emulator.address(id)?)?;
                    Ok(Arg::Bytes(map.encode().to_vec()))
                }),
            (Argument::Value(value), _) => Ok(value.clone()),
            (Argument::Fresh(fresh), None) => Err(anyhow!("`{}` was not made", fresh.name)),
        };
        args.push(arg.with_context(|| format!("argument {i}"))?);
    }
    Ok((buffers, args))
}

fn make(
    emulator: &mut Emulator,
    buffers: &mut Vec<Named>,
    inputs: &[Tensor],
    fresh: &Fresh,
) -> Result<BufferId> {
    let Fresh { name, dtype, shape, written } = fresh;
    if buffers.iter().any(|b| b.name == *name) {
        bail!("two entries make a buffer `{name}`; use {{\"tensor\": \"{name}\"}} for the second");
    }
    if inputs.iter().any(|t| t.name == *name) {
        bail!("the input has a tensor `{name}` already; use {{\"tensor\": \"{name}\"}}, or another name");
    }
    let len = tensors::bytes_of(*dtype, shape)? as u64;
    let id = if *written { emulator.alloc_zeroed(name, len)? } else { emulator.alloc(name, len)? };
    buffers.push(Named { name: name.clone(), dtype: *dtype, shape: shape.clone(), id });
    Ok(id)
}

/// The buffer of a name; a tensor of the input becomes one when it is first named.
fn find(
    emulator: &mut Emulator,
    buffers: &mut Vec<Named>,
    inputs: &[Tensor],
    name: &str,
    options: &Options,
) -> Result<BufferId> {
    if let Some(b) = buffers.iter().find(|b| b.name == name) {
        return Ok(b.id);
    }
    let Some(tensor) = inputs.iter().find(|t| t.name == name) else {
        let known: Vec<&str> =
            inputs.iter().map(|t| t.name.as_str()).chain(buffers.iter().map(|b| b.name.as_str())).collect();
        let known = if known.is_empty() {
            "there are none".to_owned()
        } else {
            format!("there are {}", known.join(", "))
        };
        let hint = if options.input.is_none() { "; give the tensors with --in" } else { "" };
        bail!("no tensor or buffer `{name}`; {known}{hint}");
    };
    let id = emulator.alloc_bytes(name, &tensor.bytes)?;
    buffers.push(Named { name: name.to_owned(), dtype: tensor.dtype, shape: tensor.shape.clone(), id });
    Ok(id)
}

fn size_of(arg: &Arg) -> u64 {
    match arg {
        Arg::U8(_) => 1,
        Arg::U16(_) => 2,
        Arg::U32(_) | Arg::I32(_) | Arg::F32(_) => 4,
        Arg::Bytes(bytes) => bytes.len() as u64,
        Arg::Buffer(_) | Arg::BufferAt(..) | Arg::U64(_) | Arg::I64(_) | Arg::F64(_) | Arg::Null => 8,
    }
}

/// Compares arguments with parameters; the error shows both lists.
fn check_arguments(program: &Program, list: &[Argument], args: &[Arg]) -> Result<()> {
    let params = &program.params;
    let fits = |i: usize| params.get(i).zip(args.get(i)).is_some_and(|(p, a)| p.size == size_of(a));
    let count = params.len().max(args.len());
    if (0..count).all(fits) {
        return Ok(());
    }
    let mut message = if params.len() == args.len() {
        let wrong = (0..count).find(|i| !fits(*i)).unwrap_or(0);
        format!(
            "argument {wrong} has {} bytes, and parameter {wrong} of `{}`, `{}`, has {}",
            size_of(&args[wrong]),
            program.name,
            params[wrong].name,
            params[wrong].size
        )
    } else {
        format!("`{}` has {} parameters, {} arguments were given", program.name, params.len(), args.len())
    };
    let mut table = listing::Table::new(&["", "parameter", "bytes", "argument", "bytes", ""], &[1, 3]);
    for i in 0..count {
        let missing = || ("-".to_owned(), "-".to_owned());
        let (param, want) = params.get(i).map_or_else(missing, |p| (p.name.clone(), p.size.to_string()));
        let both = list.get(i).zip(args.get(i));
        let (arg, have) = both.map_or_else(missing, |(e, a)| (arguments::name_of(e), size_of(a).to_string()));
        let mark = if fits(i) { "" } else { "<-" };
        table.row([i.to_string(), param, want, arg, have, mark.to_owned()]);
    }
    let _ = write!(message, "\n{table}");
    bail!(message.trim_end().to_owned())
}

/// Writes what was asked for. A launch that was ended by a fault leaves its tensors as they were at that moment.
fn write_results(
    options: &Options,
    emulator: &Emulator,
    buffers: &[Named],
    text: &str,
    report: &Report,
    took: Duration,
) -> Result<()> {
    if let Some(path) = &options.out {
        let one = |b: &Named| {
            let (name, shape) = (b.name.clone(), b.shape.clone());
            Ok(Tensor { name, dtype: b.dtype, shape, bytes: emulator.read(b.id)? })
        };
        let list: Result<Vec<Tensor>> = buffers.iter().map(one).collect();
        tensors::write(path, &list?)?;
    }
    if let Some(path) = &options.report {
        let written = Written {
            file: options.file.display().to_string(),
            grid: options.grid.0,
            block: options.block.0,
            cluster: options.cluster.map(|c| c.0),
            dynamic_shared: options.smem,
            seed: options.seed,
            checks: match options.check {
                Check::All => "all",
                Check::Strict => "strict",
                Check::None => "none",
            },
            seconds: took.as_secs_f64(),
            clean: report.clean(),
            report,
        };
        let mut bytes = serde_json::to_vec_pretty(&written).context("the report cannot be written")?;
        bytes.push(b'\n');
        files::write("the report", path, &bytes)?;
    }
    if let (Some(path), Some(counters)) = (&options.listing, &report.counters) {
        files::write("the listing", path, listing::listing(counters, text, TOP).as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_kernel_is_recognised_and_a_strange_one_is_not() {
        let known = ["_Z6reducePKfPf", "gemm_wgmma", "softmax"];
        assert_eq!(nearest("reduce", &known), Some("_Z6reducePKfPf"));
        assert_eq!(nearest("gemm_wgma", &known), Some("gemm_wgmma"));
        assert_eq!(nearest("Softmax", &known), Some("softmax"));
        assert_eq!(nearest("attention", &known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
