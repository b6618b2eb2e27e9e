//! An activation without its gate's name.
use jet_macros::jet_model;

jet_model! {
    pub struct Model;
    vocab: 1_000,
    d_model: 64,
    pattern: "M*-",
    blocks {
        'M' => mamba2 { n_heads: 8, d_head: 16, n_groups: 2 },
        '*' => attention { n_heads: 8, n_kv_heads: 2, d_head: 16, rope: 10_000.0 },
        '-' => mlp { hidden: 128, act: silu },
    }
}

fn main() {
    // The type exists all the same, so its uses are no errors.
    let _ = Model;
}
