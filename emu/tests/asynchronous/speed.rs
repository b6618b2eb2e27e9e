use super::*;
use jet_emu::Checks;

/// Not a test of anything but speed: `cargo test --release -p jet-emu --test asynchronous speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed_of_wgmma() {
    for (n, bytes) in [(256, 1u32), (128, 1), (64, 1)] {
        let regs: Vec<String> = (0..n / 2).map(|i| format!("%q{i}")).collect();
        let zero: Vec<String> = (0..n / 2).map(|i| format!("mov.b32 %q{i}, 0;")).collect();
        let d = regs.join(",");
        let steps: String = (0..4u64)
            .map(|s| format!("add.u64 %d12, %d10, {}; add.u64 %d13, %d11, {}; wgmma.mma_async.sync.aligned.m64n{n}k16.f32.bf16.bf16 {{{d}}}, %d12, %d13, 1, 1, 1, 0, 0;\n", s * 2, s * 2))
            .collect();
        let text = format!(
            ".version 8.8\n.target sm_90a\n.address_size 64\n.visible .entry k()\n{{\n.reg .pred %p<8>; .reg .b32 %r<32>, %q<130>; .reg .b64 %d<32>; .shared .align 1024 .b8 tile[65536];\n{}\nmov.b64 %d10, 0x4000004000010040; mov.b64 %d11, 0x4000004000010440; mov.u32 %r1, tile; mov.u32 %r2, 0;\nLOOP: wgmma.fence.sync.aligned;\n{steps} wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; add.u32 %r2, %r2, 1; setp.lt.u32 %p1, %r2, 200; @%p1 bra LOOP; ret;\n}}\n",
            zero.join(" ")
        );
        let options = EmulatorOptions { threads: 1, checks: Checks::NONE, ..EmulatorOptions::default() };
        let mut emulator = Emulator::new(options);
        let module = emulator.load(&text).unwrap();
        let start = std::time::Instant::now();
        let report = emulator.launch(module, &LaunchConfig::new("k", 1, 128), &[]).unwrap();
        let s = start.elapsed().as_secs_f64();
        let flops = 200.0 * 4.0 * 2.0 * 64.0 * f64::from(n) * 16.0 * f64::from(bytes);
        assert!(report.completed, "{}", show(&report));
        println!("n {n}: {:.2} GFLOP/s", flops / s / 1e9);
    }
}
