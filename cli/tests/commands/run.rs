//! `jet run`, `jet chat` and `jet bench` on a small model with random weights.

use crate::model::{Home, done};
use std::io::Write as _;
use std::process::Stdio;

const RANDOM: &str = "random weights (seed 5)";

#[test]
fn a_random_model_runs_says_so_and_repeats_itself() {
    let home = Home::new();
    let small = home.small();
    let args = ["run", &small, "--random", "5", "--prompt", "hello", "--max-tokens", "12"];
    let text = done(home.jet(&args)).ok();
    let mut lines = text.out.lines();
    assert_eq!(lines.next(), Some(RANDOM));
    let ids: Vec<u32> = lines.next().unwrap().split(' ').map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids.len(), 12);
    assert!(ids.iter().all(|id| *id < 96));
    assert!(text.err.contains("each byte of the prompt is a token id") && text.err.contains("tokens/s"));
    let json = done(home.jet(&[&args[..], &["--json"]].concat())).ok().json();
    assert_eq!(json["weights"], RANDOM);
    assert_eq!(json["random_seed"], 5);
    assert_eq!(json["finish"], "max_tokens");
    assert_eq!(json["tokens"], serde_json::json!(ids));
    assert_eq!(json["prompt_ids"], serde_json::json!(b"hello".map(|b| u32::from(b) % 96)));
    assert!(json["peak_memory_bytes"].as_u64().is_some_and(|b| b > 1 << 20));
    let other = done(home.jet(&["run", &small, "--random", "6", "--prompt", "hello", "--json"])).ok().json();
    assert_ne!(other["tokens"], json["tokens"]);
}

#[test]
fn quiet_leaves_only_the_result() {
    let home = Home::new();
    let args = ["-q", "run", &home.small(), "--random", "5", "--prompt-ids", "1 2", "-n", "3"];
    let quiet = done(home.jet(&args)).ok();
    assert_eq!(quiet.err, "");
    assert!(quiet.out.starts_with(RANDOM));
}

#[test]
fn a_prompt_may_come_from_stdin() {
    let home = Home::new();
    let run = |prompt: &str, args: &[&str]| {
        let small = home.small();
        let mut command = home.jet(&[&["run", &small, "--random", "5", "--json", "-n", "4"], args].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that has refused already has closed its end.
        let _ = child.stdin.take().unwrap().write_all(prompt.as_bytes());
        crate::model::Done::of(child.wait_with_output().unwrap())
    };
    let piped = run("abc", &[]).ok().json();
    assert_eq!(piped["prompt_tokens"], 3);
    assert_eq!(run("abc", &["--prompt", "-"]).ok().json()["tokens"], piped["tokens"]);
    run("", &[]).fails(1, &["the prompt is empty"]);
}

#[test]
fn wrong_prompts_are_refused() {
    let home = Home::new();
    let small = home.small();
    let run = |args: &[&str]| done(home.jet(&[&["run", &small, "--random", "5"], args].concat()));
    run(&["--prompt", ""]).fails(1, &["the prompt is empty"]);
    run(&["--prompt-ids", ""]).fails(1, &["the prompt is empty"]);
    run(&["--prompt-ids", "1,96"]).fails(1, &["token id 96 is outside the vocabulary of 96"]);
    run(&["--prompt", &"x".repeat(257)]).fails(1, &["257 tokens", "the context of 256"]);
    run(&["--prompt", "abc", "--context", "2"]).fails(1, &["3 tokens", "the context of 2"]);
    run(&["--prompt", "a", "--context", "257"]).fails(1, &["257 tokens was asked for", "1 to 256"]);
    run(&["--prompt", "a", "--top-p", "2"]).fails(1, &["top-p is 2"]);
    run(&["--prompt", "a", "--temperature", "-1"]).fails(1, &["temperature is -1"]);
    run(&["--prompt", "a", "--chat"]).fails(1, &["has no tokenizer"]);
    run(&["--prompt", "a", "--schedules", "frozen"]).fails(1, &["frozen", "jet-tune run"]);
}

#[test]
fn an_answer_ends_where_the_context_does() {
    let home = Home::new();
    let args =
        ["run", &home.small(), "--random", "5", "--prompt", "abc", "--context", "10", "-n", "50", "--json"];
    let json = done(home.jet(&args)).ok().json();
    assert_eq!(json["finish"], "context_full");
    assert_eq!(json["tokens"].as_array().unwrap().len(), 8);
}

#[test]
fn sampling_follows_its_seed() {
    let home = Home::new();
    let small = home.small();
    let run = |seed: &str| {
        let args =
            ["run", &small, "--random", "5", "--prompt", "a", "--temperature", "5", "--seed", seed, "--json"];
        done(home.jet(&args)).ok().json()["tokens"].clone()
    };
    assert_eq!(run("1"), run("1"));
    assert_ne!(run("1"), run("2"));
}

#[test]
fn precisions_and_formats_are_taken() {
    let home = Home::new();
    let small = home.small();
    for precision in ["f32", "bf16", "native"] {
        for format in ["f32", "bf16", "q8_0"] {
            let args = ["run", &small, "--random", "5", "--prompt", "a", "--precision", precision, "--json"];
            let json =
                done(home.jet(&[&args[..], &["--random-format", format, "-n", "2"]].concat())).ok().json();
            assert_eq!(json["precision"], precision, "{format}");
        }
    }
}

#[test]
fn chat_needs_a_tokenizer_and_says_so() {
    let home = Home::new();
    done(home.jet(&["chat", &home.small(), "--random", "5"])).fails(1, &["`small` has no tokenizer"]);
}

#[test]
fn a_bench_reports_medians_memory_and_schedules() {
    let home = Home::new();
    let small = home.small();
    let args = ["bench", &small, "--random", "5", "--prefill", "32", "--decode", "4", "--runs", "3"];
    let text = done(home.jet(&args)).ok().out;
    for word in
        [RANDOM, "prefill", "decode", "tokens/s", "peak of the process", "schedules: exact 0", "measured"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    let json = done(home.jet(&[&args[..], &["--json"]].concat())).ok().json();
    assert_eq!(json["weights"], RANDOM);
    assert_eq!(json["prefill"]["samples"].as_array().unwrap().len(), 3);
    assert_eq!(json["decoded"].as_array().unwrap().len(), 4);
    for rate in ["prefill_tokens_per_second", "decode_tokens_per_second"] {
        assert!(json[rate].as_f64().is_some_and(|r| r > 0.0), "{rate}");
    }
    let ids = home.file("ids.json", "[5, 6, 7]");
    let with = ["bench", &small, "--random", "5", "--ids", &ids, "--decode", "2", "--runs", "1", "--prefill"];
    done(home.jet(&[&with[..], &["3"]].concat())).ok();
    done(home.jet(&[&with[..], &["4"]].concat())).fails(2, &["3 token ids", "asks for 4"]);
    done(home.jet(&["bench", &small, "--random", "5", "--prefill", "257"])).fails(1, &["257", "256"]);
}
