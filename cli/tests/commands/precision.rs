//! `jet-tune precision`: what it stores is what a session uses, here and where a pack is taken.

use crate::model::{Home, done};

/// Weights stored in blocks, so that every precision has kernels of its own.
const RANDOM: [&str; 6] = ["--random", "5", "--random-format", "q8_0", "--threads", "1"];

fn find(home: &Home, more: &[&str]) -> serde_json::Value {
    let small = home.small();
    let find = [&["precision", &small, "--positions", "16", "--json"], &RANDOM[..], more].concat();
    done(home.tune(&find)).ok().json()
}

fn run(home: &Home, more: &[&str]) -> Vec<String> {
    let small = home.small();
    let run = [&["run", &small, "--prompt-ids", "1,2,3", "-n", "4", "--json"], &RANDOM[..], more].concat();
    run.iter().map(|arg| (*arg).to_owned()).collect()
}

fn ran(home: &Home, more: &[&str]) -> serde_json::Value {
    let args = run(home, more);
    done(home.jet(&args.iter().map(String::as_str).collect::<Vec<_>>())).ok().json()
}

#[test]
fn the_stored_recipe_is_what_tuned_means_here_and_after_an_import() {
    let home = Home::new();
    let args = run(&home, &["--precision", "tuned"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    done(home.jet(&args)).fails(1, &["no tuned precisions", "none is stored", "jet-tune precision"]);

    let found = find(&home, &["--max-kl", "100", "--max-rel-err", "1"]);
    let recipe = found["recipe"].as_str().unwrap();
    assert!(found["stored"] == true && found["random_seed"] == 5, "{found}");
    assert!(found["kl"].as_f64().unwrap() <= 100.0 && found["front"][0]["recipe"] == "f32", "{found}");
    let tuned = ran(&home, &["--precision", "tuned"]);
    assert_eq!(tuned["precision"], recipe);
    // The tasks of a tuned model are planned in its precisions, and cover what its session asks for.
    let small = home.small();
    let plan = [&["plan", &small, "--precision", "tuned", "--json"], &RANDOM[..]].concat();
    assert_eq!(done(home.jet(&plan)).ok().json()["precision"], recipe);
    // Other weights and another number of workers have no recipe.
    let other = ["run", &small, "--prompt-ids", "1", "--random", "6", "--precision", "tuned"];
    done(home.jet(&other)).fails(1, &["none is stored"]);

    let pack = home.path("small.jetpack").display().to_string();
    let exported = done(home.tune(&["export", &pack, "--json"])).ok().json();
    assert_eq!(exported["recipes"], 1);
    let away = Home::new();
    let shipped = ran(&away, &["--precision", "tuned", "--schedule-pack", &pack]);
    assert_eq!((&shipped["precision"], &shipped["tokens"]), (&tuned["precision"], &tuned["tokens"]));
    assert!(done(away.tune(&["import", &pack])).ok().out.contains("1 recipes"));
    assert_eq!(ran(&away, &["--precision", "tuned"])["tokens"], tuned["tokens"]);
}

#[test]
fn without_a_budget_the_recipe_is_float32_and_a_dry_run_stores_none() {
    let home = Home::new();
    let dry = find(&home, &["--max-kl", "0", "--dry-run"]);
    assert_eq!((&dry["recipe"], &dry["stored"]), (&"f32".into(), &false.into()));
    assert!(!home.cache().exists());
    let text = home.file("own.txt", "A text of one's own, which is long enough for sixteen tokens.");
    let own = find(&home, &["--max-kl", "0", "--calibration", &text]);
    assert_ne!(own["calibration_digest"], dry["calibration_digest"]);
    assert_eq!(
        ran(&home, &["--precision", "tuned"])["tokens"],
        ran(&home, &["--precision", "f32"])["tokens"]
    );
}

#[test]
fn bounds_and_texts_that_make_no_sense_are_refused() {
    let home = Home::new();
    let small = home.small();
    for wrong in [&["--max-kl", "much"][..], &["--max-rel-err", "nan"]] {
        done(home.tune(&[&["precision", &small], wrong].concat())).fails(2, &["a number from 0 on"]);
    }
    done(home.tune(&["precision", &small, "--positions", "0"])).fails(2, &["--positions is 0"]);
    done(home.tune(&["precision", &small, "--calibration", "/no/such.txt"])).fails(1, &["/no/such.txt"]);
    let empty = home.file("empty.txt", "");
    done(home.tune(&["precision", &small, "--calibration", &empty])).fails(1, &["empty.txt", "no token"]);
}
