//! Who leads: one node in ZooKeeper that the leader rewrites every few seconds. Who has not seen it change for long enough takes it.
//!
//! Time is measured by the watcher's own clock from when it saw a change, so no two clocks are compared. The fencing number grows with
//! each change of the leader, and whoever is told something compares it: a leader that was cut off does no harm, and is not made to stop
//! by losing ZooKeeper alone, in which case nobody else can lead either.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use zms_core::metadata::path::Path;
use zms_drivers::meta::{Change, MetaError, MetaStore, Node};

use crate::news::News;

/// Times of this module; production values by default.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two writes of the leader.
    pub beat: Duration,
    /// After so long without a write another one takes the lead.
    pub expiry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { beat: Duration::from_secs(3), expiry: Duration::from_secs(15) }
    }
}

/// The value of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// Who leads; empty: nobody, it was given back.
    pub holder: String,
    /// Grows with each change of the leader.
    pub fence: u64,
    /// Grows with each write.
    pub beat: u64,
}

impl Held {
    /// Reads the node. What cannot be read counts as held by nobody, with the fence 0: there is no other way out of garbage.
    fn read(node: &Node) -> Self {
        serde_json::from_slice(&node.data).unwrap_or_default()
    }

    fn change(&self, version: i32) -> Change {
        let data = serde_json::to_vec(self).expect("a text and numbers are JSON");
        Change::Set { path: path(), data, version: Some(version) }
    }
}

fn path() -> String {
    Path::Lease("collector").to_string()
}

/// May it be taken? `unchanged`: for how long nobody has written it, as far as we saw.
fn is_free(held: &Held, me: &str, unchanged: Duration, expiry: Duration) -> bool {
    // Our own from before a restart under the same name cannot be: names are ULIDs. It is ours if our write was done and its answer lost.
    held.holder.is_empty() || held.holder == me || unchanged >= expiry
}

/// The lead, as long as it is held.
#[derive(Debug)]
pub struct Lead {
    me: String,
    held: Held,
    version: i32,
    pace: Pace,
}

/// Waits until `me` leads, with a fence above `above`: a store that was made anew, or put back, begins where whoever compares fences was
/// long ago.
pub async fn acquire(store: &Arc<dyn MetaStore>, me: &str, pace: Pace, above: u64) -> Lead {
    let mut seen: Option<(i32, Instant)> = None;
    let mut news = News::default();
    loop {
        match attempt(store.as_ref(), (me, above), pace, &mut seen).await {
            Ok(Some(lead)) => {
                tracing::info!(fence = lead.held.fence, "this collector leads");
                return lead;
            }
            Ok(None) => drop(news.is_new("")),
            Err(error) => {
                let why = error.to_string();
                if news.is_new(&why) {
                    tracing::warn!(why, "the lead cannot be asked for");
                }
            }
        }
        sleep(pace.beat / 3).await;
    }
}

