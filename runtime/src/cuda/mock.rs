//! A record of calls in the driver's place: what the backend asks, and what it makes of refusals. It runs no kernel and
//! says nothing about a GPU.

use super::Fault;
use super::image::{Image, tests::elf};
use super::launch::{Geometry, Packed};
use super::machine::{Api, Function, Machine};
use super::map::{BYTES, Fields};
use crate::Error;
use crate::gpu::{Backend, LaunchSpec, Memory, Module, Place, Value};
use jet_codegen::arch;
use jet_codegen::kernel::Elem;
use jet_codegen::nvrtc::{Compiled, Output};
use std::sync::{Arc, Mutex};

/// Where the first allocation is.
const BASE: u64 = 0x7000_0000;

#[derive(Clone, Debug, PartialEq)]
enum Call {
    Alloc(u64),
    Upload(u64, Vec<u8>),
    Fill(u64, u64),
    Load(Image),
    Function(usize, String),
    Allow(usize, u32, u32),
    Launch(usize, Geometry, Packed),
    Encode(Fields, u64),
}

#[derive(Default)]
struct Record {
    calls: Arc<Mutex<Vec<Call>>>,
    /// Bytes still free.
    free: u64,
    next: u64,
    /// Bytes of the parameters of every function.
    parameters: Vec<usize>,
    refuses_cubins: bool,
    refuses_ptx: bool,
}

impl Record {
    fn note(&self, call: Call) {
        self.calls.lock().unwrap().push(call);
    }
}

fn refusal(call: &'static str, code: u32) -> Fault {
    Fault { call, code, reason: "refused".into() }
}

impl Api for Record {
    fn alloc(&mut self, bytes: u64) -> Result<u64, Fault> {
        self.note(Call::Alloc(bytes));
        self.free = self.free.checked_sub(bytes).ok_or_else(|| refusal("cuMemAlloc", 2))?;
        let at = BASE + self.next;
        self.next += bytes.next_multiple_of(256);
        Ok(at)
    }

    fn free(&mut self, _: u64) -> Result<(), Fault> {
        Ok(())
    }

    fn memory(&mut self) -> Result<[u64; 2], Fault> {
        Ok([self.free, 1 << 40])
    }

    fn upload(&mut self, to: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.note(Call::Upload(to, bytes.to_vec()));
        Ok(())
    }

    fn download(&mut self, _: u64, into: &mut [u8]) -> Result<(), Fault> {
        // An illegal address of a kernel before shows where the host waits.
        if into.len() == 13 { Err(refusal("cuMemcpyDtoH", 700)) } else { Ok(()) }
    }

    fn fill(&mut self, at: u64, _: u8, bytes: u64) -> Result<(), Fault> {
        self.note(Call::Fill(at, bytes));
        Ok(())
    }

    fn load(&mut self, image: &Image) -> Result<usize, Fault> {
        self.note(Call::Load(image.clone()));
        match image {
            Image::Cubin(_) if self.refuses_cubins => Err(refusal("cuModuleLoadDataEx", 209)),
            Image::Ptx(_) if self.refuses_ptx => Err(refusal("cuModuleLoadDataEx", 222)),
            _ => Ok(4),
        }
    }

    fn function(&mut self, module: usize, entry: &str) -> Result<Function, Fault> {
        self.note(Call::Function(module, entry.to_owned()));
        Ok(Function { id: 9, parameters: self.parameters.clone() })
    }

    fn allow(&mut self, function: usize, geometry: &Geometry) -> Result<(), Fault> {
        self.note(Call::Allow(function, geometry.smem, geometry.cluster_size()));
        Ok(())
    }

    fn launch(&mut self, function: usize, geometry: &Geometry, arguments: &Packed) -> Result<(), Fault> {
        self.note(Call::Launch(function, *geometry, arguments.clone()));
        Ok(())
    }

    fn encode(&mut self, map: &Fields, address: u64) -> Result<[u8; BYTES], Fault> {
        self.note(Call::Encode(map.clone(), address));
        Ok([0x5a; BYTES])
    }

    fn mark(&mut self) -> Result<usize, Fault> {
        Ok(0)
    }

    fn seconds(&mut self, _: usize, _: usize) -> Result<f64, Fault> {
        Ok(0.0)
    }

