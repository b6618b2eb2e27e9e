use super::mock::{Mock, next};
use super::*;
use crate::model::Model as _;
use crate::presets::TinyHybrid;
use jet_runtime::recipe::Part;

const VOCAB: usize = TinyHybrid::VOCAB as usize;

fn options() -> LoadOptions {
    LoadOptions { random: Some(7), schedules: Schedules::off(), ..LoadOptions::default() }
}

#[test]
fn a_device_of_one_precision_refuses_a_recipe_of_several_and_a_tuned_one_must_be_stored() {
    let mixed = Recipe::from(Precision::F32).with(Part::Layer(1), Precision::Native);
    let options = |precision| LoadOptions {
        random: Some(7),
        precision,
        schedules: Schedules::off(),
        ..LoadOptions::default()
    };
    let message = load(&Mock::default(), &options(mixed.into())).err().expect("it is mixed").to_string();
    assert!(
        message.contains("mock") && message.contains("f32, 1 native") && message.contains("bf16"),
        "{message}"
    );
    let tuned =
        load(&Mock::default(), &options(Arithmetic::Tuned)).err().expect("none is stored").to_string();
    assert!(tuned.contains("jet-tune precision TARGET") && tuned.contains("are off"), "{tuned}");
    assert_eq!(
        load(&Mock::default(), &options(Precision::Bf16.into())).unwrap().recipe().to_string(),
        "bf16"
    );
}

fn load(mock: &Mock, options: &LoadOptions) -> Result<Session, SessionError> {
    Session::load_on(Arc::new(mock.clone()), &TinyHybrid::target(), options)
}

fn session(mock: &Mock, options: &LoadOptions) -> Session {
    load(mock, options).unwrap_or_else(|e| panic!("{e}"))
}

fn refusal(options: LoadOptions) -> String {
    load(&Mock::default(), &options).err().expect("it is refused").to_string()
}

fn best(logits: &[f32]) -> u32 {
    logits.iter().position(|v| *v == 1.0).unwrap() as u32
}

#[test]
fn a_long_prompt_is_fed_in_pieces() {
    let mock = Mock::default();
    let mut s = session(&mock, &LoadOptions { piece: 5, ..options() });
    let sequence = s.open().unwrap();
    let prompt: Vec<u32> = (0..13).collect();
    assert_eq!(best(s.prefill(sequence, &prompt).unwrap()), next(&prompt, VOCAB));
    assert_eq!(best(s.step(sequence, 40).unwrap()), next(&[&prompt[..], &[40]].concat(), VOCAB));
    assert_eq!(*mock.runs.lock().unwrap(), [[5], [5], [3], [1]]);
    assert_eq!(s.position(sequence), 14);
}

#[test]
fn ragged_prompts_share_runs_and_each_gets_its_own_logits() {
    let mock = Mock::default();
    let mut s = session(&mock, &LoadOptions { piece: 8, batch: 3, ..options() });
    let prompts: Vec<Vec<u32>> = [11, 2, 6].map(|n: u32| (n..2 * n).collect()).to_vec();
    let slots: Vec<SlotId> = prompts.iter().map(|_| s.open().unwrap()).collect();
    let batch: Vec<(SlotId, &[u32])> = slots.iter().copied().zip(prompts.iter().map(|p| &p[..])).collect();
    let rows = s.batch(&batch).unwrap();
    for (row, prompt) in rows.chunks(VOCAB).zip(&prompts) {
        assert_eq!(best(row), next(prompt, VOCAB));
    }
    assert_eq!(*mock.runs.lock().unwrap(), vec![vec![8], vec![3, 2, 3], vec![3]]);
    assert!(s.open().is_err());
    let twice = [(slots[0], &[1u32][..]), (slots[0], &[1][..])];
    assert!(s.batch(&twice).unwrap_err().to_string().contains("twice"));
}

#[test]
fn wrong_prompts_are_refused_before_anything_runs() {
    let mock = Mock::default();
    let mut s = session(&mock, &LoadOptions { context: Some(10), ..options() });
    let sequence = s.open().unwrap();
    let mut message = |tokens: &[u32]| s.prefill(sequence, tokens).unwrap_err().to_string();
    assert!(message(&[]).contains("the prompt is empty"));
    assert!(message(&[1; 11]).contains("11 tokens where the context of 10 has room for 10"));
    assert!(
        message(&[1, 32_000]).contains("32000 is outside the vocabulary of 32000; ids go from 0 to 31999")
    );
    assert!(mock.runs.lock().unwrap().is_empty());
    s.prefill(sequence, &[1; 10]).unwrap();
    let full = s.step(sequence, 1).unwrap_err().to_string();
    assert!(full.contains("1 tokens where the context of 10 has room for 0"), "{full}");
}

#[test]
fn logits_that_are_no_numbers_are_an_error_with_their_place() {
    let mock = Mock { poison: Some(9), ..Mock::default() };
    let mut s = session(&mock, &options());
    let sequence = s.open().unwrap();
    s.prefill(sequence, &[1, 2]).unwrap();
    let message = s.step(sequence, 9).unwrap_err().to_string();
    assert!(message.contains("position 2") && message.contains("random weights (seed 7)"), "{message}");
}

#[test]
fn a_model_larger_than_the_memory_is_refused_with_the_figures() {
    let mock = Mock { memory: Some(1 << 20), ..Mock::default() };
    let message = load(&mock, &options()).err().unwrap().to_string();
    for part in
        ["`tiny-hybrid` needs 1.00 MiB", "weights 1.00 MiB", "states of 1 × 4096 tokens", "1.00 MiB are"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    assert!(refusal(LoadOptions { context: Some(4097), ..options() }).contains("meant for 1 to 4096"));
    assert!(refusal(LoadOptions { context: Some(0), ..options() }).contains("0 tokens was asked for"));
    assert!(refusal(LoadOptions { batch: 0, ..options() }).contains("the batch is 0"));
    assert!(refusal(LoadOptions { piece: 0, ..options() }).contains("the piece of a prompt is 0"));
    assert!(refusal(LoadOptions { random: None, ..options() }).contains("declared without weights"));
}

#[test]
fn a_session_says_that_its_weights_are_random() {
    let s = session(&Mock::default(), &options());
    assert_eq!(*s.origin(), Origin { weights: "random weights (seed 7)".into(), seed: Some(7) });
}

#[test]
fn a_run_has_room_for_one_token_of_every_sequence() {
    let few = LoadOptions { piece: 2, batch: 5, ..options() };
    assert_eq!(session(&Mock::default(), &few).limits().max_tokens, 5);
    let short = LoadOptions { context: Some(3), piece: 512, ..options() };
    assert_eq!(session(&Mock::default(), &short).limits().max_tokens, 3);
}
