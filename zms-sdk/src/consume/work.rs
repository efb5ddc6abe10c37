//! A running consumer: members of the group on each cluster, and a worker for each partition.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use zms_core::metadata::{BrokerKind, ClusterNode, ConsumeFrom, GroupNode};
use zms_core::names::PhysicalName;
use zms_drivers::broker::{Consumer, Delivery, Incoming, PartitionId, Subscription};

use super::{Figures, Handler, Tools};
use crate::Received;
use crate::brokers::Address;
use crate::directory::{Status, Topic};
use crate::route::Place;

/// Messages of one partition that wait for the handler.
const QUEUE: usize = 16;

/// What all parts of it share.
pub(super) struct Work {
    pub group: PhysicalName,
    pub tools: Tools,
    pub handler: Arc<Handler>,
    pub attempts: Option<NonZeroU32>,
    pub tags: Vec<String>,
    /// What failed is given back, so that its partition does not wait.
    pub later: bool,
    pub figures: Arc<Figures>,
}

/// One cluster that is read from.
struct Member {
    stop: watch::Sender<Option<Instant>>,
}

impl Work {
    /// Keeps one member for each place that the topic is read from.
    pub async fn run(self, mut node: watch::Receiver<Status<GroupNode>>, mut stopping: watch::Receiver<Option<Instant>>) {
        let work = Arc::new(self);
        let mut members: HashMap<(Place, Address, GroupWish), Member> = HashMap::new();
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
        for member in members.values() {
            member.stop.send_replace(Some(by));
        }
        while running.join_next().await.is_some() {}
        work.tools.presences.leaves(&work.group);
    }

    /// Starts members for new places and stops those of old ones. A place stays as it is while its address and the group's wishes stay.
    fn adjust(
        self: &Arc<Self>,
        group: &GroupNode,
        topic: &Arc<Topic>,
        members: &mut HashMap<(Place, Address, GroupWish), Member>,
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
        members.retain(|key, member| {
            let stays = wanted.contains(key);
            if !stays {
                tracing::info!(group = %self.group, cluster = %key.0.cluster, "consumes there no more");
                member.stop.send_replace(Some(Instant::now() + self.tools.waits.drain));
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
            members.insert(key, Member { stop });
        }
        self.tools.presences.consumes(&self.group, topic.order.epoch);
    }

    /// A member of the group on one cluster, opened again when it fails, until it is stopped.
    async fn member(
        self: Arc<Self>,
        topic: PhysicalName,
        place: Place,
        kind: BrokerKind,
        node: ClusterNode,
        wish: GroupWish,
        mut stopping: watch::Receiver<Option<Instant>>,
    ) {
        let mut attempt = 0;
        while stopping.borrow().is_none() {
            let subscription = Subscription {
                mode: if wish.broadcast { Delivery::Broadcast } else { Delivery::Clustering },
                tags: self.tags.clone(),
                ..Subscription::new(self.group.clone(), place.name.clone(), wish.from)
            };
            let why = match self.tools.brokers.consumer(&place.cluster, kind, &node, &subscription) {
                Ok(consumer) => {
                    attempt = 0;
                    self.consume(&topic, &place, consumer, &mut stopping).await
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

    /// Hands messages to one worker for each partition. Ends with the reason, or when it is stopped.
    async fn consume(
        self: &Arc<Self>,
        topic: &PhysicalName,
        place: &Place,
        consumer: Arc<dyn Consumer>,
        stopping: &mut watch::Receiver<Option<Instant>>,
    ) -> String {
        let mut workers: HashMap<PartitionId, mpsc::Sender<Incoming>> = HashMap::new();
        let mut running = JoinSet::new();
        let why = loop {
            let message = tokio::select! {
                biased;
                _ = stopping.wait_for(Option::is_some) => break "stopped".to_owned(),
                Some(_) = running.join_next() => continue,
                message = consumer.receive() => message,
            };
            let message = match message {
                Ok(message) => message,
                Err(error) if error.is_passing() => {
                    tracing::debug!(group = %self.group, cluster = %place.cluster, %error, "consuming goes on after this");
                    continue;
                }
                Err(error) => break error.to_string(),
            };
            self.figures.received.fetch_add(1, Ordering::Relaxed);
            let size = message.value.as_ref().map_or(0, |value| value.len()) + message.key.as_ref().map_or(0, |key| key.len());
            self.tools.statistics.received(&self.group, topic, &place.cluster, size);
            let worker = workers.entry(message.placed.partition.clone()).or_insert_with(|| {
                let (sender, queue) = mpsc::channel(QUEUE);
                let work = Arc::clone(self);
                running.spawn(work.partition(topic.clone(), place.clone(), Arc::clone(&consumer), queue, stopping.clone()));
                sender
            });
            tokio::select! {
                // A worker ends only when its sender goes, or when it is stopped.
                _ = worker.send(message) => {}
                _ = stopping.wait_for(Option::is_some) => break "stopped".to_owned(),
            }
        };
        // Handlers end what they have begun; then everything that is done is committed.
        drop(workers);
        let by = (*stopping.borrow()).unwrap_or_else(|| Instant::now() + self.tools.waits.drain);
        let ended = tokio::time::timeout_at(by, async { while running.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            running.abort_all();
        }
        let left = by.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        if let Err(error) = consumer.close(left).await {
            tracing::warn!(group = %self.group, cluster = %place.cluster, %error, "leaving the group");
        }
        why
    }

    /// Handles the messages of one partition, one after the other.
    async fn partition(
        self: Arc<Self>,
        topic: PhysicalName,
        place: Place,
        consumer: Arc<dyn Consumer>,
        mut queue: mpsc::Receiver<Incoming>,
        mut stopping: watch::Receiver<Option<Instant>>,
    ) {
        'messages: while let Some(message) = queue.recv().await {
            if stopping.borrow().is_some() {
                // Not begun: it comes again, to this member or another one.
                return;
            }
            let mut attempt = message.attempt.saturating_add(1);
            let handled = loop {
                let started = Instant::now();
                let received = Received::new(&topic, &place.cluster, &message, attempt);
                let Err(why) = (self.handler)(received).await else {
                    self.figures.done.fetch_add(1, Ordering::Relaxed);
                    self.tools.statistics.done(&self.group, &topic, &place.cluster, started.elapsed());
                    break true;
                };
                self.figures.failed.fetch_add(1, Ordering::Relaxed);
                self.tools.statistics.handler_failed(&self.group, &topic, &place.cluster);
                let offset = message.placed.offset;
                let partition = &message.placed.partition;
                if self.attempts.is_some_and(|most| attempt >= most.get()) {
                    self.figures.skipped.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(group = %self.group, %topic, %partition, offset, attempt, why, "a message was skipped: its handler failed too often");
                    break true;
                }
                tracing::warn!(group = %self.group, %topic, %partition, offset, attempt, why, "the handler failed; it gets the message again");
                if self.later {
                    match consumer.failed(&message).await {
                        Ok(()) => continue 'messages,
                        // It comes again here, as if nobody had been asked to keep it.
                        Err(error) => {
                            tracing::warn!(group = %self.group, %topic, %error, "the broker does not keep it for later")
                        }
                    }
                }
                tokio::select! {
                    () = sleep(self.tools.waits.back_off(attempt)) => {}
                    _ = stopping.wait_for(Option::is_some) => break false,
                }
                attempt = attempt.saturating_add(1);
            };
            if !handled {
                return;
            }
            if let Err(error) = consumer.done(&message) {
                tracing::warn!(group = %self.group, %topic, %error, "a handled message cannot be committed; it comes again");
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
