//! What a person wants: the same for the wizard's steps and for the REST API.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use zms_core::catalogue::{Kind, Per};

use crate::web::messages::Messages;

/// A service that does not exist yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ServiceWish)]
pub struct Wish {
    /// Its name within the environment.
    pub name: String,
    /// A kind of the catalogue.
    pub kind: String,
    /// Version of the server; empty takes the newest that fits.
    #[serde(default)]
    pub version: String,
    /// Where its instances run; the order gives them their numbers.
    pub hosts: Vec<WishedHost>,
    /// Values by the key of their setting; what is missing or empty is the default.
    #[serde(default, deserialize_with = "scalars")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub settings: BTreeMap<String, String>,
    /// Install though a preflight check warns.
    #[serde(default)]
    pub accept_warnings: bool,
    /// Values made once, by name or `<number>/<name>`. The wizard carries them, so that what was shown is what is installed.
    #[serde(skip)]
    pub generated: BTreeMap<String, String>,
}

/// A host and the address under which the others reach it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WishedHost {
    /// Its id.
    pub host: String,
    /// Empty takes the host's first.
    #[serde(default)]
    pub address: String,
}

/// A step of the wizard: where a field is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Kind and version.
    Kind,
    /// Hosts and addresses.
    Hosts,
    /// Name and settings.
    Settings,
    /// What the hosts say.
    Preflight,
    /// What will be done.
    Plan,
}

impl Step {
    /// In their order.
    pub const ALL: [Self; 5] = [Self::Kind, Self::Hosts, Self::Settings, Self::Preflight, Self::Plan];

    /// As it stands in the path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Hosts => "hosts",
            Self::Settings => "settings",
            Self::Preflight => "preflight",
            Self::Plan => "plan",
        }
    }

    /// The other way round.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == text)
    }

    /// For people.
    pub fn title(self, m: &Messages) -> &'static str {
        match self {
            Self::Kind => m.services_wizard_kind(),
            Self::Hosts => m.services_wizard_hosts(),
            Self::Settings => m.services_wizard_settings(),
            Self::Preflight => m.services_wizard_preflight(),
            Self::Plan => m.services_wizard_plan(),
        }
    }

    /// Where the field of a problem is asked for.
    pub fn of_field(field: &str) -> Self {
        match field.split_once('.').map_or(field, |(first, _)| first) {
            "kind" | "version" => Self::Kind,
            "hosts" | "address" => Self::Hosts,
            "preflight" | "accept_warnings" => Self::Preflight,
            _ => Self::Settings,
        }
    }
}

impl Wish {
    /// From the fields of a form, in which `hosts` is there once for each chosen host and `choice` is kind and version at once.
    pub fn from_form(fields: &[(String, String)]) -> Self {
        let mut wish = Self::default();
        for (field, value) in fields {
            match field.split_once('.') {
                None if field == "name" => wish.name = value.trim().to_owned(),
                None if field == "kind" => wish.kind.clone_from(value),
                None if field == "version" => wish.version.clone_from(value),
                None if field == "choice" => {
                    let (kind, version) = value.split_once('/').unwrap_or((value, ""));
                    (wish.kind, wish.version) = (kind.to_owned(), version.to_owned());
                }
                None if field == "accept_warnings" => wish.accept_warnings = value == "true",
                None if field == "hosts" => wish.hosts.push(WishedHost { host: value.clone(), address: String::new() }),
                Some(("settings", key)) if !value.trim().is_empty() => {
                    wish.settings.insert(key.to_owned(), value.replace("\r\n", "\n"));
                }
                Some(("generated", key)) => {
                    wish.generated.insert(key.to_owned(), value.clone());
                }
                None | Some(_) => {}
            }
        }
        for host in &mut wish.hosts {
            let field = format!("address.{}", host.host);
            let address = fields.iter().find(|(name, _)| *name == field);
            host.address = address.map(|(_, value)| value.trim().to_owned()).unwrap_or_default();
        }
        wish
    }

