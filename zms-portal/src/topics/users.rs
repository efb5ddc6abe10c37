//! Who uses a topic: applications that are connected, by their nodes in ZooKeeper, and what they report of their sending and consuming.

use std::collections::BTreeMap;
use std::time::Duration;

use zms_core::metadata::Presence;
use zms_core::metadata::path::Path as Znode;

use super::Topic;
use crate::app::App;
use crate::error::Error;
use crate::groups::Group;
use crate::web::messages::Messages;

/// With so many clients not every one has a node; with fewer, who has none is gone.
const MOST_NODES: usize = 5_000;
/// A page waits no longer for the metadata.
const DEADLINE: Duration = Duration::from_secs(4);

/// A process of an application.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Client {
    /// What it says of itself.
    pub presence: Presence,
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
}

/// By application; a sentence when it cannot be read.
pub(super) async fn of(
    app: &App,
    environment_id: &str,
    topic: &Topic,
    bound: &[Group],
    now_ms: i64,
) -> Result<Vec<Client>, String> {
    let (mut clients, all) = present(app, environment_id, topic, bound).await?;
    if let Some(told) = app.metrics.snapshots.fresh(environment_id, now_ms) {
        report(&mut clients, &told.snapshot, topic.name.as_str(), all >= MOST_NODES);
    }
    let mut clients: Vec<Client> = clients.into_values().collect();
    clients
        .sort_by(|a, b| (&a.presence.application, a.presence.started_ms).cmp(&(&b.presence.application, b.presence.started_ms)));
    Ok(clients)
}

/// Those that are connected, by client id, and how many clients of any topic are.
async fn present(
    app: &App,
    environment_id: &str,
    topic: &Topic,
    bound: &[Group],
) -> Result<(BTreeMap<String, Client>, usize), String> {
    let store = app.metadata.store(environment_id).await.map_err(|error| match error {
        Error::Unavailable(text) => text.say(Messages::ENGLISH),
        other => format!("{other:?}"),
    })?;
    let mut tree = store.tree(&Znode::Clients.to_string());
    let listed = tokio::time::timeout(DEADLINE, tree.wait_for(Option::is_some)).await;
    let tree = match listed {
        Ok(Ok(tree)) => tree.clone().unwrap_or_default(),
        Ok(Err(_)) | Err(_) => return Err(format!("ZooKeeper did not answer within {} s", DEADLINE.as_secs())),
    };
    let name = topic.name.as_str();
    let read = |(path, node): (&String, &zms_drivers::meta::Node)| {
        let id = path.rsplit('/').next()?.to_owned();
        Some((id, Presence::parse(&node.data).ok()?))
    };
    let all = tree.values().filter(|node| node.ephemeral).count();
    let found = tree.iter().filter(|(_, node)| node.ephemeral).filter_map(read);
    let clients = found.map(|(id, presence)| {
        let sends = presence.topics.contains_key(name);
        let consumes = bound.iter().any(|group| presence.groups.contains_key(group.name.as_str()));
        (id, Client { sends, consumes, presence, ..Client::default() })
    });
    Ok((clients.filter(|(_, client)| client.sends || client.consumes).collect(), all))
}

/// Adds what they report; `unseen`: who has no node is added too.
fn report(clients: &mut BTreeMap<String, Client>, snapshot: &zms_core::collect::Snapshot, topic: &str, unseen: bool) {
    let add = |clients: &mut BTreeMap<String, Client>, id: &str, application: &str, ip: &str| {
        if unseen && !clients.contains_key(id) {
            let presence = Presence { application: application.to_owned(), ip: ip.to_owned(), ..Presence::default() };
            clients.insert(id.to_owned(), Client { presence, ..Client::default() });
        }
    };
    for one in snapshot.producers.iter().filter(|one| one.topic.as_str() == topic) {
        add(clients, &one.client, &one.application, &one.ip);
        let Some(client) = clients.get_mut(&one.client) else { continue };
        client.sends = true;
        client.rate_in = Some(client.rate_in.unwrap_or_default() + one.rate);
        client.failed = Some(client.failed.unwrap_or_default() + one.failed);
        client.send_p99_ms = one.p99_ms;
    }
    for one in snapshot.consumers.iter().filter(|one| one.topic.as_str() == topic) {
        add(clients, &one.client, &one.application, &one.ip);
        let Some(client) = clients.get_mut(&one.client) else { continue };
        client.consumes = true;
        client.rate_out = Some(client.rate_out.unwrap_or_default() + one.rate);
        client.failed = Some(client.failed.unwrap_or_default() + one.failed);
        client.handle_p99_ms = one.p99_ms;
    }
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
            at_ms: 0,
            rate,
            failed: 0.0,
            p99_ms: Some(3.0),
        };
        let known = BTreeMap::from([("a".to_owned(), Client { sends: true, ..Client::default() })]);
        let producers = vec![one("orders", "a", 2.0), one("orders", "a", 3.0), one("orders", "b", 1.0), one("other", "c", 1.0)];
        let snapshot = Snapshot { producers, ..Snapshot::default() };
        let mut clients = known.clone();
        report(&mut clients, &snapshot, "orders", false);
        assert_eq!(clients.keys().collect::<Vec<_>>(), ["a"], "the other one is gone");
        let mut clients = known;
        report(&mut clients, &snapshot, "orders", true);
        assert_eq!(clients.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((clients["a"].rate_in, clients["b"].rate_in), (Some(5.0), Some(1.0)));
        assert_eq!(clients["a"].rate_out, None, "what it did not report is not 0");
    }
}
