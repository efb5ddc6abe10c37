//! `POST /frames/v1`: figures of hosts, pushed by their agents. Who pushes is in the certificate, never in the body.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Router, middleware};
use zms_core::collect::{Frame, Frames, HostFrames, Orders, Watched};
use zms_core::names::HostId;

use crate::board::lock;
use crate::host::{Last, clock_error};
use crate::now_ms;
use crate::orders::Current;
use crate::sink::Sink;
use crate::tls::Peer;

/// Largest request, bytes: 30 frames of a host with 100 instances.
const LARGEST: usize = 4 << 20;
/// Most instances in a frame.
const INSTANCES: usize = 500;
/// Most figures that an instance says of itself.
const SAID: usize = 500;
/// A body has come by then.
const BODY: Duration = Duration::from_secs(10);
/// Requests that a host may do within [`WINDOW_MS`]; an agent does one each 10 s, and some more after an outage.
const MOST: u32 = 60;
const WINDOW_MS: i64 = 60_000;

/// What the listener knows; clones are the same.
#[derive(Clone)]
pub struct Hosts(Arc<Shared>);

struct Shared {
    orders: Current,
    sink: Sink,
    index: Mutex<Option<Arc<Index>>>,
    known: Mutex<BTreeMap<HostId, Known>>,
    taken: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
}

/// Orders, and where a host stands in them: with thousands of hosts a request must not look through all of them.
struct Index {
    orders: Arc<Orders>,
    hosts: BTreeMap<HostId, usize>,
    revoked: BTreeSet<String>,
}

#[derive(Default)]
struct Known {
    last: Last,
    /// When it was heard, and frames that its agent had given up by then.
    heard: Option<(i64, u64)>,
    /// When the window began, and requests in it.
    window: (i64, u32),
    clock_said: bool,
}

/// Since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Frames.
    pub taken: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Frames that agents gave up, as they say.
    pub dropped: u64,
}

type Answer = Result<StatusCode, (StatusCode, String)>;

impl Hosts {
    /// Believes those that orders name.
    pub fn new(orders: Current, sink: Sink) -> Self {
        let (taken, refused, dropped) = Default::default();
        Self(Arc::new(Shared { orders, sink, index: Mutex::default(), known: Mutex::default(), taken, refused, dropped }))
    }

