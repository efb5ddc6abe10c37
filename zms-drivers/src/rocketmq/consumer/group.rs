//! Being a member: brokers are told that it is there, and what is its own is found out again whenever members or routes change.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::{Notify, oneshot};

use super::allocate::allocate;
use super::plan::{Plan, plan};
use super::reader::Reader;
use super::shared::{Held, Shared};
use crate::broker::BrokerError;
use crate::rocketmq::heartbeat;
use crate::rocketmq::net::Route;
use crate::rocketmq::queue::Queue;
use crate::rocketmq::remoting::{Request, RequestCode, answers};

impl Shared {
    /// What this member says about itself.
    fn heartbeat(&self) -> Bytes {
        heartbeat::member(&heartbeat::Member {
            client_id: self.net.client_id(),
            group: &self.group,
            broadcast: self.broadcast,
            latest: matches!(self.from, zms_core::metadata::ConsumeFrom::Latest),
            interests: &self.interests,
        })
    }
}

/// Tells brokers that this member is there; never ends.
pub(super) async fn beat(shared: &Arc<Shared>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(shared.waits.heartbeat) => {}
            () = shared.forgotten.notified() => {}
            // One that nobody told yet that we are here.
            () = shared.net.met_a_broker() => {}
        }
        shared.net.beat(&shared.heartbeat()).await;
    }
}

/// Takes and gives up queues; never ends.
pub(super) async fn follow(shared: &Arc<Shared>) {
    // A topic that is made by our own heartbeat, and members that join with us, are seen soon.
    let mut soon = shared.waits.first_rounds.iter();
    loop {
        let topics = shared.interests.iter().map(|interest| topic(shared, &interest.topic));
        join_all(topics).await;
        let wait = soon.next().copied().unwrap_or(shared.waits.rebalance);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shared.changed.notified() => {}
        }
        // Many members that come at once are one change.
        tokio::time::sleep(shared.waits.together).await;
    }
}

async fn topic(shared: &Arc<Shared>, topic: &str) {
    let route = match shared.net.route(topic, shared.waits.route_age).await {
        Ok(route) => route,
        Err(BrokerError::Missing { what }) => {
            // What is made of it later is new.
            shared.places().known.insert(topic.to_owned(), BTreeSet::new());
            if !shared.is_retry(topic) {
                shared.tell(topic, BrokerError::Missing { what });
            }
            apply(shared, plan(topic, queues(shared), &[]), false).await;
            return;
        }
        Err(error) => {
            tracing::debug!(topic, %error, "what is known of it stays");
            shared.tell_if_denied(topic, &error);
            return;
        }
    };
    shared.well(topic);
    shared.places().known.entry(topic.to_owned()).or_insert_with(|| route.readable.iter().cloned().collect());
    if shared.broadcast {
        apply(shared, plan(topic, queues(shared), &route.readable), false).await;
        return;
    }
    let Some(members) = members(shared, &route).await else { return };
    let own = allocate(&route.readable, &members, shared.net.client_id());
    apply(shared, plan(topic, queues(shared), &own), members.len() > 1).await;
}

fn queues(shared: &Shared) -> Vec<Queue> {
    shared.table().keys().cloned().collect()
}

/// Ids of all members; `None` if nobody told. A member that no broker lists has been forgotten: it tells them and asks once more.
async fn members(shared: &Arc<Shared>, route: &Route) -> Option<Vec<String>> {
    let known = ask(shared, route).await;
    if known.as_ref().is_some_and(|members| members.iter().any(|member| member == shared.net.client_id())) {
        return known;
    }
    match shared.net.beat_at(&route.addresses, &shared.heartbeat()).await {
        Some(denied) => shared.tell("heartbeat", denied),
        None => shared.well("heartbeat"),
    }
    ask(shared, route).await
}

/// Every broker that has the topic is asked: one that was started a moment ago does not know everybody yet.
async fn ask(shared: &Arc<Shared>, route: &Route) -> Option<Vec<String>> {
    let brokers = route.brokers();
    let answers = join_all(brokers.iter().map(|broker| ask_one(shared, Arc::clone(broker)))).await;
    let mut members = BTreeSet::new();
    let mut told = false;
    for (broker, answer) in brokers.iter().zip(answers) {
        match answer {
            Ok(ids) => {
                told = true;
                members.extend(ids);
                shared.well(broker);
            }
            Err(error) if error.is_passing() => {
                tracing::debug!(group = %shared.group, %error, "members are asked of the other brokers");
            }
            // It is outside the networks, or says no: a person is needed.
            Err(error) => shared.tell(broker, error),
        }
    }
    told.then(|| members.into_iter().collect())
}

async fn ask_one(shared: &Shared, broker: Arc<str>) -> Result<Vec<String>, BrokerError> {
    let what = format!("ask broker {broker} for the members of group {}", shared.group);
    let address = shared.net.reader(&broker, &what)?;
    let request = Request::new(RequestCode::GetConsumerListByGroup).with("consumerGroup", &shared.group);
    let reply = shared.net.call(&address, &what, request, shared.waits.members).await.map_err(|lost| lost.error)?;
    // 1: it knows no member of this group. Or what it asks before that says no.
    if reply.code() == 1 && !answers::denies(reply.code(), reply.remark()) {
        return Ok(Vec::new());
    }
    if reply.code() != 0 {
        return Err(reply.error(&shared.net, &what));
    }
    let ids = reply.json(&shared.net, &what)?;
    let ids = ids.get("consumerIdList").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    Ok(ids.into_iter().filter_map(|id| id.as_str().map(str::to_owned)).collect())
}

async fn apply(shared: &Arc<Shared>, plan: Plan, settle: bool) {
    if plan == Plan::default() {
        return;
    }
    tracing::info!(group = %shared.group, given_up = plan.give_up.len(), taken = plan.take.len(), "queues are given out anew");
    let mut leaving = shared.leaving.lock().await;
    leaving.retain(|_, task| !task.is_finished());
    for queue in plan.give_up {
        if let Some(task) = shared.give_up(&queue) {
            leaving.insert(queue, task);
        }
    }
    for queue in plan.take {
        let before = leaving.remove(&queue);
        take(shared, queue, before, settle);
    }
}

impl Shared {
    /// Nothing of it comes to the application from here on; its task commits what is done and ends.
    pub fn give_up(&self, queue: &Queue) -> Option<tokio::task::JoinHandle<Result<(), BrokerError>>> {
        let mut table = self.table();
        let held = table.remove(queue)?;
        // Its task may have ended with the runtime.
        let _ = held.stop.send(self.leave_behind(queue, held.window, held.turn));
        held.task
    }
}

fn take(shared: &Arc<Shared>, queue: Queue, before: Option<tokio::task::JoinHandle<Result<(), BrokerError>>>, settle: bool) {
    let (stop, stopped) = oneshot::channel();
    let again = Arc::new(Notify::new());
    let held = Held {
        window: None,
        generation: 0,
        again: Arc::clone(&again),
        room: Arc::default(),
        stop,
        task: None,
        turn: None,
        last_pull_ms: 0,
        last_done_ms: 0,
    };
    // Before its task begins: what is not in the table is not ours.
    shared.table().insert(queue.clone(), held);
    let reader = Reader { shared: Arc::clone(shared), queue: queue.clone(), again, stop: stopped, settle };
    let task = tokio::spawn(async move {
        if let Some(before) = before {
            // It was ours a moment ago: the last commit first.
            let _ = before.await;
        }
        reader.run().await
    });
    if let Some(held) = shared.table().get_mut(&queue) {
        held.task = Some(task);
    }
}
