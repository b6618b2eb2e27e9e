//! What the assembler says with `-v`: registers, spills, stack, shared memory; and its notices.

use serde::Serialize;

/// What one entry takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of the stack frame.
    pub stack: u32,
    /// Bytes stored because registers ran out.
    pub spill_stores: u32,
    /// Bytes loaded because registers ran out.
    pub spill_loads: u32,
    /// Bytes of static shared memory.
    pub static_smem: u32,
}

impl Resources {
    /// Whether registers ran out.
    pub fn spills(&self) -> bool {
        self.spill_stores + self.spill_loads > 0
    }
}

/// A remark with a `C75xx` code: matrix instructions were serialised, a register hint was ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `C7510`.
    pub code: String,
    /// The line.
    pub text: String,
}

/// The number in front of `unit` in `line`.
fn number_before(line: &str, unit: &str) -> Option<u32> {
    let head = line[..line.find(unit)?].trim_end();
    head.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The report of each entry, in the order of the log.
pub(super) fn resources(log: &str) -> Vec<(String, Resources)> {
    let mut all: Vec<(String, Resources)> = Vec::new();
    for line in log.lines() {
        if line.contains("Compiling entry function") {
            let name = line.split('\'').nth(1).unwrap_or_default();
            all.push((name.to_owned(), Resources::default()));
            continue;
        }
        let Some((_, r)) = all.last_mut() else { continue };
        // A function that is called has a frame of its own; the entry's spills are the sum.
        if line.contains("bytes stack frame") {
            r.stack += number_before(line, " bytes stack frame").unwrap_or(0);
            r.spill_stores += number_before(line, " bytes spill stores").unwrap_or(0);
            r.spill_loads += number_before(line, " bytes spill loads").unwrap_or(0);
        }
        if let Some(n) = number_before(line, " registers") {
            r.registers = n;
            r.static_smem = number_before(line, " bytes smem").unwrap_or(0);
        }
    }
    all
}

/// The `C75xx` notices.
pub(super) fn notices(log: &str) -> Vec<Notice> {
    let code = |line: &str| {
        let at = line.find("(C75")?;
        let code: String = line[at + 1..].chars().take_while(char::is_ascii_alphanumeric).collect();
        (code.len() == 5).then_some(code)
    };
    log.lines().filter_map(|l| code(l).map(|code| Notice { code, text: l.trim().to_owned() })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'gemm_mma' for 'sm_90a'
ptxas info    : Function properties for gemm_mma
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 1024 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function 'combine' for 'sm_90a'
ptxas info    : Function properties for combine
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 24 registers, used 0 barriers
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to insufficient registers
";

    #[test]
    fn each_entry_has_its_numbers() {
        let all = resources(LOG);
        let first =
            Resources { registers: 168, stack: 16, spill_stores: 8, spill_loads: 12, static_smem: 1024 };
        assert_eq!(all[0], ("gemm_mma".to_owned(), first));
        assert!(first.spills());
        assert_eq!(all[1], ("combine".to_owned(), Resources { registers: 24, ..Resources::default() }));
    }

    #[test]
    fn a_serialised_matrix_instruction_is_noticed() {
        let found = notices(LOG);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].code, "C7510");
        assert!(found[0].text.contains("serialized"));
        assert!(notices("ptxas info : (C7x) and C7510 without brackets").is_empty());
    }
}
