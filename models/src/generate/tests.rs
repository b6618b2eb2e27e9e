use super::*;
use crate::model::Model as _;
use crate::presets::TinyHybrid;
use crate::session::mock::{Mock, next};
use crate::session::{LoadOptions, Schedules};
use crate::text::{SamplerOptions, StopTokens};
use std::sync::Arc;

const VOCAB: usize = TinyHybrid::VOCAB as usize;

fn session(context: usize) -> Session {
    let options = LoadOptions {
        random: Some(1),
        context: Some(context),
        schedules: Schedules::off(),
        ..LoadOptions::default()
    };
    Session::load_on(Arc::new(Mock::default()), &TinyHybrid::target(), &options)
        .unwrap_or_else(|e| panic!("{e}"))
}

fn expected(prompt: &[u32], count: usize) -> Vec<u32> {
    let mut all = prompt.to_vec();
    for _ in 0..count {
        all.push(next(&all, VOCAB));
    }
    all.split_off(prompt.len())
}

fn go_on(_: Token<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn each_token_follows_from_all_before_it() {
    let mut s = session(64);
    let mut seen = Vec::new();
    let options = GenerateOptions { max_tokens: 6, ..GenerateOptions::default() };
    let answer = s
        .generate(&[4, 5], &options, |t| {
            seen.push(t.id);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(answer.tokens, expected(&[4, 5], 6));
    assert_eq!(seen, answer.tokens);
    assert_eq!((answer.finish, answer.steps, answer.prompt_tokens), (Finish::MaxTokens, 5, 2));
    assert_eq!(answer.text, "");
    // The sequence was closed: there is room for the next.
    assert_eq!(s.generate(&[4, 5], &options, go_on).unwrap().tokens, answer.tokens);
}

#[test]
fn an_answer_ends_for_the_reason_it_says() {
    let mut s = session(10);
    let all = expected(&[1], 9);
    let mut options = GenerateOptions { max_tokens: 100, ..GenerateOptions::default() };
    let full = s.generate(&[1], &options, go_on).unwrap();
    // Nine tokens are computed from a context of ten, and one more is chosen from the last.
    assert_eq!((full.tokens.len(), full.finish), (10, Finish::ContextFull));
    options.stop_tokens = StopTokens::new([all[3]]);
    let stopped = s.generate(&[1], &options, go_on).unwrap();
    assert_eq!((&stopped.tokens[..], stopped.finish), (&all[..3], Finish::StopToken(all[3])));
    let broken = s.generate(&[1], &GenerateOptions::default(), |_| ControlFlow::Break(())).unwrap();
    assert_eq!((broken.tokens.len(), broken.finish), (1, Finish::Interrupted));
    options.max_tokens = 0;
    let none = s.generate(&[1], &options, go_on).unwrap();
    assert_eq!((none.tokens.len(), none.finish), (0, Finish::MaxTokens));
}

#[test]
fn sampling_options_are_checked_and_seeds_repeat() {
    let mut s = session(64);
    let sampled = |seed| GenerateOptions {
        max_tokens: 8,
        sampling: SamplerOptions { temperature: 50.0, seed, ..SamplerOptions::GREEDY },
        ..GenerateOptions::default()
    };
    let mut run = |seed| s.generate(&[1], &sampled(seed), go_on).unwrap().tokens;
    let first = run(1);
    assert_eq!(run(1), first);
    assert_ne!(run(2), first);
    let wrong = SamplerOptions { top_p: 0.0, ..SamplerOptions::GREEDY };
    let options = GenerateOptions { sampling: wrong, ..GenerateOptions::default() };
    let message = s.generate(&[1], &options, go_on).unwrap_err().to_string();
    assert!(message.contains("top-p is 0"), "{message}");
}

#[test]
fn wrong_prompts_leave_no_sequence_open() {
    let mut s = session(8);
    for _ in 0..3 {
        assert!(s.generate(&[], &GenerateOptions::default(), go_on).is_err());
        assert!(s.generate(&[1; 9], &GenerateOptions::default(), go_on).is_err());
    }
    assert!(s.generate(&[1], &GenerateOptions::default(), go_on).is_ok());
}

#[test]
fn text_without_a_tokenizer_is_an_error_that_says_so() {
    let mut s = session(8);
    let message = s.encode("hello").unwrap_err().to_string();
    assert!(message.contains("`tiny-hybrid` has no tokenizer"), "{message}");
    let mut chat = Conversation::new(Some("Be brief."));
    assert!(chat.say(&mut s, "Hello", &GenerateOptions::default(), go_on).is_err());
    assert_eq!(chat.messages().len(), 1);
}

#[test]
fn suggestions_of_the_makers_are_taken_only_where_they_sample() {
    use crate::text::GenerationDefaults;
    let greedy = GenerationDefaults { eos: vec![5], temperature: Some(0.7), ..Default::default() };
    let options = GenerateOptions::suggested(Some(&greedy), &[2]);
    assert_eq!(options.sampling, SamplerOptions::GREEDY);
    assert_eq!(options.stop_tokens, StopTokens::new([2, 5]));
    let sampling = GenerationDefaults { sample: Some(true), ..greedy };
    assert_eq!(GenerateOptions::suggested(Some(&sampling), &[]).sampling.temperature, 0.7);
}
