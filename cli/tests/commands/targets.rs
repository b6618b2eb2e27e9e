//! Targets that are not what they should be: the message names the file and what was expected.

use crate::model::{Home, SMALL, done};

#[test]
fn wrong_names_are_told_what_there_is() {
    let home = Home::new();
    done(home.jet(&["spec", "smolm2-135m"])).fails(1, &["error: ", "did you mean `smollm2-135m`?"]);
    done(home.jet(&["spec", "nothing"])).fails(1, &["`tiny-hybrid`", "jet_model!", "config.json"]);
    done(home.jet(&["spec", "./nothing/here"]))
        .fails(1, &["nothing/here", "there is no such file or folder"]);
    done(home.jet(&["spec", "no-org/no-name"])).fails(1, &["no-org/no-name"]);
    done(home.jet(&["spec", ""])).fails(1, &["is no model"]);
    done(home.tune(&["run", "tiny-hybird"])).fails(1, &["did you mean `tiny-hybrid`?"]);
}

#[test]
fn bad_source_files_are_told_line_and_column() {
    let home = Home::new();
    let path = home.file("bad.rs", SMALL.replace("\"M*-J\"", "\"M*K-J\"").replace("relu2", "rellu2"));
    done(home.jet(&["spec", &path])).fails(1, &["bad.rs", ":10:", "unknown block symbol `K`", "^", "relu2"]);
    let path = home.file("none.rs", "fn main() {}");
    done(home.jet(&["spec", &path])).fails(1, &["none.rs", "declares no model"]);
    let path = home.file("two.rs", format!("{SMALL}\n{}", SMALL.replace("Small", "Second")));
    done(home.jet(&["spec", &path])).fails(1, &["two.rs::Small", "`Second`"]);
    done(home.jet(&["spec", &format!("{path}::Second")])).ok();
    done(home.jet(&["spec", &format!("{path}::Third")])).fails(1, &["no model `Third`"]);
    let path = home.file("open.rs", "jet_model! { pub struct A; ");
    done(home.jet(&["spec", &path])).fails(1, &["open.rs"]);
}

#[test]
fn bad_model_files_are_refused_by_name() {
    let home = Home::new();
    for (name, bytes) in
        [("empty.gguf", &b""[..]), ("short.gguf", b"GGUF\x03\0\0"), ("text.gguf", b"not a model at all")]
    {
        let path = home.file(name, bytes);
        done(home.jet(&["run", &path, "--prompt", "x"])).fails(1, &[name]);
        done(home.jet(&["spec", &path])).fails(1, &[name]);
    }
    let path = home.file("weights.safetensors", "x");
    done(home.jet(&["spec", &path])).fails(1, &["weights.safetensors", "config.json"]);
    std::fs::create_dir(home.path("folder")).unwrap();
    let folder = home.path("folder").display().to_string();
    done(home.jet(&["spec", &folder])).fails(1, &["folder", "has no config.json"]);
    home.file("folder/config.json", "{ not json");
    done(home.jet(&["spec", &folder])).fails(1, &["config.json", "JSON"]);
    home.file("folder/config.json", r#"{ "model_type": "gpt2" }"#);
    done(home.jet(&["spec", &folder])).fails(1, &["config.json", "gpt2", "`llama`"]);
}

#[test]
fn a_model_without_weights_is_not_run_without_a_seed() {
    let home = Home::new();
    done(home.jet(&["run", &home.small(), "--prompt", "x"]))
        .fails(1, &["declared without weights", "--random"]);
    done(home.jet(&["bench", "tiny-hybrid"])).fails(1, &["declared without weights", "--random"]);
}

#[test]
fn a_model_larger_than_the_memory_is_refused_with_the_figures() {
    let home = Home::new();
    let huge = SMALL
        .replace("hidden: 64", "hidden: 1_000_000")
        .replace("\"M*-J\"", "\"(M*-J)200\"")
        .replace("d_model: 32", "d_model: 32_768");
    let path = home.file("huge.rs", huge);
    let words = ["`small` needs", "TiB", "weights", "available"];
    done(home.jet(&["run", &path, "--random", "1", "--prompt", "x"])).fails(1, &words);
}
