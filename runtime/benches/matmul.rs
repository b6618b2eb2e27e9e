//! Matrix products on the shapes of released models: `cargo bench -p jet-runtime --bench matmul [-- FILTER]`.
//!
//! All workers of the CPU device, default schedules. One token streams weights from memory (bytes per second); a
//! prompt of 512 is arithmetic (multiply-adds per second). Each name ends with the schedule that was run.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jet_numerics::DType;
use jet_runtime::cpu::matmul::{paths_for, problem};
use jet_runtime::device;
use std::time::Duration;

/// Model, rows and columns of one of its large matrices.
const MATRICES: [(&str, usize, usize); 3] = [
    ("smollm2-135m/gate_up", 3_072, 576),
    ("smollm2-135m/down", 576, 1_536),
    ("jet-nemotron-2b/gate_up", 22_016, 1_536),
];

const FORMATS: [DType; 4] = [DType::Q4_1, DType::Q4K, DType::Q8_0, DType::Bf16];

fn products(c: &mut Criterion) {
    let cpu = device::open("cpu", 0).expect("the CPU is always there");
    for (name, tokens) in [("gemv", 1), ("gemm", 512)] {
        let mut group = c.benchmark_group(name);
        group.sample_size(15).measurement_time(Duration::from_secs(2));
        for (model, n, k) in MATRICES {
            for dtype in FORMATS.into_iter().filter(|d| d.row_bytes(k).is_some()) {
                let path = paths_for(dtype)[0];
                let problem = problem(n, k, tokens, dtype, path);
                let mut bench = cpu.bench(&problem).expect("a problem of this device");
                let family = cpu.family(&problem.family).expect("a family of this device");
                let schedule = family.candidates(&problem).swap_remove(0);
                bench.prepare(&schedule).expect("the default is legal");
                let (bytes, flops) = bench.floor();
                group.throughput(if tokens == 1 {
                    Throughput::Bytes(bytes)
                } else {
                    Throughput::Elements(flops / 2)
                });
                let id = BenchmarkId::new(format!("{model}/{}", problem.format), &schedule);
                group.bench_function(id, |b| {
                    // The device says the time of one product; a run may hold several.
                    b.iter_custom(|times| Duration::from_secs_f64(bench.time(times as usize) * times as f64));
                });
            }
        }
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
