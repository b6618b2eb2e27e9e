//! Every kernel family of `kernel::ALL`: schedules compile for every architecture, random problems agree with a plain
//! f64 reference on the emulator with its checks on, and the sources are the committed ones.
//!
//! A family's part is one file here, with a line in [`FAMILIES`]; what it must give is [`case::Family`].
//!
//! `JET_BLESS=1` rewrites the goldens. `JET_SLOW=1` takes more samples. `JET_KERNEL=gemm` looks at one family only.

#![allow(unreachable_pub, reason = "a binary of its own")]

mod case;
mod compile;
mod counts;
mod dice;
mod golden;
mod parity;
mod ragged;
mod rig;
mod sass;

mod argmax;
mod attention;
mod conv;
mod dynamic_conv;
mod elementwise;
mod experts;
mod gated_delta;
mod gemm;
mod norm;
mod quantise;
mod route;
mod ssd;

use case::Family;
use jet_codegen::kernel::{self, Kernel};
use jet_codegen::nvrtc::Nvrtc;

/// The tests' part of every family.
const FAMILIES: &[&dyn Family] = &[
    &norm::Norm,
    &elementwise::Elementwise,
    &gemm::Gemm,
    &attention::KvAppend,
    &attention::Attention,
    &attention::AttentionDecode,
    &conv::Conv,
    &ssd::Ssd,
    &dynamic_conv::DynamicConv,
    &gated_delta::GatedDelta,
    &route::Route,
    &experts::Experts,
    &argmax::Argmax,
    &quantise::Quantise,
];

/// Families to look at, each with its kernel.
fn families() -> Vec<(&'static dyn Kernel, &'static dyn Family)> {
    let wanted = std::env::var("JET_KERNEL").ok();
    let of = |k: &&'static dyn Kernel| {
        let family = FAMILIES.iter().find(|f| f.name() == k.name());
        (*k, *family.unwrap_or_else(|| panic!("{} has no file in codegen/tests/kernels", k.name())))
    };
    kernel::ALL.iter().map(of).filter(|(k, _)| wanted.as_ref().is_none_or(|w| w == k.name())).collect()
}

/// Whether long runs were asked for.
fn slow() -> bool {
    std::env::var_os("JET_SLOW").is_some()
}

/// The compiler, or a line that says why a test does nothing.
fn nvrtc(test: &str) -> Option<&'static Nvrtc> {
    match Nvrtc::get() {
        Ok(n) => Some(n),
        Err(e) => {
            println!("skipped: kernels {test}: {e}");
            None
        }
    }
}

#[test]
fn every_family_has_its_tests() {
    assert_eq!(FAMILIES.len(), kernel::ALL.len());
    assert!(!families().is_empty(), "JET_KERNEL names no family");
}
