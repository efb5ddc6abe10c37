//! Sends whose callers do not wait: begun in the order in which they were given, answered by a callback.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use crate::Error;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is not done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Begun.
    pub begun: usize,
    /// Not even begun.
    pub queued: usize,
}

/// At most so many jobs are under way.
pub struct Lane {
    /// `None` after the end.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    left: watch::Receiver<Left>,
    limit: usize,
}

impl Lane {
    /// What is returned beside it must be run.
    pub fn new(limit: usize) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let limit = limit.max(1);
        let (jobs, queue) = mpsc::channel(limit);
        let (counter, left) = watch::channel(Left::default());
        (Self { jobs: Mutex::new(Some(jobs)), left, limit }, run(queue, counter, limit))
    }

    /// Begins a job soon.
    pub fn push(&self, job: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        let jobs = self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let place = jobs.as_ref().ok_or(Error::Closed)?.try_reserve();
        match place {
            Ok(place) => {
                place.send(Box::pin(job));
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(())) => Err(Error::Busy { limit: self.limit }),
            Err(mpsc::error::TrySendError::Closed(())) => Err(Error::Closed),
        }
    }

    /// Takes no more jobs and waits for those that are there; what is left then. May be called again.
    pub async fn close(&self, deadline: Duration) -> Left {
        drop(self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        let mut left = self.left.clone();
        // The sender goes when all is done.
        let _ = tokio::time::timeout(deadline, async { while left.changed().await.is_ok() {} }).await;
        *left.borrow()
    }
}

async fn run(mut queue: mpsc::Receiver<Job>, counter: watch::Sender<Left>, limit: usize) {
    let mut under_way = FuturesUnordered::new();
    let mut open = true;
    while open || !under_way.is_empty() {
        tokio::select! {
            biased;
            job = queue.recv(), if open && under_way.len() < limit => match job {
                // Its first step is done in the next round, before that of any later job.
                Some(job) => under_way.push(job),
                None => open = false,
            },
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
        }
        counter.send_replace(Left { begun: under_way.len(), queued: queue.len() });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn jobs_begin_in_order_and_too_many_are_refused() {
        let (lane, running) = Lane::new(3);
        let (gate, begun) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let job = |n: usize| {
            let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
            async move {
                begun.lock().unwrap().push(n);
                gate.acquire().await.unwrap().forget();
            }
        };
        for n in 0..3 {
            lane.push(job(n)).unwrap();
        }
        assert!(matches!(lane.push(job(9)), Err(Error::Busy { limit: 3 })));
        let running = tokio::spawn(running);
        assert_eq!(lane.close(Duration::from_millis(20)).await, Left { begun: 3, queued: 0 }, "nobody opened the gate");
        assert!(matches!(lane.push(job(9)), Err(Error::Closed)));
        gate.add_permits(3);
        assert_eq!(lane.close(Duration::from_secs(5)).await, Left::default());
        running.await.unwrap();
        assert_eq!(*begun.lock().unwrap(), [0, 1, 2]);
    }
}
