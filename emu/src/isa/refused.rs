//! What is known and not executed; each with a reason.

use super::decoder::{Dec, Refusal};
use super::form::{Form, refused};

const TENSOR_MEMORY: &str = "tcgen05 needs tensor memory, which the emulator does not have";
const MULTIMEM: &str = "multimem needs several devices";
const CANCEL: &str = "cluster launch control is not emulated";
const TEXTURE: &str = "textures, samplers and surfaces are not emulated";
const WMMA: &str = "wmma has opaque fragments; use mma.sync";
const VIDEO: &str = "video instructions are not emulated";

/// The forms.
pub(super) const FORMS: &[Form] = &[
    refused("tcgen05.[**]", 50, TENSOR_MEMORY),
    refused("multimem.[**]", 50, MULTIMEM),
    refused("clusterlaunchcontrol.[**]", 50, CANCEL),
    refused("tex.[**]", 50, TEXTURE),
    refused("tld4.[**]", 50, TEXTURE),
    refused("txq.[**]", 50, TEXTURE),
    refused("istypep.[**]", 50, TEXTURE),
    refused("suld.[**]", 50, TEXTURE),
    refused("sust.[**]", 50, TEXTURE),
    refused("sured.[**]", 50, TEXTURE),
    refused("suq.[**]", 50, TEXTURE),
    refused("wmma.[**]", 50, WMMA),
    refused("vadd.[**]", 50, VIDEO),
    refused("vsub.[**]", 50, VIDEO),
    refused("vabsdiff.[**]", 50, VIDEO),
    refused("vmin.[**]", 50, VIDEO),
    refused("vmax.[**]", 50, VIDEO),
    refused("vshl.[**]", 50, VIDEO),
    refused("vshr.[**]", 50, VIDEO),
    refused("vmad.[**]", 50, VIDEO),
    refused("vset.[**]", 50, VIDEO),
    refused("vadd2.[**]", 50, VIDEO),
    refused("vsub2.[**]", 50, VIDEO),
    refused("vavrg2.[**]", 50, VIDEO),
    refused("vabsdiff2.[**]", 50, VIDEO),
    refused("vmin2.[**]", 50, VIDEO),
    refused("vmax2.[**]", 50, VIDEO),
    refused("vset2.[**]", 50, VIDEO),
    refused("vadd4.[**]", 50, VIDEO),
    refused("vsub4.[**]", 50, VIDEO),
    refused("vavrg4.[**]", 50, VIDEO),
    refused("vabsdiff4.[**]", 50, VIDEO),
    refused("vmin4.[**]", 50, VIDEO),
    refused("vmax4.[**]", 50, VIDEO),
    refused("vset4.[**]", 50, VIDEO),
];

/// Never reached: the table refuses before.
pub(super) fn decode(_: &mut Dec<'_>) -> Result<(), Refusal> {
    Err("not supported".to_owned())
}
