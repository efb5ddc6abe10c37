//! Telling brokers that a client is there, and that it leaves.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use tokio::time::Instant;

use super::{Net, lock};
use crate::broker::BrokerError;
use crate::rocketmq::queue::Queue;
use crate::rocketmq::remoting::{Request, RequestCode};
use crate::rocketmq::version::Version;

/// A broker that says nothing is told again with the next heartbeat.
const ANSWER: Duration = Duration::from_secs(3);
/// A broker that was replaced by a newer one is known to be newer after this.
const VERSION_AGE: Duration = Duration::from_secs(300);

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

    /// What version the master of a queue is. The header of any answer says it; so does a broker's runtime information, for which 5.x counts all
    /// of its timers.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub async fn version(&self, queue: &Queue) -> Result<Version, BrokerError> {
        let what = format!("ask broker {} for its version", queue.broker);
        let address = self.master_for(&queue.broker, &what)?;
        let known = lock(&self.versions).get(&address).copied();
        if let Some((_, version)) = known.filter(|(asked, _)| asked.elapsed() < VERSION_AGE) {
            return Ok(version);
        }
        let ask = Request::new(RequestCode::GetMaxOffset).with("topic", &queue.topic).with("queueId", queue.number);
        let reply = self.call(&address, &what, ask, ANSWER).await.map_err(|lost| lost.error)?;
        let version =
            reply.version().ok_or_else(|| self.garbled(what, "its answers are of no version from 4.0 on".to_owned()))?;
        lock(&self.versions).insert(address, (Instant::now(), version));
        Ok(version)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use bytes::BytesMut;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::open::Endpoint;
    use crate::rocketmq::remoting::{Answer, Frame, LARGEST_FRAME, decode, encode};

    /// Refuses whatever it is asked, as 4.9.3, which is the version that our own frames name. Keeps the codes.
    async fn refuse(listener: TcpListener, asked: Arc<Mutex<Vec<i32>>>) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = BytesMut::new();
        while stream.read_buf(&mut read).await.unwrap() > 0 {
            while let Some(frame) = decode(&mut read, LARGEST_FRAME).unwrap() {
                let Frame::Request { opaque, request, .. } = frame else { continue };
                asked.lock().unwrap().push(request.code);
                let answer = Answer { code: 1, remark: "no".to_owned(), ..Answer::default() };
                stream.write_all(&encode(Frame::Answer { opaque, answer }).unwrap()).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_version_costs_one_small_request_whatever_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(refuse(listener, Arc::clone(&asked)));
        let net = Net::new(&Endpoint::plain("versions", ["127.0.0.1:1"]), None).unwrap();
        lock(&net.brokers).insert("a".into(), BTreeMap::from([(0, address)]));
        let queue = Queue { topic: "orders".into(), broker: "a".into(), number: 0 };
        for _ in 0..3 {
            assert_eq!(net.version(&queue).await, Ok(Version(4, 9, 3)));
        }
        assert_eq!(*asked.lock().unwrap(), [i32::from(RequestCode::GetMaxOffset)]);
    }
}
