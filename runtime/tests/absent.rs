//! A GPU that is not there: what is counted of a sample stands for the whole, and what is chosen will be found.

use jet_codegen::gpu;
use jet_codegen::nvrtc::Nvrtc;
use jet_codegen::schedule::{Problem, Values};
use jet_runtime::device::{Counted, Device, open};
use jet_runtime::emulated::AbsentGpu;

fn count(device: &dyn Device, problem: &Problem, values: &Values) -> Counted {
    let mut bench = device.bench(problem).unwrap_or_else(|e| panic!("{problem}: {e}"));
    bench.prepare(values).unwrap_or_else(|e| panic!("{problem} with {values}: {e}"));
    let counted = bench.counted().unwrap_or_else(|e| panic!("{problem} with {values}: {e}"));
    counted.unwrap_or_else(|| panic!("{} does not count", device.name()))
}

#[test]
fn a_sample_of_the_ctas_counts_what_all_of_them_do() {
    if let Err(e) = Nvrtc::get() {
        return println!("skipped: a_sample_of_the_ctas_counts_what_all_of_them_do: {e}");
    }
    let whole = open("emulated:sm_80", 1).expect("the emulated device needs nothing");
    let absent = AbsentGpu::open(gpu::parse("a100").expect("a row of the table"));
    for text in [
        "gemm[accumulate=0 align=8 bias=0 k=64 n=1024 out_align=8 tokens=1024] bf16",
        "conv[align=8 bias=1 channels=512 silu=1 taps=4 tokens=512] bf16",
        "norm[align=8 group=256 shared=0 tokens=512 width=256] bf16 x=f32",
    ] {
        let problem: Problem = text.parse().expect("it is a problem");
        let values = absent.family(&problem.family).expect("a family").default_values(&problem);
        let (all, some) = (count(&*whole, &problem, &values), count(&absent, &problem, &values));
        assert_eq!((all.ran, some.ctas), (all.ctas, all.ctas), "{text}");
        assert!(some.ran < some.ctas && some.registers > 0 && all.registers == 0, "{text}: {some:?}");
        let counts = |c: &Counted| {
            [
                c.warp_instructions,
                c.tensor_flops,
                c.sector_bytes,
                c.unique_bytes,
                c.wavefronts,
                c.ideal_wavefronts,
            ]
        };
        for (all, some) in counts(&all).into_iter().zip(counts(&some)) {
            assert!(
                all.abs_diff(some) as f64 <= 0.02 * all as f64,
                "{text}: {all} counted, {some} by the sample"
            );
        }
        assert!(some.seconds > 2e-6 && some.roofs.highest().1 < some.seconds, "{text}: {some:?}");
    }
}

#[test]
fn kernels_of_each_kind_are_counted_for_a_gpu_of_another_architecture() {
    if let Err(e) = Nvrtc::get() {
        return println!("skipped: kernels_of_each_kind_are_counted_for_a_gpu_of_another_architecture: {e}");
    }
    let absent = AbsentGpu::open(gpu::parse("h100").expect("a row of the table"));
    for text in [
        "gemm[accumulate=0 align=8 bias=0 k=512 n=512 out_align=8 tokens=256] bf16",
        "attention_decode[align=8 d_head=64 heads=8 kv_heads=2 tokens=3 window=0] bf16",
        "ssd[align=8 d_head=16 d_state=24 groups=1 heads=2 step=1 tokens=3] bf16",
        "experts[accumulate=0 align=8 experts=5 hidden=24 out_align=8 relu2=1 tokens=9 top_k=2 width=32] bf16 gates=f32 ids=f32",
    ] {
        let problem: Problem = text.parse().expect("it is a problem");
        let values = absent.family(&problem.family).expect("a family").default_values(&problem);
        let c = count(&absent, &problem, &values);
        assert!(c.unique_bytes > 0 && c.warp_instructions > 0 && c.resident > 0, "{text}: {c:?}");
        // Two thousand tokens lie before each of the three, as on a GPU that is there.
        if problem.family == "attention_decode" {
            assert!(c.unique_bytes > 3 * 2048 * 2 * 2 * 64 * 2, "{c:?}");
        }
        let mut bench = absent.bench(&problem).expect("it was set up before");
        bench.prepare(&values).expect("it was prepared before");
        assert!(bench.validate().unwrap_err().to_string().contains("computes nothing"));
    }
}

#[test]
fn an_absent_gpu_goes_by_the_name_that_its_driver_will_give() {
    for row in gpu::ALL {
        let hard = AbsentGpu::open(row).fingerprint().hard;
        let sms = row.sms.to_string();
        let known = [("arch", row.arch), ("device", "cuda"), ("gpu", row.device), ("sms", sms.as_str())];
        let known = known.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(hard, known.into());
    }
}
