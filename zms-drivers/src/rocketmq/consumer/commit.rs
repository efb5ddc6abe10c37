//! Positions of a group on a broker: where to begin, and what is handled.

use std::collections::{BTreeSet, HashMap};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::sync::Notify;
use zms_core::metadata::ConsumeFrom;

use super::plan::{Begin, begin};
use super::shared::Shared;
use super::window::{Commit, Window};
use crate::broker::BrokerError;
use crate::rocketmq::net::Reply;
use crate::rocketmq::queue::Queue;
use crate::rocketmq::remoting::{Request, RequestCode};
use crate::rocketmq::version::Version;
use crate::rocketmq::waits::back_off;

/// What says where to begin in a queue that the group has no position in.
#[derive(Default)]
pub(super) struct Places {
    /// Topic → its queues when this member first looked; none once it was seen not to be there.
    pub known: HashMap<String, BTreeSet<Queue>>,
    /// In a broadcast: where this member stood in queues that it gave up, because their broker went away or their topic could not be read.
    left: HashMap<Queue, i64>,
}

impl Shared {
    pub fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// In a broadcast nobody else knows where this member stood.
    pub fn remember(&self, queue: &Queue, window: Option<&Window>) {
        if let Some(window) = window {
            self.places().left.insert(queue.clone(), window.position());
        }
    }

    /// Where it begins without a position; retries are never passed over.
    fn begins(&self, queue: &Queue) -> Begin {
        let earliest = self.is_retry(&queue.topic) || matches!(self.from, ConsumeFrom::Earliest);
        let known = self.places().known.get(&*queue.topic).is_none_or(|known| known.contains(queue));
        begin(earliest, known, self.started_ms, self.waits.clocks)
    }
}

/// Where to begin, and whether the broker has this as the group's position. Tries until it is known.
pub(super) async fn beginning(shared: &Shared, queue: &Queue) -> (i64, bool) {
    let mut tries = 0;
    loop {
        match try_beginning(shared, queue).await {
            Ok(known) => return known,
            Err(error) => {
                tracing::debug!(%queue, %error, "asking where to begin goes on after this");
                shared.tell_if_denied(&queue.to_string(), &error);
                shared.net.forget_route(&queue.topic);
                shared.changed.notify_one();
            }
        }
        tokio::time::sleep(back_off(tries, shared.waits.first_back_off, shared.waits.longest_back_off)).await;
        tries += 1;
    }
}

async fn try_beginning(shared: &Shared, queue: &Queue) -> Result<(i64, bool), BrokerError> {
    let stood = if shared.broadcast { shared.places().left.get(queue).copied() } else { committed(shared, queue).await? };
    if let Some(stood) = stood {
        // Of a young queue brokers before 5.0 say 0 to a group that has no position, too: what is committed next may be the first.
        let known = stood > 0 || shared.broadcast || shared.net.version(queue).await? >= Version(5, 0, 0);
        return Ok((stood, known));
    }
    let begin = match shared.begins(queue) {
        Begin::First => edge(shared, queue, RequestCode::GetMinOffset).await?,
        Begin::End => edge(shared, queue, RequestCode::GetMaxOffset).await?,
        Begin::Since(time) => since(shared, queue, time).await?,
    };
    Ok((begin, shared.broadcast))
}

async fn edge(shared: &Shared, queue: &Queue, code: RequestCode) -> Result<i64, BrokerError> {
    let what = format!("ask where {queue} {}", if code == RequestCode::GetMinOffset { "begins" } else { "ends" });
    let reply = match ask(shared, queue, Request::new(code), &what).await {
        // From 5.0 on who may consume may not ask where a queue begins, unless he has that right too. Pulling at 0 leads there as well.
        Err(BrokerError::Denied { .. }) if code == RequestCode::GetMinOffset => return Ok(0),
        answer => answer?,
    };
    offset(shared, &reply, what)
}

/// The first message that came since then; the first of all if the broker cannot tell. Brokers before 5.0 tell the nearest, which may be the one before,
/// and the last one where nothing is so late; of an empty queue they say 0.
async fn since(shared: &Shared, queue: &Queue, time: i64) -> Result<i64, BrokerError> {
    let first = edge(shared, queue, RequestCode::GetMinOffset).await?;
    let end = edge(shared, queue, RequestCode::GetMaxOffset).await?;
    let what = format!("ask what came into {queue} since {time}");
    let request = Request::new(RequestCode::SearchOffsetByTimestamp).with("timestamp", time).with("boundaryType", "LOWER");
    let address = shared.net.reader(&queue.broker, &what)?;
    let request = with_queue(request, queue);
    let reply = shared.net.call(&address, &what, request, shared.waits.answer).await.map_err(|lost| lost.error)?;
    let found = reply.number("offset").filter(|_| reply.code() == 0);
    Ok(found.map_or(first, |found| found.clamp(first, end.max(first))))
}

fn offset(shared: &Shared, reply: &Reply, what: String) -> Result<i64, BrokerError> {
    reply
        .number("offset")
        .filter(|offset| *offset >= 0)
        .ok_or_else(|| shared.net.garbled(what, "the answer has no offset".to_owned()))
}

