//! `POST /frames/v1`: figures of hosts, pushed by their agents. Who pushes is in the certificate, never in the body.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Router, middleware};
use zms_core::collect::{Frame, Frames, Orders};
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
    known: Mutex<BTreeMap<HostId, Known>>,
    taken: AtomicU64,
    refused: AtomicU64,
}

#[derive(Default)]
struct Known {
    last: Last,
    /// When the window began, and requests in it.
    window: (i64, u32),
    clock_said: bool,
}

type Answer = Result<StatusCode, (StatusCode, String)>;

impl Hosts {
    /// Believes those that orders name.
    pub fn new(orders: Current, sink: Sink) -> Self {
        let (known, taken, refused) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Shared { orders, sink, known, taken, refused }))
    }

    /// Frames taken and requests refused since the start.
    pub fn counts(&self) -> (u64, u64) {
        (self.0.taken.load(Ordering::Relaxed), self.0.refused.load(Ordering::Relaxed))
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
        let orders = self.0.orders.borrow().clone();
        // Agents keep their frames and come again.
        let orders = orders.ok_or((StatusCode::SERVICE_UNAVAILABLE, "this collector has no orders yet\n".to_owned()))?;
        let watched = admit(&orders, peer)?;
        let frames = read(body)?;
        let mut known = lock(&self.0.known);
        known.retain(|host, _| orders.hosts.iter().any(|watched| watched.host == *host) || *host == peer.host);
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
        self.0.taken.fetch_add(frames.len() as u64, Ordering::Relaxed);
        for frame in frames {
            self.0.sink.push(known.last.take(watched, frame, error));
        }
        Ok(StatusCode::NO_CONTENT)
    }
}

/// Is this host believed?
fn admit<'a>(orders: &'a Orders, peer: &Peer) -> Result<&'a zms_core::collect::Watched, (StatusCode, String)> {
    if orders.revoked.contains(&peer.serial) {
        return Err((StatusCode::FORBIDDEN, "this certificate was revoked\n".to_owned()));
    }
    let watched = orders.hosts.iter().find(|watched| watched.host == peer.host);
    watched.ok_or((StatusCode::FORBIDDEN, "this host is not one of this collector's environment\n".to_owned()))
}

/// Frames of a body, oldest first. Bounds are checked here, so that a host cannot make series without an end.
fn read(body: &[u8]) -> Result<Vec<Frame>, (StatusCode, String)> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, format!("{why}\n"));
    let mut frames = serde_json::from_slice::<Frames>(body).map_err(|error| bad(format!("not frames: {error}")))?.frames;
    for frame in &frames {
        if frame.instances.len() > INSTANCES || frame.instances.values().any(|instance| instance.said.len() > SAID) {
            return Err(bad(format!("a frame has at most {INSTANCES} instances with {SAID} figures each")));
        }
    }
    frames.sort_by_key(|frame| frame.at_ms);
    Ok(frames)
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
    use zms_core::collect::Watched;

    use super::*;

    const HOST: &str = "01JD8Z3V9Q4M5N6P7R8S9TAVWX";

    fn peer(host: &str) -> Peer {
        Peer { host: HostId::new(host).unwrap(), serial: "ab".to_owned() }
    }

    fn hosts(revoked: &[&str]) -> Hosts {
        let watched = Watched { host: HostId::new(HOST).unwrap(), name: "h1".to_owned(), instances: Vec::new() };
        let orders = Orders {
            revision: 1,
            environment: "dev".to_owned(),
            metadata: None,
            metrics: None,
            hosts: vec![watched],
            revoked: revoked.iter().map(|&serial| serial.to_owned()).collect(),
            adopted: Vec::new(),
            installed: Default::default(),
            networks: Default::default(),
            tick_s: 10,
        };
        let (sender, orders) = watch::channel(Some(Arc::new(orders)));
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
}