async fn attempt(
    store: &dyn MetaStore,
    (me, above): (&str, u64),
    pace: Pace,
    seen: &mut Option<(i32, Instant)>,
) -> Result<Option<Lead>, MetaError> {
    let node = store.get(&path()).await?.ok_or_else(|| MetaError::Missing(path()))?;
    let since = match seen {
        Some((version, since)) if *version == node.version => *since,
        Some(_) | None => seen.insert((node.version, Instant::now())).1,
    };
    let held = Held::read(&node);
    if !is_free(&held, me, since.elapsed(), pace.expiry) {
        return Ok(None);
    }
    let mine = Held { holder: me.to_owned(), fence: held.fence.max(above).saturating_add(1), beat: held.beat + 1 };
    match store.apply(&[mine.change(node.version)]).await {
        Ok(versions) => {
            let version = versions.first().copied().unwrap_or(node.version + 1);
            Ok(Some(Lead { me: me.to_owned(), held: mine, version, pace }))
        }
        // Another was quicker.
        Err(MetaError::Changed(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Lead {
    /// The fencing number.
    pub const fn fence(&self) -> u64 {
        self.held.fence
    }

    /// Keeps it; ends when another one leads, or when `stop` says so and it was given back.
    pub async fn keep(mut self, store: &Arc<dyn MetaStore>, mut stop: watch::Receiver<bool>) {
        loop {
            let ending = tokio::select! {
                () = sleep(self.pace.beat) => false,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            if ending {
                return self.give_back(store.as_ref()).await;
            }
            let next = Held { beat: self.held.beat + 1, ..self.held.clone() };
            match store.apply(&[next.change(self.version)]).await {
                Ok(versions) => {
                    self.version = versions.first().copied().unwrap_or(self.version + 1);
                    self.held = next;
                }
                Err(MetaError::Changed(_) | MetaError::Missing(_)) => {
                    if !self.is_still_ours(store.as_ref()).await {
                        tracing::warn!(fence = self.held.fence, "another collector leads");
                        return;
                    }
                }
                // ZooKeeper is away, for the others too.
                Err(error) => tracing::debug!(%error, "the lead was not renewed"),
            }
        }
    }

    /// A write whose answer was lost was done perhaps.
    async fn is_still_ours(&mut self, store: &dyn MetaStore) -> bool {
        match store.get(&path()).await {
            Ok(Some(node)) => {
                let held = Held::read(&node);
                let ours = held.holder == self.me && held.fence == self.held.fence;
                if ours {
                    (self.held, self.version) = (held, node.version);
                }
                ours
            }
            Ok(None) => false,
            Err(_) => true,
        }
    }

    async fn give_back(self, store: &dyn MetaStore) {
        let free = Held { holder: String::new(), fence: self.held.fence, beat: self.held.beat + 1 };
        let done = tokio::time::timeout(Duration::from_secs(2), store.apply(&[free.change(self.version)])).await;
        if !matches!(done, Ok(Ok(_))) {
            tracing::debug!("the lead was not given back; another collector takes it when it expires");
        }
    }
}

#[cfg(test)]
mod tests {
    use zms_drivers::meta::fake::FakeMeta;

    use super::*;

    const PACE: Pace = Pace { beat: Duration::from_millis(30), expiry: Duration::from_millis(300) };

    #[test]
    fn a_lead_is_free_when_nobody_has_it_or_nobody_has_written_it_for_long() {
        let held = |holder: &str| Held { holder: holder.to_owned(), fence: 7, beat: 1 };
        let (short, long, expiry) = (Duration::from_secs(1), Duration::from_secs(15), Duration::from_secs(15));
        for (holder, unchanged, free) in [("", short, true), ("me", short, true), ("other", short, false), ("other", long, true)]
        {
            assert_eq!(is_free(&held(holder), "me", unchanged, expiry), free, "{holder} {unchanged:?}");
        }
    }

    fn store() -> Arc<dyn MetaStore> {
        let store = FakeMeta::new();
        store.put(&path(), "");
        store
    }

    #[tokio::test]
    async fn one_leads_and_the_other_follows_when_it_is_gone_with_a_higher_fence() {
        let store = store();
        let first = acquire(&store, "one", PACE, 0).await;
        assert_eq!(first.fence(), 1);
        let (stop, stopped) = watch::channel(false);
        let (kept, second) = (first.keep(&store, stopped), acquire(&store, "two", PACE, 0));
        tokio::pin!(kept, second);
        // While the first writes, the second waits; when the first is stopped it gives the lead back at once.
        tokio::select! {
            () = &mut kept => panic!("nobody else leads"),
            _ = &mut second => panic!("the first leads"),
            () = sleep(PACE.expiry * 2) => {}
        }
        stop.send_replace(true);
        kept.await;
        assert_eq!(second.await.fence(), 2);
    }

    #[tokio::test]
    async fn a_leader_that_is_gone_without_a_word_is_followed_after_the_expiry_and_one_that_comes_back_gives_way() {
        let store = store();
        let first = acquire(&store, "one", PACE, 0).await;
        let begun = Instant::now();
        let second = acquire(&store, "two", PACE, 0).await;
        assert!(begun.elapsed() >= PACE.expiry && second.fence() == 2);
        let (_stop, stopped) = watch::channel(false);
        tokio::time::timeout(Duration::from_secs(5), first.keep(&store, stopped)).await.expect("it sees the higher fence");
    }

    #[tokio::test]
    async fn a_store_that_began_anew_goes_on_above_the_fence_that_is_known_elsewhere() {
        let store = store();
        let first = acquire(&store, "one", PACE, 0).await;
        assert_eq!(first.fence(), 1);
        // It is our own still, so nothing is waited for; and a lower fence than the store's takes nothing back.
        for (above, fence) in [(40, 41), (7, 42), (0, 43)] {
            assert_eq!(acquire(&store, "one", PACE, above).await.fence(), fence, "above {above}");
        }
    }
}