    /// Since the start.
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts { taken: read(&self.0.taken), refused: read(&self.0.refused), dropped: read(&self.0.dropped) }
    }

    /// Hosts that were heard, with what their agents had to give up.
    pub fn heard(&self) -> Vec<HostFrames> {
        let known = lock(&self.0.known);
        let one = |(host, known): (&HostId, &Known)| {
            let (at_ms, dropped) = known.heard?;
            Some(HostFrames { host: host.clone(), at_ms, dropped })
        };
        known.iter().filter_map(one).collect()
    }

    /// Made anew when the orders are others; hosts that are not in them any more are forgotten then.
    fn index(&self) -> Option<Arc<Index>> {
        let orders = self.0.orders.borrow().clone()?;
        let mut index = lock(&self.0.index);
        if let Some(index) = index.as_ref().filter(|index| Arc::ptr_eq(&index.orders, &orders)) {
            return Some(index.clone());
        }
        let hosts: BTreeMap<HostId, usize> = (0..).zip(&orders.hosts).map(|(at, watched)| (watched.host.clone(), at)).collect();
        lock(&self.0.known).retain(|host, _| hosts.contains_key(host));
        let revoked = orders.revoked.iter().cloned().collect();
        Some(index.insert(Arc::new(Index { orders, hosts, revoked })).clone())
    }

    /// What is served.
    pub fn router(&self) -> Router {
        let late = |request, next: middleware::Next| async move {
            let done = tokio::time::timeout(BODY, next.run(request)).await;
            done.unwrap_or_else(|_| {
                axum::response::IntoResponse::into_response((StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n"))
            })
        };
        Router::new()
            .route("/frames/v1", post(take))
            .layer(DefaultBodyLimit::max(LARGEST))
            .layer(middleware::from_fn(late))
            .with_state(self.clone())
    }

    fn take(&self, peer: &Peer, body: &[u8], now_ms: i64) -> Answer {
        // Agents keep their frames and come again.
        let index = self.index();
        let index = index.ok_or((StatusCode::SERVICE_UNAVAILABLE, "this collector has no orders yet\n".to_owned()))?;
        let watched = index.admit(peer)?;
        let (dropped, frames) = read(body)?;
        let mut known = lock(&self.0.known);
        let known = known.entry(peer.host.clone()).or_default();
        if now_ms - known.window.0 > WINDOW_MS {
            known.window = (now_ms, 0);
        }
        known.window.1 += 1;
        if known.window.1 > MOST {
            return Err((StatusCode::TOO_MANY_REQUESTS, format!("more than {MOST} requests in a minute\n")));
        }
        let error = frames.last().map_or(0, |newest| clock_error(newest.at_ms, now_ms));
        if (error != 0) != known.clock_said {
            known.clock_said = error != 0;
            if error != 0 {
                tracing::warn!(host = watched.name, wrong_by_ms = error, "the host's clock is wrong; its figures get our time");
            }
        }
        // It counts since its agent started, which may have been again.
        let before = known.heard.map_or(0, |(_, before)| before);
        self.0.dropped.fetch_add(dropped.checked_sub(before).unwrap_or(dropped), Ordering::Relaxed);
        known.heard = Some((now_ms, dropped));
        self.0.taken.fetch_add(frames.len() as u64, Ordering::Relaxed);
        for frame in frames {
            self.0.sink.push(known.last.take(watched, frame, error));
        }
        Ok(StatusCode::NO_CONTENT)
    }
}

impl Index {
    /// Is this host believed?
    fn admit(&self, peer: &Peer) -> Result<&Watched, (StatusCode, String)> {
        if self.revoked.contains(&peer.serial) {
            return Err((StatusCode::FORBIDDEN, "this certificate was revoked\n".to_owned()));
        }
        let watched = self.hosts.get(&peer.host).and_then(|at| self.orders.hosts.get(*at));
        watched.ok_or((StatusCode::FORBIDDEN, "this host is not one of this collector's environment\n".to_owned()))
    }
}

/// How many the agent gave up, and frames of a body, oldest first. Bounds are checked here, so that a host cannot make series without an end.
fn read(body: &[u8]) -> Result<(u64, Vec<Frame>), (StatusCode, String)> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, format!("{why}\n"));
    let Frames { dropped, mut frames } = serde_json::from_slice(body).map_err(|error| bad(format!("not frames: {error}")))?;
    for frame in &frames {
        if frame.instances.len() > INSTANCES || frame.instances.values().any(|instance| instance.said.len() > SAID) {
            return Err(bad(format!("a frame has at most {INSTANCES} instances with {SAID} figures each")));
        }
    }
    frames.sort_by_key(|frame| frame.at_ms);
    Ok((dropped, frames))
}