async fn committed(shared: &Shared, queue: &Queue) -> Result<Option<i64>, BrokerError> {
    let what = format!("ask for the position of group {} in {queue}", shared.group);
    // Brokers before 5.0 do not know the last field: of a young queue they say 0 to a group that has no position.
    let request =
        Request::new(RequestCode::QueryConsumerOffset).with("consumerGroup", &shared.group).with("setZeroIfNotFound", false);
    let address = shared.net.reader(&queue.broker, &what)?;
    let request = with_queue(request, queue);
    let reply = shared.net.call(&address, &what, request, shared.waits.answer).await.map_err(|lost| lost.error)?;
    match reply.code() {
        0 => {}
        // No position; or the group or topic is not there, which pulling will tell.
        22 | 26 | 17 => return Ok(None),
        _ => return Err(reply.error(&shared.net, &what)),
    }
    let offset = offset(shared, &reply, what)?;
    if offset == 0 && shared.begins(queue) != Begin::First && shared.net.version(queue).await? < Version(5, 0, 0) {
        return Ok(in_list_of_all(shared, queue, &address).await?.then_some(0));
    }
    Ok(Some(offset))
}

/// Whether the broker has a position of the group, which only the list of all positions tells before 5.0.
async fn in_list_of_all(shared: &Shared, queue: &Queue, address: &str) -> Result<bool, BrokerError> {
    let what = "ask for the positions of all groups";
    let request = Request::new(RequestCode::GetAllConsumerOffset);
    let all = shared.net.ask(address, what, request, shared.waits.answer).await?.json(&shared.net, what)?;
    Ok(has_position(&all, &queue.topic, &shared.group, queue.number))
}

fn has_position(all: &Value, topic: &str, group: &str, number: i32) -> bool {
    all.get("offsetTable")
        .and_then(|table| table.get(format!("{topic}@{group}")))
        .is_some_and(|positions| positions.get(number.to_string()).is_some())
}

/// Commits what was handled, each second; between two commits it can be ended.
pub(super) async fn each_second(shared: &Shared, queue: &Queue, end: &Notify) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(shared.waits.commit) => {}
            () = end.notified() => return,
        }
        if shared.broadcast {
            continue;
        }
        let Some((next, generation)) = shared.to_commit(queue) else { continue };
        let offset = next.offset;
        match commit(shared, queue, next).await {
            Ok(()) => {
                shared.with_window(queue, generation, |held| held.window.as_mut().map(|window| window.committed(offset)));
            }
            Err(error) => tracing::debug!(group = %shared.group, %queue, offset, %error, "committing is tried again"),
        }
    }
}

/// A commit that the broker lost is done so often.
const COMMITS: u32 = 5;

/// Tells the broker up to where the group is done, and sees to it that it keeps this.
///
/// A broker makes a group's table with the first position of a topic, and of two that come at the same moment one makes a table over the other's. So the
/// first of ours goes alone, and the others wait until it is kept; other members are why each first one is looked after.
pub(super) async fn commit(shared: &Shared, queue: &Queue, next: Commit) -> Result<(), BrokerError> {
    if next.first {
        let (kept, alone) = (shared.kept(queue), AtomicBool::new(false));
        let go_alone = || {
            alone.store(true, Ordering::Relaxed);
            tell(shared, queue, next)
        };
        kept.get_or_try_init(go_alone).await?;
        if alone.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
    tell(shared, queue, next).await
}

/// The last commit of a queue that is given up: there is no next second in which it would be done again, so it is tried twice.
pub(super) async fn last(shared: &Shared, queue: &Queue, next: Commit) -> Result<(), BrokerError> {
    match commit(shared, queue, next).await {
        Err(error) if error.is_passing() => {
            tracing::debug!(group = %shared.group, %queue, %error, "the last commit is tried once more");
            commit(shared, queue, next).await
        }
        done => done,
    }
}

async fn tell(shared: &Shared, queue: &Queue, Commit { offset, first }: Commit) -> Result<(), BrokerError> {
    let what = format!("commit offset {offset} of {queue} for group {}", shared.group);
    for tries in 0..COMMITS {
        let request =
            Request::new(RequestCode::UpdateConsumerOffset).with("consumerGroup", &shared.group).with("commitOffset", offset);
        ask(shared, queue, request, &what).await?;
        if !first || is_kept(shared, queue, offset).await? {
            return Ok(());
        }
        tokio::time::sleep(back_off(tries, shared.waits.first_back_off, shared.waits.longest_back_off)).await;
    }
    let why = format!("the broker took it {COMMITS} times and still has no position of the group");
    Err(BrokerError::Passing { what, why })
}

/// Brokers, of 4.9 and of 5.5, lose one of two first commits of a group in a topic that come at the same moment: each makes the group's table, and
/// the later one stays. The other may come a moment after this one was answered, so it is looked twice. A position that somebody else set meanwhile is
/// theirs.
async fn is_kept(shared: &Shared, queue: &Queue, offset: i64) -> Result<bool, BrokerError> {
    // Of a young queue brokers before 5.0 say 0 to a group that has no position.
    let is_there = async || Ok::<_, BrokerError>(committed(shared, queue).await?.is_some_and(|found| found > 0 || offset == 0));
    if !is_there().await? {
        return Ok(false);
    }
    tokio::time::sleep(shared.waits.look_again).await;
    is_there().await
}

async fn ask(shared: &Shared, queue: &Queue, request: Request, what: &str) -> Result<Reply, BrokerError> {
    let address = shared.net.reader(&queue.broker, what)?;
    shared.net.ask(&address, what, with_queue(request, queue), shared.waits.answer).await
}

fn with_queue(request: Request, queue: &Queue) -> Request {
    request.with("topic", &queue.topic).with("queueId", queue.number).with("bname", &queue.broker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_found_in_the_list_of_all() {
        let all = serde_json::json!({"offsetTable": {"orders@billing": {"0": 0, "3": 7}}});
        for (topic, group, number, there) in [
            ("orders", "billing", 0, true),
            ("orders", "billing", 1, false),
            ("orders", "other", 0, false),
            ("x", "billing", 0, false),
        ] {
            assert_eq!(has_position(&all, topic, group, number), there, "{topic} {group} {number}");
        }
    }
}
