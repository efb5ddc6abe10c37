//! Frames to one collector, in their order; while it is away they wait, and the oldest go first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use zms_core::collect::{Frame, Frames};

use super::Pace;
use crate::disk;
use crate::layout::Layout;
use crate::portal::connection::tls;
use crate::portal::pki::Pki;

/// Largest authority that is read, in bytes.
const AUTHORITY_LIMIT: u64 = 256 << 10;
/// Most frames in one request.
const BATCH: usize = 30;
/// Longest wait after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Starts the task of one collector. It ends when the sender is dropped.
pub(super) fn start(layout: Layout, url: String, pace: Pace) -> mpsc::Sender<Arc<Frame>> {
    let (sender, frames) = mpsc::channel(4);
    tokio::spawn(
        Pusher { layout, url, pace, waiting: VecDeque::new(), dropped: 0, client: None, problem: String::new() }.work(frames),
    );
    sender
}

struct Pusher {
    layout: Layout,
    url: String,
    pace: Pace,
    waiting: VecDeque<Arc<Frame>>,
    dropped: u64,
    /// With the certificate that it shows.
    client: Option<(String, reqwest::Client)>,
    problem: String,
}

impl Pusher {
    async fn work(mut self, mut frames: mpsc::Receiver<Arc<Frame>>) {
        let mut failures = 0_u32;
        let mut not_before = Instant::now();
        loop {
            tokio::select! {
                frame = frames.recv() => match frame {
                    Some(frame) => self.take(frame),
                    None => return,
                },
                () = sleep_until(not_before), if !self.waiting.is_empty() => {
                    match self.push().await {
                        Ok(()) => {
                            failures = 0;
                            self.tell(String::new());
                        }
                        Err(problem) => {
                            failures = failures.saturating_add(1);
                            let wait = self.pace.every.saturating_mul(1 << failures.min(6).saturating_sub(1)).min(LONGEST_WAIT);
                            not_before = Instant::now() + wait.mul_f64(0.5 + crate::portal::chance() / 2.0);
                            self.tell(problem);
                        }
                    }
                }
            }
        }
    }

    fn take(&mut self, frame: Arc<Frame>) {
        self.waiting.push_back(frame);
        while self.waiting.len() > self.pace.kept() {
            self.waiting.pop_front();
            self.dropped += 1;
        }
    }

    /// Sends what waits, oldest first. What the collector will never take is given up, and counted.
    async fn push(&mut self) -> Result<(), String> {
        while !self.waiting.is_empty() {
            let batch: Vec<Arc<Frame>> = self.waiting.iter().take(BATCH).cloned().collect();
            let count = batch.len();
            let body = Frames { dropped: self.dropped, frames: batch.iter().map(|frame| Frame::clone(frame)).collect() };
            let request = self.client()?.post(format!("{}/frames/v1", self.url)).json(&body);
            let response = request.send().await.map_err(|error| chain(&error.without_url()))?;
            let status = response.status();
            if status.is_success() {
                self.waiting.drain(..count);
            } else if matches!(status.as_u16(), 400 | 413 | 422) {
                self.waiting.drain(..count);
                self.dropped += u64::try_from(count).unwrap_or(u64::MAX);
                return Err(format!("it answered {status}; {count} frames are given up"));
            } else {
                return Err(format!("it answered {status}"));
            }
        }
        Ok(())
    }

    /// Made anew when the host has another certificate.
    fn client(&mut self) -> Result<reqwest::Client, String> {
        let held = Pki::new(&self.layout).look().map_err(|error| error.to_string())?;
        let identity = held.best();
        if let Some((certificate, client)) = &self.client
            && *certificate == identity.certificate
        {
            return Ok(client.clone());
        }
        let authority = disk::read_bounded(&self.layout.authority(), AUTHORITY_LIMIT).map_err(|error| error.to_string())?;
        let authority = authority.ok_or("this host has no authority to trust yet")?;
        let config = tls(&String::from_utf8_lossy(&authority), Some(identity)).map_err(|error| error.to_string())?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.pace.answer)
            .timeout(self.pace.answer)
            .pool_max_idle_per_host(1)
            .build()
            .map_err(|error| error.to_string())?;
        self.client = Some((identity.certificate.clone(), client.clone()));
        Ok(client)
    }

    /// Says once what stands in the way, and that it is over.
    fn tell(&mut self, problem: String) {
        if self.problem == problem {
            return;
        }
        match problem.as_str() {
            "" => tracing::info!(collector = self.url, dropped = self.dropped, "figures are taken again"),
            why => tracing::warn!(collector = self.url, why, waiting = self.waiting.len(), "figures are not taken"),
        }
        self.problem = problem;
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
