//! A running consumer: a member of the group on each cluster that its topic is read from; [`member`](super::member) is one of them.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use zms_core::metadata::{BrokerKind, ClusterNode, ConsumeFrom, GroupNode};
use zms_core::names::PhysicalName;
use zms_drivers::broker::{Delivery, Subscription};

use super::member::{Member, Stopping};
use super::{Figures, Handler, Tools};
use crate::brokers::Address;
use crate::directory::{Status, Topic};
use crate::route::Place;

/// Stops a member.
type Stop = watch::Sender<Option<Instant>>;

/// What all parts of it share.
pub(super) struct Work {
    pub group: PhysicalName,
    pub tools: Tools,
    pub handler: Arc<Handler>,
    pub attempts: Option<NonZeroU32>,
    pub tags: Vec<String>,
    /// What failed is given back, so that its partition does not wait.
    pub later: bool,
    /// A partition has one owner at any moment.
    pub in_order: bool,
    pub figures: Arc<Figures>,
}

impl Work {
    /// Keeps one member for each place that the topic is read from.
    pub async fn run(self, mut node: watch::Receiver<Status<GroupNode>>, mut stopping: watch::Receiver<Option<Instant>>) {
        let work = Arc::new(self);
        let mut members: HashMap<(Place, Address, GroupWish), Stop> = HashMap::new();
        let mut running = JoinSet::new();
        let mut of: Option<(PhysicalName, watch::Receiver<Status<Topic>>)> = None;
        loop {
            let group = match &*node.borrow_and_update() {
                Status::Known(group) => Some(Arc::clone(group)),
                Status::Looking(_) | Status::Failed(_) => None,
            };
            // Another topic is another node to follow.
            let topic_name = group.as_ref().map(|group| group.topic.clone());
            if let Some(name) = topic_name.filter(|name| of.as_ref().is_none_or(|(known, _)| known != name)) {
                let topic = work.tools.directory.topic(&name);
                of = Some((name, topic));
            }
            let topic = of.as_mut().and_then(|(_, topic)| match &*topic.borrow_and_update() {
                Status::Known(topic) => Some(Arc::clone(topic)),
                Status::Looking(_) | Status::Failed(_) => None,
            });
            if let (Some(group), Some(topic)) = (&group, &topic) {
                work.adjust(group, topic, &mut members, &mut running);
            }
            let moved = async {
                match &mut of {
                    Some((_, topic)) => drop(topic.changed().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = node.changed() => {}
                () = moved => {}
                Some(_) = running.join_next() => {}
                _ = stopping.wait_for(Option::is_some) => break,
            }
        }
        let by = (*stopping.borrow()).unwrap_or_else(Instant::now);
        for stop in members.values() {
            stop.send_replace(Some(by));
        }
        while running.join_next().await.is_some() {}
        work.tools.presences.leaves(&work.group);
    }

    /// Starts members for new places and stops those of old ones. A place stays as it is while its address and the group's wishes stay.
    fn adjust(
        self: &Arc<Self>,
        group: &GroupNode,
        topic: &Arc<Topic>,
        members: &mut HashMap<(Place, Address, GroupWish), Stop>,
        running: &mut JoinSet<()>,
    ) {
        let wish = GroupWish { from: group.from, broadcast: group.broadcast };
        let mut wanted: Vec<(Place, Address, GroupWish)> = Vec::new();
        if !group.suspend {
            for place in &topic.plan.read {
                let (kind, node) = topic.at(place);
                wanted.push((Place { rid: String::new(), ..place.clone() }, Address::new(&place.cluster, kind, node), wish));
            }
        }
        members.retain(|key, stop| {
            let stays = wanted.contains(key);
            if !stays {
                tracing::info!(group = %self.group, cluster = %key.0.cluster, "consumes there no more");
                stop.send_replace(Some(Instant::now() + self.tools.waits.drain));
            }
            stays
        });
        for key in wanted {
            if members.contains_key(&key) {
                continue;
            }
            tracing::info!(group = %self.group, cluster = %key.0.cluster, "consumes there from now on");
            let (stop, stopping) = watch::channel(None);
            let (place, address) = (key.0.clone(), key.1.clone());
            let node = topic.clusters[&place.cluster].clone();
            running.spawn(Arc::clone(self).member(group.topic.clone(), place, address.kind, node, wish, stopping));
            members.insert(key, stop);
        }
        self.tools.presences.consumes(&self.group, topic.order.epoch);
    }

    /// A member of the group on one cluster, opened again when it ends, until it is stopped.
    async fn member(
        self: Arc<Self>,
        topic: PhysicalName,
        place: Place,
        kind: BrokerKind,
        node: ClusterNode,
        wish: GroupWish,
        mut stopping: Stopping,
    ) {
        let mut attempt = 0;
        while stopping.borrow().is_none() {
            let subscription = Subscription {
                mode: if wish.broadcast { Delivery::Broadcast } else { Delivery::Clustering },
                tags: self.tags.clone(),
                ordered: self.in_order,
                ..Subscription::new(self.group.clone(), place.name.clone(), wish.from)
            };
            let why = match self.tools.brokers.consumer(&place.cluster, kind, &node, &subscription) {
                Ok(consumer) => {
                    attempt = 0;
                    let (work, topic, place, stopping) = (Arc::clone(&self), topic.clone(), place.clone(), stopping.clone());
                    Member { work, topic, place, consumer, stopping }.run().await
                }
                Err(error) => error.to_string(),
            };
            if stopping.borrow().is_some() {
                return;
            }
            attempt += 1;
            tracing::error!(group = %self.group, cluster = %place.cluster, why, "consuming there does not work; it is tried again");
            tokio::select! {
                () = sleep(self.tools.waits.back_off(attempt)) => {}
                _ = stopping.wait_for(Option::is_some) => {}
            }
        }
    }
}

/// What of a group's node makes another member of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GroupWish {
    from: ConsumeFrom,
    broadcast: bool,
}

impl std::hash::Hash for GroupWish {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.from.as_str(), self.broadcast).hash(state);
    }
}
