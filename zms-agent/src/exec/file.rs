//! What is to be started: `exec.json` in an instance's configuration folder.
//!
//! Whoever renders a spec writes it, with every placeholder replaced by an absolute path, so that a start depends on
//! nothing but this file: neither the portal nor the agent need to be alive.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zms_core::host::SpecHash;
use zms_core::names::InstanceId;

/// A resolved spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecFile {
    /// Which instance.
    pub id: InstanceId,
    /// Owner of the data folder: data of an earlier instance with the same id has another.
    pub uid: String,
    /// Hash of the spec this was made from; it goes into the environment as `ZMS_SPEC`.
    pub spec: SpecHash,
    /// Program (an absolute path) and its arguments.
    pub argv: Vec<String>,
    /// Environment besides `PATH`, `HOME`, `LANG`, `TZ`, `TMPDIR` and our own two.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Limit of open files; 0 leaves it as it is.
    pub nofile: u64,
    /// Done under the lock before each start, in this order.
    #[serde(default)]
    pub prepare: Vec<PrepareStep>,
    /// Made if missing; also the working folder.
    pub data_dir: PathBuf,
    /// Gets standard output and error.
    pub log_file: PathBuf,
}

/// A preparation; [`zms_core::host::Prepare`] with its placeholders resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum PrepareStep {
    /// Copies a file; the target is either the old or the new one, never half of it.
    Copy {
        /// A rendered file.
        from: PathBuf,
        /// Target.
        to: PathBuf,
    },
    /// Runs a command to its end.
    Run {
        /// Not run if this exists.
        unless: PathBuf,
        /// Program (an absolute path) and its arguments.
        argv: Vec<String>,
        /// Killed after this time, in seconds.
        timeout_s: u32,
    },
}

impl ExecFile {
    /// Reads and checks a file; the error is a sentence.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text =
            fs::read(path).map_err(|error| format!("read {shown}: {error}; the agent writes it when it renders the spec"))?;
        let file: Self = serde_json::from_slice(&text).map_err(|error| format!("{shown}: {error}"))?;
        file.check().map_err(|problem| format!("{shown}: {problem}"))?;
        Ok(file)
    }

    /// Is this something that can be started? The error is a sentence.
    pub fn check(&self) -> Result<(), String> {
        if self.uid.is_empty() || self.uid.chars().any(char::is_control) {
            return Err(format!("uid {:?}: must be one line of text", self.uid));
        }
        check_argv("argv", &self.argv)?;
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(format!("env {name:?}: a name has no = and neither name nor value a zero byte"));
            }
        }
        for (what, path) in [("data_dir", &self.data_dir), ("log_file", &self.log_file)] {
            check_path(what, path)?;
        }
        self.prepare.iter().try_for_each(|step| match step {
            PrepareStep::Copy { from, to } => check_path("prepare copy from", from).and(check_path("prepare copy to", to)),
            PrepareStep::Run { timeout_s: 0, .. } => Err("prepare run: timeout_s must be at least 1".to_owned()),
            PrepareStep::Run { unless, argv, .. } => {
                check_path("prepare run unless", unless).and(check_argv("prepare run argv", argv))
            }
        })
    }
}

fn check_argv(what: &str, argv: &[String]) -> Result<(), String> {
    let Some(program) = argv.first() else {
        return Err(format!("{what}: is empty, must begin with the program"));
    };
    if argv.iter().any(|argument| argument.contains('\0')) {
        return Err(format!("{what}: an argument holds a zero byte"));
    }
    check_path(what, Path::new(program))
}

/// A relative path would mean something else in every folder.
fn check_path(what: &str, path: &Path) -> Result<(), String> {
    if path.is_absolute() { Ok(()) } else { Err(format!("{what}: {path:?} must be an absolute path")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> ExecFile {
        ExecFile {
            id: InstanceId::new("kafka-1").unwrap(),
            uid: "u-1".to_owned(),
            spec: SpecHash::parse("0123456789abcdef0123456789abcdef").unwrap(),
            argv: vec!["/opt/java".to_owned(), "kafka.Kafka".to_owned()],
            env: BTreeMap::from([("MALLOC_ARENA_MAX".to_owned(), "2".to_owned())]),
            nofile: 100_000,
            prepare: vec![
                PrepareStep::Copy { from: "/c/myid".into(), to: "/d/myid".into() },
                PrepareStep::Run { unless: "/d/meta".into(), argv: vec!["/opt/java".to_owned()], timeout_s: 60 },
            ],
            data_dir: "/d".into(),
            log_file: "/l/out.log".into(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exec.json");
        fs::write(&path, serde_json::to_vec_pretty(&file()).unwrap()).unwrap();
        assert_eq!(ExecFile::read(&path).unwrap(), file());
    }

    #[test]
    fn each_wrong_file_is_refused_with_the_field_that_is_wrong() {
        let run = |argv: &[&str], timeout_s| PrepareStep::Run {
            unless: "/d/meta".into(),
            argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
            timeout_s,
        };
        let table: Vec<(&str, ExecFile)> = vec![
            ("uid", ExecFile { uid: String::new(), ..file() }),
            ("uid", ExecFile { uid: "a\nb".to_owned(), ..file() }),
            ("argv: is empty", ExecFile { argv: vec![], ..file() }),
            ("argv: \"java\" must be an absolute path", ExecFile { argv: vec!["java".to_owned()], ..file() }),
            ("zero byte", ExecFile { argv: vec!["/a".to_owned(), "\0".to_owned()], ..file() }),
            ("env", ExecFile { env: BTreeMap::from([("A=B".to_owned(), String::new())]), ..file() }),
            ("data_dir", ExecFile { data_dir: "d".into(), ..file() }),
            ("log_file", ExecFile { log_file: "".into(), ..file() }),
            ("prepare run argv", ExecFile { prepare: vec![run(&["bin/format"], 1)], ..file() }),
            ("prepare run argv", ExecFile { prepare: vec![run(&[], 1)], ..file() }),
            ("timeout_s", ExecFile { prepare: vec![run(&["/bin/format"], 0)], ..file() }),
            ("prepare copy to", ExecFile { prepare: vec![PrepareStep::Copy { from: "/a".into(), to: "a".into() }], ..file() }),
        ];
        for (expected, wrong) in table {
            let error = wrong.check().unwrap_err();
            assert!(error.contains(expected), "{error} should contain {expected:?}");
        }
        assert_eq!(file().check(), Ok(()));
    }
}
