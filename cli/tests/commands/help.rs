//! Help, versions, completions, and command lines that make no sense.

use crate::model::{Home, done};

const JET: [&str; 8] = ["run", "chat", "spec", "plan", "check", "bench", "doctor", "completions"];
const TUNE: [&str; 16] = [
    "run",
    "plan",
    "verify",
    "precision",
    "coverage",
    "show",
    "explain",
    "diff",
    "merge",
    "export",
    "import",
    "pin",
    "gc",
    "landscape",
    "doctor",
    "completions",
];

#[test]
fn every_command_explains_itself() {
    let home = Home::new();
    let all = done(home.jet(&["--help"])).ok().out;
    for command in JET {
        assert!(all.contains(command), "{command}");
        let help = done(home.jet(&[command, "--help"])).ok().out;
        assert!(help.contains("Usage: jet ") && help.lines().count() > 8, "{help}");
    }
    for command in TUNE {
        let help = done(home.tune(&[command, "--help"])).ok().out;
        assert!(help.contains("Usage: jet-tune "), "{help}");
        // What a script needs, in every help text of a command that has results.
        let explained =
            help.contains("Examples:") && help.contains("Exit codes: 0 ") && help.contains("--json");
        assert!(explained || command == "completions", "{help}");
    }
    for word in ["Exit codes: 0 ok, 1 failure, 2 usage, 3 degraded", "JET_CACHE_DIR", "JET_LOG", "NO_COLOR"] {
        assert!(all.contains(word), "{word}");
    }
}

#[test]
fn versions_are_told() {
    let home = Home::new();
    assert!(done(home.jet(&["--version"])).ok().out.starts_with("jet "));
    assert!(done(home.tune(&["--version"])).ok().out.starts_with("jet-tune "));
}

#[test]
fn every_shell_gets_its_completions() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(done(home.jet(&["completions", shell])).ok().out.contains("doctor"), "{shell}");
        assert!(done(home.tune(&["completions", shell])).ok().out.contains("jet-tune"), "{shell}");
    }
    done(home.jet(&["completions", "cmd"])).fails(2, &["bash"]);
}

#[test]
fn command_lines_that_make_no_sense_are_usage_errors() {
    let home = Home::new();
    let small = home.small();
    done(home.jet(&[])).fails(2, &["Usage"]);
    done(home.jet(&["fly"])).fails(2, &["fly"]);
    done(home.jet(&["spec"])).fails(2, &["TARGET"]);
    done(home.jet(&["run", &small, "--prompt", "x", "--precision", "f8"]))
        .fails(2, &["f32", "bf16", "native"]);
    done(home.jet(&["run", &small, "--prompt", "x", "--random-format", "q9"])).fails(2, &["q4_1", "bf16"]);
    done(home.jet(&["run", &small, "--prompt", "x", "--schedules", "some"]))
        .fails(2, &["default, frozen, off"]);
    done(home.jet(&["run", &small, "--prompt", "x", "--prompt-ids", "1"])).fails(2, &["--prompt-ids"]);
    done(home.jet(&["run", &small, "--prompt-ids", "1,x"])).fails(2, &["`x` is no token id"]);
    done(home.jet(&["plan", &small, "--tokens", "0"])).fails(2, &["--tokens is 0"]);
    done(home.jet(&["bench", &small, "--runs", "0"])).fails(2, &["--runs"]);
    done(home.tune(&["run", &small, "--budget", "soon"])).fails(2, &["90s, 3m or 1h"]);
    done(home.tune(&["run", &small, "--effort", "much"])).fails(2, &["none, quick, full"]);
    done(home.tune(&["run", &small, "--tokens", "1,0"])).fails(2, &["--tokens has a 0"]);
    done(home.tune(&["run", &small, "--shard", "4/4"])).fails(2, &["numbered from 0 to 3"]);
    done(home.tune(&["run", &small, "--device", "cpu,cpu"])).fails(2, &["cpu twice"]);
    done(home.tune(&["run", &small, "--stop-within", "near"])).fails(2, &["no percentage"]);
}
