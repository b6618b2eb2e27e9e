//! `jet plan`: what would run, and where its buffers live.

use crate::common::args::{DeviceArgs, RandomArgs, TARGET};
use crate::common::exit::Usage;
use crate::common::output;
use crate::common::table::Table;
use crate::common::units::count;
use anyhow::Result;
use clap::Args;
use jet_codegen::memory::{self, MemoryPlan};
use jet_codegen::program::{Program, Rows, StateShape};
use jet_codegen::schedule::Problem;
use jet_codegen::{LowerOptions, lower};
use jet_models::session::Schedules;
use jet_models::target::Target;
use jet_runtime::{bytes, device};
use serde::Serialize;
use std::process::ExitCode;

/// Show the program that a device would run for a batch, its memory plan and the tuning tasks it has.
///
/// No weights are read; only their formats count. Without weights the formats are those of random ones.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlanArgs {
    #[arg(help = TARGET)]
    target: String,
    /// Tokens of the batch.
    #[arg(long, default_value_t = 512, value_name = "N")]
    tokens: usize,
    /// Rows of logits of the batch.
    #[arg(long, default_value_t = 1, value_name = "N")]
    outputs: usize,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    random: RandomArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Plan<'a> {
    model: &'a str,
    device: String,
    precision: String,
    tokens: usize,
    outputs: usize,
    program: &'a Program,
    memory: &'a MemoryPlan,
    tasks: &'a [Problem],
}

pub(crate) fn run(args: &PlanArgs) -> Result<ExitCode> {
    if args.tokens == 0 {
        return Err(Usage("--tokens is 0; a batch has at least one token".to_owned()).into());
    }
    let target = Target::resolve(&args.target)?;
    let weights = target.formats(args.random.random_format)?;
    let device = device::open(&args.device.device, args.device.threads)?;
    let recipe = args.device.recipe(&*device, &target, &args.random, &Schedules::default().open())?;
    let program = lower(target.spec(), LowerOptions::default());
    let plan = memory::plan(&program, args.tokens, args.outputs);
    let dtype = |id| weights.info(id).ok().map(|info| info.dtype);
    let tasks = device.problems(&program, &dtype, &recipe, &[args.tokens]);
    if args.json {
        output::json(&Plan {
            model: &target.spec().name,
            device: device.describe(),
            precision: recipe.to_string(),
            tokens: args.tokens,
            outputs: args.outputs,
            program: &program,
            memory: &plan,
            tasks: &tasks,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = program.to_string();
    out += &format!("\nmemory for {} tokens and {} rows of logits\n", args.tokens, args.outputs);
    out += &buffers(&program, &plan, args).to_string();
    out += &format!(
        "{} in one arena; {} without sharing\n\n",
        bytes(plan.elements as u64 * 4),
        bytes(plan.unshared as u64 * 4)
    );
    out += &states(&program).to_string();
    let word = if tasks.len() == 1 { "task" } else { "tasks" };
    out += &format!("\n{} tuning {word} at {} tokens on {}\n", tasks.len(), args.tokens, device.describe());
    tasks.iter().for_each(|t| out += &format!("  {t}\n"));
    output::print(&out)?;
    Ok(ExitCode::SUCCESS)
}

fn buffers(program: &Program, plan: &MemoryPlan, args: &PlanArgs) -> Table {
    let mut table = Table::new(&["buffer", ">width", ">rows", ">offset", ">size"]);
    for (buffer, offset) in program.buffers.iter().zip(&plan.offsets) {
        let rows = match buffer.rows {
            Rows::Tokens => args.tokens,
            Rows::Outputs => args.outputs,
        };
        table.row([
            buffer.name.clone(),
            buffer.width.to_string(),
            rows.to_string(),
            count(*offset as u64 * 4),
            bytes((buffer.width * rows) as u64 * 4),
        ]);
    }
    table
}

fn states(program: &Program) -> Table {
    let mut table = Table::new(&["state of a sequence", "shape"]);
    for state in &program.states {
        let shape = match state.shape {
            StateShape::Kv { kv_heads, d_head, window } => {
                let tokens = window.map_or_else(|| "tokens".to_owned(), |w| format!("last {w} tokens"));
                format!("keys and values [{tokens}, {kv_heads}, {d_head}]")
            }
            StateShape::Conv { channels, columns } => format!("convolution [{channels}, {columns}]"),
            StateShape::Recurrent { heads, rows, cols } => format!("recurrent [{heads}, {rows}, {cols}]"),
        };
        table.row([state.name.clone(), shape]);
    }
    table
}
