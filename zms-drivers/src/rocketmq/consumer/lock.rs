//! Locks of queues, for messages in order: a broker lets one member of a group have a queue, for a minute, and longer if it asks again.

use serde_json::{Value, json};

use super::shared::Shared;
use crate::broker::BrokerError;
use crate::rocketmq::net::Reply;
use crate::rocketmq::queue::Queue;
use crate::rocketmq::remoting::{Request, RequestCode};

/// Ends when the queue is locked for this member.
pub(super) async fn lock(shared: &Shared, queue: &Queue) {
    loop {
        match try_lock(shared, queue).await {
            Ok(true) => return,
            Ok(false) => tracing::debug!(%queue, "another member has it still"),
            Err(error) => {
                tracing::debug!(%queue, %error, "locking is tried again");
                shared.tell_if_denied(&queue.to_string(), &error);
            }
        }
        tokio::time::sleep(shared.waits.lock_again).await;
    }
}

/// Locks it again and again; ends when the lock was lost, or could not be renewed for so long that it may be.
pub(super) async fn keep(shared: &Shared, queue: &Queue) {
    let mut renewed = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(shared.waits.lock_renewal).await;
        match try_lock(shared, queue).await {
            Ok(true) => renewed = tokio::time::Instant::now(),
            Ok(false) => {
                tracing::warn!(group = %shared.group, %queue, "another member has the lock now");
                return;
            }
            Err(error) if renewed.elapsed() < shared.waits.lock_lasts => {
                tracing::debug!(%queue, %error, "renewing a lock is tried again");
            }
            Err(error) => {
                tracing::warn!(group = %shared.group, %queue, %error, "the lock may be lost");
                return;
            }
        }
    }
}

/// Whether it is locked for this member now.
pub(super) async fn try_lock(shared: &Shared, queue: &Queue) -> Result<bool, BrokerError> {
    let what = format!("lock {queue}");
    let reply = ask(shared, queue, RequestCode::LockBatchMq, &what).await?;
    let locked = reply.json(&shared.net, &what)?;
    let locked = locked.get("lockOKMQSet").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(locked.iter().any(|locked| locked["queueId"] == json!(queue.number) && locked["topic"] == json!(&*queue.topic)))
}

/// Lets the next member have it at once; if this fails the lock ends by itself.
pub(super) async fn unlock(shared: &Shared, queue: &Queue) {
    if let Err(error) = ask(shared, queue, RequestCode::UnlockBatchMq, &format!("unlock {queue}")).await {
        tracing::debug!(%queue, %error, "the lock ends by itself within a minute");
    }
}

async fn ask(shared: &Shared, queue: &Queue, code: RequestCode, what: &str) -> Result<Reply, BrokerError> {
    let body = json!({
        "consumerGroup": shared.group,
        "clientId": shared.net.client_id(),
        "mqSet": [{"topic": &*queue.topic, "brokerName": &*queue.broker, "queueId": queue.number}],
    });
    let request = Request::new(code).with_body(body.to_string());
    let address = shared.net.master_for(&queue.broker, what)?;
    shared.net.ask(&address, what, request, shared.waits.answer).await
}
