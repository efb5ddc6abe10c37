//! Free lists: properties, environment and JVM options that the catalogue does not know one by one.
//!
//! They let an operator reach what the form lacks, and must not let anybody who may edit a form run code on a
//! host, take over a key that another setting shows, or add a line, an argument or a placeholder of their own.

use super::problem::Fault;
use super::setting::Setting;
use crate::names::shown;

/// Endings of keys (in lower case) whose values are classes, or files of code.
const CODE_ENDINGS: &[&str] = &[
    ".class",
    ".classes",
    ".class.name",
    "classname",
    "class.path",
    "classpath",
    "class.loader",
    "factory",
    "provider",
    "providers",
    "reporters",
    "assignors",
    ".script",
    ".command",
];

/// Parts of keys (in lower case) whose values are classes, or configuration that names them.
const CODE_PARTS: &[&str] =
    &["interceptor", "jaas", "plugin.path", "config.providers", "callback.handler", "principal.builder", "authprovider"];

/// Parts of texts (in lower case) that start a command or load a library into a JVM.
const CODE_TEXTS: &[&str] = &[
    "-xx:onerror",
    "-xx:onoutofmemoryerror",
    "-agentpath",
    "-agentlib",
    "-javaagent",
    "java_tool_options",
    "_java_options",
    "jdk_java_options",
];

/// Parts of names of `-XX:` options (in lower case) that read, write or run files.
const FILE_OPTIONS: &[&str] = &["file", "path", "archive", "command", "flags", "agent", "attach", "recording", "jvmci"];

/// Beginnings of names of `-XX:` options (in lower case) that run commands or that the catalogue sets.
const OWNED_OPTIONS: &[&str] = &[
    "onerror",
    "onoutofmemory",
    "exitonoutofmemory",
    "maxheapsize",
    "initialheapsize",
    "maxram",
    "minram",
    "initialram",
    "allocateheap",
];

/// Variables of the environment that load code into what is started, or say where programs are found.
const CODE_VARIABLES: &[&str] = &[
    "LD_",
    "PATH",
    "HOME",
    "CLASSPATH",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "BASH_",
    "ENV",
    "IFS",
    "PYTHON",
    "PERL",
    "DYLD_",
    "ZMS_",
];

/// Does this text hold an option that runs a command or loads code, or point to a file of options?
pub(super) fn names_code(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    CODE_TEXTS.iter().any(|part| lower.contains(part))
        || text.split_whitespace().any(|word| word.starts_with('@') || word.trim_start_matches(['"', '\'']).starts_with("LD_"))
}

/// Is the value of this key a class, a library or a command?
fn key_names_code(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    CODE_ENDINGS.iter().any(|ending| lower.ends_with(ending))
        || lower == "class"
        || CODE_PARTS.iter().any(|part| lower.contains(part))
        || names_code(key)
}

/// One `key=value` a line. The keys have letters, digits and `. _ -` only, so nothing in them needs an escape.
pub(super) fn properties(setting: &Setting, typed: &str) -> Result<Vec<(String, String)>, Fault> {
    let is_key = |key: &str| key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let pairs = pairs(typed, is_key)?;
    for (key, value) in &pairs {
        if key_names_code(key) || names_code(value) {
            return Err(Fault::NamesCode { text: shown(&format!("{key}={value}")) });
        }
        check_owner(setting, key)?;
    }
    Ok(pairs)
}

