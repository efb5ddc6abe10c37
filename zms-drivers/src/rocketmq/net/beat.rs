//! Telling brokers that a client is there, and that it leaves.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::{Net, lock};
use crate::broker::BrokerError;
use crate::rocketmq::queue::Queue;
use crate::rocketmq::remoting::{Answer, Request, RequestCode};
use crate::rocketmq::version::Version;

/// A broker that says nothing is told again with the next heartbeat.
const ANSWER: Duration = Duration::from_secs(3);

impl Net {
    /// A heartbeat to every broker that is known, side by side.
    pub async fn beat(&self, body: &Bytes) {
        let addresses: Vec<String> = lock(&self.brokers).values().flat_map(|broker| broker.values().cloned()).collect();
        let _denied = self.beat_at(&addresses, body).await;
    }

    /// A heartbeat to these brokers, side by side. What is returned says that the account may not do what the heartbeat tells of.
    pub async fn beat_at(&self, addresses: &[String], body: &Bytes) -> Option<BrokerError> {
        let beats = addresses.iter().map(|address| async move {
            let told = self.ask(address, "send a heartbeat", heartbeat(body), ANSWER).await;
            told.inspect_err(|error| tracing::debug!(address, %error, "a heartbeat is sent again later")).err()
        });
        join_all(beats).await.into_iter().flatten().find(|error| matches!(error, BrokerError::Denied { .. }))
    }

    /// Speaks to a broker's master, so that its connection stands.
    ///
    /// # Errors
    /// Why it cannot be spoken to.
    pub async fn greet(&self, broker: &str, body: &Bytes) -> Result<(), BrokerError> {
        let what = format!("speak to broker {broker}");
        let address = self.master_for(broker, &what)?;
        self.ask(&address, &what, heartbeat(body), self.deadline.min(ANSWER)).await.map(drop)
    }

    /// Each answer says which version its broker has. (So does its runtime information, for which a broker of 5.x counts all of its timers.)
    pub(super) fn note_version(&self, address: &str, answer: &Answer) {
        let Some(version) = Version::of_number(answer.version) else { return };
        let mut versions = lock(&self.versions);
        match versions.get_mut(address) {
            Some(known) => *known = version,
            None => drop(versions.insert(address.to_owned(), version)),
        }
    }

    /// What version the master of a queue is.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub async fn version(&self, queue: &Queue) -> Result<Version, BrokerError> {
        let what = format!("ask broker {} for its version", queue.broker);
        let address = self.master_for(&queue.broker, &what)?;
        let known = || lock(&self.versions).get(&address).copied();
        if let Some(version) = known() {
            return Ok(version);
        }
        // Whatever it answers.
        let ask = Request::new(RequestCode::GetMaxOffset).with("topic", &queue.topic).with("queueId", queue.number);
        self.call(&address, &what, ask, ANSWER).await.map_err(|lost| lost.error)?;
        known().ok_or_else(|| self.garbled(what, "its answers are of no version from 4.0 on".to_owned()))
    }

    /// Tells every broker that this client leaves its group.
    pub async fn leave(&self, consumer: Option<&str>, producer: Option<&str>) {
        let addresses: Vec<String> = lock(&self.brokers).values().flat_map(|broker| broker.values().cloned()).collect();
        let told = addresses.iter().map(|address| async move {
            let mut request = Request::new(RequestCode::UnregisterClient).with("clientID", &self.client_id);
            for (name, group) in [("consumerGroup", consumer), ("producerGroup", producer)] {
                if let Some(group) = group {
                    request = request.with(name, group);
                }
            }
            if let Err(error) = self.ask(address, "leave the group", request, ANSWER).await {
                tracing::debug!(address, %error, "the broker sees our connection close");
            }
        });
        join_all(told).await;
    }
}

fn heartbeat(body: &Bytes) -> Request {
    Request::new(RequestCode::HeartBeat).with_body(body.clone())
}
