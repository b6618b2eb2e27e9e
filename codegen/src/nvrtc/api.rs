//! The functions of NVRTC that are used, with their C types.

use super::NvrtcError;
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::null_mut;

/// `nvrtcProgram`.
type Handle = *mut std::ffi::c_void;
/// `nvrtcResult`.
type Status = c_int;

/// `NVRTC_ERROR_COMPILATION`: the source is wrong, everything else is fine.
const COMPILATION: Status = 6;

/// The entry points. They stay valid as long as the library, which is never unloaded.
pub(super) struct Api {
    error_string: unsafe extern "C" fn(Status) -> *const c_char,
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Status,
    create: unsafe extern "C" fn(
        *mut Handle,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> Status,
    destroy: unsafe extern "C" fn(*mut Handle) -> Status,
    compile: unsafe extern "C" fn(Handle, c_int, *const *const c_char) -> Status,
    log_size: unsafe extern "C" fn(Handle, *mut usize) -> Status,
    log: unsafe extern "C" fn(Handle, *mut c_char) -> Status,
    ptx_size: unsafe extern "C" fn(Handle, *mut usize) -> Status,
    ptx: unsafe extern "C" fn(Handle, *mut c_char) -> Status,
    cubin_size: unsafe extern "C" fn(Handle, *mut usize) -> Status,
    cubin: unsafe extern "C" fn(Handle, *mut c_char) -> Status,
    _library: Library,
}

impl Api {
    /// Takes the entry points from `library`; the error names the one that is missing.
    pub(super) fn new(library: Library) -> Result<Self, String> {
        macro_rules! symbol {
            ($name:literal) => {{
                // SAFETY: the types above are those of nvrtc.h, unchanged from version 11.1 on.
                *unsafe { library.get($name) }.map_err(|e| e.to_string())?
            }};
        }
        Ok(Self {
            error_string: symbol!("nvrtcGetErrorString"),
            version: symbol!("nvrtcVersion"),
            create: symbol!("nvrtcCreateProgram"),
            destroy: symbol!("nvrtcDestroyProgram"),
            compile: symbol!("nvrtcCompileProgram"),
            log_size: symbol!("nvrtcGetProgramLogSize"),
            log: symbol!("nvrtcGetProgramLog"),
            ptx_size: symbol!("nvrtcGetPTXSize"),
            ptx: symbol!("nvrtcGetPTX"),
            cubin_size: symbol!("nvrtcGetCUBINSize"),
            cubin: symbol!("nvrtcGetCUBIN"),
            _library: library,
        })
    }

    pub(super) fn version(&self) -> (i32, i32) {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: two valid places to write to; the call cannot fail otherwise.
        unsafe { (self.version)(&mut major, &mut minor) };
        (major, minor)
    }

    fn check(&self, call: &'static str, status: Status) -> Result<(), NvrtcError> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the function gives a static string for any number.
        let reason = unsafe { CStr::from_ptr((self.error_string)(status)) };
        Err(NvrtcError::Call { call, reason: reason.to_string_lossy().into_owned() })
    }

    /// A program of `source`.
    pub(super) fn program(&self, source: &str) -> Result<Program<'_>, NvrtcError> {
        let text = CString::new(source).map_err(|_| NvrtcError::Call {
            call: "nvrtcCreateProgram",
            reason: "the source has a zero byte".into(),
        })?;
        let mut handle = null_mut();
        // SAFETY: two strings that end in zero, no headers; the handle is written on success.
        let status = unsafe {
            (self.create)(
                &mut handle,
                text.as_ptr(),
                c"kernel.cu".as_ptr(),
                0,
                std::ptr::null(),
                std::ptr::null(),
            )
        };
        self.check("nvrtcCreateProgram", status)?;
        Ok(Program { api: self, handle })
    }
}

/// A program; destroyed with the value.
pub(super) struct Program<'a> {
    api: &'a Api,
    handle: Handle,
}

impl Program<'_> {
    /// Compiles; false where the source is wrong, which the log explains.
    pub(super) fn compile(&self, options: &[String]) -> Result<bool, NvrtcError> {
        let owned: Vec<CString> = options
            .iter()
            .map(|o| CString::new(o.as_str()).expect("options are our own, without zero bytes"))
            .collect();
        let pointers: Vec<*const c_char> = owned.iter().map(|o| o.as_ptr()).collect();
        // SAFETY: a living handle and as many strings as are announced.
        let status = unsafe { (self.api.compile)(self.handle, pointers.len() as c_int, pointers.as_ptr()) };
        if status == COMPILATION {
            return Ok(false);
        }
        self.api.check("nvrtcCompileProgram", status)?;
        Ok(true)
    }

    fn bytes(
        &self,
        call: &'static str,
        size: unsafe extern "C" fn(Handle, *mut usize) -> Status,
        get: unsafe extern "C" fn(Handle, *mut c_char) -> Status,
    ) -> Result<Vec<u8>, NvrtcError> {
        let mut len = 0;
        // SAFETY: a living handle and a place for the size.
        self.api.check(call, unsafe { size(self.handle, &mut len) })?;
        let mut bytes = vec![0u8; len];
        // SAFETY: a living handle and as many bytes as it asked for.
        self.api.check(call, unsafe { get(self.handle, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }

    fn text(bytes: Vec<u8>) -> String {
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    pub(super) fn log(&self) -> Result<String, NvrtcError> {
        self.bytes("nvrtcGetProgramLog", self.api.log_size, self.api.log).map(Self::text)
    }

    pub(super) fn ptx(&self) -> Result<String, NvrtcError> {
        self.bytes("nvrtcGetPTX", self.api.ptx_size, self.api.ptx).map(Self::text)
    }

    pub(super) fn cubin(&self) -> Result<Vec<u8>, NvrtcError> {
        self.bytes("nvrtcGetCUBIN", self.api.cubin_size, self.api.cubin)
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is living and is not used again.
        unsafe { (self.api.destroy)(&mut self.handle) };
    }
}