/// One `KEY=value` a line.
pub(super) fn environment(setting: &Setting, typed: &str) -> Result<Vec<(String, String)>, Fault> {
    let is_key = |key: &str| {
        !key.as_bytes()[0].is_ascii_digit() && key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let pairs = pairs(typed, is_key)?;
    for (key, value) in &pairs {
        if is_code_variable(key) || names_code(value) {
            return Err(Fault::NamesCode { text: shown(&format!("{key}={value}")) });
        }
        check_owner(setting, key)?;
        if !setting.allowed.iter().any(|allowed| key.starts_with(allowed.as_str())) {
            return Err(Fault::BadCharacter { character: shown(key), allowed: setting.allowed.join(", ") });
        }
    }
    Ok(pairs)
}

/// Would this variable load code into what is started?
pub(super) fn is_code_variable(key: &str) -> bool {
    CODE_VARIABLES.iter().any(|beginning| key.starts_with(beginning)) || names_code(key)
}

fn check_owner(setting: &Setting, key: &str) -> Result<(), Fault> {
    let lower = key.to_ascii_lowercase();
    let owned = setting.owned.iter().any(|owned| match owned.strip_suffix('*') {
        Some(beginning) => lower.starts_with(&beginning.to_ascii_lowercase()),
        None => lower == owned.to_ascii_lowercase(),
    });
    let refused = setting.refused.iter().any(|beginning| lower.starts_with(&beginning.to_ascii_lowercase()));
    if owned || refused { Err(Fault::OwnedKey { key: shown(key) }) } else { Ok(()) }
}

fn pairs(typed: &str, is_key: impl Fn(&str) -> bool) -> Result<Vec<(String, String)>, Fault> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for line in typed.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let pair = line.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        let (key, value) =
            pair.filter(|(key, _)| !key.is_empty() && is_key(key)).ok_or_else(|| Fault::BadLine { line: shown(line) })?;
        if let Some(bad) = value.chars().find(|c| c.is_control() || matches!(c, '{' | '}')) {
            return Err(Fault::BadCharacter {
                character: shown(&bad.to_string()),
                allowed: "visible characters without braces".to_owned(),
            });
        }
        if pairs.iter().any(|(other, _)| other == key) {
            return Err(Fault::DoubleKey { key: shown(key) });
        }
        pairs.push((key.to_owned(), value.to_owned()));
    }
    Ok(pairs)
}

/// Words, each one option.
pub(super) fn jvm_options(setting: &Setting, typed: &str) -> Result<Vec<String>, Fault> {
    let words: Vec<_> = typed.split_whitespace().map(str::to_owned).collect();
    words.iter().try_for_each(|word| check_jvm_option(setting, word))?;
    Ok(words)
}

fn check_jvm_option(setting: &Setting, word: &str) -> Result<(), Fault> {
    if let Some(bad) = word.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '{' | '}')) {
        return Err(Fault::BadCharacter {
            character: shown(&bad.to_string()),
            allowed: "visible ASCII without braces".to_owned(),
        });
    }
    if names_code(word) {
        return Err(Fault::NamesCode { text: shown(word) });
    }
    let allowed = if let Some(property) = word.strip_prefix("-D") {
        let key = property.split('=').next().unwrap_or_default();
        if key_names_code(key) {
            return Err(Fault::NamesCode { text: shown(word) });
        }
        check_owner(setting, key)?;
        setting.allowed.iter().any(|allowed| key.starts_with(allowed.as_str()))
    } else if let Some(option) = word.strip_prefix("-XX:") {
        is_harmless_option(&option.to_ascii_lowercase())
    } else if let Some(log) = word.strip_prefix("-Xlog:") {
        // What and where; a third part would be decorators. Anywhere but stdout is a file.
        log.split(':').nth(1).is_none_or(|target| target == "stdout") && !log.contains('/')
    } else {
        word.strip_prefix("-Xss").or_else(|| word.strip_prefix("-Xmn")).is_some_and(is_size)
    };
    if allowed { Ok(()) } else { Err(Fault::RefusedOption { option: shown(word) }) }
}

/// An `-XX:` option without its prefix, in lower case.
fn is_harmless_option(option: &str) -> bool {
    let name = option.trim_start_matches(['+', '-']).split('=').next().unwrap_or_default();
    let is_collector = name.starts_with("use") && name.ends_with("gc");
    !option.contains('/')
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !is_collector
        && !OWNED_OPTIONS.iter().any(|owned| name.starts_with(owned))
        && !FILE_OPTIONS.iter().any(|part| name.contains(part))
}

fn is_size(text: &str) -> bool {
    let digits = text.strip_suffix(['k', 'm', 'g', 'K', 'M', 'G']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}
