//! Random problems with random legal schedules on the emulator, checks on, against the reference.

use crate::case::{Case, Family};
use crate::dice::Dice;
use crate::{families, nvrtc, rig, slow};
use jet_codegen::arch::{self, Arch};
use jet_codegen::kernel::Kernel;
use jet_codegen::schedule::Values;

/// A problem, where it runs, and its schedules there.
fn draw(
    kernel: &dyn Kernel,
    family: &dyn Family,
    dice: &mut Dice,
    target: Option<&str>,
) -> (Case, &'static Arch, Vec<Values>) {
    let case = family.random(dice);
    // Mostly the architecture that everything must run on.
    let target = target.unwrap_or_else(|| dice.of(&["sm_80", "sm_80", "sm_90a"]));
    let mut arch = arch::parse(target).expect("it is a row");
    // What an architecture cannot do is refused with the reason; a later one can.
    if let Err(why) = kernel.default_for(&case.problem, arch) {
        assert!(why.0.contains(arch.name), "{why}");
        arch = arch::parse("sm_90a").expect("it is a row");
    }
    let legal = kernel.candidates(&case.problem, arch);
    assert!(
        !legal.is_empty(),
        "nothing serves {} on {arch}: {:?}",
        case.problem,
        kernel.default_for(&case.problem, arch)
    );
    (case, arch, legal)
}

#[test]
fn random_schedules_at_random_shapes_agree_with_the_reference() {
    let Some(nvrtc) = nvrtc("parity") else { return };
    for (kernel, family) in &families() {
        let mut dice = Dice::new(std::env::var("JET_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1));
        let cases = if slow() { 20 * family.cases() } else { family.cases() };
        let mut forms = vec![0usize; kernel.forms().len()];
        for n in 0..cases {
            // Forms by turns, so that one with few schedules is seen as often.
            let form = n as i64 % forms.len() as i64;
            let is_form = |v: &Values| v.get("form").unwrap_or(0) == form;
            // A form that few problems can take is offered more of them.
            let mut drawn = draw(*kernel, *family, &mut dice, None);
            for _ in 0..30 {
                if drawn.2.iter().any(is_form) {
                    break;
                }
                drawn = draw(*kernel, *family, &mut dice, Some("sm_90a"));
            }
            let (case, arch, mut legal) = drawn;
            if legal.iter().any(is_form) {
                legal.retain(is_form);
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
