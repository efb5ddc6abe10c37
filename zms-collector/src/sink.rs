//! To InfluxDB: points wait in a bounded queue and go in batches. When it is full the oldest go, those of single clients and partitions
//! first; every one is counted. Who makes points never waits. What is kept for months is made here of what goes by.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use zms_core::collect::{self, MetricStore};
use zms_core::series::{Point, Retention};
use zms_drivers::influx::{self, Lines, MetricError, MetricSink};

use crate::board::lock;
use crate::now_ms;
use crate::orders::Current;
use crate::rollup::Rollup;

/// Points in one request.
const BATCH: usize = 5_000;
/// What has waited for so long goes, also when it is less than a batch.
const GATHER: Duration = Duration::from_secs(1);
/// Deadline of a request.
const DEADLINE: Duration = Duration::from_secs(10);
/// Before a request that failed is done again; doubled each time up to [`LONGEST`].
const RETRY: Duration = Duration::from_secs(1);
/// See [`RETRY`].
const LONGEST: Duration = Duration::from_secs(30);

/// See the module; clones are the same.
#[derive(Debug, Clone)]
pub struct Sink(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    queue: Mutex<Queue>,
    filled: Notify,
}

/// In which order they are written, and in the reverse order given up.
const ORDER: [Retention; 4] = [Retention::H1, Retention::M5, Retention::Raw, Retention::Detail];

#[derive(Debug)]
struct Queue {
    /// One for each of [`ORDER`].
    lanes: [VecDeque<Point>; 4],
    rollups: [(Retention, Rollup); 2],
    written: u64,
    dropped: u64,
    /// A batch that is under way.
    taken: usize,
    problem: Option<String>,
}

impl Queue {
    fn new(now_ms: i64) -> Self {
        let rollup = |retention: Retention| (retention, Rollup::new(retention.step_ms().unwrap_or(i64::MAX), now_ms));
        let rollups = [rollup(Retention::M5), rollup(Retention::H1)];
        Self { lanes: Default::default(), rollups, written: 0, dropped: 0, taken: 0, problem: None }
    }

    fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum::<usize>() + self.taken
    }

    fn lane(&mut self, retention: Retention) -> &mut VecDeque<Point> {
        let at = ORDER.iter().position(|known| *known == retention).expect("all retentions are in the order");
        &mut self.lanes[at]
    }

    fn add(&mut self, point: Point) {
        let retention = point.measurement.retention;
        if retention == Retention::Raw {
            for at in 0..self.rollups.len() {
                let (longer, rollup) = &mut self.rollups[at];
                let (longer, made) = (*longer, rollup.add(&point));
                self.lane(longer).extend(made);
            }
        }
        self.lane(retention).push_back(point);
    }

    fn close(&mut self, now_ms: i64) {
        for at in 0..self.rollups.len() {
            let (longer, rollup) = &mut self.rollups[at];
            let (longer, made) = (*longer, rollup.close(now_ms));
            self.lane(longer).extend(made);
        }
    }

    /// At most `most` points stay.
    fn trim(&mut self, most: usize) {
        while self.len() > most && self.lanes.iter_mut().rev().find_map(VecDeque::pop_front).is_some() {
            self.dropped += 1;
        }
    }
}

