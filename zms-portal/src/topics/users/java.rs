//! Clients of the first ZMS: an ephemeral node below the topic or group, and a report each 10 s. Neither says which process it is, so those
//! of one address and one name are put together in their order.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use zms_core::collect::Snapshot;
use zms_core::metadata::path::Path as Znode;
use zms_core::metadata::{JavaPresence, Presence};
use zms_core::names::PhysicalName;
use zms_drivers::meta::{MetaError, MetaStore};

use super::{About, Client};

/// How the language is marked in reports.
pub(super) const LANGUAGE: &str = "java";
/// Clients of one topic or group that are looked at.
const MOST: usize = 2_000;
/// Groups of one topic that are looked at.
const MOST_GROUPS: usize = 100;

/// Java clients of a topic and groups.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Those of one kind, address and name, the oldest first.
    clients: BTreeMap<Alike, Vec<Client>>,
    /// Nodes that were not looked at or are no clients.
    pub others: usize,
}

/// Does it send; address; what the application calls it.
type Alike = (bool, String, String);

/// Those that have a node.
pub(super) async fn present(store: &dyn MetaStore, about: &About<'_>) -> Result<Found, MetaError> {
    let topic = about.topic.iter().map(|name| (true, *name));
    let groups = about.groups.iter().take(MOST_GROUPS).map(|name| (false, *name));
    let read = topic.chain(groups).filter_map(|(sends, name)| {
        let name = PhysicalName::new(name).ok()?;
        let path = if sends { Znode::Topic(name) } else { Znode::Group(name) };
        Some(async move { Ok((sends, store.children(&path.to_string()).await?.unwrap_or_default())) })
    });
    let mut found = Found::default();
    for (sends, names) in try_join_all(read).await? {
        found.others += names.len().saturating_sub(MOST);
        for name in names.iter().take(MOST) {
            match JavaPresence::parse(name) {
                Ok(presence) => found.add(sends, presence),
                Err(_) => found.others += 1,
            }
        }
    }
    for alike in found.clients.values_mut() {
        alike.sort_by(|a, b| a.started.cmp(&b.started));
    }
    Ok(found)
}

fn client(sends: bool, ip: &str, instance: &str) -> Client {
    let (application, ip, language) = (instance.to_owned(), ip.to_owned(), "Java".to_owned());
    let presence = Presence { application, ip, language, ..Presence::default() };
    Client { sends, consumes: !sends, presence, ..Client::default() }
}

impl Found {
    fn add(&mut self, sends: bool, found: JavaPresence) {
        let mut client = client(sends, &found.ip, &found.instance);
        (client.presence.version, client.started) = (found.version, found.started);
        self.clients.entry((sends, found.ip, found.instance)).or_default().push(client);
    }

    /// Puts what they report beside their nodes. Who reports without a node lives too: nodes do not come back after a lost session.
    pub(super) fn report(&mut self, snapshot: &Snapshot, about: &About<'_>) {
        let producers = snapshot.producers.iter().filter(|one| one.language == LANGUAGE && about.sends(one.topic.as_str()));
        let consumers = snapshot
            .consumers
            .iter()
            .filter(|one| one.language == LANGUAGE && about.consumes(one.topic.as_str(), one.group.as_str()));
        let producers = producers.map(|one| {
            let fill = Client { rate_in: one.rate, failed: one.failed, send_p99_ms: one.p99_ms, ..Client::default() };
            ((true, one.ip.clone(), one.application.clone()), fill)
        });
        let consumers = consumers.map(|one| {
            let fill = Client { rate_out: one.rate, failed: one.failed, handle_p99_ms: one.p99_ms, ..Client::default() };
            ((false, one.ip.clone(), one.application.clone()), fill)
        });
        let mut reported: BTreeMap<Alike, Vec<Client>> = BTreeMap::new();
        for (alike, figures) in producers.chain(consumers) {
            reported.entry(alike).or_default().push(figures);
        }
        for (alike, figures) in reported {
            let (sends, ip, instance) = alike.clone();
            let present = self.clients.entry(alike).or_default();
            for (n, figures) in figures.into_iter().enumerate() {
                if n == present.len() {
                    present.push(client(sends, &ip, &instance));
                }
                let Client { rate_in, rate_out, failed, send_p99_ms, handle_p99_ms, .. } = figures;
                present[n] = Client { rate_in, rate_out, failed, send_p99_ms, handle_p99_ms, ..present[n].clone() };
            }
        }
    }

