//! What stands in the loops of a kernel: in the assembler's code, disassembled, and in PTX.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The disassembler of the checkout's toolchain, or where it was looked for.
pub fn disassembler() -> Result<PathBuf, String> {
    let executable = std::env::current_exe().map_err(|e| e.to_string())?;
    let folders = executable.ancestors().map(|f| f.join("toolchain"));
    let entries = folders.filter_map(|f| std::fs::read_dir(f).ok()).flatten().flatten();
    let tools = entries.map(|e| e.path().join("nvdisasm")).filter(|p| p.is_file());
    tools.max().ok_or_else(|| format!("no toolchain/nvdisasm-* above {}", executable.display()))
}

/// The disassembly of each function of a cubin, by name.
pub fn functions(tool: &Path, cubin: &[u8], name: &str) -> Result<BTreeMap<String, String>, String> {
    let file = std::env::temp_dir().join(format!("jet-{}-{name}.cubin", std::process::id()));
    std::fs::write(&file, cubin).map_err(|e| format!("{}: {e}", file.display()))?;
    let output = Command::new(tool).arg("-c").arg(&file).output();
    // What is left behind is in the folder for such things.
    let _ = std::fs::remove_file(&file);
    let output = output.map_err(|e| format!("{}: {e}", tool.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // A function's code is a section `.text.name,…`.
    let sections = text.split(".section\t.text.").skip(1).filter_map(|s| s.split_once(",\"ax\""));
    Ok(sections.map(|(name, body)| (name.trim_matches('"').to_owned(), body.to_owned())).collect())
}

/// Lines of `text`, counted from one, that lie between a label and a jump back to it. A label is a line `name:`; `jump`
/// says where an instruction may go.
fn looped<'a>(text: &'a str, jump: impl Fn(&'a str) -> Option<&'a str>) -> BTreeSet<usize> {
    let mut labels = BTreeMap::new();
    let mut lines = BTreeSet::new();
    for (n, line) in (1..).zip(text.lines()) {
        if let Some(label) = line.trim().strip_suffix(':') {
            labels.insert(label, n);
        } else if let Some(first) = jump(line).and_then(|to| labels.get(to)) {
            lines.extend(*first..=n);
        }
    }
    lines
}

/// Whether an instruction whose name begins with `opcode` stands in a loop of a disassembled function.
pub fn in_loop(function: &str, opcode: &str) -> bool {
    let jump = |line| -> Option<&str> {
        let (_, to) = str::split_once(line, "BRA")?;
        to.split_once("`(")?.1.split(')').next()
    };
    let loops = looped(function, jump);
    let is = |line: &str| line.split_whitespace().any(|word| word.starts_with(opcode));
    (1..).zip(function.lines()).any(|(n, line)| loops.contains(&n) && is(line))
}

/// Lines of PTX text that lie in loops.
pub fn ptx_loops(text: &str) -> BTreeSet<usize> {
    looped(text, |line| {
        let to = line.split_once("bra")?.1;
        to.rfind('$').map(|at| to[at..].trim_end().trim_end_matches(';').trim_end())
    })
}