    fn synchronize(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

fn machine(record: Record) -> (Machine<Record>, Arc<Mutex<Vec<Call>>>) {
    let calls = Arc::clone(&record.calls);
    (Machine::new("cuda:0".into(), arch::parse("sm_90a").unwrap(), record), calls)
}

fn at(memory: Memory, offset: u64) -> Place {
    Place { memory, offset }
}

fn compiled(cubin: Vec<u8>) -> Compiled {
    Compiled { cubin, ptx: ".version 8.8".into(), ..Compiled::default() }
}

#[test]
fn memory_that_is_not_there_is_told_with_what_was_needed_and_what_is_free() {
    let (mut m, _) = machine(Record { free: 1000, ..Record::default() });
    m.alloc("keys", 600).unwrap();
    match m.alloc("values", 600).unwrap_err() {
        Error::OutOfMemory { what, needed: 600, available: 400 } => assert_eq!(what, "`values` on cuda:0"),
        other => panic!("{other}"),
    }
}

#[test]
fn places_become_addresses_and_nothing_goes_beyond_an_allocation() {
    let (mut m, calls) = machine(Record { free: 10_000, ..Record::default() });
    let (a, b) = (m.alloc("a", 100).unwrap(), m.alloc("b", 100).unwrap());
    m.upload(at(b, 4), &[1, 2]).unwrap();
    m.zero(at(a, 0), 100).unwrap();
    let wanted = [Call::Upload(BASE + 256 + 4, vec![1, 2]), Call::Fill(BASE, 100)];
    assert_eq!(calls.lock().unwrap()[2..], wanted);
    assert!(m.upload(at(a, 99), &[1, 2]).unwrap_err().to_string().contains("allocation of 100"));
    assert!(m.zero(at(a, 1), 100).is_err());
    assert!(m.download(at(a, u64::MAX), &mut [0; 2]).is_err());
    let late = m.download(at(a, 0), &mut [0; 13]).unwrap_err().to_string();
    assert!(late.contains("700") && late.contains("JET_CUDA_SYNC"), "{late}");
}

#[test]
fn a_refused_cubin_is_replaced_by_its_ptx_and_two_refusals_are_both_told() {
    let (mut m, calls) = machine(Record { refuses_cubins: true, ..Record::default() });
    m.load(&compiled(elf())).unwrap();
    let tried = calls.lock().unwrap().clone();
    assert!(matches!(&tried[..], [Call::Load(Image::Cubin(_)), Call::Load(Image::Ptx(_))]));
    let (mut m, _) = machine(Record { refuses_cubins: true, refuses_ptx: true, ..Record::default() });
    let why = m.load(&compiled(elf())).unwrap_err().to_string();
    assert!(why.contains("sm_90a") && why.contains("209") && why.contains("222"), "{why}");
    assert_eq!(m.image(), Output::Cubin);
}

#[test]
fn a_launch_is_packed_in_order_with_its_maps_and_allowed_its_memory_once() {
    let parameters = vec![8, 8, 4, 8, 4, 128];
    let (mut m, calls) = machine(Record { free: 10_000, parameters, ..Record::default() });
    let a = m.alloc("a", 4096).unwrap();
    let module = m.load(&compiled(elf())).unwrap();
    let map = Value::Map {
        base: at(a, 16),
        elem: Elem::Bf16,
        shape: [4, 64],
        stride: 64,
        tile: [4, 64],
        swizzle: 128,
    };
    let args = [
        Value::Address(at(a, 32)),
        Value::Null,
        Value::Int(-2),
        Value::Long(1 << 40),
        Value::Float(0.5),
        map.clone(),
    ];
    let spec = LaunchSpec {
        module,
        entry: "gemm",
        grid: [4, 1, 1],
        block: 128,
        cluster: [2, 1, 1],
        smem: 100_000,
        args: &args,
    };
    m.launch(&spec).unwrap();
    m.launch(&LaunchSpec { smem: 64_000, ..spec.clone() }).unwrap();
    m.launch(&LaunchSpec { smem: 120_000, ..spec.clone() }).unwrap();
    let calls = calls.lock().unwrap().clone();
    let fields = Fields::of(&map).unwrap().unwrap();
    assert!(calls.contains(&Call::Encode(fields, BASE + 16)));
    assert_eq!(calls.iter().filter(|c| **c == Call::Function(4, "gemm".into())).count(), 1);
    let allowed: Vec<_> = calls.iter().filter(|c| matches!(c, Call::Allow(..))).cloned().collect();
    assert_eq!(allowed, [Call::Allow(9, 100_000, 2), Call::Allow(9, 120_000, 2)]);
    let launches: Vec<_> = calls
        .iter()
        .filter_map(|c| if let Call::Launch(f, g, p) = c { Some((*f, *g, p.clone())) } else { None })
        .collect();
    let (function, geometry, packed) = &launches[0];
    assert_eq!(
        (*function, geometry.cluster, geometry.block, launches.len()),
        (9, Some([2, 1, 1]), [128, 1, 1], 3)
    );
    assert_eq!(packed.bytes(0), (BASE + 32).to_le_bytes());
    assert_eq!(
        (packed.bytes(2), packed.bytes(3)),
        (&(-2i32).to_le_bytes()[..], &(1i64 << 40).to_le_bytes()[..])
    );
    assert_eq!(packed.bytes(5), [0x5a; BYTES]);
}

#[test]
fn arguments_that_are_not_the_kernels_and_empty_grids_never_reach_the_driver() {
    let (mut m, calls) = machine(Record { parameters: vec![8], ..Record::default() });
    let module = m.load(&compiled(elf())).unwrap();
    let launch = |m: &mut Machine<Record>, grid, module: Module, args: &[Value]| {
        let spec = LaunchSpec { module, entry: "norm", grid, block: 32, cluster: [1; 3], smem: 0, args };
        m.launch(&spec).map_err(|e| e.to_string())
    };
    assert!(launch(&mut m, [1, 1, 1], module, &[Value::Int(1)]).unwrap_err().contains("8 bytes"));
    assert!(launch(&mut m, [1, 1, 1], module, &[]).unwrap_err().contains("1 parameters"));
    assert!(launch(&mut m, [0, 1, 1], module, &[Value::Null]).unwrap_err().contains("`norm`"));
    assert!(!calls.lock().unwrap().iter().any(|c| matches!(c, Call::Launch(..))));
    assert_eq!(launch(&mut m, [1, 1, 1], module, &[Value::Null]), Ok(()));
}