    /// The fields from which [`Wish::from_form`] makes it again, without those that `step` itself shows.
    pub fn hidden_fields(&self, step: Step) -> Vec<(String, String)> {
        let mut fields = vec![
            ("kind".to_owned(), self.kind.clone()),
            ("version".to_owned(), self.version.clone()),
            ("name".to_owned(), self.name.clone()),
        ];
        if self.accept_warnings {
            fields.push(("accept_warnings".to_owned(), "true".to_owned()));
        }
        for host in &self.hosts {
            fields.push(("hosts".to_owned(), host.host.clone()));
            fields.push((format!("address.{}", host.host), host.address.clone()));
        }
        fields.extend(self.settings.iter().map(|(key, value)| (format!("settings.{key}"), value.clone())));
        fields.retain(|(field, _)| Step::of_field(field) != step);
        fields.extend(self.generated.iter().map(|(key, value)| (format!("generated.{key}"), value.clone())));
        fields
    }

    /// Makes the values that this kind wants made and that are not there yet, from the system's random bytes.
    pub fn generate(&mut self, kind: &Kind) {
        for generated in kind.generated() {
            let names: Vec<String> = match generated.per {
                Per::Service => vec![generated.name.clone()],
                Per::Instance => {
                    let places = kind.places(self.hosts.len(), &self.settings);
                    places.iter().map(|place| format!("{}/{}", place.number, generated.name)).collect()
                }
            };
            for name in names {
                self.generated.entry(name).or_insert_with(|| generated.make(random()));
            }
        }
    }
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random numbers do not fail");
    bytes
}

/// Numbers and truths may stand as such in JSON.
pub(super) fn scalars<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let values = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    let text = |(key, value): (String, serde_json::Value)| match value {
        serde_json::Value::String(text) => Ok((key, text)),
        serde_json::Value::Number(number) => Ok((key, number.to_string())),
        serde_json::Value::Bool(truth) => Ok((key, truth.to_string())),
        serde_json::Value::Null => Ok((key, String::new())),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
            Err(serde::de::Error::custom(format!("setting {key:?}: must be a text, a number, true or false")))
        }
    };
    values.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        let host = |host: &str, address: &str| WishedHost { host: host.to_owned(), address: address.to_owned() };
        Wish {
            name: "orders".to_owned(),
            kind: "kafka".to_owned(),
            version: "4.3.1".to_owned(),
            hosts: vec![host("B", "10.0.0.2"), host("A", "10.0.0.1")],
            settings: BTreeMap::from([("log.retention.hours".to_owned(), "7d".to_owned())]),
            accept_warnings: true,
            generated: BTreeMap::from([("cluster_id".to_owned(), "x".to_owned()), ("1/directory_id".to_owned(), "y".to_owned())]),
        }
    }

    #[test]
    fn going_back_and_forth_keeps_every_value() {
        let all = [Step::Kind, Step::Hosts, Step::Settings, Step::Preflight];
        for step in Step::ALL {
            let mut fields = wish().hidden_fields(step);
            for other in all.into_iter().filter(|other| *other != step) {
                fields.extend(wish().hidden_fields(other).into_iter().filter(|(field, _)| Step::of_field(field) == step));
                fields.dedup();
            }
            fields.sort_by_key(|(field, _)| field != "hosts");
            let mut again = Wish::from_form(&fields);
            again.hosts.dedup();
            again.hosts.truncate(2);
            assert_eq!(again, wish(), "{step:?}");
        }
    }

    #[test]
    fn json_takes_numbers_and_truths_and_refuses_what_it_does_not_know() {
        let wish: Wish = serde_json::from_str(
            r#"{"name": "a", "kind": "b", "hosts": [{"host": "H"}], "settings": {"heap": 512, "x": true, "y": "z"}}"#,
        )
        .unwrap();
        assert_eq!(wish.settings.values().collect::<Vec<_>>(), ["512", "true", "z"]);
        assert!(serde_json::from_str::<Wish>(r#"{"name": "a", "kind": "b", "hosts": [], "setings": {}}"#).is_err());
        assert!(serde_json::from_str::<Wish>(r#"{"name": "a", "kind": "b", "hosts": [], "settings": {"x": []}}"#).is_err());
    }

    #[test]
    fn values_are_made_once_and_kept() {
        let catalogue = crate::services::Catalogue::load(None).unwrap();
        let kafka = catalogue.find("kafka").unwrap();
        let mut first = Wish { generated: BTreeMap::new(), ..wish() };
        first.generate(kafka);
        let before = first.generated.clone();
        assert!(before.len() > 2 && before.values().all(|value| value.len() == 22), "{before:?}");
        first.generate(kafka);
        assert_eq!(first.generated, before);
    }
}
