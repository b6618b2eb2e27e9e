//! The instruction set: one file a family, each with the table of its forms and the functions that decode and execute
//! them; decoding of whole kernels; the page that says what is supported.
//!
//! A new family is a file with `FORMS` and `decode`, and a line in [`FAMILIES`]. Decoding matches the words of an
//! instruction against the forms of its opcode (see [`form`]), so that the table is the authority: a word that no form
//! has is an error, and the target is checked in the same place.

#[macro_use]
mod lanes;

mod atomic;
mod barrier;
mod bits;
mod bulk;
mod bulk_ops;
mod bulk_tensor;
mod cfg;
mod cluster;
mod compare;
mod control;
mod convert;
mod copy_async;
pub mod coverage;
mod decode;
mod decoder;
mod fence;
mod float;
pub mod form;
mod half;
mod inst;
mod integer;
mod layout;
mod library;
mod logic;
mod matrix;
mod mbarrier;
mod memory;
mod misc;
mod mma;
mod mov;
mod program;
mod refused;
mod space;
mod sreg;
mod stack;
mod store_async;
mod tensormap;
mod warp;
mod wgmma;

pub use decode::{DecodeError, decode};
pub use decoder::{Address, Base, Dec, Refusal};
pub use form::{Form, Need, Status, Target};
pub use inst::{
    CONST, Class, Flags, Flow, Handler, Inst, NEGATED, NO_GUARD, PRED_FALSE, PRED_TRUE, Reg, Slot,
};
pub(crate) use layout::round_up;
pub use layout::{Layout, Place};
pub use program::{Carrier, Code, KernelParam, Program, SharedSymbol, Site};

/// A family of instructions.
pub struct Family {
    /// Its title on the coverage page.
    pub name: &'static str,
    /// Its forms.
    pub forms: &'static [Form],
    /// Decodes one instruction that matched one of the forms.
    pub decode: fn(&mut Dec<'_>) -> Result<(), Refusal>,
}

/// All families, in the order of the coverage page.
pub static FAMILIES: &[Family] = &[
    Family { name: "Data movement", forms: mov::FORMS, decode: mov::decode },
    Family { name: "Loads and stores", forms: memory::FORMS, decode: memory::decode },
    Family { name: "Addresses and state spaces", forms: space::FORMS, decode: space::decode },
    Family { name: "Integer arithmetic", forms: integer::FORMS, decode: integer::decode },
    Family { name: "Bits", forms: bits::FORMS, decode: bits::decode },
    Family { name: "Logic and shifts", forms: logic::FORMS, decode: logic::decode },
    Family { name: "f32 and f64 arithmetic", forms: float::FORMS, decode: float::decode },
    Family { name: "f16 and bf16 arithmetic", forms: half::FORMS, decode: half::decode },
    Family { name: "Comparison and selection", forms: compare::FORMS, decode: compare::decode },
    Family { name: "Conversion", forms: convert::FORMS, decode: convert::decode },
    Family { name: "Control flow and calls", forms: control::FORMS, decode: control::decode },
    Family { name: "Stack", forms: stack::FORMS, decode: stack::decode },
    Family { name: "Atomics and reductions", forms: atomic::FORMS, decode: atomic::decode },
    Family { name: "Fences", forms: fence::FORMS, decode: fence::decode },
    Family { name: "Warp-level communication", forms: warp::FORMS, decode: warp::decode },
    Family { name: "Barriers", forms: barrier::FORMS, decode: barrier::decode },
    Family { name: "Tensor cores", forms: mma::FORMS, decode: mma::decode },
    Family { name: "Matrix loads and stores", forms: matrix::FORMS, decode: matrix::decode },
    Family { name: "Asynchronous copies without bulk", forms: copy_async::FORMS, decode: copy_async::decode },
    Family { name: "mbarrier", forms: mbarrier::FORMS, decode: mbarrier::decode },
    Family { name: "Bulk copies", forms: bulk::FORMS, decode: bulk::decode },
    Family { name: "Tensor copies", forms: bulk_tensor::FORMS, decode: bulk_tensor::decode },
    Family { name: "Tensor maps", forms: tensormap::FORMS, decode: tensormap::decode },
    Family { name: "wgmma", forms: wgmma::FORMS, decode: wgmma::decode },
    Family { name: "Cluster barrier", forms: cluster::FORMS, decode: cluster::decode },
    Family { name: "Asynchronous stores", forms: store_async::FORMS, decode: store_async::decode },
    Family { name: "Miscellaneous", forms: misc::FORMS, decode: misc::decode },
    Family { name: "Not supported", forms: refused::FORMS, decode: refused::decode },
];

/// A warp ended: families say what it leaves undone.
pub(crate) fn warp_ended(cx: &mut crate::exec::Cx<'_>) {
    wgmma::warp_ended(cx);
}

/// What a group that cannot go on waits for, where its family knows more than the instruction says.
pub(crate) fn waits_for(
    cluster: &crate::exec::Cluster,
    warp: &crate::exec::warp::Warp,
    group: &crate::exec::group::Group,
) -> Option<String> {
    let barriers = cluster.extra.peek::<crate::exec::mbarrier::Mbarriers>();
    let at_barrier = barriers.and_then(|b| mbarrier::waits_for(b, &group.ticket));
    at_barrier.or_else(|| wgmma::waits_for(cluster, warp, group))
}
