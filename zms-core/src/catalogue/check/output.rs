//! Files, preparations and the process.

use super::{Findings, names};
use crate::catalogue::guard;
use crate::catalogue::model::Kind;
use crate::catalogue::output::{Arg, FileKind, Format, LineValue, PrepareKind};
use crate::catalogue::setting::ValueType;

pub(super) fn check(kind: &Kind, findings: &mut Findings) {
    for file in &kind.files {
        files(kind, file, findings);
    }
    for prepare in &kind.prepare {
        match prepare {
            PrepareKind::Copy { from, to } => {
                let known = kind.files.iter().any(|file| file.name == *from);
                findings.add_unless(known, "prepare, from", format_args!("there is no file \"{from}\""));
                let inside = to.to_string().starts_with("{data}/");
                findings.add_unless(inside, "prepare, to", "a copy goes into the data folder: {data}/<name>");
            }
            PrepareKind::Run { argv, timeout_s, .. } => {
                arguments(kind, argv, "prepare, argv", findings);
                findings.add_unless(*timeout_s > 0, "prepare, timeout_s", "must be 1 or more");
            }
        }
    }
    exec(kind, findings);
}

fn files(kind: &Kind, file: &FileKind, findings: &mut Findings) {
    let place = format!("file \"{}\"", file.name);
    let plain = file.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) && !file.name.starts_with('.');
    findings.add_unless(plain && !file.name.is_empty(), &place, "a file name has letters, digits and . _ - only");
    findings.add_unless(file.name != "exec.json", &place, "the agent writes a file of this name beside it; choose another");
    let is_text = file.format == Format::Text;
    let whole = (file.body.is_some() != file.secret.is_some()) == is_text && (file.lines.is_empty() || !is_text);
    findings.add_unless(whole, &place, "a file of format text has a body or is a secret, the other formats have lines");

    let lines = file.lines.iter().map(|line| (line.section.clone(), line.key.to_string()));
    let targets = kind.settings.iter().flat_map(|setting| setting.into.iter().map(move |target| (setting, target)));
    let targets = targets
        .filter(|(setting, target)| target.file == file.name && setting.value_type != ValueType::Properties)
        .map(|(setting, target)| (target.section.clone(), target.key.clone().unwrap_or_else(|| setting.key.clone())));
    let mut seen = Vec::new();
    for key in lines.chain(targets) {
        let place = format!("{place}, \"{}\"", key.1);
        if file.format == Format::Toml {
            let bare = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
            let good = bare(&key.1) && key.0.as_deref().is_none_or(bare);
            findings.add_unless(good, &place, "keys and sections of a TOML file have letters, digits, _ and - only");
        }
        findings.add_unless(!seen.contains(&key), place, "this key is written twice; remove one");
        seen.push(key);
    }
    for line in &file.lines {
        let place = format!("{place}, \"{}\"", line.key);
        let with_section = line.section.is_some() && file.format != Format::Toml;
        findings.add_unless(!with_section, &place, "only TOML files have sections");
        match &line.each {
            Some(over) => {
                names::is_over(kind, &place, over, findings);
                let apart = line.key.variables().any(|name| name == "node_id") && !line.key.literal_prefix().is_empty();
                findings.add_unless(
                    apart,
                    &place,
                    "a repeated key begins with a text and holds {node_id}, so that no two are alike",
                );
            }
            None => {
                let plain = line.key.variables().next().is_none();
                findings.add_unless(plain, &place, "only a repeated key (each) may have placeholders");
            }
        }
    }
}

fn exec(kind: &Kind, findings: &mut Findings) {
    let exec = &kind.exec;
    arguments(kind, &exec.argv, "exec, argv", findings);
    for key in exec.env.keys() {
        let place = format!("exec, env \"{key}\"");
        findings.add_unless(!guard::is_code_variable(key), place, "this variable loads code or moves where programs are found");
    }
    if let Some(setting) = &exec.more_env {
        let good = kind.setting(setting).is_some_and(|setting| setting.value_type == ValueType::Environment);
        findings.add_unless(good, "exec, more_env", format_args!("\"{setting}\" is no setting of type environment"));
    }
    let positive = match &exec.nofile {
        LineValue::Integer(number) => *number > 0,
        LineValue::Boolean(_) => false,
        LineValue::Template(template) => {
            let setting = template.single().and_then(|name| kind.setting(name));
            let whole = setting.filter(|setting| setting.value_type == ValueType::Integer && setting.unlimited.is_none());
            whole.is_some_and(|setting| setting.bound(&setting.min).is_some_and(|min| min > 0))
        }
    };
    findings.add_unless(positive, "exec, nofile", "must be a positive number, or one integer setting with a positive min");
    findings.add_unless(exec.stop_wait_s > 0 && exec.start_secs > 0, "exec", "stop_wait_s and start_secs must be 1 or more");
}

/// The program is ours, and options that people chose are of the type that was checked for it.
fn arguments(kind: &Kind, args: &[Arg], place: &str, findings: &mut Findings) {
    let ours = match args.first() {
        Some(Arg::Always(first)) => {
            let first = first.to_string();
            first == "{java}" || first.starts_with("{package:")
        }
        _ => false,
    };
    findings.add_unless(ours, place, "the program must be {java} or lie in a package: {package:<name>}/…");
    for arg in args {
        if let Arg::Words(words) = arg {
            let good = kind.setting(&words.words).is_some_and(|setting| setting.value_type == ValueType::Jvm);
            findings.add_unless(good, place, format_args!("\"{}\" is no setting of type jvm", words.words));
        }
    }
}
