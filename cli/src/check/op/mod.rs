//! The ops that cases exist for: one file each, one line in [`ALL`].

mod attention;
mod causal_conv;
mod dynamic_conv;
mod gated_delta_rule;
mod gated_rms_norm;
mod gguf_dequant;
mod gguf_model;
mod jet_block;
mod rope;
mod ssd;

use super::case::CaseFile;
use super::tally::{Judge, Tallies, Tolerance, Tolerances};
use super::{Context, Greedy};
use anyhow::Result;
use jet_runtime::device::Precision;

/// Checks the cases of one op.
pub struct OpCheck {
    /// The metadata's `op`.
    pub op: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Whether its cases are about a file that has to be given beside them.
    pub needs_model: bool,
    /// Checks one case: announces its expected tensors and compares them.
    pub run: fn(&Context<'_>, &CaseFile, &mut Tallies) -> Result<Option<Greedy>>,
}

/// Every op that this version knows.
pub const ALL: &[OpCheck] = &[
    OpCheck {
        op: "attention",
        about: "causal attention over a KV cache",
        needs_model: false,
        run: attention::run,
    },
    OpCheck { op: "causal_conv", about: "Mamba-2's convolution", needs_model: false, run: causal_conv::run },
    OpCheck {
        op: "dynamic_conv",
        about: "JetBlock's generated convolution",
        needs_model: false,
        run: dynamic_conv::run,
    },
    OpCheck {
        op: "gated_delta_rule",
        about: "the gated delta rule",
        needs_model: false,
        run: gated_delta_rule::run,
    },
    OpCheck {
        op: "gated_rms_norm",
        about: "Mamba-2's gated norm",
        needs_model: false,
        run: gated_rms_norm::run,
    },
    OpCheck { op: "gguf_dequant", about: "rows of a GGUF file", needs_model: true, run: gguf_dequant::run },
    OpCheck { op: "gguf_model", about: "a model in a GGUF file", needs_model: true, run: gguf_model::run },
    OpCheck { op: "jet_block", about: "a whole JetBlock", needs_model: false, run: jet_block::run },
    OpCheck { op: "rope", about: "rotary embedding", needs_model: false, run: rope::run },
    OpCheck { op: "ssd", about: "Mamba-2's state-space scan", needs_model: false, run: ssd::run },
];

/// The check of `op`.
pub fn find(op: &str) -> Option<&'static OpCheck> {
    ALL.iter().find(|c| c.op == op)
}

impl Context<'_> {
    /// How tensors with the tolerance `t` are judged at this precision: the files only have float32 tolerances for
    /// single ops.
    pub fn judge(&self, t: Tolerance) -> Judge {
        match self.precision {
            Precision::F32 => Judge::Largest(t),
            Precision::Bf16 => Judge::Shown("no tolerance is stated for bf16"),
            Precision::Native => Judge::Shown("no tolerance is stated for the stored formats"),
        }
    }

    /// [`Self::judge`] with the output tolerance of `case`.
    pub fn judge_outputs(&self, case: &CaseFile) -> Result<Judge> {
        Ok(self.judge(Tolerances::of(case)?.outputs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_are_listed_once_and_in_order() {
        assert!(ALL.windows(2).all(|w| w[0].op < w[1].op));
        assert!(ALL.iter().all(|c| !c.about.is_empty()));
        assert!(find("ssd").is_some() && find("linear_attention").is_none());
    }
}