    pub(super) fn into_clients(self) -> impl Iterator<Item = Client> {
        self.clients.into_values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use zms_core::collect::{ConsumerFigures, ProducerFigures};
    use zms_drivers::meta::fake::FakeMeta;

    use super::*;

    fn name(text: &str) -> PhysicalName {
        PhysicalName::new(text).unwrap()
    }

    fn producer(ip: &str, rate: f64) -> ProducerFigures {
        ProducerFigures {
            topic: name("orders"),
            application: "DEFAULT_PRODUCER".to_owned(),
            client: "1".to_owned(),
            language: LANGUAGE.to_owned(),
            ip: ip.to_owned(),
            at_ms: 0,
            rate: Some(rate),
            failed: Some(0.0),
            p99_ms: Some(5.0),
            dropped: None,
        }
    }

    #[tokio::test]
    async fn a_java_client_with_a_node_and_a_report_is_one_row_and_one_without_a_node_is_there_too() {
        let store = FakeMeta::new();
        for path in [
            "/zms/topic/orders/10.0.0.1||DEFAULT_PRODUCER||1.0.0||2026-11-21T08:40:02.558647||32848",
            "/zms/topic/orders/10.0.0.1||DEFAULT_PRODUCER||1.0.0||2026-11-21T09:00||7",
            "/zms/topic/orders/rubbish",
            "/zms/consumergroup/billing/10.0.0.3||DEFAULT_CONSUMER||1.0.0||2026-11-21T08:40:03||1",
            "/zms/topic/other/10.0.0.9||DEFAULT_PRODUCER||1.0.0||2026-11-21T08:40||1",
        ] {
            store.put(path, "");
        }
        let about = About { topic: Some("orders"), groups: vec!["billing", "gone"] };
        let mut found = present(&*store, &about).await.unwrap();
        assert_eq!(found.others, 1);
        let consumer = ConsumerFigures {
            group: name("billing"),
            topic: name("orders"),
            application: "DEFAULT_CONSUMER".to_owned(),
            client: "1".to_owned(),
            language: LANGUAGE.to_owned(),
            ip: "10.0.0.3".to_owned(),
            at_ms: 0,
            rate: None,
            failed: None,
            p99_ms: Some(22.0),
            dropped: None,
        };
        let snapshot = Snapshot {
            producers: vec![producer("10.0.0.1", 3.0), producer("10.0.0.2", 1.0)],
            consumers: vec![consumer],
            ..Snapshot::default()
        };
        found.report(&snapshot, &about);
        let rows: Vec<_> = found
            .into_clients()
            .map(|one| {
                assert_eq!(one.presence.language, "Java");
                (one.presence.ip, one.sends, one.presence.version, one.started, one.rate_in, one.handle_p99_ms)
            })
            .collect();
        let row = |ip: &str, sends, version: &str, started: &str, rate, p99| {
            (ip.to_owned(), sends, version.to_owned(), started.to_owned(), rate, p99)
        };
        let expected = [
            row("10.0.0.3", false, "1.0.0", "2026-11-21 08:40:03", None, Some(22.0)),
            row("10.0.0.1", true, "1.0.0", "2026-11-21 08:40:02", Some(3.0), None),
            row("10.0.0.1", true, "1.0.0", "2026-11-21 09:00:00", None, None),
            row("10.0.0.2", true, "", "", Some(1.0), None),
        ];
        assert_eq!(rows, expected);
    }

    #[tokio::test]
    async fn of_very_many_some_are_shown_and_the_others_are_counted() {
        let store = FakeMeta::new();
        for n in 0..MOST + 5 {
            store.put(&format!("/zms/topic/orders/10.0.0.1||a||1.0.0||2026-11-21T08:40||{n}"), "");
        }
        let found = present(&*store, &About { topic: Some("orders"), groups: Vec::new() }).await.unwrap();
        assert_eq!((found.others, found.into_clients().count()), (5, MOST));
    }
}
