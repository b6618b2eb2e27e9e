//! A case of a fixture on the driver, as the emulator's tests run it on the emulator.

use crate::common::description::{Arg, Case, Launch, Ptx, Step};
use crate::common::tensor::{Tensor, Tensors};
use jet_emu::tensor::{Atomicity, Fill, Interleave, L2Promotion, SwizzleMode, TensorMapSpec};
use jet_runtime::cuda::Context;
use jet_runtime::cuda::image::Image;
use jet_runtime::cuda::launch::{Geometry, Packed};
use jet_runtime::cuda::machine::Api;
use jet_runtime::cuda::map::Fields;
use std::collections::BTreeMap;

/// A GPU with the buffers of a case.
struct Machine<'a> {
    context: &'a mut Context,
    module: usize,
    buffers: BTreeMap<String, u64>,
    tensors: Tensors,
}

/// Runs all steps of a case: every buffer that was not freed.
pub(crate) fn run(context: &mut Context, ptx: &Ptx, case: &Case) -> Result<Tensors, String> {
    let image = Image::ptx(&ptx.text)?;
    let module = context.load(&image).map_err(|e| e.to_string())?;
    let mut machine = Machine { context, module, buffers: BTreeMap::new(), tensors: Tensors::new() };
    for (name, input) in &case.inputs {
        machine.put(name, input.tensor())?;
    }
    for step in &case.steps {
        match step {
            Step::Free { free } => {
                let address = machine.buffers.remove(free).ok_or_else(|| format!("`{free}` is no buffer"))?;
                machine.context.synchronize().map_err(|e| e.to_string())?;
                machine.context.free(address).map_err(|e| e.to_string())?;
            }
            Step::Launch(launch) => machine.launch(launch, &ptx.target)?,
        }
    }
    machine.results()
}

impl Machine<'_> {
    fn put(&mut self, name: &str, tensor: Tensor) -> Result<u64, String> {
        let address = self.context.alloc(tensor.bytes.len() as u64).map_err(|e| e.to_string())?;
        // Fresh memory holds what was there before; zeros are what the emulator gives for it.
        self.context.upload(address, &tensor.bytes).map_err(|e| e.to_string())?;
        self.buffers.insert(name.to_owned(), address);
        self.tensors.insert(name.to_owned(), tensor);
        Ok(address)
    }

    fn launch(&mut self, launch: &Launch, target: &str) -> Result<(), String> {
        let geometry = Geometry {
            grid: launch.grid,
            block: launch.block,
            cluster: launch.cluster,
            smem: launch.shared.of(target),
        };
        geometry.check()?;
        let mut packed = Packed::default();
        for arg in &launch.args {
            self.push(&mut packed, arg)?;
        }
        let function = self.context.function(self.module, &launch.kernel).map_err(|e| e.to_string())?;
        self.context.allow(function.id, &geometry).map_err(|e| e.to_string())?;
        self.context.launch(function.id, &geometry, &packed).map_err(|e| e.to_string())
    }

    fn buffer(&self, name: &str) -> Result<u64, String> {
        self.buffers.get(name).copied().ok_or_else(|| format!("`{name}` is no buffer"))
    }

    fn push(&mut self, packed: &mut Packed, arg: &Arg) -> Result<(), String> {
        match arg {
            Arg::Tensor(name) => packed.push(&self.buffer(name)?.to_le_bytes()),
            Arg::Zeros { zeros, dtype, shape } => {
                packed.push(&self.put(zeros, Tensor::zeros(*dtype, shape))?.to_le_bytes());
            }
            Arg::U32(x) => packed.push(&x.to_le_bytes()),
            Arg::I32(x) => packed.push(&x.to_le_bytes()),
            Arg::U64(x) => packed.push(&x.to_le_bytes()),
            Arg::F32(x) => packed.push(&x.to_le_bytes()),
            Arg::F64(x) => packed.push(&x.to_le_bytes()),
            Arg::Null(_) => packed.push(&0u64.to_le_bytes()),
            Arg::TensorMap(spec) => {
                let address = self.buffer(&spec.tensor)? + spec.offset;
                let encoded = self.context.encode(&fields(spec)?, address).map_err(|e| e.to_string())?;
                packed.push(&encoded);
            }
        }
        Ok(())
    }

    fn results(mut self) -> Result<Tensors, String> {
        self.tensors.retain(|name, _| self.buffers.contains_key(name));
        for (name, tensor) in &mut self.tensors {
            self.context.download(self.buffers[name], &mut tensor.bytes).map_err(|e| e.to_string())?;
        }
        for address in self.buffers.into_values() {
            self.context.free(address).map_err(|e| e.to_string())?;
        }
        Ok(self.tensors)
    }
}

/// The driver's fields of a fixture's tensor map.
pub(crate) fn fields(spec: &TensorMapSpec) -> Result<Fields, String> {
    // The emulator's reading fills in what the description leaves out.
    let map = spec.build(0).map_err(|e| e.to_string())?;
    let rank = map.rank as usize;
    let element = map.element.driver();
    let element_bytes = map.element.bytes().ok_or("a map of packed elements is not given to the driver")?;
    let swizzle = match (map.swizzle, map.atomicity) {
        (SwizzleMode::None, _) => 0,
        (SwizzleMode::B32, _) => 1,
        (SwizzleMode::B64, _) => 2,
        (SwizzleMode::B128, Atomicity::B16) => 3,
        (SwizzleMode::B128, Atomicity::B32) => 4,
        (SwizzleMode::B128, Atomicity::B32Flip8) => 5,
        (SwizzleMode::B128, Atomicity::B64) => 6,
        (mode, atomicity) => return Err(format!("the driver knows no swizzle {mode:?} in {atomicity:?}")),
    };
    Ok(Fields {
        element,
        element_bytes: u64::from(element_bytes),
        dims: map.dims[..rank].to_vec(),
        strides: map.strides[..rank - 1].to_vec(),
        tile: map.box_dims[..rank].to_vec(),
        element_strides: map.element_strides[..rank].to_vec(),
        interleave: match map.interleave {
            Interleave::None => 0,
            Interleave::B16 => 1,
            Interleave::B32 => 2,
        },
        swizzle,
        l2_promotion: match map.l2_promotion {
            L2Promotion::None => 0,
            L2Promotion::B64 => 1,
            L2Promotion::B128 => 2,
            L2Promotion::B256 => 3,
        },
        fill: match map.fill {
            Fill::Zero => 0,
            Fill::Nan => 1,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixtures_map_becomes_the_drivers_fields() {
        let text =
            r#"{"tensor": "a", "dtype": "BF16", "dims": [320, 200], "box": [64, 128], "swizzle": "128B"}"#;
        let spec: TensorMapSpec = serde_json::from_str(text).unwrap();
        let f = fields(&spec).unwrap();
        assert_eq!((f.element, f.swizzle, f.element_bytes), (9, 3, 2));
        assert_eq!((f.dims, f.strides, f.tile), (vec![320, 200], vec![640], vec![64, 128]));
        assert_eq!((f.element_strides, f.l2_promotion, f.fill), (vec![1, 1], 0, 0));
    }
}
