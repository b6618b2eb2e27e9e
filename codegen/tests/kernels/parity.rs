//! Random problems with random legal schedules on the emulator, checks on, against the reference.

use crate::dice::Dice;
use crate::{families, nvrtc, rig, slow};
use jet_codegen::arch;

#[test]
fn random_schedules_at_random_shapes_agree_with_the_reference() {
    let Some(nvrtc) = nvrtc("parity") else { return };
    for (kernel, family) in families() {
        let mut dice = Dice::new(std::env::var("JET_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1));
        let cases = if slow() { 20 * family.cases() } else { family.cases() };
        let mut forms = vec![0usize; kernel.forms().len()];
        for n in 0..cases {
            let case = family.random(&mut dice);
            // Mostly the architecture that everything must run on, each form where it can run at all.
            let arch = arch::parse(dice.of(&["sm_80", "sm_80", "sm_90a"])).expect("it is a row");
            let mut legal = kernel.candidates(&case.problem, arch);
            assert!(
                !legal.is_empty(),
                "nothing serves {} on {arch}: {:?}",
                case.problem,
                kernel.default_for(&case.problem, arch)
            );
            // Forms by turns, so that one with few schedules is seen as often.
            let form = n as i64 % forms.len() as i64;
            if legal.iter().any(|v| v.get("form").unwrap_or(0) == form) {
                legal.retain(|v| v.get("form").unwrap_or(0) == form);
            }
            let values = dice.of(&legal);
            forms[values.get("form").unwrap_or(0) as usize] += 1;
            let source = kernel.emit(&case.problem, &values, arch).expect("it is legal");
            if let Err(why) = rig::run(nvrtc, &case, &source, arch, n as u64) {
                panic!("case {n}: {} with {values} on {arch}: {why}\n{}", case.problem, source.text);
            }
        }
        println!("{}: {cases} cases, by form {forms:?}", kernel.name());
        assert!(forms.iter().all(|n| *n > 0), "a form of {} was never seen: {forms:?}", kernel.name());
    }
}
