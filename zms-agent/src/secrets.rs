//! Secrets that stand in the files of a spec as `{secret:<reference>}`. They come from the portal when the files are written, live
//! in memory and in those files, and are never logged.

use std::collections::{BTreeMap, BTreeSet};

use zms_core::host::{InstanceSpec, SpecHash};

use crate::fetch::Source;
use crate::render::places::{Part, parts};

/// What a placeholder of a secret begins with.
pub const PREFIX: &str = "secret:";

/// Values by reference.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Secrets {
    /// The value, if it is at hand.
    pub fn get(&self, reference: &str) -> Option<&str> {
        self.values.get(reference).map(String::as_str)
    }

    /// Asks for all secrets of a spec; the error names the one that is missing and why.
    pub async fn fetch(source: &Source, spec: &InstanceSpec) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        for reference in wanted(spec) {
            values.insert(reference.to_owned(), source.secret(reference).await?);
        }
        Ok(Self { values })
    }

    #[cfg(test)]
    pub(crate) fn of<const N: usize>(values: [(&str, &str); N]) -> Self {
        Self { values: values.map(|(reference, value)| (reference.to_owned(), value.to_owned())).into() }
    }
}

/// References in the files of a spec.
fn wanted(spec: &InstanceSpec) -> BTreeSet<&str> {
    let all = spec.body.files.iter().flat_map(|file| parts(&file.body));
    all.filter_map(|part| match part {
        Part::Secret(reference) => Some(reference),
        Part::Text(_) | Part::Name(_) => None,
    })
    .collect()
}

/// The secrets that an instance's files were last written with.
///
/// They belong to one spec: another one is written with what the portal has then, which may have changed under the same reference.
#[derive(Debug, Default)]
pub struct Kept(Option<(SpecHash, Secrets)>);

impl Kept {
    /// Those of this spec, or none.
    pub fn of(&self, spec: &InstanceSpec) -> Secrets {
        self.0.as_ref().filter(|(hash, _)| *hash == spec.hash).map(|(_, secrets)| secrets.clone()).unwrap_or_default()
    }

    /// Remembers them for as long as the spec is wanted.
    pub fn keep(&mut self, spec: &InstanceSpec, secrets: Secrets) {
        self.0 = Some((spec.hash.clone(), secrets));
    }
}

#[cfg(test)]
mod tests {
    use zms_core::host::ConfigFile;

    use super::*;
    use crate::instance::tests::sleeper;

    #[tokio::test]
    async fn a_host_without_a_portal_says_which_secret_it_cannot_have() {
        let mut spec = sleeper("s-1");
        let file = |body: &str| ConfigFile { name: "a".into(), body: body.into(), private: true };
        spec.body.files = vec![file("{secret:b} {data} {secret:a}"), file("{secret:a}")];
        assert_eq!(wanted(&spec).into_iter().collect::<Vec<_>>(), ["a", "b"]);
        let error = Secrets::fetch(&Source::Folder("/nowhere".into()), &spec).await.unwrap_err();
        assert!(error.contains("secret a") && error.contains("no portal"), "{error}");
    }

    #[test]
    fn secrets_of_an_earlier_spec_are_not_those_of_this_one() {
        let (spec, mut kept) = (sleeper("s-1"), Kept::default());
        kept.keep(&spec, Secrets::of([("a", "1")]));
        assert_eq!(kept.of(&spec).get("a"), Some("1"));
        let mut body = spec.body.clone();
        body.restart += 1;
        let next = InstanceSpec::new(spec.id.clone(), spec.uid.clone(), spec.kind.clone(), spec.phase, body);
        assert_eq!(kept.of(&next).get("a"), None);
    }
}
