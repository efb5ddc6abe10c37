//! Figures of this host for the environment's collectors: one frame each 10 s.
//!
//! 1. `host`, `process`: what `/proc` shows. 2. `jolokia`: what instances say of themselves. 3. `push`: a frame to every collector.
//!
//! The portal is not in this path, and nothing here touches what runs. A figure that cannot be read is absent.

mod host;
mod jolokia;
mod process;
mod push;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use zms_core::collect::{Frame, InstanceFigures};
use zms_core::host::{DesiredState, HostReport};

use crate::layout::Layout;
use crate::portal::now_ms;

/// Times of this module; production values by default.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two frames.
    pub every: Duration,
    /// For which time frames are kept for a collector that is away.
    pub keep: Duration,
    /// For an answer of an instance or a collector.
    pub answer: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: Duration::from_secs(10), keep: Duration::from_secs(300), answer: Duration::from_secs(5) }
    }
}

impl Pace {
    /// Frames that are kept for a collector.
    fn kept(self) -> usize {
        let frames = self.keep.as_millis() / self.every.as_millis().max(1);
        usize::try_from(frames).unwrap_or(usize::MAX).max(1)
    }
}

/// Works until the agent ends. Frames are made only while there is a collector.
pub async fn run(
    layout: Layout,
    desired: watch::Receiver<DesiredState>,
    reports: watch::Receiver<Option<HostReport>>,
    pace: Pace,
) {
    let http = match jolokia::client(pace.answer) {
        Ok(http) => http,
        Err(error) => return tracing::error!(%error, "cannot make an HTTP client; this host gives no figures"),
    };
    let mut pushers: BTreeMap<String, mpsc::Sender<Arc<Frame>>> = BTreeMap::new();
    let mut tick = tokio::time::interval(pace.every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        let wanted = desired.borrow().figures.clone();
        pushers.retain(|url, _| wanted.collectors.contains(url));
        for url in &wanted.collectors {
            pushers.entry(url.clone()).or_insert_with(|| push::start(layout.clone(), url.clone(), pace));
        }
        if pushers.is_empty() {
            continue;
        }
        let report = reports.borrow().clone();
        let frame = Arc::new(frame(&layout, &http, &wanted.jolokia, report.as_ref()).await);
        for (url, pusher) in &pushers {
            // The other end keeps what a collector does not take; it is full only if it hangs itself.
            if pusher.try_send(frame.clone()).is_err() {
                tracing::warn!(collector = url, "a frame was not taken over");
            }
        }
    }
}

async fn frame(
    layout: &Layout,
    http: &reqwest::Client,
    jolokia: &BTreeMap<zms_core::names::InstanceId, zms_core::collect::Jolokia>,
    report: Option<&HostReport>,
) -> Frame {
    let at_ms = now_ms();
    let running =
        report.into_iter().flat_map(|report| &report.instances).filter_map(|instance| Some((&instance.id, instance.pid?)));
    let asked = running.map(|(id, pid)| async move {
        let mut figures = process::look(pid);
        if let Some(wanted) = jolokia.get(id) {
            match jolokia::ask(http, wanted).await {
                Ok(said) => figures.said = said,
                Err(why) => figures.silence = Some(why),
            }
        }
        (id.clone(), figures)
    });
    let instances: Vec<(_, InstanceFigures)> = join_all(asked).await;
    Frame { at_ms, host: host::look(layout.prefix()), instances: instances.into_iter().collect() }
}
