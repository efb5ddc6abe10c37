//! The description has one list of names for the types of all slices: of two with one name, one would stand for both.

use std::collections::BTreeMap;
use std::path::Path;

/// Names of described types in a text of Rust: `as = …` before the type's own.
fn names(text: &str) -> Vec<String> {
    let (mut found, mut open, mut given) = (Vec::new(), false, None);
    for line in text.lines().map(str::trim_start) {
        open |= line.starts_with("#[derive(") && line.contains("ToSchema");
        if let Some((_, rest)) = line.split_once("#[schema(as = ").filter(|_| open) {
            given = rest.split([',', ')']).next().map(str::to_owned);
        }
        let item = line.trim_start_matches("pub ").trim_start_matches("pub(super) ").trim_start_matches("pub(crate) ");
        if let Some(own) = item.strip_prefix("struct ").or_else(|| item.strip_prefix("enum ")).filter(|_| open) {
            let own = own.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            found.push(given.take().unwrap_or_else(|| own.to_owned()));
            open = false;
        }
    }
    found
}

fn walk(folder: &Path, found: &mut BTreeMap<String, Vec<String>>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            walk(&entry, found);
        } else if entry.extension().is_some_and(|end| end == "rs") {
            for name in names(&std::fs::read_to_string(&entry).unwrap()) {
                found.entry(name).or_default().push(entry.display().to_string());
            }
        }
    }
}

#[test]
fn no_two_types_of_the_description_have_one_name() {
    let mut found = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 40, "{found:?}");
    found.retain(|_, files| files.len() > 1);
    assert!(found.is_empty(), "give one of them a name of its own by #[schema(as = …)]: {found:#?}");
}

#[test]
fn names_are_found_as_they_are_given() {
    let text = "#[derive(Debug, ToSchema)]\n#[serde(x)]\npub struct Wish {\n#[derive(utoipa::ToSchema)]\n#[schema(as = Other, example = 1)]\n\
                enum Wish {\n#[derive(Debug)]\nstruct Hidden;\n";
    assert_eq!(names(text), ["Wish", "Other"]);
}
