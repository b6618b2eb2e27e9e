::core::compile_error! {
    "vocab is 0; it must be from 1 to 16777216"
}
::core::compile_error! {
    "unknown block symbol `K`\n\"MM*M-K*\"\n      ^ one of: M (mamba2)  * (attention)  - (mlp)  J (jet_block)"
}
::core::compile_error! {
    "`J` is bound but not in the pattern; use it or remove the binding"
}
/// A seven-layer hybrid.
#[allow(dead_code)]
pub struct TinyHybrid;
