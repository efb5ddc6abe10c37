//! Who uses a topic or a group: applications that are connected, by their nodes in ZooKeeper, and what they report of their sending and
//! consuming. `java`: clients of the first ZMS.

mod java;

use std::collections::BTreeMap;
use std::time::Duration;

use zms_core::metadata::Presence;
use zms_core::metadata::path::Path as Znode;
use zms_drivers::meta::MetaStore;

use crate::app::App;
use crate::error::Error;
use crate::web::messages::Messages;

/// With so many clients not every one has a node; with fewer, who has none is gone.
const MOST_NODES: usize = 5_000;
/// A page waits no longer for the metadata.
const DEADLINE: Duration = Duration::from_secs(4);

/// A process of an application.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Client {
    /// What it says of itself.
    pub presence: Presence,
    /// When a Java client started: by its clock, in a zone that it does not say.
    pub started: String,
    /// It sends to the topic.
    pub sends: bool,
    /// It consumes with one of the topic's groups.
    pub consumes: bool,
    /// Messages a second that it sent, by its last report.
    pub rate_in: Option<f64>,
    /// Messages a second that it handled.
    pub rate_out: Option<f64>,
    /// Failures a second.
    pub failed: Option<f64>,
    /// 99th percentile of the time of a send, milliseconds.
    pub send_p99_ms: Option<f64>,
    /// 99th percentile of the time of its handler, milliseconds.
    pub handle_p99_ms: Option<f64>,
    /// Reports that it could not send, as far as it was heard.
    pub reports_lost: Option<u64>,
}

/// What it is asked about.
#[derive(Debug, Clone, Default)]
pub(crate) struct About<'a> {
    /// Who sends to this topic or consumes it.
    pub topic: Option<&'a str>,
    /// Who consumes with one of these groups.
    pub groups: Vec<&'a str>,
}

/// Who it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Users {
    /// By application.
    pub clients: Vec<Client>,
    /// Nodes below the topic or group that were not looked at or are no clients.
    pub others: usize,
}

/// A sentence when it cannot be read.
pub(crate) async fn of(app: &App, environment_id: &str, about: &About<'_>, now_ms: i64) -> Result<Users, String> {
    let store = app.metadata.store(environment_id).await.map_err(|error| match error {
        Error::Unavailable(text) => text.say(Messages::ENGLISH),
        other => format!("{other:?}"),
    })?;
    let late = || format!("ZooKeeper did not answer within {} s", DEADLINE.as_secs());
    let read = async { tokio::join!(present(store.as_ref(), about), java::present(store.as_ref(), about)) };
    let (ours, java) = tokio::time::timeout(DEADLINE, read).await.map_err(|_late| late())?;
    let ((mut clients, all), mut java) = (ours.ok_or_else(late)?, java.map_err(|error| error.to_string())?);
    let others = java.others;
    if let Some(told) = app.metrics.snapshots.fresh(environment_id, now_ms) {
        report(&mut clients, &told.snapshot, about, all >= MOST_NODES);
        java.report(&told.snapshot, about);
    }
    let mut clients: Vec<Client> = clients.into_values().chain(java.into_clients()).collect();
    let key = |client: &Client| (client.presence.application.clone(), client.presence.started_ms, client.started.clone());
    clients.sort_by_cached_key(key);
    Ok(Users { clients, others })
}

/// Clients with our SDK that are connected, by id, and how many clients of anything are. `None`: the store was closed.
async fn present(store: &dyn MetaStore, about: &About<'_>) -> Option<(BTreeMap<String, Client>, usize)> {
    let mut tree = store.tree(&Znode::Clients.to_string());
    let tree = tree.wait_for(Option::is_some).await.ok()?.clone().unwrap_or_default();
    let read = |(path, node): (&String, &zms_drivers::meta::Node)| {
        let id = path.rsplit('/').next()?.to_owned();
        Some((id, Presence::parse(&node.data).ok()?))
    };
    let all = tree.values().filter(|node| node.ephemeral).count();
    let found = tree.iter().filter(|(_, node)| node.ephemeral).filter_map(read);
    let clients = found.map(|(id, presence)| {
        let sends = about.topic.is_some_and(|topic| presence.topics.contains_key(topic));
        let consumes = about.groups.iter().any(|group| presence.groups.contains_key(*group));
        (id, Client { sends, consumes, presence, ..Client::default() })
    });
    Some((clients.filter(|(_, client)| client.sends || client.consumes).collect(), all))
}

