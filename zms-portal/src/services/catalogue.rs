//! The kinds of service that this portal knows.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use zms_core::catalogue::Kind;

/// The catalogue files of this repository, so that the portal is one file.
const BUILT_IN: [(&str, &str); 5] = [
    ("collector.toml", include_str!("../../../catalogue/collector.toml")),
    ("influxdb.toml", include_str!("../../../catalogue/influxdb.toml")),
    ("kafka.toml", include_str!("../../../catalogue/kafka.toml")),
    ("rocketmq.toml", include_str!("../../../catalogue/rocketmq.toml")),
    ("zookeeper.toml", include_str!("../../../catalogue/zookeeper.toml")),
];

/// Kinds of service, by name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalogue(Arc<Vec<Kind>>);

impl Catalogue {
    /// Reads the built-in kinds, or every `*.toml` of `folder`. One file that is wrong is an error that names it: a portal
    /// that silently forgot a kind could not even show its services.
    pub fn load(folder: Option<&Path>) -> anyhow::Result<Self> {
        let mut kinds = Vec::new();
        match folder {
            None => {
                for (file, text) in BUILT_IN {
                    kinds.push(parse(file, text)?);
                }
            }
            Some(folder) => {
                let context = || format!("catalogue folder {}", folder.display());
                for entry in std::fs::read_dir(folder).with_context(context)? {
                    let path = entry.with_context(context)?.path();
                    if path.extension().is_some_and(|extension| extension == "toml") {
                        let text =
                            std::fs::read_to_string(&path).with_context(|| format!("catalogue file {}", path.display()))?;
                        kinds.push(parse(&path.display().to_string(), &text)?);
                    }
                }
                anyhow::ensure!(
                    !kinds.is_empty(),
                    "{} has no *.toml file; without --catalogue the built-in kinds are used",
                    context()
                );
            }
        }
        kinds.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(Self(Arc::new(kinds)))
    }

    /// All kinds, by name.
    pub fn kinds(&self) -> &[Kind] {
        &self.0
    }

    /// The kind of this name.
    pub fn find(&self, name: &str) -> Option<&Kind> {
        self.0.iter().find(|kind| kind.name().as_str() == name)
    }
}

fn parse(file: &str, text: &str) -> anyhow::Result<Kind> {
    let kind = Kind::parse(text).with_context(|| format!("catalogue file {file}"))?;
    let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    anyhow::ensure!(
        stem == kind.name().as_str(),
        "catalogue file {file}: describes the kind {}; name the file after it",
        kind.name()
    );
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_kinds_are_those_of_the_repository() {
        let catalogue = Catalogue::load(None).unwrap();
        let names: Vec<_> = catalogue.kinds().iter().map(|kind| format!("{}.toml", kind.name())).collect();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../catalogue");
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.retain(|file| file.ends_with(".toml"));
        files.sort();
        assert_eq!(names, files, "a new catalogue file goes into BUILT_IN");
    }

    #[test]
    fn a_wrong_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Catalogue::load(Some(folder.path())).unwrap_err().to_string().contains("has no *.toml"));
        std::fs::write(folder.path().join("mine.toml"), "kind = 1").unwrap();
        let error = format!("{:#}", Catalogue::load(Some(folder.path())).unwrap_err());
        assert!(error.contains("mine.toml"), "{error}");
        std::fs::write(folder.path().join("mine.toml"), BUILT_IN[3].1).unwrap();
        let error = format!("{:#}", Catalogue::load(Some(folder.path())).unwrap_err());
        assert!(error.contains("name the file after it"), "{error}");
    }
}
