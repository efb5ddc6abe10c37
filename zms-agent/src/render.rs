//! The configuration folder of a spec: its files, and `exec.json` with every path resolved.
//!
//! A folder is written whole under another name and renamed, so `conf/<id>/<hash>` is either right or absent; then the
//! link `current` is flipped.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use zms_core::host::{ConfigFile, InstanceSpec, Prepare};

use crate::disk;
use crate::exec::{ExecFile, PrepareStep};
use crate::layout::Layout;

/// Why the files of a spec cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The spec asks for something that is never allowed or not known here.
    #[error("{place}: {rule}")]
    Refused {
        /// Which part of the spec.
        place: String,
        /// What would be right.
        rule: String,
    },
    /// Writing failed.
    #[error("writing {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the files of a spec are, before any of them is written.
#[derive(Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Name, content, private.
    files: Vec<(String, Vec<u8>, bool)>,
}

/// The file that `zms-agent exec` reads, and a name no rendered file may have.
const EXEC_FILE: &str = "exec.json";

/// Puts absolute paths where the spec has placeholders.
pub fn render(layout: &Layout, spec: &InstanceSpec, java: Option<&Path>) -> Result<Rendered, RenderError> {
    let places = Places::new(layout, spec, java);
    let mut files = Vec::new();
    for ConfigFile { name, body, private } in &spec.body.files {
        let plain = !name.is_empty() && !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !plain || name == EXEC_FILE || files.iter().any(|(other, _, _)| other == name) {
            return Err(refused(format!("file {name:?}"), "a name is unique and has letters, digits and . _ - only"));
        }
        files.push((name.clone(), places.resolve(body, name)?.into_bytes(), *private));
    }
    let exec = exec_file(layout, spec, &places)?;
    let text = serde_json::to_vec_pretty(&exec).expect("an exec file has only string keys");
    files.push((EXEC_FILE.into(), text, true));
    Ok(Rendered { files })
}

fn exec_file(layout: &Layout, spec: &InstanceSpec, places: &Places) -> Result<ExecFile, RenderError> {
    let exec = &spec.body.exec;
    let argv = places.argv(&exec.argv, "exec")?;
    let mut env = BTreeMap::new();
    for (key, value) in &exec.env {
        let named = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !named || key.starts_with("LD_") || key.starts_with("ZMS_") {
            return Err(refused(format!("environment variable {key:?}"), "letters, digits and _ only; LD_… and ZMS_… are not for a spec"));
        }
        env.insert(key.clone(), places.resolve(value, key)?);
    }
    let mut prepare = Vec::new();
    for step in &spec.body.prepare {
        prepare.push(match step {
            Prepare::Copy { from, to } => PrepareStep::Copy {
                from: layout.conf(&spec.id, &spec.hash).join(from),
                to: places.below_data(to)?,
            },
            Prepare::Run { unless, argv, timeout_s } => PrepareStep::Run {
                unless: places.below_data(unless)?,
                argv: places.argv(argv, "prepare")?,
                timeout_s: *timeout_s,
            },
        });
    }
    Ok(ExecFile {
        id: spec.id.clone(),
        uid: spec.uid.clone(),
        spec: spec.hash.clone(),
        argv,
        env,
        nofile: exec.nofile,
        prepare,
        data_dir: layout.data_dir(&spec.id),
        log_file: layout.log_file(&spec.id),
    })
}

fn refused(place: String, rule: impl Into<String>) -> RenderError {
    RenderError::Refused { place, rule: rule.into() }
}

/// What placeholders stand for.
struct Places {
    values: BTreeMap<String, String>,
    java: Option<String>,
    releases: Vec<PathBuf>,
    data: PathBuf,
}

impl Places {
    fn new(layout: &Layout, spec: &InstanceSpec, java: Option<&Path>) -> Self {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut values = BTreeMap::new();
        let mut releases = Vec::new();
        let mut packed_java = None;
        for package in &spec.body.packages {
            let folder = layout.release(package);
            if package.name.as_str() == "jre" {
                packed_java = Some(text(folder.join("bin/java")));
            }
            values.insert(format!("package:{}", package.name), text(folder.clone()));
            releases.push(folder);
        }
        let data = layout.data_dir(&spec.id);
        values.insert("data".into(), text(data.clone()));
        values.insert("conf".into(), text(layout.conf(&spec.id, &spec.hash)));
        let java = packed_java.or_else(|| java.map(|path| path.to_string_lossy().into_owned()));
        Self { values, java, releases, data }
    }

