//! What this process says about itself in ZooKeeper, for people who look who uses a topic: `/zms/client/<hh>/<id>`.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use zms_core::metadata::path::Path;
use zms_core::metadata::{ClientId, Presence};
use zms_core::names::PhysicalName;
use zms_drivers::meta::MetaStore;

/// What is said now.
pub struct Presences {
    now: Mutex<Presence>,
    changed: Notify,
}

impl Presences {
    pub fn new(presence: Presence) -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(presence), changed: Notify::new() })
    }

    /// A topic is sent to, and this value of its node is followed.
    pub fn sends(&self, topic: &PhysicalName, epoch: u64) {
        self.change(|now| now.topics.insert(topic.to_string(), epoch) != Some(epoch));
    }

    /// A group is consumed with, and this value of its topic's node is followed.
    pub fn consumes(&self, group: &PhysicalName, epoch: u64) {
        self.change(|now| now.groups.insert(group.to_string(), epoch) != Some(epoch));
    }

    /// A group is not consumed with any more.
    pub fn leaves(&self, group: &PhysicalName) {
        self.change(|now| now.groups.remove(group.as_str()).is_some());
    }

    fn change(&self, change: impl FnOnce(&mut Presence) -> bool) {
        if change(&mut self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)) {
            self.changed.notify_one();
        }
    }

    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&*self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
            .expect("texts and numbers are JSON")
    }
}

/// Keeps the node as long as it runs.
pub async fn keep(presences: Arc<Presences>, meta: Arc<dyn MetaStore>, id: ClientId) {
    let node = meta.ephemeral(&Path::Client(id).to_string(), presences.bytes());
    loop {
        presences.changed.notified().await;
        let bytes = presences.bytes();
        node.send_if_modified(|now| {
            let changed = *now != bytes;
            *now = bytes;
            changed
        });
    }
}

/// The address that this host is reached at: the one it would use towards ZooKeeper. Nothing is sent for that.
pub fn own_address(zookeeper: &str) -> String {
    let towards = || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
        socket.connect(zookeeper.split(',').next()?.trim()).ok()?;
        Some(socket.local_addr().ok()?.ip().to_string())
    };
    towards().unwrap_or_default()
}
