//! One queue, from the moment it is given to this member until it is given up.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::commit;
use super::last::Left;
use super::lock;
use super::plan::{Pulled, pulled, read_on, wanted};
use super::shared::{Handled, Reading, Shared, Taken};
use super::window::Open;
use crate::broker::{BrokerError, Incoming};
use crate::rocketmq::message::incoming::incoming;
use crate::rocketmq::message::properties::TAGS;
use crate::rocketmq::message::stored::{Stored, decode};
use crate::rocketmq::net::{Reply, now_ms};
use crate::rocketmq::queue::Queue;
use crate::rocketmq::remoting::{Request, RequestCode, answers};
use crate::rocketmq::waits::back_off;

/// Messages of one answer.
const TOGETHER: &str = "32";
/// The broker reads what it should filter from this request.
const FILTER: u32 = 4;
/// And holds an empty answer back.
const HOLD: u32 = 2;
/// So often brokers look which requests they have held for long enough (RocketMQ's `PullRequestHoldService`).
const LOOKS: Duration = Duration::from_secs(5);

/// Reads, commits and gives up a queue. Ends when it is stopped, with what became of the last commit.
pub(super) struct Reader {
    pub shared: Arc<Shared>,
    pub queue: Queue,
    pub again: Arc<Notify>,
    pub stop: oneshot::Receiver<Left>,
    /// Somebody else may have had it until now, and needs a moment to commit.
    pub settle: bool,
}

impl Reader {
    pub async fn run(self) -> Result<(), BrokerError> {
        let Self { shared, queue, again, stop, settle } = self;
        let reading = async {
            if settle {
                tokio::time::sleep(shared.waits.settle).await;
            }
            read(&shared, &queue, &again).await;
        };
        let end = Notify::new();
        let mut commits = std::pin::pin!(commit::each_second(&shared, &queue, &end));
        let left = tokio::select! {
            left = stop => left.ok(),
            () = reading => None,
            () = &mut commits => None,
        };
        // A commit under way comes to its end first: it must not overtake the last one.
        end.notify_one();
        commits.await;
        let left = left.unwrap_or_default();
        if shared.broadcast {
            shared.remember(&queue, left.window.as_ref());
            return Ok(());
        }
        let committed = match left.commit(&shared, &queue).await {
            Some(left) => commit::last(&shared, &queue, left).await.inspect_err(|error| {
                tracing::warn!(group = %shared.group, %queue, %error, "the last messages of this queue are delivered again");
            }),
            None => Ok(()),
        };
        if shared.ordered {
            lock::unlock(&shared, &queue).await;
        }
        committed
    }
}

/// Never ends by itself.
async fn read(shared: &Arc<Shared>, queue: &Queue, again: &Notify) {
    loop {
        if shared.ordered {
            lock::lock(shared, queue).await;
        }
        let (begin, committed) = commit::beginning(shared, queue).await;
        tracing::debug!(group = %shared.group, %queue, begin, committed, "reading");
        if shared.open(queue, begin, committed).is_none() {
            std::future::pending::<()>().await;
        }
        if shared.ordered {
            tokio::select! {
                () = pull_on(shared, queue, again) => {}
                () = lock::keep(shared, queue) => {}
            }
            // The lock was lost: what the application has of it is not ours any more.
            shared.close_window(queue);
        } else {
            pull_on(shared, queue, again).await;
        }
    }
}