    /// Replaces `{name}`. Braces that are no placeholder of ours stay (a log pattern may have them); a name that looks
    /// like one of ours and is unknown is an error.
    fn resolve(&self, text: &str, place: &str) -> Result<String, RenderError> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            out.push_str(&rest[..start]);
            let after = &rest[start + 1..];
            let name = after.split_once('}').map(|(name, _)| name).filter(|name| looks_like_ours(name));
            let Some(name) = name else {
                out.push('{');
                rest = after;
                continue;
            };
            out.push_str(self.value(name, place)?);
            rest = &after[name.len() + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, name: &str, place: &str) -> Result<&str, RenderError> {
        if name == "java" {
            let rule = "needs Java: no package jre in this spec and no Java 17 or newer on this host";
            return self.java.as_deref().ok_or_else(|| refused(place.to_owned(), rule));
        }
        let known = || self.values.keys().map(|key| format!("{{{key}}}")).collect::<Vec<_>>().join(" ");
        self.values.get(name).map(String::as_str).ok_or_else(|| refused(place.to_owned(), format!("{{{name}}} is not known here; there are {} {{java}}", known())))
    }

    fn argv(&self, argv: &[String], place: &str) -> Result<Vec<String>, RenderError> {
        let argv: Vec<String> = argv.iter().map(|word| self.resolve(word, place)).collect::<Result<_, _>>()?;
        let program = argv.first().ok_or_else(|| refused(place.to_owned(), "a command has a program"))?;
        let ours = self.java.as_ref() == Some(program) || self.releases.iter().any(|release| below(Path::new(program), release));
        if !ours || argv.iter().any(|word| word.contains('\0')) {
            return Err(refused(format!("{place} {program:?}"), "the program lies in a package of the spec or is {java}"));
        }
        Ok(argv)
    }

    fn below_data(&self, text: &str) -> Result<PathBuf, RenderError> {
        let path = PathBuf::from(self.resolve(text, "prepare")?);
        if below(&path, &self.data) { Ok(path) } else { Err(refused(format!("prepare {text:?}"), "the file lies below {data}")) }
    }
}

fn looks_like_ours(name: &str) -> bool {
    matches!(name, "data" | "conf" | "java") || name.strip_prefix("package:").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
}

fn below(path: &Path, folder: &Path) -> bool {
    path.starts_with(folder) && path != folder && !path.components().any(|part| part == std::path::Component::ParentDir)
}

/// Is the wanted folder there, unchanged, and the current one?
pub fn present(layout: &Layout, spec: &InstanceSpec, rendered: &Rendered) -> bool {
    let folder = layout.conf(&spec.id, &spec.hash);
    let current = fs::read_link(layout.current_conf(&spec.id)).is_ok_and(|link| link == Path::new(spec.hash.as_str()));
    current && rendered.files.iter().all(|(name, content, _)| fs::read(folder.join(name)).is_ok_and(|found| found == *content))
}

