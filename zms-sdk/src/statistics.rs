//! What this process sends and consumes, reported each window to a topic of the environment through the same machinery as any message.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use zms_core::metadata::{ClientId, Presence};
use zms_core::names::{ClusterName, PhysicalName, RESERVED};
use zms_core::statistics::{Consuming, Producing, Report, TOPIC};

use crate::{Message, zms::Senders};

/// Counts of the window that is open.
pub struct Statistics {
    head: Report,
    producers: Mutex<HashMap<(PhysicalName, Option<ClusterName>), Producing>>,
    consumers: Mutex<HashMap<(PhysicalName, PhysicalName, ClusterName), Consuming>>,
}

impl Statistics {
    pub fn new(id: &ClientId, presence: &Presence) -> Self {
        let head = Report {
            client: id.clone(),
            application: presence.application.clone(),
            ip: presence.ip.clone(),
            pid: presence.pid,
            language: presence.language.clone(),
            version: presence.version.clone(),
            at_ms: 0,
            window_ms: 0,
            dropped: 0,
            producers: Vec::new(),
            consumers: Vec::new(),
        };
        Self { head, producers: Mutex::default(), consumers: Mutex::default() }
    }

    /// A message was sent.
    pub fn sent(&self, topic: &PhysicalName, cluster: &ClusterName, bytes: usize, took: Duration) {
        self.produced(topic, Some(cluster), |counts| {
            counts.sent += 1;
            counts.bytes += bytes as u64;
            counts.latency_us.record(micros(took));
            counts.size.record(bytes as u64);
        });
    }

    /// A message was not sent; `None`: it was not even known where to.
    pub fn failed(&self, topic: &PhysicalName, cluster: Option<&ClusterName>, kind: &str) {
        self.produced(topic, cluster, |counts| {
            counts.failed += 1;
            *counts.failures.entry(kind.to_owned()).or_default() += 1;
        });
    }

    /// A message came.
    pub fn received(&self, group: &PhysicalName, topic: &PhysicalName, cluster: &ClusterName, bytes: usize) {
        self.consumed(group, topic, cluster, |counts| {
            counts.received += 1;
            counts.bytes += bytes as u64;
        });
    }

    /// A message was handled.
    pub fn done(&self, group: &PhysicalName, topic: &PhysicalName, cluster: &ClusterName, took: Duration) {
        self.consumed(group, topic, cluster, |counts| {
            counts.done += 1;
            counts.handle_us.record(micros(took));
        });
    }

    /// A handler failed.
    pub fn handler_failed(&self, group: &PhysicalName, topic: &PhysicalName, cluster: &ClusterName) {
        self.consumed(group, topic, cluster, |counts| counts.failed += 1);
    }

    fn produced(&self, topic: &PhysicalName, cluster: Option<&ClusterName>, count: impl FnOnce(&mut Producing)) {
        if own(topic) {
            return;
        }
        let fresh = || Producing {
            topic: topic.to_string(),
            cluster: cluster.map(ToString::to_string).unwrap_or_default(),
            ..Producing::default()
        };
        count(lock(&self.producers).entry((topic.clone(), cluster.cloned())).or_insert_with(fresh));
    }

    fn consumed(&self, group: &PhysicalName, topic: &PhysicalName, cluster: &ClusterName, count: impl FnOnce(&mut Consuming)) {
        if own(topic) {
            return;
        }
        let fresh = || Consuming {
            group: group.to_string(),
            topic: topic.to_string(),
            cluster: cluster.to_string(),
            ..Consuming::default()
        };
        count(lock(&self.consumers).entry((group.clone(), topic.clone(), cluster.clone())).or_insert_with(fresh));
    }

    /// Closes the window. `None` if nothing happened in it.
    fn take(&self, window: Duration, dropped: u64) -> Option<Report> {
        let producers: Vec<_> = std::mem::take(&mut *lock(&self.producers)).into_values().collect();
        let consumers: Vec<_> = std::mem::take(&mut *lock(&self.consumers)).into_values().collect();
        if producers.is_empty() && consumers.is_empty() {
            return None;
        }
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Some(Report {
            at_ms: i64::try_from(at_ms).unwrap_or(i64::MAX),
            window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            dropped,
            producers,
            consumers,
            ..self.head.clone()
        })
    }
}

/// Statistics of statistics would make more of themselves.
fn own(topic: &PhysicalName) -> bool {
    RESERVED.contains(&topic.as_str())
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn lock<K: Eq + Hash, V>(map: &Mutex<HashMap<K, V>>) -> MutexGuard<'_, HashMap<K, V>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks for the last report.
pub struct Reporter(mpsc::Sender<oneshot::Sender<()>>);

impl Reporter {
    /// Sends what was counted since the last report, and ends when it was sent or given up.
    pub async fn last(&self) {
        let (done, sent) = oneshot::channel();
        if self.0.send(done).await.is_ok() {
            let _ = sent.await;
        }
    }
}

/// What is returned beside it must be run.
pub fn report(
    statistics: Arc<Statistics>,
    senders: Arc<Senders>,
    window: Duration,
) -> (Reporter, impl Future<Output = ()> + Send + 'static) {
    let (asking, mut asked) = mpsc::channel::<oneshot::Sender<()>>(1);
    let running = async move {
        let mut tick = interval(window);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, and nothing was counted yet.
        tick.tick().await;
        let (mut since, mut dropped) = (Instant::now(), 0);
        loop {
            let done = tokio::select! {
                _ = tick.tick() => None,
                done = asked.recv() => Some(done),
            };
            let now = Instant::now();
            if let Some(report) = statistics.take(now - since, dropped) {
                // Until the environment has the topic, and while its cluster is away, reports are lost; how many is said by the next.
                let sent = timeout(window, send(&senders, &report)).await.unwrap_or(false);
                dropped = if sent { 0 } else { dropped + 1 };
            }
            since = now;
            match done {
                None => {}
                Some(Some(done)) => drop(done.send(())),
                Some(None) => return,
            }
        }
    };
    (Reporter(asking), running)
}

async fn send(senders: &Senders, report: &Report) -> bool {
    let Ok(sender) = senders.get(TOPIC) else { return false };
    let message = Message::new(report.to_bytes()).with_key(report.client.as_str().to_owned());
    match sender.send(&message).await {
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(%error, "a report was dropped");
            false
        }
    }
}
