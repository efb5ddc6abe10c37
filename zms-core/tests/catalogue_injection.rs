//! Whatever people type, it adds no line, no property, no argument and no placeholder of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use support::{kind, service};
use zms_core::catalogue::{Kind, Setting, ValueType};
use zms_core::host::SpecBody;

struct Known {
    kind: Kind,
    plain: SpecBody,
}

static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let known = |name: &&str| {
        let kind = kind(name);
        let plain = kind.render(&service(&kind, 3, 8192)).unwrap().swap_remove(0).body;
        Known { kind, plain }
    };
    support::KINDS.iter().map(known).collect()
});

/// Texts made of what has a meaning somewhere on the way.
fn nasty() -> impl Strategy<Value = String> {
    let fragments = prop::sample::select(vec![
        "a",
        "b.c",
        "9",
        "1",
        "=",
        ":",
        " ",
        "\n",
        "\r",
        "\t",
        "\0",
        "\\",
        "\\n",
        "\\\n",
        "\\u000a",
        "\u{85}",
        "\u{2028}",
        "é",
        "\"",
        "'",
        "#",
        "!",
        "{",
        "}",
        "{conf}",
        "{data}",
        "{package:kafka}",
        "{secret:x}",
        "$",
        "${x}",
        "%",
        "log.dirs",
        "server.9",
        "dataDir",
        "-D",
        "-Dzookeeper.",
        "-XX:",
        "+",
        "OnError",
        "-javaagent:x",
        "-cp",
        "@f",
        ".class",
        "LD_PRELOAD",
        "-Xlog:gc",
        "stdout",
        "GOGC",
        "[http]",
        "\"\"\"",
        "m",
        "g",
        "MiB",
        "-",
        ",",
        "true",
        "INFO",
    ]);
    prop_oneof![
        3 => prop::collection::vec(fragments, 0..8).prop_map(|parts| parts.concat()),
        1 => "(?s).{0,60}",
        1 => "[0-9]{1,6}(m|g|MiB|s|h)?",
        2 => prop::collection::vec("[a-z]{1,6}(\\.[a-z]{1,6}){0,2} ?= ?(.{0,12}|[a-z/]{0,4}\\{(data|conf|java|x)\\})", 1..3).prop_map(|lines| lines.join("\n")),
        1 => "(log\\.dirs|num\\.partitions|node\\.id|dataDir|tickTime|server\\.[1-4]|MALLOC_ARENA_MAX) ?= ?[a-z0-9]{0,3}",
        1 => "GOGC=[0-9]{0,3}.{0,3}(\\{data\\})?",
        1 => prop::collection::vec("-(XX:[+-]?[A-Za-z]{1,9}|Xss[0-9]m|Dzookeeper\\.[a-z]{1,9}=.{0,6}|Xlog:[a-z:*]{1,8})", 1..4).prop_map(|words| words.join(" ")),
    ]
}

/// Whatever stands in braces anywhere in it, sorted; a lone brace counts too.
fn placeholders(body: &SpecBody) -> Vec<String> {
    let json = serde_json::to_value((&body.files, &body.exec, &body.prepare)).unwrap();
    let mut texts = Vec::new();
    collect(&json, &mut texts);
    let names =
        texts.iter().flat_map(|text| text.split('{').skip(1).map(|rest| rest.split('}').next().unwrap_or(rest).to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn collect(json: &serde_json::Value, texts: &mut Vec<String>) {
    match json {
        serde_json::Value::String(text) => texts.push(text.clone()),
        serde_json::Value::Array(all) => all.iter().for_each(|one| collect(one, texts)),
        serde_json::Value::Object(all) => all.values().for_each(|one| collect(one, texts)),
        _ => {}
    }
}

/// Keys of a properties or TOML file, with the section before them.
fn keys(file: &str) -> Vec<String> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in file.split(['\n', '\r']).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line.to_owned();
        }
        keys.push(format!("{section} {}", line.split('=').next().unwrap().trim_end()));
    }
    keys
}

