//! What would be done on each host, in full, for a person to read before it is done.

use serde::Serialize;
use zms_core::host::{InstanceSpec, Phase, Prepare};

use super::diff::{self, Line};

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Plan {
    /// One entry for each instance that is new or changes, in the order of their numbers.
    pub instances: Vec<InstancePlan>,
}

/// What would be done on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct InstancePlan {
    /// Name of the instance.
    pub instance: String,
    /// Id of the host.
    pub host: String,
    /// Name of the host.
    pub host_name: String,
    /// Is a running process restarted for it?
    pub restarts: bool,
    /// Memory that it may use, in MiB; 0 if it is not known.
    pub memory_mib: u64,
    /// Fetched unless the host has them.
    pub packages: Vec<PackagePlan>,
    /// Written into a new configuration folder.
    pub files: Vec<FilePlan>,
    /// Done before each start, each as a command line.
    pub before_start: Vec<String>,
    /// Program and arguments. The agent puts paths in for `{java}`, `{conf}`, `{data}`, `{tmp}` and `{package:…}`.
    pub command: Vec<String>,
    /// Environment of the process, `KEY=value`.
    pub environment: Vec<String>,
    /// Where it listens: `name address:port`.
    pub ports: Vec<String>,
}

/// A package to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PackagePlan {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Of the archive, in bytes.
    pub size: u64,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FilePlan {
    /// File name.
    pub name: String,
    /// Was there one before, and is this one different?
    pub change: FileChange,
    /// The whole text.
    pub body: String,
    /// Old and new woven together; empty unless it changes.
    pub diff: Vec<Line>,
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileChange {
    /// There was none.
    New,
    /// It stays as it is.
    Same,
    /// It becomes another.
    Changed,
}

/// What `new` would do on a host that has `old`.
pub(super) fn of_instance(new: &InstanceSpec, old: Option<&InstanceSpec>, host: (&str, &str), memory_mib: u64) -> InstancePlan {
    let file = |file: &zms_core::host::ConfigFile| {
        let before = old.and_then(|old| old.body.files.iter().find(|other| other.name == file.name));
        let change = match before {
            None => FileChange::New,
            Some(before) if before.body == file.body => FileChange::Same,
            Some(_) => FileChange::Changed,
        };
        let diff = match (change, before) {
            (FileChange::Changed, Some(before)) => diff::lines(&before.body, &file.body),
            (FileChange::New | FileChange::Same | FileChange::Changed, _) => Vec::new(),
        };
        FilePlan { name: file.name.clone(), change, body: file.body.clone(), diff }
    };
    let package = |package: &zms_core::package::PackageRef| PackagePlan {
        name: package.name.to_string(),
        version: package.version.to_string(),
        size: package.size,
    };
    let body = &new.body;
    InstancePlan {
        instance: new.id.to_string(),
        host: host.0.to_owned(),
        host_name: host.1.to_owned(),
        restarts: old.is_some_and(|old| old.phase == Phase::Running && new.phase == Phase::Running && old.hash != new.hash),
        memory_mib,
        packages: body.packages.iter().map(package).collect(),
        files: body.files.iter().map(file).collect(),
        before_start: body.prepare.iter().map(preparation).collect(),
        command: body.exec.argv.clone(),
        environment: body.exec.env.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        ports: body.ports.iter().map(|port| format!("{} {}", port.name, port.socket())).collect(),
    }
}

fn preparation(prepare: &Prepare) -> String {
    match prepare {
        Prepare::Copy { from, to } => format!("copy {from} {to}"),
        Prepare::Run { unless, argv, .. } => format!("{} # unless {unless} exists", argv.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::Catalogue;
    use crate::services::test_support::service;

    #[test]
    fn a_plan_shows_every_file_and_what_changes_in_it() {
        let catalogue = Catalogue::load(None).unwrap();
        let kind = catalogue.find("zookeeper").unwrap();
        let mut service = service(kind, 1, 2000);
        let old = kind.render(&service).unwrap().remove(0);
        let first = of_instance(&old, None, ("H", "host-1"), 256);
        assert!(!first.restarts && first.files.iter().all(|file| file.change == FileChange::New));
        assert_eq!(first.ports, ["client 10.0.0.1:2181", "secure 10.0.0.1:2281"]);
        assert!(first.command.contains(&"-Xmx128m".to_owned()), "{:?}", first.command);

        service.settings.insert("tickTime".to_owned(), "3s".to_owned());
        let new = kind.render(&service).unwrap().remove(0);
        let second = of_instance(&new, Some(&old), ("H", "host-1"), 256);
        assert!(second.restarts);
        let changed: Vec<_> = second.files.iter().filter(|file| file.change == FileChange::Changed).collect();
        assert_eq!(changed.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["zoo.cfg"]);
        assert!(changed[0].diff.iter().any(|line| line.text == "tickTime=3000"));
    }
}
