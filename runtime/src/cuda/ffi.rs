//! The driver's calls behind safe functions. Everything unsafe about GPUs is here.
//!
//! What makes them safe: a [`Context`] hands out addresses, modules and functions as numbers that it looks up again,
//! copies only within allocations that it made, launches only with as many arguments of such sizes as the kernel's
//! parameters, and is asked for only after [`super::version`] has seen that the driver has every call used here (a
//! missing one would be a panic of the bindings). A kernel that strays writes device memory, never the host's.

use super::image::Image;
use super::launch::{DEFAULT_SMEM, Geometry, PORTABLE_CLUSTER, Packed};
use super::machine::{Api, Function};
use super::map::{BYTES, Fields};
use super::{Facts, Fault, Version};
use cudarc::driver::sys::{
    self, CUcontext, CUdevice, CUdevice_attribute as Attribute, CUevent, CUfunction,
    CUfunction_attribute as FunctionAttribute, CUjit_option, CUlaunchAttribute, CUlaunchAttributeID,
    CUlaunchAttributeValue, CUlaunchAttributeValue_union__bindgen_ty_1, CUlaunchConfig, CUmodule, CUresult,
    CUstream, CUtensorMap, CUtensorMapDataType as DataType, CUtensorMapFloatOOBfill as Fill,
    CUtensorMapInterleave as Interleave, CUtensorMapL2promotion as Promotion, CUtensorMapSwizzle as Swizzle,
};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_void};
use std::ptr;

/// Bytes of the log of a compilation by the driver.
const LOG: usize = 8 << 10;

/// Whether the driver's library can be loaded.
pub(super) fn present() -> bool {
    // SAFETY: the library is the vendor's; its initialisers may run anywhere and it is unloaded again.
    unsafe { sys::is_culib_present() }
}

/// Turns a result into a fault of `call`.
fn check(call: &'static str, result: CUresult) -> Result<(), Fault> {
    if result == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let mut text = ptr::null();
    // SAFETY: `text` outlives the call; the driver stores a pointer to a constant of its own, or null.
    let told = unsafe { sys::cuGetErrorString(result, &mut text) };
    let reason = if told == CUresult::CUDA_SUCCESS && !text.is_null() {
        // SAFETY: a constant string of the driver, ended by a zero.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    } else {
        format!("{result:?}")
    };
    Err(Fault { call, code: result as u32, reason })
}

/// A fault found on this side.
fn refused(call: &'static str, reason: impl Into<String>) -> Fault {
    Fault { call, code: CUresult::CUDA_ERROR_INVALID_VALUE as u32, reason: reason.into() }
}

