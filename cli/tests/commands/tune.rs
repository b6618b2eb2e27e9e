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
    let plan = done(home.tune(&["run", &home.small(), "--dry-run", "--json"])).ok().json();
    let tasks = plan["tasks"].as_array().unwrap();
    assert!(!tasks.is_empty() && tasks.iter().all(|t| t["task"].as_str().unwrap().contains(" on cpu")));
    let sum: f64 = tasks.iter().map(|t| t["seconds"].as_f64().unwrap()).sum();
    assert!(sum > 0.0 && (sum - plan["seconds"].as_f64().unwrap()).abs() < 1e-6, "{plan}");
    assert_eq!(plan["plan"].as_str().unwrap().len(), 64);
    let short = done(home.tune(&["run", &home.small(), "--dry-run", "--budget", "1s", "--json"])).ok().json();
    assert!(short["seconds"].as_f64().unwrap() <= 1.0);
    assert!(!home.cache().exists());
}

#[test]
fn a_budget_that_is_gone_is_told_by_the_exit_code() {
    let home = Home::new();
    let late = done(home.tune(&["run", &home.small(), "--budget", "0s", "--json"]));
    assert_eq!(late.code, 3, "{}", late.err);
    assert_eq!(late.json()["out_of_time"], true);
    // And yet every task has a record, which says that nothing was measured.
    let covered = done(home.tune(&["coverage", &home.small(), "--json"])).ok().json();
    assert_eq!(covered["assumed"], covered["exact"]);
    assert!(covered["exact"].as_u64().unwrap() > 0 && covered["complete"] == true, "{covered}");
    assert!(done(home.tune(&["show"])).ok().out.contains("assumed"));
    // The next run goes on with `--resume` and takes none of them for a result.
    let run = ["run", &home.small(), "--effort", "none", "--tokens", "1", "--resume", "--json"];
    let report = done(home.tune(&run)).ok().json();
    assert!(report["tasks"].as_array().unwrap().iter().all(|t| t["outcome"] == "default"), "{report}");
    assert!(!home.cache().join("schedules/journal.jsonl").exists(), "it has come to its end");
}

#[test]
fn what_was_tuned_is_verified_and_what_does_not_hold_is_told() {
    let home = Home::new();
    let small = home.small();
    done(home.tune(&["verify", "local"])).fails(1, &["none of the 0 records"]);
    done(home.tune(&["run", &small, "--effort", "none", "--tokens", "1", "--threads", "1"])).ok();
    let verify = ["verify", "local", "--top", "2", "--threads", "1", "--json"];
    // On a busy machine a default may look slower than itself by the noise; wrong it is never.
    let looked = done(home.tune(&verify));
    assert!(looked.code == 0 || looked.code == 3, "{}", looked.err);
    let looked = looked.json();
    assert_eq!((looked["records"].as_array().unwrap().len(), &looked["fail"]), (2, &0.into()), "{looked}");
    assert!(looked["left"].as_u64().unwrap() > 0 && looked["foreign"] == 0);
    let ratio = looked["records"][0]["ratio_now"].as_f64().unwrap();
    assert!((ratio - 1.0).abs() < 1e-9, "the default is stored, and is compared with itself: {ratio}");
    // Another number of workers is another device.
    done(home.tune(&["verify", "local", "--threads", "2"])).fails(1, &["is for", "explain"]);
    // A schedule that this kernel does not have.
    let store = home.cache().join("schedules");
    let mut overlay = jet_cache::Overlay::open(&store, "0.1.0").unwrap();
    let entry = overlay.entries().next().unwrap().clone();
    let mut odd = entry;
    odd.schedule.values_mut().for_each(|value| *value = -7);
    overlay.commit(odd).unwrap();
    drop(overlay);
    let failed = done(home.tune(&["verify", "local", "--threads", "1", "--json"]));
    assert_eq!(failed.code, 1, "{}", failed.err);
    let failed = failed.json();
    assert_eq!((&failed["verdict"], &failed["fail"]), (&"fail".into(), &1.into()));
}

