//! The configuration folder of a spec: its files, and `exec.json` with every path resolved.
//!
//! A folder is written whole under another name and renamed, so `conf/<id>/<hash>` is either right or absent; then the
//! link `current` is flipped.
//!
//! [`places`] knows what placeholders stand for, [`content`] is a file whose secrets may not be at hand.

pub mod content;
pub(crate) mod places;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use zms_core::host::{ConfigFile, InstanceSpec, Prepare};

use self::content::Content;
use self::places::Places;
use crate::disk;
use crate::exec::{ExecFile, PrepareStep};
use crate::layout::Layout;
use crate::secrets::Secrets;

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
    /// A secret is not at hand.
    #[error("file {file}: secret {reference} is not at hand; it comes from the portal")]
    Secret {
        /// Which file.
        file: String,
        /// Which secret.
        reference: String,
    },
}

/// What the files of a spec are, before any of them is written.
#[derive(Debug)]
pub struct Rendered {
    /// Name, content, private.
    files: Vec<(String, Content, bool)>,
}

impl Rendered {
    /// Is everything there that is needed to write the files? Whether they are right can be told also without.
    pub fn complete(&self) -> bool {
        self.files.iter().all(|(_, content, _)| content.bytes().is_ok())
    }

    fn same_as(&self, folder: &Path) -> bool {
        self.files.iter().all(|(name, content, _)| fs::read(folder.join(name)).is_ok_and(|found| content.same_as(&found)))
    }
}

/// The file that `zms-agent exec` reads, and a name no rendered file may have.
const EXEC_FILE: &str = "exec.json";

/// Puts absolute paths, and the secrets that are at hand, where the spec has placeholders.
pub fn render(layout: &Layout, spec: &InstanceSpec, java: Option<&Path>, secrets: &Secrets) -> Result<Rendered, RenderError> {
    let places = Places::new(layout, spec, java);
    let mut files = Vec::new();
    for ConfigFile { name, body, private } in &spec.body.files {
        let plain =
            !name.is_empty() && !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !plain || name == EXEC_FILE || files.iter().any(|(other, _, _)| other == name) {
            return Err(refused(format!("file {name:?}"), "a name is unique and has letters, digits and . _ - only"));
        }
        let content = places.content(body, name, secrets)?;
        let private = *private || content.has_secrets();
        files.push((name.clone(), content, private));
    }
    let exec = exec_file(layout, spec, &places)?;
    let text = serde_json::to_string_pretty(&exec).expect("an exec file has only string keys");
    files.push((EXEC_FILE.into(), Content::plain(text), true));
    Ok(Rendered { files })
}