/// Asks for what comes next and acts upon the answer, again and again.
///
/// A message that comes while the broker sets a pull aside wakes it up only at the broker's next look ([`LOOKS`]; apache/rocketmq#7358). That happens
/// where messages come one by one, so there a second request looks whether the first was overlooked.
///
/// No request is forgotten before it is answered, though another one was quicker or the place has changed: a broker that sets offsets itself says so
/// once, to whichever it answers next.
async fn pull_on(shared: &Arc<Shared>, queue: &Queue, again: &Notify) {
    let mut asked = FuturesUnordered::new();
    // What the next answer is wanted for, and when it is to be looked whether the broker overlooked us.
    let (mut waiting, mut look) = (None, None);
    let (mut tries, mut last) = (0, None);
    loop {
        let Some(Reading { next, generation, room }) = shared.reading_at(queue) else { std::future::pending().await };
        let place = Place { generation, next };
        if room.is_none() && waiting != Some(place) {
            let moved = last.replace(next) != Some(next);
            look = moved.then(|| Instant::now() + shared.waits.overlooked);
            waiting = Some(place);
            asked.push(ask(shared, queue, place, true));
        }
        let answer = tokio::select! {
            Some(answer) = asked.next() => answer,
            () = at(look), if room.is_none() => {
                look = None;
                asked.push(ask(shared, queue, place, false));
                continue;
            }
            () = notified(room.as_deref()), if room.is_some() => continue,
            // Somebody set the group to another place.
            () = again.notified() => continue,
        };
        if waiting != Some(answer.place) {
            heed(shared, queue, generation, &answer);
            continue;
        }
        if !answer.held && !matches!(answer.pulled(), Some(Pulled::Messages | Pulled::Begin(_))) {
            // What else there is to say, the first request will hear.
            continue;
        }
        waiting = None;
        match act(shared, queue, answer).await {
            Ok(()) => {
                if tries > 0 {
                    // The broker may have been started anew, and know nothing of us.
                    shared.forgotten.notify_one();
                }
                tries = 0;
            }
            Err(wait) => {
                tokio::time::sleep(back_off(tries, wait, shared.waits.longest_back_off)).await;
                tries += 1;
            }
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn notified(room: Option<&Notify>) {
    match room {
        Some(room) => room.notified().await,
        None => std::future::pending().await,
    }
}

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    generation: u64,
    next: i64,
}

struct Answer {
    place: Place,
    /// It was allowed to take its time.
    held: bool,
    reply: Result<Reply, BrokerError>,
}

impl Answer {
    /// `None` without an answer.
    fn pulled(&self) -> Option<Pulled> {
        self.reply.as_ref().ok().map(|reply| pulled(reply.code(), reply.number("nextBeginOffset")))
    }
}

/// An answer for a place where nobody reads any more: only that the group was set elsewhere matters. `generation`: of the window of now.
fn heed(shared: &Shared, queue: &Queue, generation: u64, answer: &Answer) {
    let (Some(Pulled::Begin(begin)), Ok(reply)) = (answer.pulled(), &answer.reply) else { return };
    let next = answer.place.next;
    // A place that does not exist is corrected; one that does was changed by somebody.
    let exists =
        reply.number("minOffset").is_none_or(|min| next >= min) && reply.number("maxOffset").is_none_or(|max| next <= max);
    if exists {
        tracing::info!(group = %shared.group, %queue, begin, "the group was set to another place");
        go_to(shared, queue, generation, begin);
    }
}

/// Begins there, if the queue is still read in this window.
fn go_to(shared: &Shared, queue: &Queue, generation: u64, begin: i64) {
    if shared.with_window(queue, generation, |_| ()).is_some() {
        shared.open(queue, begin, false);
    }
}

/// Does what the answer says; `Err`: how long to wait before the next request, at first.
async fn act(shared: &Arc<Shared>, queue: &Queue, answer: Answer) -> Result<(), Duration> {
    let first = shared.waits.first_back_off;
    let Place { generation, next } = answer.place;
    let reply = match answer.reply {
        Ok(reply) => reply,
        Err(error) => {
            tracing::debug!(%queue, %error, "pulling goes on after this");
            shared.tell_if_denied(&queue.to_string(), &error);
            // Its address may have changed, or it is gone.
            shared.net.forget_route(&queue.topic);
            shared.changed.notify_one();
            return Err(first);
        }
    };
    let follow = reply.number("nextBeginOffset");
    let what = || format!("consume topic {}", queue.topic);
    let denied = answers::denies(reply.code(), reply.remark());
    match if denied { Pulled::Refused } else { pulled(reply.code(), follow) } {
        Pulled::Messages => {
            well(shared, queue);
            let messages = decode(reply.body().clone()).map_err(|why| {
                shared.tell(&queue.to_string(), shared.net.garbled(what(), why));
                Duration::from_secs(1)
            })?;
            for message in messages {
                if hand_out(shared, queue, generation, message).await.is_none() {
                    return Ok(());
                }
            }
            pass(shared, queue, generation, follow);
            Ok(())
        }
        Pulled::Nothing => {
            well(shared, queue);
            pass(shared, queue, generation, follow);
            Ok(())
        }
        Pulled::Begin(offered) => {
            let end = reply.number("maxOffset");
            let begin = read_on(next, offered, reply.number("minOffset"), end);
            let lost = begin - next;
            if lost > 0 {
                tracing::warn!(group = %shared.group, %queue, next, begin, lost, "messages between these places are gone, or the group was set to a later place");
            } else if end.is_some_and(|end| next > end) {
                tracing::warn!(group = %shared.group, %queue, next, begin, end, "the group stood beyond the end: the queue was made anew, or its broker lost the end of it");
            } else {
                tracing::info!(group = %shared.group, %queue, next, begin, "the group was set to an earlier place");
            }
            go_to(shared, queue, generation, begin);
            Ok(())
        }
        Pulled::Gone => {
            shared.net.forget_route(&queue.topic);
            shared.changed.notify_one();
            Err(Duration::from_secs(1))
        }
        Pulled::NoGroup => {
            shared.tell("group", BrokerError::Missing { what: format!("group {}", shared.group) });
            Err(Duration::from_secs(1))
        }
        Pulled::Refused => {
            shared.tell(&queue.to_string(), reply.error(&shared.net, &what()));
            Err(Duration::from_secs(1))
        }
        Pulled::Later => {
            tracing::debug!(%queue, code = reply.code(), remark = reply.remark(), "pulling goes on after this");
            Err(first)
        }
    }
}

fn well(shared: &Shared, queue: &Queue) {
    shared.well("group");
    shared.well(&queue.to_string());
}

/// One request. `hold`: an empty answer may take its time.
async fn ask(shared: &Shared, queue: &Queue, place: Place, hold: bool) -> Answer {
    let interest = shared.interests.iter().find(|interest| *interest.topic == *queue.topic);
    let (expression, version) = interest.map_or(("*".to_owned(), 0), |interest| (interest.expression(), interest.version));
    let (flags, hold_for) = if hold { (FILTER | HOLD, shared.waits.hold) } else { (FILTER, Duration::ZERO) };
    let deadline = if hold { hold_for + LOOKS + shared.waits.answer } else { shared.waits.answer };
    let request = Request::new(RequestCode::PullMessage)
        .with("consumerGroup", &shared.group)
        .with("topic", &queue.topic)
        .with("queueId", queue.number)
        .with("queueOffset", place.next)
        .with("maxMsgNums", TOGETHER)
        .with("sysFlag", flags)
        .with("commitOffset", 0)
        .with("suspendTimeoutMillis", hold_for.as_millis())
        .with("subscription", expression)
        .with("subVersion", version)
        .with("expressionType", "TAG")
        .with("bname", &queue.broker);
    let what = format!("read {queue}");
    let reply = match shared.net.reader(&queue.broker, &what) {
        Ok(address) => shared.net.call(&address, &what, request, deadline).await.map_err(|lost| lost.error),
        Err(error) => Err(error),
    };
    Answer { place, held: hold, reply }
}

/// Everything below `follow` was looked at.
fn pass(shared: &Shared, queue: &Queue, generation: u64, follow: Option<i64>) {
    shared.with_window(queue, generation, |held| {
        held.last_pull_ms = now_ms();
        if let (Some(window), Some(follow)) = (&mut held.window, follow) {
            window.passed(follow);
        }
    });
}

/// `None`: the window is not ours any more.
async fn hand_out(shared: &Arc<Shared>, queue: &Queue, generation: u64, message: Stored) -> Option<()> {
    let tags =
        shared.interests.iter().find(|interest| *interest.topic == *queue.topic).map_or(&[][..], |interest| &interest.tags);
    if !wanted(tags, message.property(TAGS)) {
        return shared.with_window(queue, generation, |held| {
            if let Some(window) = &mut held.window {
                window.passed(message.offset + 1);
            }
        });
    }
    let size = message.body.as_ref().map_or(0, bytes::Bytes::len);
    let (offset, open) = (message.offset, Open { log_offset: message.log_offset, size });
    shared.with_window(queue, generation, |held| {
        if let Some(window) = &mut held.window {
            window.received(offset, open);
        }
    })?;
    let mut message = match incoming(queue, shared.is_retry(&queue.topic), message) {
        Ok(message) => Incoming { generation, ..message },
        Err(why) => return super::back::unreadable(shared, queue, generation, offset, why).await,
    };
    loop {
        let room = shared.room(size).await;
        let handled = shared.ordered.then(|| shared.turn(queue, generation, offset)).flatten();
        let taken = Taken { message: message.clone(), _room: room };
        if shared.ready.send(taken).await.is_err() {
            return None;
        }
        let Some(handled) = handled else { return Some(()) };
        match handled.await {
            Ok(Handled::Done) => return Some(()),
            Ok(Handled::Failed) => {
                tokio::time::sleep(shared.waits.failed_in_order).await;
                message.attempt += 1;
            }
            Err(_another_window) => return None,
        }
    }
}
