//! Launches that are not allowed.

use super::*;

fn refusal(text: &str, config: &LaunchConfig, args: &[Arg]) -> String {
    let mut emu = emulator(0);
    let id = emu.load(text).unwrap_or_else(|e| panic!("{e}"));
    emu.launch(id, config, args).expect_err("must be refused").to_string()
}

#[test]
fn shapes_and_arguments_are_checked() {
    let text = kernel("sm_80", "", "");
    let one = [Arg::U64(0)];
    let config = LaunchConfig::new("k", 1, 32);
    assert!(refusal(&text, &LaunchConfig::new("no", 1, 32), &one).contains("it has: k"));
    assert!(refusal(&text, &config, &[]).contains("1 parameters, 0 arguments"));
    assert!(refusal(&text, &config, &[Arg::U32(1)]).contains("8 bytes, the argument has 4"));
    assert!(refusal(&text, &LaunchConfig::new("k", 1, 1025), &one).contains("1025 threads"));
    assert!(refusal(&text, &LaunchConfig::new("k", 0, 32), &one).contains("grid"));
    let large = LaunchConfig { dynamic_shared: 200 * 1024, ..config.clone() };
    assert!(refusal(&text, &large, &one).contains("shared memory"));
    let cluster = LaunchConfig { cluster: Some([2, 1, 1]), grid: [4, 1, 1], ..config.clone() };
    assert!(refusal(&text, &cluster, &one).contains("sm_90"));
    let odd = LaunchConfig { cluster: Some([2, 1, 1]), grid: [3, 1, 1], ..config };
    assert!(refusal(&kernel("sm_90", "", ""), &odd, &one).contains("no multiple"));
}

#[test]
fn bounds_of_the_kernel_hold() {
    let text =
        |bounds: &str| module("sm_90", &format!(".visible .entry k(.param .u64 p) {bounds} {{ ret; }}"));
    let one = [Arg::U64(0)];
    let config = LaunchConfig::new("k", 4, 64);
    assert!(refusal(&text(".reqntid 128"), &config, &one).contains("requires"));
    assert!(refusal(&text(".maxntid 32, 1, 1"), &config, &one).contains("allows CTAs of 32"));
    let cluster = LaunchConfig { cluster: Some([4, 1, 1]), ..config };
    assert!(
        refusal(&text(".explicitcluster .reqnctapercluster 2, 1, 1"), &cluster, &one)
            .contains("requires clusters")
    );
}
