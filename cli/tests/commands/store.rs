//! `jet-tune` on what is stored: show, explain, diff, merge, export, import, pin, gc, coverage, doctor.

use crate::model::{Done, Home, done};
use jet_cache::{CubinRef, Entry, Overlay, TaskKey};
use jet_codegen::nvrtc::Nvrtc;
use jet_codegen::schedule::Problem;
use jet_runtime::schedule_key::schedule_key;
use std::path::PathBuf;

/// A home whose store has the defaults of a small model's one-token tasks, as `jet-tune run` leaves them.
fn tuned() -> Home {
    let home = Home::new();
    done(home.tune(&["run", &home.small(), "--effort", "none", "--tokens", "1", "--threads", "1"])).ok();
    home
}

impl Home {
    fn folder(&self) -> PathBuf {
        self.cache().join("schedules")
    }

    fn overlay(&self) -> Overlay {
        Overlay::open(&self.folder(), "0.1.0").unwrap()
    }

    /// Runs `jet-tune` with these arguments.
    fn says(&self, args: &[&str]) -> Done {
        done(self.tune(args))
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// Every line of a table begins its second column at the same place.
fn lines_up(text: &str, heading: &str) {
    let lines: Vec<&str> = text.lines().skip_while(|line| !line.starts_with(heading)).collect();
    let column = lines[0].find("task").expect("the table has a task column");
    let rows: Vec<_> = lines.iter().take_while(|line| !line.is_empty()).skip(1).collect();
    assert!(!rows.is_empty(), "{text}");
    for row in rows {
        assert!(row.is_char_boundary(column) && row[..column].ends_with("  "), "{text}");
        assert!(!row[column..].starts_with(' '), "{text}");
    }
}

#[test]
fn an_export_is_a_backup_that_an_import_brings_back() {
    let home = tuned();
    let pack = home.text("model.jetpack");
    let exported = home.says(&["export", &pack, "--all", "--json"]).ok().json();
    let entries = exported["entries"].as_u64().unwrap();
    assert!(entries > 0 && exported["devices"].as_array().unwrap().len() == 1, "{exported}");
    assert_eq!(home.says(&["diff", "local", &pack]).code, 0);

    std::fs::remove_dir_all(home.folder()).unwrap();
    let added = home.says(&["import", &pack, "--json"]).ok().json();
    assert_eq!(
        (&added["added"], &added["replaced"], &added["kept"]),
        (&entries.into(), &0.into(), &0.into())
    );
    let again = home.text("again.jetpack");
    let second = home.says(&["export", &again, "--all", "--json"]).ok().json();
    let shown = |pack: &str| home.says(&["show", "--pack", pack, "--json"]).ok().json();
    assert_eq!(shown(&pack), shown(&again));
    assert_eq!(second["entries"], exported["entries"]);
    home.says(&["import", &home.text("none.jetpack")]).fails(1, &["none.jetpack"]);
    home.says(&["import", &home.small()]).fails(1, &["small.rs", "does not begin as a jet pack"]);
    home.says(&["export", &home.text("none/such/folder.jetpack")]).fails(1, &["cannot write"]);
}

#[test]
fn a_store_that_is_empty_has_nothing_to_export_and_says_so() {
    let home = Home::new();
    home.says(&["export", &home.text("x.jetpack")]).fails(1, &["nothing to export", "jet-tune run"]);
    home.says(&["diff", "local", "local"]).fails(1, &["jet-tune run"]);
    assert!(home.says(&["show"]).ok().out.contains("no schedules in"));
    assert!(!home.cache().exists(), "looking makes no folder");
}

#[test]
fn winners_that_differ_are_told_by_table_json_and_exit_code() {
    let home = tuned();
    let (a, b, c) = (home.text("a.jetpack"), home.text("b.jetpack"), home.text("c.jetpack"));
    home.says(&["export", &a]).ok();
    let mut overlay = home.overlay();
    let mut other = overlay.entries().next().unwrap().clone();
    *other.schedule.values_mut().next().unwrap() += 1;
    other.timing.as_mut().unwrap().samples += 1000;
    overlay.commit(other.clone()).unwrap();
    drop(overlay);
    home.says(&["export", &b]).ok();

    let told = home.says(&["diff", &a, &b]);
    assert_eq!(told.code, 3, "{}", told.err);
    assert!(told.out.contains("1 differ, 0 only in A, 0 only in B"), "{}", told.out);
    lines_up(&told.out, "id");
    let json = home.says(&["diff", &a, &b, "--json"]).json();
    assert_eq!(json["changed"][0]["id"], other.key.short_id());

    let one = home.says(&["merge", &a, &b, "-o", &c, "--json"]).ok().json();
    let two = home.says(&["merge", &b, &a, "-o", &c, "--json"]).ok().json();
    assert_eq!(one, two, "the order of the packs does not matter");
    assert_eq!(one["conflicts"].as_array().unwrap().len(), 1);
    assert_eq!(home.says(&["diff", &b, &c]).code, 0, "more samples are the better evidence");
    lines_up(&home.says(&["merge", &b, &a, "-o", &c]).ok().out, "conflict");
    let strict = home.text("strict.jetpack");
    home.says(&["merge", &a, &b, "-o", &strict, "--strict"]).fails(1, &["different schedules", "--strict"]);
    assert!(!PathBuf::from(&strict).exists());
    home.says(&["import", &a, "--strict"]).fails(1, &["different schedules"]);
    home.says(&["merge", &a, "-o", &c]).fails(2, &["two packs or more"]);
    home.says(&["merge", &a, &b]).fails(2, &["--output"]);
}

#[test]
fn a_pinned_schedule_survives_tuning() {
    let home = tuned();
    let mut entry = home.overlay().entries().next().unwrap().clone();
    let id = entry.key.short_id();
    home.says(&["pin", "no-such-task"]).fails(1, &["no stored task", "jet-tune show"]);
    assert!(home.says(&["pin", &id]).ok().out.contains("pinned"));
    entry.schedule.values_mut().for_each(|v| *v += 1);
    home.overlay().commit(entry.clone()).unwrap();
    let stored = |home: &Home| home.overlay().get(entry.key.store_key()).cloned().unwrap();
    assert_ne!(stored(&home).schedule, entry.schedule);
    assert!(home.says(&["show", &id]).ok().out.contains("pinned"));
    let off = home.says(&["pin", &id, "--off", "--json"]).ok().json();
    assert_eq!(off["pinned"], false);
    assert!(!stored(&home).pinned);
}

#[test]
fn a_task_is_explained_with_its_key_its_evidence_and_what_comes_near() {
    let home = tuned();
    let shown = home.says(&["show", "--json"]).ok().json();
    let key: TaskKey = serde_json::from_value(shown[0]["key"].clone()).unwrap();
    let text = home.says(&["explain", &key.short_id()]).ok().out;
    for word in
        ["hard field", "device.model", "family_version", "schedule", "error", "nearest", "first difference"]
    {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
    let mut fields = key.fields().clone();
    fields.code = "kernels-0".into();
    let asked = serde_json::to_string(&fields).unwrap();
    let missed = home.says(&["explain", &asked, "--json"]);
    assert_eq!(missed.code, 3, "{}", missed.err);
    let difference = missed.json()["nearest"][0]["first_difference"].as_str().unwrap().to_owned();
    assert!(difference.contains("code is `kernels-0` here"), "{difference}");
    home.says(&["explain", "nothing"]).fails(1, &["no stored task is called \"nothing\""]);
    home.says(&["explain", "{\"schema\":1}"]).fails(2, &["no key in JSON"]);
}

#[test]
fn what_this_jet_can_never_find_is_swept() {
    let home = tuned();
    let mut overlay = home.overlay();
    let count = overlay.entries().len();
    let mut old: Entry = overlay.entries().next().unwrap().clone();
    let mut fields = old.key.fields().clone();
    fields.code = "kernels-0".into();
    old.key = TaskKey::new(fields);
    let digest = overlay.keep_cubin(b"a kernel").unwrap();
    old.cubins = vec![CubinRef { kernel: "k".into(), arch: "sm_90a".into(), digest }];
    overlay.commit(old).unwrap();
    drop(overlay);
    let sweep = ["gc", "--hours", "0", "--json"];
    let dry = home.says(&[&sweep[..], &["--dry-run"]].concat()).ok().json();
    assert_eq!(dry["entries"].as_array().unwrap().len(), 1, "{dry}");
    assert_eq!(home.overlay().entries().len(), count + 1);
    assert!(home.says(&["gc", "--dry-run"]).ok().out.contains("its code is kernels-0"));
    let swept = home.says(&sweep).ok().json();
    assert_eq!((&swept["entries"], swept["cubins"].as_array().unwrap().len()), (&dry["entries"], 1));
    assert_eq!(home.overlay().entries().len(), count);
    assert_eq!(home.says(&sweep).ok().json()["entries"].as_array().unwrap().len(), 0);
}

#[test]
fn coverage_tells_what_serves_a_model() {
    let home = tuned();
    let small = home.small();
    let ask = ["coverage", &small, "--threads", "1"];
    let full = home.says(&[&ask[..], &["--tokens", "1", "--json"]].concat()).ok().json();
    assert_eq!((&full["complete"], &full["default"]), (&true.into(), &0.into()));
    let text = home.says(&[&ask[..], &["--tokens", "1"]].concat()).ok().out;
    lines_up(&text, "id");
    let more = home.says(&[&ask[..], &["--tokens", "1,64"]].concat());
    assert_eq!(more.code, 3, "{}", more.err);
    assert!(more.out.contains("nearest is") && more.out.contains("jet-tune run TARGET"), "{}", more.out);
    // A shipped pack serves as well, and alone; another device is served by nothing, and all of it is unused.
    let pack = home.text("model.jetpack");
    home.says(&["export", &pack]).ok();
    let shipped = [&ask[..], &["--tokens", "1", "--no-local", "--pack", &pack]].concat();
    home.says(&shipped).ok();
    let other = home.says(&["coverage", &small, "--threads", "2", "--tokens", "1", "--json"]);
    assert_eq!((other.code, &other.json()["exact"]), (3, &0.into()));
    assert_eq!(other.json()["unused"].as_array().unwrap().len() as u64, full["exact"].as_u64().unwrap());
    home.says(&[&ask[..], &["--pack", &small]].concat()).fails(2, &["does not begin as a jet pack"]);
    home.says(&[&ask[..], &["--tokens", "0"]].concat()).fails(2, &["--tokens has a 0"]);
}

#[test]
fn a_session_runs_frozen_on_a_shipped_pack_and_names_a_task_it_lacks() {
    let home = Home::new();
    let small = home.small();
    done(home.tune(&["run", &small, "--effort", "none", "--threads", "1"])).ok();
    let (pack, part) = (home.text("model.jetpack"), home.text("part.jetpack"));
    home.says(&["export", &pack]).ok();
    home.says(&["export", &part, "--only", "tokens=1]"]).ok();
    std::fs::remove_dir_all(home.cache()).unwrap();
    let run = |pack: &str| {
        let args = ["run", &small, "--random", "5", "--prompt", "hello", "--threads", "1", "--json"];
        done(home.jet(&[&args[..], &["--schedules", "frozen", "--schedule-pack", pack]].concat()))
    };
    let served = run(&pack).ok().json();
    assert_eq!((&served["schedules"]["bucket"], &served["schedules"]["default"]), (&0.into(), &0.into()));
    assert!(!home.cache().exists(), "a session writes nothing");
    run(&part).fails(1, &["tokens="]);
    run(&home.small()).fails(2, &["does not begin as a jet pack"]);
}

#[test]
fn the_doctor_finds_what_is_damaged_and_what_mends_it() {
    let home = tuned();
    let well = home.says(&["doctor", "--threads", "1"]);
    assert_eq!(well.code, 0, "{}", well.out);
    assert!(well.out.contains("all whole") && well.out.contains("digest"), "{}", well.out);
    std::fs::write(home.folder().join("schedules.jetpack"), b"this is not a pack").unwrap();
    let json = home.says(&["doctor", "--threads", "1", "--json"]);
    assert_eq!(json.code, 3);
    assert!(json.out.contains("does not begin as a jet pack"), "{}", json.out);
    home.says(&["doctor", "--threads", "1"]).ok();
}

/// An entry of a GPU's task with its default schedule, as a tuner on one would leave it.
fn gpu_entry(arch: &str) -> Entry {
    let device = jet_runtime::device::open("emulated:sm_80", 0).unwrap();
    let dims = [("align", 8), ("group", 48), ("shared", 0), ("tokens", 8), ("width", 48)];
    let problem = Problem::new("norm", "bf16 x=f32", &dims);
    let family = device.family("norm").unwrap();
    let identity = jet_cache::Fingerprint::new("emulated").with("arch", arch);
    serde_json::from_value(serde_json::json!({
        "key": schedule_key(&identity, family, &problem), "schedule": family.default_values(&problem).0,
        "status": "modelled", "grade": "modelled", "origin": "local"
    }))
    .unwrap()
}

#[test]
fn an_export_takes_the_kernels_of_gpu_tasks_along_or_names_those_without() {
    if let Err(e) = Nvrtc::get() {
        return println!(
            "skipped: an_export_takes_the_kernels_of_gpu_tasks_along_or_names_those_without: {e}"
        );
    }
    let home = Home::new();
    let mut overlay = home.overlay();
    overlay.commit(gpu_entry("sm_80")).unwrap();
    drop(overlay);
    let pack = home.text("gpu.jetpack");
    let bare = home.says(&["export", &pack, "--no-cubins", "--json"]).ok().json();
    assert_eq!((bare["cubins"].as_u64(), bare["entries"].as_u64()), (Some(0), Some(1)), "{bare}");
    let whole = home.says(&["export", &pack, "--json"]).ok().json();
    assert_eq!((whole["cubins"].as_u64(), whole["entries"].as_u64()), (Some(1), Some(1)), "{whole}");
    // An architecture of another jet.
    let mut overlay = home.overlay();
    overlay.commit(gpu_entry("sm_75")).unwrap();
    drop(overlay);
    let told = home.says(&["export", &home.text("more.jetpack"), "--json"]).fails(3, &[]).json();
    let uncompiled = told["uncompiled"].as_array().unwrap();
    assert_eq!((told["cubins"].as_u64(), uncompiled.len()), (Some(1), 1), "{told}");
    let why = uncompiled[0].as_str().unwrap();
    assert!(why.contains("norm[") && why.contains("sm_75"), "{why}");

    // What is brought back is as it was shipped, and is not compiled again.
    let second = Home::new();
    second.says(&["import", &pack]).ok();
    let again = second.says(&["export", &second.text("again.jetpack"), "--json"]);
    assert!(!again.err.contains("kernels for"), "{}", again.err);
    assert_eq!(again.ok().json()["cubins"].as_u64(), Some(1));
}
