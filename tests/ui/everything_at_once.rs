//! Faults of every sort are reported together.
use jet_macros::jet_model;

jet_model! {
    pub struct Model;
    vocab: true,
    d_model: 64,
    max_context: 0,
    pattern: "M*Q-",
    blocks {
        'M' => mamba2 { n_heads: 8, d_head: 16, n_groups: 5 },
        '*' => attention { n_haeds: 8, n_kv_heads: 2, d_head: 16, rope: 10_000.0 },
        '-' => mlp { hidden: 128, act: relu },
    }
}

fn main() {
    // The type exists all the same, so its uses are no errors.
    let _ = Model;
}
