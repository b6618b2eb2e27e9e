//! Readers that go away, and Ctrl-C: no noise, nothing half-written.

use crate::model::{Done, Home, done, files};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = Home::new();
    let small = home.small();
    let long = ["run", &small, "--random", "5", "--prompt", "a", "-n", "250"];
    let commands: [&[&str]; 4] =
        [&["spec", "nemotron-3-nano-30b-a3b", "--json"], &["--help"], &["completions", "bash"], &long];
    for args in commands {
        let mut child = spawn(home.jet(&[&["-q"], args].concat()));
        drop(child.stdout.take());
        let done = Done::of(child.wait_with_output().unwrap());
        assert_eq!((done.code, &*done.err), (0, ""), "{args:?}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_answer_ends_with_its_line() {
    let home = Home::new();
    let args = ["run", "tiny-hybrid", "--random", "5", "--prompt", "a", "-n", "4000", "--threads", "1"];
    let mut child = spawn(home.jet(&args));
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    assert_eq!(first, "random weights (seed 5)\n");
    let mut bytes = [0; 4];
    out.read_exact(&mut bytes).unwrap();
    interrupt(&child);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let done = Done::of(child.wait_with_output().unwrap());
    assert_eq!(done.code, 130, "{}", done.err);
    assert!(rest.ends_with('\n'));
    assert!(done.err.contains("tokens/s"), "the line about the speed comes all the same: {}", done.err);
}

#[cfg(unix)]
#[test]
fn an_interrupt_while_loading_ends_the_program_at_once() {
    let home = Home::new();
    // Far too large to be loaded within the patience of this test, small enough for the memory.
    let wide =
        crate::model::SMALL.replace("hidden: 64", "hidden: 200_000").replace("d_model: 32", "d_model: 1024");
    let path = home.file("wide.rs", wide);
    let child = spawn(home.jet(&["-v", "run", &path, "--random", "5", "--prompt", "a"]));
    std::thread::sleep(std::time::Duration::from_millis(300));
    interrupt(&child);
    let done = Done::of(child.wait_with_output().unwrap());
    assert!(done.code == 130 || done.code == 0, "{}: {}", done.code, done.err);
}

#[cfg(unix)]
#[test]
fn an_interrupted_tuner_keeps_what_is_finished() {
    let home = Home::new();
    let small = home.small();
    let args = ["run", &small, "--effort", "full", "--threads", "1"];
    let mut child = spawn(home.tune(&args));
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("[1/") {
        line.clear();
        assert!(err.read_line(&mut line).unwrap() > 0, "the first task ends some time");
    }
    interrupt(&child);
    let mut rest = String::new();
    err.read_to_string(&mut rest).unwrap();
    let ended = Done::of(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{rest}");
    assert!(ended.out.contains("; stopped"), "{}", ended.out);
    // What was not reached has its default, and what was begun is in the journal.
    done(home.tune(&["coverage", &small, "--threads", "1"])).ok();
    assert!(files(&home.cache()).contains(&"journal.jsonl".to_owned()));
    let stored = done(home.tune(&["show", "--json"])).ok().json();
    assert!(!stored.as_array().unwrap().is_empty());
    assert!(files(&home.cache()).iter().all(|f| !f.contains(".tmp")));
}