#[test]
fn ranks_tune_their_parts_and_the_merged_stores_are_whole() {
    let home = Home::new();
    let small = home.small();
    let tune = ["run", &small, "--effort", "none", "--tokens", "1", "--threads", "1", "--json"];
    let shared = home.path("shared").display().to_string();
    let mut plans = Vec::new();
    let ranks: Vec<_> = (0..2)
        .map(|rank| {
            let mut command = home.tune(&[&tune[..], &["--fleet", &shared]].concat());
            command.env("RANK", rank.to_string()).env("WORLD_SIZE", "2");
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut tasks = 0;
    for (rank, child) in ranks.into_iter().enumerate() {
        let report = crate::model::Done::of(child.wait_with_output().unwrap()).ok().json();
        assert_eq!((&report["shard"]["index"], &report["shard"]["count"]), (&rank.into(), &2.into()));
        tasks += report["tasks"].as_array().unwrap().len();
        plans.push(report["plan"].as_str().unwrap().to_owned());
    }
    assert_eq!(plans[0], plans[1]);
    let folders =
        [0, 1].map(|rank| home.cache().join(format!("schedules-{rank}-of-2")).display().to_string());
    let merge = |order: [usize; 2], name: &str| {
        let out = home.path(name).display().to_string();
        let merge = ["merge", &folders[order[0]], &folders[order[1]], "-o", &out, "--json"];
        let merged = done(home.tune(&merge)).ok().json();
        (merged["entries"].as_u64().unwrap(), merged["trials"].as_u64().unwrap(), std::fs::read(out).unwrap())
    };
    let (entries, trials, bytes) = merge([0, 1], "a.jetpack");
    assert_eq!((entries as usize, trials as usize), (tasks, tasks));
    assert!(bytes == merge([1, 0], "b.jetpack").2, "the order of the stores changes the pack");
    let pack = home.path("a.jetpack").display().to_string();
    let cover = ["coverage", &small, "--pack", &pack, "--no-local", "--tokens", "1", "--threads", "1"];
    done(home.tune(&cover)).ok();
    // A rank with another effort means another plan.
    let other = ["run", &small, "--effort", "quick", "--tokens", "1", "--shard", "0/2", "--fleet", &shared];
    let other = done(home.tune(&[&other[..], &["--fleet-wait", "0s", "--threads", "1"]].concat()));
    other.fails(1, &["rank 1 has plan", "same jet-tune"]);
}

#[test]
fn the_tuner_measures_in_a_worker_or_in_its_own_process() {
    let home = Home::new();
    let small = home.small();
    let tune = ["run", &small, "--effort", "none", "--tokens", "1", "--threads", "1", "--json"];
    let there = done(home.tune(&tune)).ok().json();
    let here = done(home.tune(&[&tune[..], &["--no-worker", "--again"]].concat())).ok().json();
    let ids = |report: &serde_json::Value| -> Vec<String> {
        report["tasks"].as_array().unwrap().iter().map(|t| t["id"].to_string()).collect()
    };
    assert_eq!((ids(&there), &there["plan"]), (ids(&here), &here["plan"]));
    let shown = done(home.tune(&["show", "--json"])).ok().json();
    let evidence = &shown[0]["evidence"];
    assert!(evidence["mean_abs"].is_number() && evidence["max_ulp"].is_number(), "{evidence}");
    assert!(evidence["inputs_seed"].is_number(), "{evidence}");
    // A worker that is spoken to by nobody ends.
    done(home.tune(&["worker"])).ok();
    done(home.tune(&["run", &small, "--device", "gpu9"])).fails(1, &["gpu9", "cpu"]);
}

#[test]
fn on_an_emulated_device_outputs_are_compared_and_times_are_the_models() {
    let home = Home::new();
    let small = home.small();
    let on = ["--device", "emulated:sm_80", "--tokens", "1"];
    let run = ["run", &small, "--effort", "none", "--json"];
    let tuned = done(home.tune(&[&run[..], &on].concat()));
    let report = tuned.json();
    let first = &report["tasks"][0];
    if first["note"].as_str().is_some_and(|note| note.contains("NVRTC")) {
        eprintln!("skipped: {}", first["note"]);
        return;
    }
    assert_eq!(tuned.code, 0, "{}", tuned.err);
    assert_eq!((&report["grade"], &first["outcome"]), (&"emulated".into(), &"default".into()), "{first}");
    let shown = done(home.tune(&["show", "--json"])).ok().json();
    let records = shown.as_array().unwrap();
    assert_eq!(records.len(), report["tasks"].as_array().unwrap().len());
    for record in records {
        assert_eq!(
            (&record["status"], &record["grade"]),
            (&"modelled".into(), &"emulated".into()),
            "{record}"
        );
        assert!(record["evidence"]["rel_rms"].is_number() && record["timing"]["median_ns"].is_number());
    }
    done(home.tune(&[&["coverage", &small][..], &on].concat())).ok();
}
