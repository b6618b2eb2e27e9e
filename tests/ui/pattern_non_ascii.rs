//! Carets stay under their character behind wide ones.
use jet_macros::jet_model;

jet_model! {
    pub struct Model;
    vocab: 1_000,
    d_model: 64,
    pattern: "層M*é-K",
    blocks {
        '層' => mlp { hidden: 8, act: relu2 },
        'M' => mamba2 { n_heads: 8, d_head: 16, n_groups: 2 },
        '*' => attention { n_heads: 8, n_kv_heads: 2, d_head: 16, rope: 10_000.0 },
        '-' => mlp { hidden: 128, act: relu2 },
    }
}

fn main() {
    // The type exists all the same, so its uses are no errors.
    let _ = Model;
}
