//! `jet-tune`: what it stores is what a session finds.

use crate::model::{Home, done, files};

#[test]
fn what_was_tuned_is_found_exactly() {
    let home = Home::new();
    let small = home.small();
    let tune = ["run", &small, "--device", "cpu", "--effort", "none", "--threads", "1"];
    let first = done(home.tune(&tune)).ok();
    assert!(
        first.out.contains("random weights (seed 0)") && first.out.contains("mean gain"),
        "{}",
        first.out
    );
    assert!(first.err.contains("tasks, 0 of them stored already"), "{}", first.err);
    let again = done(home.tune(&[&tune[..], &["--json"]].concat())).ok().json();
    let tasks = again["tasks"].as_array().unwrap();
    assert!(!tasks.is_empty() && tasks.iter().all(|t| t["outcome"] == "stored"), "{again}");

    let run = ["run", &small, "--random", "5", "--prompt", "hello", "--threads", "1"];
    let json = done(home.jet(&[&run[..], &["--json", "--schedules", "frozen"]].concat())).ok().json();
    assert_eq!((&json["schedules"]["bucket"], &json["schedules"]["default"]), (&0.into(), &0.into()));
    assert!(json["schedules"]["exact"].as_u64().unwrap() > 0);
    assert!(done(home.jet(&run)).ok().err.contains("bucket 0, default 0"));
    // Another number of workers is another device.
    let other = ["run", &small, "--random", "5", "--prompt", "hello", "--threads", "2", "--json"];
    assert_eq!(done(home.jet(&other)).ok().json()["schedules"]["exact"], 0);

    let shown = done(home.tune(&["show", "--json"])).ok().json();
    assert_eq!(shown.as_array().unwrap().len(), tasks.len());
    let id = tasks[0]["id"].as_str().unwrap();
    assert!(done(home.tune(&["show", id])).ok().out.contains(id));
    done(home.tune(&["show", "no-such-task"])).fails(1, &["no-such-task"]);
    let leftovers = files(&home.cache()).into_iter().filter(|f| f.contains(".tmp")).collect::<Vec<_>>();
    assert_eq!(leftovers, Vec::<String>::new());
}

#[test]
fn a_run_leaves_a_page_beside_the_store_or_where_it_was_told() {
    let home = Home::new();
    let small = home.small();
    let run = ["run", &small, "--effort", "none", "--tokens", "1", "--threads", "1"];
    let first = done(home.tune(&run)).ok();
    let pages: Vec<_> = files(&home.cache()).into_iter().filter(|f| f.ends_with(".html")).collect();
    assert!(pages.len() == 1 && home.cache().join("reports").join(&pages[0]).is_file(), "{pages:?}");
    assert!(first.err.contains("the report as a page: "), "{}", first.err);
    let file = home.path("mine.html").display().to_string();
    let named = done(home.tune(&[&run[..], &["--again", "--json", "--report", &file]].concat())).ok().json();
    assert_eq!(named["page"], file.as_str());
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.contains("<h2>Tasks</h2>") && page.contains("measured") && page.contains("gemv["), "{page}");
    let lost = home.path("none/page.html").display().to_string();
    done(home.tune(&[&run[..], &["--report", &lost]].concat())).fails(2, &["there is no folder", "make it"]);
}

#[test]
fn a_damaged_cache_costs_time_and_no_answer() {
    let home = Home::new();
    let small = home.small();
    done(home.tune(&["run", &small, "--effort", "none", "--tokens", "1"])).ok();
    let run = ["run", &small, "--random", "5", "--prompt", "hello", "--json"];
    let before = done(home.jet(&run)).ok().json();
    let pack = home.cache().join("schedules/schedules.jetpack");
    std::fs::write(&pack, b"not a pack").unwrap();
    let after = done(home.jet(&run)).ok();
    assert!(
        after.err.contains("local schedules are not used") && after.err.contains("jetpack"),
        "{}",
        after.err
    );
    assert_eq!(after.json()["tokens"], before["tokens"]);
    assert_eq!(after.json()["schedules"]["exact"], 0);
    // The store behind it mends it.
    done(home.tune(&["run", &small, "--effort", "none", "--tokens", "1"])).ok();
    assert_eq!(done(home.jet(&run)).ok().json()["schedules"], before["schedules"]);
}

#[test]
fn a_cache_folder_that_cannot_be_written_stops_the_tuner_and_no_session() {
    let home = Home::new();
    let small = home.small();
    std::fs::write(home.cache(), "a file where the folder should be").unwrap();
    done(home.tune(&["run", &small, "--effort", "none"])).fails(1, &["cache", "JET_CACHE_DIR"]);
    done(home.jet(&["run", &small, "--random", "5", "--prompt", "a", "-n", "2"])).ok();
    let doctor = done(home.jet(&["doctor"]));
    assert_eq!(doctor.code, 3, "{}", doctor.out);
    assert!(doctor.out.contains("AMISS") && doctor.out.contains("set JET_CACHE_DIR"), "{}", doctor.out);
}

#[test]
fn a_dry_run_lists_the_tasks_and_stores_nothing() {
    let home = Home::new();
    let list = done(home.tune(&["run", &home.small(), "--dry-run", "--json"])).ok().json();
    assert!(list.as_array().unwrap().iter().all(|t| t.as_str().unwrap().contains(" on cpu")));
    assert!(!home.cache().exists());
}

#[test]
fn a_budget_that_is_gone_is_told_by_the_exit_code() {
    let home = Home::new();
    let late = done(home.tune(&["run", &home.small(), "--budget", "0s", "--json"]));
    assert_eq!(late.code, 3, "{}", late.err);
    assert_eq!(late.json()["out_of_time"], true);
}
