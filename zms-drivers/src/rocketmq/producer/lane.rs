//! One queue's messages on their way: one request at a time, so that they keep their order; what waits meanwhile goes together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::verdict::{Verdict, verdict};
use crate::broker::BrokerError;
use crate::rocketmq::message::outgoing::{Ready, batch};
use crate::rocketmq::net::Net;
use crate::rocketmq::queue::Queue;
use crate::rocketmq::remoting::{Request, RequestCode};
use crate::rocketmq::waits::back_off;

/// At most so many messages and bytes together; brokers take 4 MiB by default.
const TOGETHER: usize = 256;
const TOGETHER_BYTES: usize = 1 << 20;
/// Messages that wait for one queue; beyond that senders wait for their place.
pub(super) const WAITING: usize = 1_024;
/// A message whose keeping is in doubt is sent a second time; a third one would more likely double it than save it.
const DOUBTS: u32 = 1;

/// A message that waits for its queue.
pub(super) struct Job {
    pub ready: Ready,
    /// It may not overtake another one of this queue, and has to wait for this queue.
    pub keyed: bool,
    /// It has to go in a request of its own.
    pub alone: bool,
    pub give_up: Instant,
    /// How often it was sent without knowing what became of it.
    pub doubts: u32,
    /// It left this process.
    pub sent: Arc<AtomicBool>,
    pub answer: oneshot::Sender<Result<i64, Failure>>,
}

/// Why a message did not get its place.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: BrokerError,
    /// It may be tried again, with another queue if there is one.
    pub again: bool,
    /// It may have been kept all the same.
    pub doubt: bool,
}

/// What a lane needs to send.
pub(super) struct Lane {
    pub net: Arc<Net>,
    pub queue: Queue,
    pub producer_group: String,
    /// Of one try while another is possible.
    pub attempt: Duration,
}

