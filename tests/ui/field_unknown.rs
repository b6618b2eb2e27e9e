//! Misspelt fields, one of them required.
use jet_macros::jet_model;

jet_model! {
    pub struct Model;
    vocab: 1_000,
    d_model: 64,
    pattern: "M*-",
    blocks {
        'M' => mamba2 { n_haeds: 8, d_head: 16, n_groups: 2 },
        '*' => attention { n_heads: 8, n_kv_heads: 2, d_head: 16, rope_theta: 10_000.0 },
        '-' => mlp { hidden: 128, act: relu2, dropout: 0.1 },
    }
}

fn main() {
    // The type exists all the same, so its uses are no errors.
    let _ = Model;
}
