//! `jet check` from outside, and `jet doctor`.

use crate::model::{Home, done};

#[test]
fn doctor_tells_of_device_memory_and_cache() {
    let home = Home::new();
    std::fs::create_dir(home.cache()).unwrap();
    let doctor = done(home.jet(&["doctor"])).ok().out;
    for word in ["device cpu", "available", "schedule cache", "to be made", "none tuned yet", "all is well"] {
        assert!(doctor.contains(word), "{word}: {doctor}");
    }
    let json = done(home.jet(&["doctor", "--json"])).ok().json();
    assert!(json.as_array().unwrap().iter().all(|f| f["verdict"].is_string() && f["found"].is_string()));
}

#[test]
fn check_refuses_folders_without_cases() {
    let home = Home::new();
    std::fs::create_dir(home.path("empty")).unwrap();
    let empty = home.path("empty").display().to_string();
    done(home.jet(&["check", &empty])).fails(1, &["empty"]);
    done(home.jet(&["check", &empty, "--device", "abacus"])).fails(1, &["unknown device `abacus`"]);
    done(home.jet(&["check"])).fails(2, &["PATH"]);
}