impl Lane {
    /// Until nobody can send to it any more.
    pub async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut waiting = VecDeque::new();
        let mut tries = 0;
        loop {
            if waiting.is_empty() {
                let Some(job) = jobs.recv().await else { return };
                waiting.push_back(job);
            }
            while waiting.len() < TOGETHER
                && let Ok(job) = jobs.try_recv()
            {
                waiting.push_back(job);
            }
            let now = Instant::now();
            waiting.retain(|job: &Job| now < job.give_up && !job.answer.is_closed());
            let together = together(&waiting);
            if together == 0 {
                continue;
            }
            let kept = self.send(waiting.drain(..together).collect()).await;
            if kept.is_empty() {
                tries = 0;
                continue;
            }
            // They wait here for this queue, in front of those that came later.
            kept.into_iter().rev().for_each(|job| waiting.push_front(job));
            tokio::time::sleep(back_off(tries, FIRST_WAIT, LONGEST_WAIT)).await;
            tries += 1;
        }
    }

    /// Sends some messages in one request and answers them. Returns those that have to be tried again here.
    async fn send(&self, jobs: Vec<Job>) -> Vec<Job> {
        match self.ask(&jobs).await {
            Ok(first) => {
                for (offset, job) in (first..).zip(jobs) {
                    // Whoever sent it may have gone away.
                    let _ = job.answer.send(Ok(offset));
                }
                Vec::new()
            }
            // One of them is wrong: each for itself, so that the others do not suffer.
            Err(Failure { again: false, .. }) if jobs.len() > 1 => {
                let mut kept = Vec::new();
                for job in jobs {
                    if kept.is_empty() {
                        kept.extend(Box::pin(self.send(vec![job])).await);
                    } else {
                        kept.push(job);
                    }
                }
                kept
            }
            Err(failure) => jobs.into_iter().filter_map(|job| failed(job, &failure)).collect(),
        }
    }

    async fn ask(&self, jobs: &[Job]) -> Result<i64, Failure> {
        let address = self.net.master(&self.queue.broker).ok_or_else(|| Failure {
            error: self.net.passing(self.what(), format!("broker {} has no master", self.queue.broker)),
            again: true,
            doubt: false,
        })?;
        let end = jobs.iter().map(|job| job.give_up).max().unwrap_or_else(Instant::now);
        let left = end.saturating_duration_since(Instant::now());
        let doubted = jobs.iter().any(|job| job.doubts >= DOUBTS);
        let deadline = if doubted { left } else { left.min(self.attempt) };
        jobs.iter().for_each(|job| job.sent.store(true, Ordering::Release));
        let reply = self.net.call(&address, &self.what(), self.request(jobs), deadline).await;
        let reply = reply.map_err(|lost| Failure { error: lost.error, again: true, doubt: lost.doubt })?;
        let why = || reply.remark().to_owned();
        let failure = |error, again, doubt| Err(Failure { error, again, doubt });
        match verdict(reply.code(), reply.remark()) {
            Verdict::Kept => match reply.number("queueOffset") {
                Some(offset) => Ok(offset),
                None => failure(self.net.garbled(self.what(), "the answer has no queueOffset".to_owned()), false, true),
            },
            Verdict::NotConfirmed => {
                let why = format!("the broker has it, but not all that should have it: code {} {}", reply.code(), why());
                failure(BrokerError::Passing { what: self.what(), why }, false, true)
            }
            Verdict::Later => failure(BrokerError::Passing { what: self.what(), why: why() }, true, false),
            Verdict::Fault => failure(BrokerError::Passing { what: self.what(), why: why() }, true, true),
            Verdict::NotHere => {
                self.net.forget_route(&self.queue.topic);
                failure(BrokerError::Passing { what: self.what(), why: why() }, true, false)
            }
            Verdict::Never => failure(reply.error(&self.net, &self.what()), false, false),
        }
    }

    fn request(&self, jobs: &[Job]) -> Request {
        let (code, body, properties) = match jobs {
            // A 5.5 broker fails over a request without a body; an empty message in a batch is none.
            [job] if !job.ready.body.is_empty() => {
                (RequestCode::SendMessageV2, job.ready.body.clone(), job.ready.properties.clone())
            }
            jobs => (RequestCode::SendBatchMessage, batch(jobs.iter().map(|job| &job.ready)), String::new()),
        };
        self.header(code, properties, body)
    }

    /// With the short names of the second version of this header.
    fn header(&self, code: RequestCode, properties: String, body: Bytes) -> Request {
        Request::new(code)
            .with("a", &self.producer_group)
            .with("b", &self.queue.topic)
            // Topics are made by operators; these two would be used where brokers make them.
            .with("c", "TBW102")
            .with("d", 4)
            .with("e", self.queue.number)
            .with("f", 0)
            .with("g", crate::rocketmq::net::now_ms())
            .with("h", 0)
            .with("i", properties)
            .with("j", 0)
            .with("k", false)
            .with("m", code == RequestCode::SendBatchMessage)
            .with("n", &self.queue.broker)
            .with_body(body)
    }

    fn what(&self) -> String {
        format!("send to topic {}", self.queue.topic)
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How many of those in front go into one request.
fn together(waiting: &VecDeque<Job>) -> usize {
    let Some(first) = waiting.front() else { return 0 };
    if first.alone {
        return 1;
    }
    let mut bytes = 0;
    let fit = waiting.iter().take(TOGETHER).take_while(|job| {
        bytes += job.ready.size();
        !job.alone && bytes <= TOGETHER_BYTES
    });
    fit.count().max(1)
}

/// Gives a message back to its sender, or keeps it for another try here.
fn failed(mut job: Job, failure: &Failure) -> Option<Job> {
    job.doubts += u32::from(failure.doubt);
    // It has only this queue, and a certificate that nobody vouches for does not mend itself.
    let denied = job.keyed && matches!(failure.error, BrokerError::Denied { .. });
    let again = failure.again && job.doubts <= DOUBTS && !denied;
    if again && job.keyed {
        return Some(job);
    }
    let _ = job.answer.send(Err(Failure { error: failure.error.clone(), again, doubt: failure.doubt }));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(size: usize, alone: bool) -> Job {
        let ready = Ready { body: vec![0; size].into(), properties: String::new() };
        let give_up = Instant::now() + Duration::from_secs(1);
        Job { ready, keyed: false, alone, give_up, doubts: 0, sent: Arc::default(), answer: oneshot::channel().0 }
    }

    #[test]
    fn small_messages_go_together_and_large_or_delayed_ones_do_not() {
        for (jobs, first) in [
            (vec![], 0),
            (vec![job(10, false)], 1),
            (vec![job(10, false), job(10, false), job(10, true), job(10, false)], 2),
            (vec![job(10, true), job(10, false)], 1),
            (vec![job(TOGETHER_BYTES * 2, false), job(10, false)], 1),
            (vec![job(TOGETHER_BYTES / 2, false), job(TOGETHER_BYTES, false)], 1),
            ((0..TOGETHER * 2).map(|_| job(1, false)).collect(), TOGETHER),
        ] {
            assert_eq!(together(&jobs.into()), first);
        }
    }

    #[test]
    fn a_message_in_doubt_is_tried_once_more_and_a_keyed_one_in_its_own_queue() {
        let passing = || BrokerError::Passing { what: "send".into(), why: "busy".into() };
        let doubt = Failure { error: passing(), again: true, doubt: true };
        let busy = Failure { error: passing(), again: true, doubt: false };
        let keyed = || Job { keyed: true, ..job(1, false) };
        let kept = failed(keyed(), &doubt).expect("once more");
        assert_eq!(kept.doubts, 1);
        let kept = failed(kept, &busy).expect("that it was busy puts nothing in doubt");
        assert!(failed(kept, &doubt).is_none());
        assert!(failed(job(1, false), &busy).is_none(), "it can go elsewhere");
        let error = BrokerError::Denied { cluster: "main".into(), what: "send".into(), why: "TLS".into() };
        assert!(failed(keyed(), &Failure { error, again: true, doubt: false }).is_none(), "nobody waits for that");
    }
}