fn exec_file(layout: &Layout, spec: &InstanceSpec, places: &Places) -> Result<ExecFile, RenderError> {
    let exec = &spec.body.exec;
    let argv = places.argv(&exec.argv, "exec")?;
    let mut env = BTreeMap::new();
    for (key, value) in &exec.env {
        let named = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !named || key.starts_with("LD_") || key.starts_with("ZMS_") {
            return Err(refused(
                format!("environment variable {key:?}"),
                "letters, digits and _ only; LD_… and ZMS_… are not for a spec",
            ));
        }
        env.insert(key.clone(), places.resolve(value, key)?);
    }
    let mut prepare = Vec::new();
    for step in &spec.body.prepare {
        prepare.push(match step {
            Prepare::Copy { from, to } => {
                PrepareStep::Copy { from: layout.conf(&spec.id, &spec.hash).join(from), to: places.below_data(to)? }
            }
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

/// Is the wanted folder there, unchanged, and the current one?
pub fn present(layout: &Layout, spec: &InstanceSpec, rendered: &Rendered) -> bool {
    let folder = layout.conf(&spec.id, &spec.hash);
    let current = fs::read_link(layout.current_conf(&spec.id)).is_ok_and(|link| link == Path::new(spec.hash.as_str()));
    current && rendered.same_as(&folder)
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
        let bytes =
            content.bytes().map_err(|reference| RenderError::Secret { file: name.clone(), reference: reference.to_owned() })?;
        disk::write_synced(&path, &bytes, if *private { 0o600 } else { 0o640 }).map_err(failed(&path))?;
    }
    let folder = layout.conf(&spec.id, &spec.hash);
    if folder.exists() && !rendered.same_as(&folder) {
        let changed = confs.join(format!("{}.changed", spec.hash));
        tracing::warn!(instance = %spec.id, kept = %changed.display(), "configuration was changed by hand; written anew");
        if changed.exists() {
            fs::remove_dir_all(&changed).map_err(failed(&changed))?;
        }
        fs::rename(&folder, &changed).map_err(failed(&folder))?;
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
    disk::sync(&confs).map_err(failed(&confs))
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
        spec.body.files = vec![ConfigFile {
            name: "a.conf".into(),
            body: "dir={data}\ntmp={tmp}\npattern=%X{myid} {\n".into(),
            private: false,
        }];
        let rendered = render(&layout, &spec, None, &Secrets::default()).unwrap();
        let text = String::from_utf8(rendered.files[0].1.bytes().unwrap()).unwrap();
        let (data, tmp) = (layout.data_dir(&spec.id), layout.tmp_dir(&spec.id));
        assert_eq!(text, format!("dir={}\ntmp={}\npattern=%X{{myid}} {{\n", data.display(), tmp.display()));
    }

    #[test]
    fn what_a_spec_may_not_ask_for_is_refused_with_its_place() {
        let (_keep, layout) = place();
        type Change = fn(&mut InstanceSpec);
        let cases: [(Change, &str); 11] = [
            (|s| s.body.exec.argv = vec!["/bin/sh".into(), "-c".into()], "program lies in a package"),
            (|s| s.body.exec.argv = vec!["{package:sleeper}/../../sh".into()], "program lies in a package"),
            (|s| s.body.exec.argv = vec![], "has a program"),
            (|s| s.body.exec.argv = vec!["{java}".into()], "needs Java"),
            (|s| s.body.exec.argv = vec!["{package:other}/x".into()], "not known here"),
            (|s| s.body.exec.argv.push("--password={secret:db}".into()), "stand in files only"),
            (|s| drop(s.body.exec.env.insert("PW".into(), "{secret:db}".into())), "stand in files only"),
            (|s| drop(s.body.exec.env.insert("LD_PRELOAD".into(), "x".into())), "LD_"),
            (|s| s.body.files = vec![ConfigFile { name: "../x".into(), body: String::new(), private: false }], "letters, digits"),
            (|s| s.body.files = vec![ConfigFile { name: "exec.json".into(), body: String::new(), private: false }], "unique"),
            (|s| s.body.prepare = vec![Prepare::Copy { from: "a".into(), to: "/etc/passwd".into() }], "below {data}"),
        ];
        for (change, rule) in cases {
            let mut spec = sleeper("s-1");
            change(&mut spec);
            let error = render(&layout, &spec, None, &Secrets::default()).unwrap_err().to_string();
            assert!(error.contains(rule), "{error} should say {rule}");
        }
    }

    #[test]
    fn the_folder_is_current_after_writing_and_a_change_by_hand_is_seen_and_kept() {
        let (_keep, layout) = place();
        let mut spec = sleeper("s-1");
        spec.body.files = vec![ConfigFile { name: "a.conf".into(), body: "x=1\n".into(), private: false }];
        let rendered = render(&layout, &spec, None, &Secrets::default()).unwrap();
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

    #[test]
    fn a_secret_is_in_its_file_alone_and_the_file_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let (_keep, layout) = place();
        let mut spec = sleeper("s-1");
        spec.body.files =
            vec![ConfigFile { name: "a.conf".into(), body: "x=1\npassword={secret:db/main@3}\nz=2\n".into(), private: false }];
        let without = render(&layout, &spec, None, &Secrets::default()).unwrap();
        assert!(!without.complete());
        let error = write(&layout, &spec, &without).unwrap_err().to_string();
        assert!(error.contains("a.conf") && error.contains("db/main@3"), "{error}");

        let secrets = Secrets::of([("db/main@3", "hush")]);
        let rendered = render(&layout, &spec, None, &secrets).unwrap();
        write(&layout, &spec, &rendered).unwrap();
        let conf = layout.current_conf(&spec.id);
        assert_eq!(fs::read_to_string(conf.join("a.conf")).unwrap(), "x=1\npassword=hush\nz=2\n");
        assert_eq!(fs::metadata(conf.join("a.conf")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(conf.join(EXEC_FILE)).unwrap().contains("hush"));
        assert!(!format!("{rendered:?} {secrets:?}").contains("hush"));

        // With the secret not at hand (the agent was started again, the portal is away) the file still counts as right.
        assert!(present(&layout, &spec, &rendered) && present(&layout, &spec, &without));
        fs::write(conf.join("a.conf"), "x=1\npassword=hush\nz=3\n").unwrap();
        assert!(!present(&layout, &spec, &rendered) && !present(&layout, &spec, &without));
        fs::write(conf.join("a.conf"), "x=1\npassword=other\nz=2\n").unwrap();
        assert!(!present(&layout, &spec, &rendered) && present(&layout, &spec, &without));
    }
}
