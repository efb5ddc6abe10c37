//! Makes Rust of what is not Rust: messages in both languages become typed functions, icons become constants.

#[path = "build/icons.rs"]
mod icons;
#[path = "build/messages.rs"]
mod messages;

use std::path::Path;
use std::{env, fs};

fn main() {
    for watched in ["messages", "static", "templates", "src", "build"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    if !Path::new("static/vendor/tabler.css").exists() {
        fail("static/vendor is not there: run scripts/assets, which fetches the portal's CSS and icons from npm");
    }
    let out = env::var("OUT_DIR").expect("cargo sets it");
    let files: Vec<(String, String)> =
        names("messages", "toml").map(|name| (name.clone(), read(&format!("messages/{name}.toml")))).collect();
    let code = messages::generate(&files).unwrap_or_else(|problems| fail(&problems.join("\n")));
    write(&format!("{out}/messages.rs"), &code);
    let files: Vec<(String, String)> = names("static/vendor/icons", "svg")
        .map(|name| (name.clone(), read(&format!("static/vendor/icons/{name}.svg"))))
        .collect();
    let mut used = Vec::new();
    for folder in ["templates", "src"] {
        each_file(Path::new(folder), &mut |text| used.extend(icons::used(text)));
    }
    let code = icons::generate(&files, &used).unwrap_or_else(|problem| fail(&problem));
    write(&format!("{out}/icons.rs"), &code);
}

/// Names of the files with this ending, without it, in order.
fn names(folder: &str, ending: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| fail(&format!("{folder}: {error}; run scripts/assets")));
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(&format!(".{ending}")).map(str::to_owned))
        .collect();
    names.sort();
    names.into_iter()
}

/// Gives the text of every file below a folder.
fn each_file(folder: &Path, give: &mut impl FnMut(&str)) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| fail(&format!("{}: {error}", folder.display())));
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            each_file(&path, give);
        } else if path.extension().is_some_and(|ending| ending == "html" || ending == "rs") {
            give(&read(&path.display().to_string()));
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| fail(&format!("{path}: {error}")))
}

fn write(path: &str, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| fail(&format!("{path}: {error}")));
}

fn fail(sentence: &str) -> ! {
    println!("cargo::error={}", sentence.replace('\n', "\ncargo::error="));
    std::process::exit(1)
}
