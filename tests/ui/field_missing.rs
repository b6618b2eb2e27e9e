//! Fields that must be there.
use jet_macros::jet_model;

jet_model! {
    pub struct Model;
    d_model: 64,
    pattern: "M*-",
    blocks {
        'M' => mamba2 { n_heads: 8, d_head: 16, n_groups: 2 },
        '*' => attention { d_head: 16, rope: 10_000.0 },
        '-' => mlp { hidden: 128, act: relu2 },
    }
}

fn main() {
    // The type exists all the same, so its uses are no errors.
    let _ = Model;
}