/// How many keys the file may have beyond those of a service whose settings nobody touched.
fn typed_lines(setting: &Setting, typed: &str) -> usize {
    match setting.value_type {
        ValueType::Properties => typed.lines().filter(|line| !line.trim().is_empty()).count(),
        // The one text of these kinds is empty by default and then writes no line.
        ValueType::Text => 1,
        _ => 0,
    }
}

/// The free lists many times: they take the most of what is typed.
fn settings_by_freedom(kind: &Kind) -> Vec<&Setting> {
    let times = |setting: &Setting| match setting.value_type {
        ValueType::Properties | ValueType::Environment | ValueType::Jvm => 15,
        ValueType::Text | ValueType::Choice => 3,
        ValueType::Integer | ValueType::Boolean | ValueType::Bytes | ValueType::Duration => 1,
    };
    kind.settings().iter().flat_map(|setting| std::iter::repeat_n(setting, times(setting))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_text_injects_a_line_a_property_an_argument_or_a_placeholder(
        place in 0usize..3, setting in any::<prop::sample::Index>(), typed in nasty(), own: bool,
    ) {
        let Known { kind, plain } = &KNOWN[place];
        let settings = settings_by_freedom(kind);
        let setting = setting.get(&settings);
        let mut service = service(kind, 3, 8192);
        let values = if own { &mut service.members[0].settings } else { &mut service.settings };
        values.insert(setting.key.clone(), typed.clone());
        let Ok(mut specs) = kind.render(&service) else { return Ok(()) };
        let body = specs.swap_remove(0).body;

        prop_assert_eq!(placeholders(&body), placeholders(plain));
        for (file, before) in body.files.iter().zip(&plain.files) {
            prop_assert!(!file.body.contains(['\0', '\r', '\u{85}', '\u{2028}']), "{}", file.body);
            if file.name.ends_with(".xml") || file.name.ends_with(".yaml") || file.name == "myid" {
                prop_assert_eq!(file.body.lines().count(), before.body.lines().count());
                continue;
            }
            let (now, before) = (keys(&file.body), keys(&before.body));
            let unique: BTreeSet<_> = now.iter().collect();
            prop_assert_eq!(unique.len(), now.len(), "a key is there twice: {}", file.body);
            prop_assert!(before.iter().all(|key| unique.contains(key)), "a key was lost: {}", file.body);
            prop_assert!(now.len() <= before.len() + typed_lines(setting, &typed), "{}", file.body);
        }
        for word in &body.exec.argv {
            prop_assert!(!word.contains(char::is_whitespace) && !word.contains(char::is_control), "{word:?}");
            let is_new = !plain.exec.argv.contains(word);
            prop_assert!(!is_new || word.starts_with("-X") || word.starts_with("-D") || word.starts_with("-javaagent:{package:jolokia}"), "{word}");
        }
        let classes = |body: &SpecBody| body.exec.argv.iter().filter(|word| !word.starts_with('-')).count();
        prop_assert_eq!(classes(&body), classes(plain));
        let agents = |body: &SpecBody| body.exec.argv.iter().filter(|word| word.contains("agent")).count();
        prop_assert_eq!(agents(&body), agents(plain));
        for (key, value) in &body.exec.env {
            prop_assert!(plain.exec.env.contains_key(key) || key.starts_with("GO"), "{key}");
            prop_assert!(!value.contains(char::is_control));
        }
    }
}

#[test]
fn the_check_sees_an_injection() {
    let plain = &KNOWN[0].plain;
    let mut forged = plain.clone();
    forged.files[0].body.push_str("a={data}/{secret:x}\n");
    assert_ne!(placeholders(&forged), placeholders(plain));
    assert_eq!(keys(&forged.files[0].body).len(), keys(&plain.files[0].body).len() + 1);
}