impl Sink {
    /// Keeps at most so many points.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, queue: Mutex::new(Queue::new(now_ms())), filled: Notify::new() }))
    }

    /// Takes points over.
    pub fn push(&self, points: Vec<Point>) {
        if points.is_empty() {
            return;
        }
        let mut queue = lock(&self.0.queue);
        for point in points {
            queue.add(point);
        }
        queue.close(now_ms());
        queue.trim(self.0.most);
        drop(queue);
        self.0.filled.notify_one();
    }

    /// How it goes.
    pub fn figures(&self) -> collect::Sink {
        let queue = lock(&self.0.queue);
        collect::Sink {
            written: queue.written,
            queued: queue.len() as u64,
            dropped: queue.dropped,
            problem: queue.problem.clone(),
            ..collect::Sink::default()
        }
    }

    /// The oldest points of one retention; `None` when nothing waits.
    fn take(&self) -> Option<(Retention, Vec<Point>)> {
        let mut queue = lock(&self.0.queue);
        let at = queue.lanes.iter().position(|lane| !lane.is_empty())?;
        let lane = &mut queue.lanes[at];
        let count = lane.len().min(BATCH);
        let batch: Vec<Point> = lane.drain(..count).collect();
        queue.taken = batch.len();
        Some((ORDER[at], batch))
    }

    /// What could not be written waits again, before all others.
    fn put_back(&self, (retention, batch): (Retention, Vec<Point>), why: &MetricError) {
        let mut queue = lock(&self.0.queue);
        queue.taken = 0;
        for point in batch.into_iter().rev() {
            queue.lane(retention).push_front(point);
        }
        queue.problem = Some(why.to_string());
        queue.trim(self.0.most);
    }

    fn settle(&self, done: Done) {
        let mut queue = lock(&self.0.queue);
        queue.taken = 0;
        queue.written += done.written;
        queue.dropped += done.dropped;
        queue.problem = done.problem;
    }

    /// Writes until `stop` says so, and then once more what is left.
    pub async fn run(self, mut orders: Current, mut stop: watch::Receiver<bool>) {
        let mut opened: Option<(MetricStore, Arc<dyn MetricSink>)> = None;
        let mut failures = 0_u32;
        loop {
            let last = tokio::select! {
                () = self.gathered() => false,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            let wanted = orders.borrow_and_update().as_ref().and_then(|orders| orders.metrics.clone());
            opened = wanted.and_then(|wanted| self.open(wanted, opened.take()));
            let Some((_, sink)) = &opened else {
                if last {
                    return;
                }
                // Points wait: the environment gets its store, or the queue overflows and counts.
                sleep(GATHER).await;
                continue;
            };
            let done = self.flush(sink.as_ref()).await;
            if last {
                return;
            }
            match done {
                Ok(()) => failures = 0,
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(%error, "figures are not written; they wait");
                    }
                    failures = failures.saturating_add(1);
                    let wait = RETRY.saturating_mul(1 << failures.min(6).saturating_sub(1)).min(LONGEST);
                    let wait =
                        if let MetricError::Passing { after: Some(after), .. } = error { after.min(LONGEST) } else { wait };
                    tokio::select! {
                        () = sleep(wait) => {}
                        // Another store, or another password.
                        _ = orders.changed() => {}
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                    // What waits is tried again also when nothing new comes.
                    self.0.filled.notify_one();
                }
            }
        }
    }

    async fn gathered(&self) {
        self.0.filled.notified().await;
        sleep(GATHER).await;
    }

    fn open(
        &self,
        wanted: MetricStore,
        opened: Option<(MetricStore, Arc<dyn MetricSink>)>,
    ) -> Option<(MetricStore, Arc<dyn MetricSink>)> {
        if let Some(opened) = opened.filter(|(known, _)| *known == wanted) {
            return Some(opened);
        }
        let store = influx::Store {
            url: wanted.url.clone(),
            database: wanted.database.clone(),
            user: wanted.login.user.clone(),
            password: wanted.login.password.clone(),
            deadline: DEADLINE,
        };
        match influx::sink(&store) {
            Ok(sink) => Some((wanted, sink)),
            Err(error) => {
                tracing::error!(%error, "the metric store cannot be used");
                lock(&self.0.queue).problem = Some(error.to_string());
                None
            }
        }
    }

    /// Writes everything that waits, batch by batch; what failed for a reason that passes waits again.
    async fn flush(&self, sink: &dyn MetricSink) -> Result<(), MetricError> {
        loop {
            let Some((retention, batch)) = self.take() else {
                lock(&self.0.queue).problem = None;
                return Ok(());
            };
            let mut lines = Lines::new();
            let empty = batch.iter().filter(|point| !lines.push(point)).count();
            match write(sink, retention, lines).await {
                Ok(mut done) => {
                    done.dropped += empty as u64;
                    self.settle(done);
                }
                Err(error) => {
                    self.put_back((retention, batch), &error);
                    return Err(error);
                }
            }
        }
    }
}

/// What became of a batch.
#[derive(Debug, Default)]
struct Done {
    written: u64,
    dropped: u64,
    problem: Option<String>,
}