async fn take(State(hosts): State<Hosts>, Extension(peer): Extension<Peer>, body: Bytes) -> Answer {
    let done = hosts.take(&peer, &body, now_ms());
    if let Err((status, why)) = &done {
        tracing::debug!(host = %peer.host, %status, why = why.trim(), "a frame was refused");
        hosts.0.refused.fetch_add(1, Ordering::Relaxed);
    }
    done
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::orders::test_support::orders;

    const HOST: &str = "01JD8Z3V9Q4M5N6P7R8S9TAVWX";

    fn peer(host: &str) -> Peer {
        Peer { host: HostId::new(host).unwrap(), serial: "ab".to_owned() }
    }

    fn watching(host: &str, revoked: &[&str]) -> Orders {
        let watched = Watched { host: HostId::new(host).unwrap(), name: "h1".to_owned(), instances: Vec::new() };
        Orders { hosts: vec![watched], revoked: revoked.iter().map(|&serial| serial.to_owned()).collect(), ..orders(1) }
    }

    fn hosts(revoked: &[&str]) -> Hosts {
        let (sender, orders) = watch::channel(Some(Arc::new(watching(HOST, revoked))));
        drop(sender);
        Hosts::new(orders, Sink::new(100))
    }

    fn body(at_ms: i64) -> Vec<u8> {
        serde_json::to_vec(&Frames { dropped: 0, frames: vec![Frame { at_ms, ..Frame::default() }] }).unwrap()
    }

    #[test]
    fn only_hosts_of_the_environment_are_believed() {
        let other = "01JD8Z3V9Q4M5N6P7R8S9TAVWZ";
        for (hosts, peer, body, expected) in [
            (hosts(&[]), peer(HOST), body(1), Ok(StatusCode::NO_CONTENT)),
            (hosts(&[]), peer(other), body(1), Err(StatusCode::FORBIDDEN)),
            (hosts(&["ab"]), peer(HOST), body(1), Err(StatusCode::FORBIDDEN)),
            (hosts(&[]), peer(HOST), b"{\"frames\":[{".to_vec(), Err(StatusCode::BAD_REQUEST)),
            (hosts(&[]), peer(HOST), Vec::new(), Err(StatusCode::BAD_REQUEST)),
        ] {
            assert_eq!(hosts.take(&peer, &body, 1).map_err(|(status, _)| status), expected);
        }
    }

    #[test]
    fn a_host_that_comes_too_often_is_told_so_and_is_heard_again_later() {
        let hosts = hosts(&[]);
        for n in 0..MOST {
            hosts.take(&peer(HOST), &body(i64::from(n)), 1_000).unwrap();
        }
        assert_eq!(hosts.take(&peer(HOST), &body(99), 1_000).unwrap_err().0, StatusCode::TOO_MANY_REQUESTS);
        hosts.take(&peer(HOST), &body(99), 1_001 + WINDOW_MS).unwrap();
    }

    #[test]
    fn a_frame_with_too_much_in_it_is_refused_as_a_whole() {
        let mut frame = Frame { at_ms: 1, ..Frame::default() };
        for n in 0..=INSTANCES {
            frame.instances.insert(zms_core::names::InstanceId::new(format!("i-{n}")).unwrap(), Default::default());
        }
        let body = serde_json::to_vec(&Frames { dropped: 0, frames: vec![frame] }).unwrap();
        assert_eq!(hosts(&[]).take(&peer(HOST), &body, 1).unwrap_err().0, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn orders_are_looked_through_once_and_hosts_that_left_them_are_forgotten() {
        const OTHER: &str = "01JD8Z3V9Q4M5N6P7R8S9TAVWZ";
        let (sender, orders) = watch::channel(Some(Arc::new(watching(HOST, &[]))));
        let hosts = Hosts::new(orders, Sink::new(100));
        hosts.take(&peer(HOST), &body(1), 1).unwrap();
        let first = hosts.index().unwrap();
        hosts.take(&peer(HOST), &body(2), 2).unwrap();
        assert!(Arc::ptr_eq(&first, &hosts.index().unwrap()), "nothing is made again for a request");
        sender.send_replace(Some(Arc::new(watching(OTHER, &[]))));
        hosts.take(&peer(OTHER), &body(3), 3).unwrap();
        assert_eq!(hosts.take(&peer(HOST), &body(4), 4).unwrap_err().0, StatusCode::FORBIDDEN);
        assert_eq!(hosts.heard().iter().map(|one| one.host.as_str()).collect::<Vec<_>>(), [OTHER]);
    }

    #[test]
    fn what_agents_gave_up_is_counted_also_over_their_restarts() {
        let hosts = hosts(&[]);
        assert!(hosts.heard().is_empty(), "who was not heard has lost nothing that we know of");
        for (dropped, sum) in [(0, 0), (3, 3), (3, 3), (5, 5), (2, 7)] {
            let body = serde_json::to_vec(&Frames { dropped, frames: Vec::new() }).unwrap();
            hosts.take(&peer(HOST), &body, 9).unwrap();
            assert_eq!((hosts.counts().dropped, hosts.heard()[0].dropped), (sum, dropped));
        }
    }
}