/// Writes the folder and makes it the current one. A folder that somebody changed is kept beside it as `<hash>.changed`.
pub fn write(layout: &Layout, spec: &InstanceSpec, rendered: &Rendered) -> Result<(), RenderError> {
    let confs = layout.confs(&spec.id);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RenderError::Io { path, source }
    };
    let temporary = confs.join(".tmp");
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(failed(&temporary))?;
    }
    fs::create_dir_all(&temporary).map_err(failed(&temporary))?;
    for (name, content, private) in &rendered.files {
        let path = temporary.join(name);
        disk::write_synced(&path, content, if *private { 0o600 } else { 0o640 }).map_err(failed(&path))?;
    }
    let folder = layout.conf(&spec.id, &spec.hash);
    if folder.exists() {
        let unchanged = rendered.files.iter().all(|(name, content, _)| fs::read(folder.join(name)).is_ok_and(|found| found == *content));
        if !unchanged {
            let changed = confs.join(format!("{}.changed", spec.hash));
            tracing::warn!(instance = %spec.id, kept = %changed.display(), "configuration was changed by hand; written anew");
            if changed.exists() {
                fs::remove_dir_all(&changed).map_err(failed(&changed))?;
            }
            fs::rename(&folder, &changed).map_err(failed(&folder))?;
        }
    }
    if folder.exists() {
        fs::remove_dir_all(&temporary).map_err(failed(&temporary))?;
    } else {
        fs::rename(&temporary, &folder).map_err(failed(&folder))?;
    }
    let link = confs.join(".current");
    if link.is_symlink() {
        fs::remove_file(&link).map_err(failed(&link))?;
    }
    std::os::unix::fs::symlink(spec.hash.as_str(), &link).map_err(failed(&link))?;
    let current = layout.current_conf(&spec.id);
    fs::rename(&link, &current).map_err(failed(&current))?;
    disk::sync_folder(&confs).map_err(failed(&confs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::sleeper;

    fn place() -> (tempfile::TempDir, Layout) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("zms")).unwrap();
        (folder, layout)
    }

    #[test]
    fn placeholders_become_absolute_paths_and_other_braces_stay() {
        let (_keep, layout) = place();
        let mut spec = sleeper("s-1");
        spec.body.files = vec![ConfigFile { name: "a.conf".into(), body: "dir={data}\npattern=%X{myid} {\n".into(), private: false }];
        let rendered = render(&layout, &spec, None).unwrap();
        let text = String::from_utf8(rendered.files[0].1.clone()).unwrap();
        assert_eq!(text, format!("dir={}\npattern=%X{{myid}} {{\n", layout.data_dir(&spec.id).display()));
    }

    #[test]
    fn what_a_spec_may_not_ask_for_is_refused_with_its_place() {
        let (_keep, layout) = place();
        type Change = fn(&mut InstanceSpec);
        let cases: [(Change, &str); 9] = [
            (|s| s.body.exec.argv = vec!["/bin/sh".into(), "-c".into()], "program lies in a package"),
            (|s| s.body.exec.argv = vec!["{package:sleeper}/../../sh".into()], "program lies in a package"),
            (|s| s.body.exec.argv = vec![], "has a program"),
            (|s| s.body.exec.argv = vec!["{java}".into()], "needs Java"),
            (|s| s.body.exec.argv = vec!["{package:other}/x".into()], "not known here"),
            (|s| drop(s.body.exec.env.insert("LD_PRELOAD".into(), "x".into())), "LD_"),
            (|s| s.body.files = vec![ConfigFile { name: "../x".into(), body: String::new(), private: false }], "letters, digits"),
            (|s| s.body.files = vec![ConfigFile { name: "exec.json".into(), body: String::new(), private: false }], "unique"),
            (|s| s.body.prepare = vec![Prepare::Copy { from: "a".into(), to: "/etc/passwd".into() }], "below {data}"),
        ];
        for (change, rule) in cases {
            let mut spec = sleeper("s-1");
            change(&mut spec);
            let error = render(&layout, &spec, None).unwrap_err().to_string();
            assert!(error.contains(rule), "{error} should say {rule}");
        }
    }

    #[test]
    fn the_folder_is_current_after_writing_and_a_change_by_hand_is_seen_and_kept() {
        let (_keep, layout) = place();
        let mut spec = sleeper("s-1");
        spec.body.files = vec![ConfigFile { name: "a.conf".into(), body: "x=1\n".into(), private: false }];
        let rendered = render(&layout, &spec, None).unwrap();
        assert!(!present(&layout, &spec, &rendered));
        write(&layout, &spec, &rendered).unwrap();
        assert!(present(&layout, &spec, &rendered));
        let file = layout.current_conf(&spec.id).join("a.conf");
        fs::write(&file, "x=2\n").unwrap();
        assert!(!present(&layout, &spec, &rendered));
        write(&layout, &spec, &rendered).unwrap();
        assert!(present(&layout, &spec, &rendered));
        let kept = layout.confs(&spec.id).join(format!("{}.changed/a.conf", spec.hash));
        assert_eq!(fs::read_to_string(kept).unwrap(), "x=2\n");
    }
}