/// Writes lines; in halves where they are too many for the store, or where one of them is refused and takes the others with it.
async fn write(sink: &dyn MetricSink, retention: Retention, lines: Lines) -> Result<Done, MetricError> {
    let (mut done, mut left) = (Done::default(), vec![lines]);
    while let Some(lines) = left.pop() {
        if lines.is_empty() {
            continue;
        }
        let count = lines.len() as u64;
        match sink.write(retention, &lines).await {
            Ok(()) => done.written += count,
            Err(error @ MetricError::Partial { dropped, .. }) => {
                let dropped = dropped.clamp(1, count);
                tracing::warn!(%error, "the metric store refused some figures");
                (done.dropped, done.written) = (done.dropped + dropped, done.written + count - dropped);
                done.problem = Some(error.to_string());
            }
            Err(MetricError::TooLarge | MetricError::Refused { .. }) if count > 1 => {
                let (first, second) = lines.halves();
                left.extend([second, first]);
            }
            Err(error @ (MetricError::TooLarge | MetricError::Refused { .. })) => {
                tracing::warn!(%error, "a figure is given up: the metric store will never take it");
                done.dropped += count;
                done.problem = Some(error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use zms_core::series::{HOST, ZMS_PRODUCER};

    use super::*;

    /// Refuses every batch with a point of the host `poison` in it, and batches of more than `most`.
    struct Picky {
        most: usize,
        wrote: Mutex<Vec<String>>,
        away: Mutex<bool>,
    }

    #[async_trait::async_trait]
    impl MetricSink for Picky {
        async fn write(&self, _: Retention, lines: &Lines) -> Result<(), MetricError> {
            if *lock(&self.away) {
                return Err(MetricError::Away { why: "refused".to_owned() });
            }
            if lines.len() > self.most {
                return Err(MetricError::TooLarge);
            }
            if lines.as_str().contains("poison") {
                return Err(MetricError::Refused { why: "unable to parse".to_owned() });
            }
            lock(&self.wrote).extend(lines.as_str().lines().map(str::to_owned));
            Ok(())
        }
    }

    fn picky(most: usize) -> Picky {
        Picky { most, wrote: Mutex::default(), away: Mutex::new(false) }
    }

    fn host(name: &str) -> Point {
        Point::new(&HOST, &[name], 1).with("cpu", Some(1.0))
    }

    fn client(name: &str) -> Point {
        Point::new(&ZMS_PRODUCER, &["c", "t", "a", name, "rust"], 1).with("rate", Some(1.0))
    }

    #[tokio::test]
    async fn one_bad_point_takes_no_other_with_it_and_a_batch_that_is_too_large_goes_in_halves() {
        let (sink, picky) = (Sink::new(100), picky(4));
        sink.push((0..9).map(|n| host(&format!("h{n}"))).chain([host("poison")]).collect());
        sink.flush(&picky).await.unwrap();
        let figures = sink.figures();
        assert_eq!((figures.written, figures.dropped, figures.queued), (9, 1, 0));
        assert_eq!(lock(&picky.wrote).len(), 9);
    }

    #[tokio::test]
    async fn while_the_store_is_away_points_wait_in_their_order_and_details_go_first_when_there_is_no_room() {
        let (sink, picky) = (Sink::new(4), picky(100));
        *lock(&picky.away) = true;
        sink.push(vec![host("h1"), client("c1"), host("h2"), client("c2")]);
        sink.flush(&picky).await.unwrap_err();
        assert_eq!((sink.figures().queued, sink.figures().dropped), (4, 0));
        assert!(sink.figures().problem.is_some());
        sink.push(vec![host("h3"), host("h4"), host("h5")]);
        assert_eq!((sink.figures().queued, sink.figures().dropped), (4, 3), "both clients and the oldest host");
        *lock(&picky.away) = false;
        sink.flush(&picky).await.unwrap();
        let wrote: Vec<String> = lock(&picky.wrote).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(wrote, ["host,host=h2", "host,host=h3", "host,host=h4", "host,host=h5"]);
        assert_eq!((sink.figures().queued, sink.figures().problem), (0, None));
    }

    #[tokio::test]
    async fn a_point_without_figures_is_counted_and_written_never() {
        let (sink, picky) = (Sink::new(4), picky(100));
        sink.push(vec![Point::new(&HOST, &["h"], 1)]);
        sink.flush(&picky).await.unwrap();
        assert_eq!((sink.figures().written, sink.figures().dropped), (0, 1));
    }
}