/// The driver's interface. The library must be [`present`].
pub(super) fn version() -> Result<i32, Fault> {
    let mut version = 0;
    // SAFETY: every driver has this call; `version` outlives it.
    check("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&mut version) })?;
    Ok(version)
}

/// Starts the driver, which may be done any number of times.
fn init() -> Result<(), Fault> {
    // SAFETY: zero is the only value of the flags.
    check("cuInit", unsafe { sys::cuInit(0) })
}

/// Number of GPUs.
pub(super) fn count() -> Result<usize, Fault> {
    match init() {
        // A driver without a GPU.
        Err(f) if f.code == CUresult::CUDA_ERROR_NO_DEVICE as u32 => return Ok(0),
        other => other?,
    }
    let mut count = 0;
    // SAFETY: `count` outlives the call.
    check("cuDeviceGetCount", unsafe { sys::cuDeviceGetCount(&mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn device(ordinal: usize) -> Result<CUdevice, Fault> {
    let mut device = 0;
    let number = i32::try_from(ordinal).map_err(|_| refused("cuDeviceGet", "no such number"))?;
    // SAFETY: `device` outlives the call.
    check("cuDeviceGet", unsafe { sys::cuDeviceGet(&mut device, number) })?;
    Ok(device)
}

fn attribute(device: CUdevice, which: Attribute) -> Result<u32, Fault> {
    let mut value = 0;
    // SAFETY: `value` outlives the call and `device` came from the driver.
    check("cuDeviceGetAttribute", unsafe { sys::cuDeviceGetAttribute(&mut value, which, device) })?;
    Ok(value.cast_unsigned())
}

/// What the driver tells of a GPU.
pub(super) fn facts(ordinal: usize, version: Version) -> Result<Facts, Fault> {
    init()?;
    let device = device(ordinal)?;
    let mut name = [0; 128];
    // SAFETY: the driver writes at most the given length, its zero included, into `name`.
    check("cuDeviceGetName", unsafe { sys::cuDeviceGetName(name.as_mut_ptr(), name.len() as i32, device) })?;
    let mut memory = 0;
    // SAFETY: `memory` outlives the call.
    check("cuDeviceTotalMem", unsafe { sys::cuDeviceTotalMem_v2(&mut memory, device) })?;
    let text: Vec<u8> = name.iter().take_while(|c| **c != 0).map(|c| c.cast_unsigned()).collect();
    Ok(Facts {
        name: String::from_utf8_lossy(&text).into_owned(),
        capability: [
            attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ],
        sms: attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        l2: u64::from(attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?),
        memory: memory as u64,
        version,
    })
}

/// A loaded function with the bytes of its parameters.
struct Loaded {
    handle: CUfunction,
    parameters: Vec<usize>,
    name: String,
}

/// The primary context of a GPU and one stream in it. What was made here is freed with it.
pub struct Context {
    device: CUdevice,
    context: CUcontext,
    stream: CUstream,
    /// Bytes by address.
    allocations: BTreeMap<u64, u64>,
    modules: Vec<CUmodule>,
    functions: Vec<Loaded>,
    events: Vec<CUevent>,
}

// SAFETY: handles of the driver may be used by any thread that makes the context current first, which every call here
// does; the struct is used by one thread at a time, since all of its calls want it mutable.
unsafe impl Send for Context {}

impl Context {
    /// Opens GPU `ordinal`, which [`super::facts`] must have found.
    pub(super) fn new(ordinal: usize) -> Result<Context, Fault> {
        init()?;
        let device = device(ordinal)?;
        let mut context = ptr::null_mut();
        // SAFETY: `context` outlives the call and `device` came from the driver.
        check("cuDevicePrimaryCtxRetain", unsafe { sys::cuDevicePrimaryCtxRetain(&mut context, device) })?;
        let mut opened = Context {
            device,
            context,
            stream: ptr::null_mut(),
            allocations: BTreeMap::new(),
            modules: vec![],
            functions: vec![],
            events: vec![],
        };
        opened.enter()?;
        // Not the default stream: it waits for others that it knows nothing of.
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the context is current; the stream's place outlives the call.
        check("cuStreamCreate", unsafe { sys::cuStreamCreate(&mut opened.stream, flags) })?;
        Ok(opened)
    }

    /// Makes the context current for this thread.
    fn enter(&self) -> Result<(), Fault> {
        // SAFETY: the context is retained as long as `self` lives.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.context) })
    }

    /// Fails unless `bytes` from `address` lie in one allocation.
    fn inside(&self, call: &'static str, address: u64, bytes: u64) -> Result<(), Fault> {
        let found = self.allocations.range(..=address).next_back();
        let fits = found.is_some_and(|(base, len)| {
            let end = address.checked_add(bytes);
            end.is_some_and(|end| end <= base + len)
        });
        if fits {
            Ok(())
        } else {
            Err(refused(call, format!("{bytes} bytes at {address:#x} are no memory of ours")))
        }
    }

    /// The bytes of each parameter of a function.
    fn parameters(function: CUfunction) -> Result<Vec<usize>, Fault> {
        let mut sizes = Vec::new();
        loop {
            let (mut offset, mut size) = (0, 0);
            // SAFETY: the function is of a module that is loaded; both places outlive the call.
            match unsafe { sys::cuFuncGetParamInfo(function, sizes.len(), &mut offset, &mut size) } {
                CUresult::CUDA_SUCCESS => sizes.push(size),
                // Beyond the last one.
                CUresult::CUDA_ERROR_INVALID_VALUE => return Ok(sizes),
                other => {
                    check("cuFuncGetParamInfo", other)?;
                }
            }
        }
    }

    fn set(&self, function: usize, which: FunctionAttribute, value: u32) -> Result<(), Fault> {
        let handle = self.functions[function].handle;
        // SAFETY: the function is of a module that lives as long as `self`; the context is current.
        let result = unsafe { sys::cuFuncSetAttribute(handle, which, value.cast_signed()) };
        check("cuFuncSetAttribute", result)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // Nothing can be done about a failure here: a lost context has taken everything with it.
        if self.enter().is_err() {
            return;
        }
        // SAFETY: each handle was made by this context, is freed once, and is not used afterwards; the stream is
        // drained first, so that no work is left that uses them.
        unsafe {
            let _ = sys::cuStreamSynchronize(self.stream);
            for e in &self.events {
                let _ = sys::cuEventDestroy_v2(*e);
            }
            for m in &self.modules {
                let _ = sys::cuModuleUnload(*m);
            }
            for address in self.allocations.keys() {
                let _ = sys::cuMemFree_v2(*address);
            }
            if !self.stream.is_null() {
                let _ = sys::cuStreamDestroy_v2(self.stream);
            }
            let _ = sys::cuDevicePrimaryCtxRelease_v2(self.device);
        }
    }
}

impl Api for Context {
    fn alloc(&mut self, bytes: u64) -> Result<u64, Fault> {
        self.enter()?;
        let mut address = 0;
        // SAFETY: the context is current; `address` outlives the call.
        check("cuMemAlloc", unsafe { sys::cuMemAlloc_v2(&mut address, bytes.max(1) as usize) })?;
        self.allocations.insert(address, bytes.max(1));
        Ok(address)
    }

    fn free(&mut self, address: u64) -> Result<(), Fault> {
        self.enter()?;
        if self.allocations.remove(&address).is_none() {
            return Err(refused("cuMemFree", format!("{address:#x} is no allocation of ours")));
        }
        // SAFETY: an allocation of this context that nobody can name any more.
        check("cuMemFree", unsafe { sys::cuMemFree_v2(address) })
    }

    fn memory(&mut self) -> Result<[u64; 2], Fault> {
        self.enter()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: the context is current; both places outlive the call.
        check("cuMemGetInfo", unsafe { sys::cuMemGetInfo_v2(&mut free, &mut total) })?;
        Ok([free as u64, total as u64])
    }

    fn upload(&mut self, to: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.inside("cuMemcpyHtoD", to, bytes.len() as u64)?;
        self.enter()?;
        // SAFETY: the target is ours; the driver has copied pageable memory away before the call returns, and the
        // synchronisation covers memory that it would read later.
        unsafe {
            check(
                "cuMemcpyHtoD",
                sys::cuMemcpyHtoDAsync_v2(to, bytes.as_ptr().cast(), bytes.len(), self.stream),
            )?;
            check("cuMemcpyHtoD", sys::cuStreamSynchronize(self.stream))
        }
    }

    fn download(&mut self, from: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.inside("cuMemcpyDtoH", from, into.len() as u64)?;
        self.enter()?;
        // SAFETY: the source is ours, `into` is as long as what is copied, and nothing is in flight afterwards.
        unsafe {
            let copied = sys::cuMemcpyDtoHAsync_v2(into.as_mut_ptr().cast(), from, into.len(), self.stream);
            let done = sys::cuStreamSynchronize(self.stream);
            check("cuMemcpyDtoH", copied)?;
            check("cuMemcpyDtoH", done)
        }
    }

    fn fill(&mut self, at: u64, byte: u8, bytes: u64) -> Result<(), Fault> {
        self.inside("cuMemsetD8", at, bytes)?;
        if bytes == 0 {
            return Ok(());
        }
        self.enter()?;
        // SAFETY: the bytes are ours, and the context is current.
        check("cuMemsetD8", unsafe { sys::cuMemsetD8Async(at, byte, bytes as usize, self.stream) })
    }

    fn load(&mut self, image: &Image) -> Result<usize, Fault> {
        self.enter()?;
        let mut log = vec![0u8; LOG];
        let mut options =
            [CUjit_option::CU_JIT_ERROR_LOG_BUFFER, CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        // The driver takes a size in place of a pointer.
        let mut values = [log.as_mut_ptr().cast::<c_void>(), ptr::without_provenance_mut(LOG)];
        let mut module = ptr::null_mut();
        // SAFETY: an image is a whole ELF file or text that ends with a zero; the log is as long as is said, and it, the
        // options and `module` outlive the call.
        let result = unsafe {
            sys::cuModuleLoadDataEx(
                &mut module,
                image.bytes().as_ptr().cast(),
                options.len() as u32,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        check("cuModuleLoadDataEx", result).map_err(|f| {
            let end = log.iter().position(|b| *b == 0).unwrap_or(0);
            let said = String::from_utf8_lossy(&log[..end]).trim().to_owned();
            let reason = if said.is_empty() { f.reason } else { format!("{}: {said}", f.reason) };
            Fault { reason, ..f }
        })?;
        self.modules.push(module);
        Ok(self.modules.len() - 1)
    }

    fn function(&mut self, module: usize, entry: &str) -> Result<Function, Fault> {
        self.enter()?;
        let name =
            CString::new(entry).map_err(|_| refused("cuModuleGetFunction", "a zero byte in a name"))?;
        let mut handle = ptr::null_mut();
        // SAFETY: the module is loaded as long as `self` lives; `name` ends with a zero; `handle` outlives the call.
        let result = unsafe { sys::cuModuleGetFunction(&mut handle, self.modules[module], name.as_ptr()) };
        check("cuModuleGetFunction", result)
            .map_err(|f| Fault { reason: format!("`{entry}`: {}", f.reason), ..f })?;
        let parameters = Self::parameters(handle)?;
        self.functions.push(Loaded { handle, parameters: parameters.clone(), name: entry.to_owned() });
        Ok(Function { id: self.functions.len() - 1, parameters })
    }

    fn allow(&mut self, function: usize, geometry: &Geometry) -> Result<(), Fault> {
        self.enter()?;
        if geometry.smem > DEFAULT_SMEM {
            let which = FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            self.set(function, which, geometry.smem)?;
        }
        if geometry.cluster_size() > PORTABLE_CLUSTER {
            self.set(function, FunctionAttribute::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1)?;
        }
        Ok(())
    }

    fn launch(&mut self, function: usize, geometry: &Geometry, arguments: &Packed) -> Result<(), Fault> {
        self.enter()?;
        let loaded = &self.functions[function];
        arguments.check(&loaded.name, &loaded.parameters).map_err(|e| refused("cuLaunchKernelEx", e))?;
        let mut pointers: Vec<*mut c_void> =
            (0..arguments.sizes().len()).map(|i| arguments.bytes(i).as_ptr().cast_mut().cast()).collect();
        let mut attributes: Vec<CUlaunchAttribute> = geometry
            .cluster
            .map(|[x, y, z]| CUlaunchAttribute {
                id: CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
                pad: [0; 4],
                value: CUlaunchAttributeValue {
                    clusterDim: CUlaunchAttributeValue_union__bindgen_ty_1 { x, y, z },
                },
            })
            .into_iter()
            .collect();
        let ([gx, gy, gz], [bx, by, bz]) = (geometry.grid, geometry.block);
        let config = CUlaunchConfig {
            gridDimX: gx,
            gridDimY: gy,
            gridDimZ: gz,
            blockDimX: bx,
            blockDimY: by,
            blockDimZ: bz,
            sharedMemBytes: geometry.smem,
            hStream: self.stream,
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as u32,
        };
        // SAFETY: there are as many pointers as the function has parameters, each to bytes of the parameter's size,
        // which the driver copies before it returns; the attributes outlive the call; the function's module is loaded.
        let result =
            unsafe { sys::cuLaunchKernelEx(&config, loaded.handle, pointers.as_mut_ptr(), ptr::null_mut()) };
        check("cuLaunchKernelEx", result)
    }

    fn encode(&mut self, map: &Fields, address: u64) -> Result<[u8; BYTES], Fault> {
        const CALL: &str = "cuTensorMapEncodeTiled";
        self.enter()?;
        map.check(address).map_err(|e| refused(CALL, e))?;
        let unknown = || refused(CALL, "a code that is none of the driver's");
        let mut encoded = CUtensorMap { opaque: [0; 16] };
        // SAFETY: `check` saw that the lists have the lengths that the rank says, with strides for all dimensions but
        // the first; all of them and `encoded` outlive the call. The address is only written into the map.
        let result = unsafe {
            sys::cuTensorMapEncodeTiled(
                &mut encoded,
                data_type(map.element).ok_or_else(unknown)?,
                map.dims.len() as u32,
                ptr::without_provenance_mut(address as usize),
                map.dims.as_ptr(),
                map.strides.as_ptr(),
                map.tile.as_ptr(),
                map.element_strides.as_ptr(),
                interleave(map.interleave).ok_or_else(unknown)?,
                swizzle(map.swizzle).ok_or_else(unknown)?,
                promotion(map.l2_promotion).ok_or_else(unknown)?,
                fill(map.fill).ok_or_else(unknown)?,
            )
        };
        check(CALL, result)?;
        let mut bytes = [0; BYTES];
        for (out, word) in bytes.chunks_mut(8).zip(encoded.opaque) {
            out.copy_from_slice(&word.to_le_bytes());
        }
        Ok(bytes)
    }

    fn mark(&mut self) -> Result<usize, Fault> {
        self.enter()?;
        let mut event = ptr::null_mut();
        // SAFETY: the context is current and `event` outlives the call; the event is kept until `self` is dropped.
        unsafe {
            check("cuEventCreate", sys::cuEventCreate(&mut event, 0))?;
            self.events.push(event);
            check("cuEventRecord", sys::cuEventRecord(event, self.stream))?;
        }
        Ok(self.events.len() - 1)
    }

    fn seconds(&mut self, from: usize, to: usize) -> Result<f64, Fault> {
        self.enter()?;
        let mut milliseconds = 0f32;
        // SAFETY: both events were recorded on this context's stream; `milliseconds` outlives the call.
        unsafe {
            check("cuEventSynchronize", sys::cuEventSynchronize(self.events[to]))?;
            let (from, to) = (self.events[from], self.events[to]);
            check("cuEventElapsedTime", sys::cuEventElapsedTime(&mut milliseconds, from, to))?;
        }
        Ok(f64::from(milliseconds) / 1e3)
    }

    fn synchronize(&mut self) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: the stream is ours.
        check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.stream) })
    }
}

fn data_type(code: u32) -> Option<DataType> {
    use DataType::*;
    let all = [
        CU_TENSOR_MAP_DATA_TYPE_UINT8,
        CU_TENSOR_MAP_DATA_TYPE_UINT16,
        CU_TENSOR_MAP_DATA_TYPE_UINT32,
        CU_TENSOR_MAP_DATA_TYPE_INT32,
        CU_TENSOR_MAP_DATA_TYPE_UINT64,
        CU_TENSOR_MAP_DATA_TYPE_INT64,
        CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        CU_TENSOR_MAP_DATA_TYPE_FLOAT64,
        CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ,
        CU_TENSOR_MAP_DATA_TYPE_TFLOAT32,
        CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ,
        CU_TENSOR_MAP_DATA_TYPE_16U4_ALIGN8B,
        CU_TENSOR_MAP_DATA_TYPE_16U4_ALIGN16B,
        CU_TENSOR_MAP_DATA_TYPE_16U6_ALIGN16B,
    ];
    all.into_iter().find(|t| *t as u32 == code)
}

fn interleave(code: u32) -> Option<Interleave> {
    use Interleave::*;
    let all = [CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_INTERLEAVE_16B, CU_TENSOR_MAP_INTERLEAVE_32B];
    all.into_iter().find(|t| *t as u32 == code)
}

fn swizzle(code: u32) -> Option<Swizzle> {
    use Swizzle::*;
    let all = [
        CU_TENSOR_MAP_SWIZZLE_NONE,
        CU_TENSOR_MAP_SWIZZLE_32B,
        CU_TENSOR_MAP_SWIZZLE_64B,
        CU_TENSOR_MAP_SWIZZLE_128B,
        CU_TENSOR_MAP_SWIZZLE_128B_ATOM_32B,
        CU_TENSOR_MAP_SWIZZLE_128B_ATOM_32B_FLIP_8B,
        CU_TENSOR_MAP_SWIZZLE_128B_ATOM_64B,
    ];
    all.into_iter().find(|t| *t as u32 == code)
}

fn promotion(code: u32) -> Option<Promotion> {
    use Promotion::*;
    let all = [
        CU_TENSOR_MAP_L2_PROMOTION_NONE,
        CU_TENSOR_MAP_L2_PROMOTION_L2_64B,
        CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
        CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
    ];
    all.into_iter().find(|t| *t as u32 == code)
}

fn fill(code: u32) -> Option<Fill> {
    use Fill::*;
    let all = [CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA];
    all.into_iter().find(|t| *t as u32 == code)
}