impl About<'_> {
    fn sends(&self, topic: &str) -> bool {
        self.topic == Some(topic)
    }

    fn consumes(&self, topic: &str, group: &str) -> bool {
        self.topic == Some(topic) || self.groups.contains(&group)
    }
}

/// Adds what they report; `unseen`: who has no node is added too.
fn report(clients: &mut BTreeMap<String, Client>, snapshot: &zms_core::collect::Snapshot, about: &About<'_>, unseen: bool) {
    let add = |clients: &mut BTreeMap<String, Client>, id: &str, application: &str, ip: &str| {
        if unseen && !clients.contains_key(id) {
            let presence = Presence { application: application.to_owned(), ip: ip.to_owned(), ..Presence::default() };
            clients.insert(id.to_owned(), Client { presence, ..Client::default() });
        }
    };
    for one in snapshot.producers.iter().filter(|one| one.language != java::LANGUAGE && about.sends(one.topic.as_str())) {
        add(clients, &one.client, &one.application, &one.ip);
        let Some(client) = clients.get_mut(&one.client) else { continue };
        client.sends = true;
        (client.rate_in, client.failed) = (sum(client.rate_in, one.rate), sum(client.failed, one.failed));
        client.send_p99_ms = one.p99_ms;
        client.reports_lost = one.dropped.or(client.reports_lost);
    }
    for one in snapshot
        .consumers
        .iter()
        .filter(|one| one.language != java::LANGUAGE && about.consumes(one.topic.as_str(), one.group.as_str()))
    {
        add(clients, &one.client, &one.application, &one.ip);
        let Some(client) = clients.get_mut(&one.client) else { continue };
        client.consumes = true;
        (client.rate_out, client.failed) = (sum(client.rate_out, one.rate), sum(client.failed, one.failed));
        client.handle_p99_ms = one.p99_ms;
        client.reports_lost = one.dropped.or(client.reports_lost);
    }
}

/// What is not known adds nothing; nothing and nothing is not 0.
fn sum(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.into_iter().chain(other).reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use zms_core::collect::{ProducerFigures, Snapshot};
    use zms_core::names::PhysicalName;

    use super::*;

    #[test]
    fn a_report_is_put_beside_its_client_and_one_without_a_node_counts_only_where_not_all_have_one() {
        let one = |topic: &str, client: &str, rate| ProducerFigures {
            topic: PhysicalName::new(topic).unwrap(),
            application: "shop".to_owned(),
            client: client.to_owned(),
            ip: "10.0.0.1".to_owned(),
            language: "rust".to_owned(),
            at_ms: 0,
            rate: Some(rate),
            failed: Some(0.0),
            p99_ms: Some(3.0),
            dropped: (client == "a").then_some(2),
        };
        let known = BTreeMap::from([("a".to_owned(), Client { sends: true, ..Client::default() })]);
        let producers = vec![one("orders", "a", 2.0), one("orders", "a", 3.0), one("orders", "b", 1.0), one("other", "c", 1.0)];
        let snapshot = Snapshot { producers, ..Snapshot::default() };
        let about = About { topic: Some("orders"), groups: Vec::new() };
        let mut clients = known.clone();
        report(&mut clients, &snapshot, &about, false);
        assert_eq!(clients.keys().collect::<Vec<_>>(), ["a"], "the other one is gone");
        let mut clients = known;
        report(&mut clients, &snapshot, &about, true);
        assert_eq!(clients.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((clients["a"].rate_in, clients["b"].rate_in), (Some(5.0), Some(1.0)));
        assert_eq!((clients["a"].reports_lost, clients["b"].reports_lost), (Some(2), None), "what nobody says is not 0");
        assert_eq!(clients["a"].rate_out, None, "what it did not report is not 0");
    }
}
