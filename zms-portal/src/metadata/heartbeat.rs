//! `/zms/system/heartbeat`: a number that grows each second while a portal can write the tree. Whoever copies or reads the tree sees by it how
//! old that is which they see.
//!
//! Every portal looks each second, one of them beats. The node is its own lease: a beat goes on only with the version that the one before
//! left, and a portal that does not beat begins only when that version has stood for [`STILL`] looks. Two that try at once: one finds the
//! node changed, and rests. Nobody's clock is compared with another's.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use utoipa::ToSchema;
use zms_core::metadata::path::Path;
use zms_core::metadata::system::{Heartbeat, Role, SystemRole};
use zms_drivers::meta::{Change, MetaError, MetaStore};

use super::Metadata;
use crate::app::{App, now_ms};
use crate::environments;
use crate::error::{Error, Result};
use crate::web::messages::Messages;

/// Between two beats.
const EVERY: Duration = Duration::from_secs(1);

/// Looks that find nothing new before another portal beats.
const STILL: u32 = 3;

/// Between two looks at which environments there are.
const SURVEY: Duration = Duration::from_secs(10);

/// Beats between two looks at which ZooKeeper an environment has.
const BEATS: u32 = 10;

/// Older than this, a heartbeat is shown as late, milliseconds.
const LATE_MS: i64 = 5_000;

/// What this portal last saw of an environment's heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = MetadataHeartbeat, example = json!({ "n": 4213, "seen_at": 1_795_871_000_000_i64, "problem": null }))]
pub struct Told {
    /// Beats since the tree was made; null if this portal has seen none.
    pub n: Option<u64>,
    /// When this portal first saw that number, milliseconds since 1970 by its clock.
    pub seen_at: Option<i64>,
    /// Why there is none, or no newer one.
    pub problem: Option<String>,
}

impl Told {
    /// Seconds since it grew; `None` if it never did.
    pub fn age_s(&self, now_ms: i64) -> Option<i64> {
        self.seen_at.map(|at| (now_ms - at).max(0) / 1000)
    }

    /// It should have grown since.
    pub fn is_late(&self, now_ms: i64) -> bool {
        self.seen_at.is_none_or(|at| now_ms - at > LATE_MS)
    }

    fn hear(&mut self, came: Result<Heartbeat, String>, now_ms: i64) {
        match came {
            Ok(beat) => {
                if self.n != Some(beat.n) {
                    (self.n, self.seen_at) = (Some(beat.n), Some(now_ms));
                }
                self.problem = None;
            }
            Err(why) => self.problem = Some(why),
        }
    }
}

impl Metadata {
    /// What this portal last saw of an environment's heartbeat.
    pub fn heartbeat(&self, environment_id: &str) -> Told {
        self.0.beats.lock().unwrap_or_else(PoisonError::into_inner).get(environment_id).cloned().unwrap_or_default()
    }

    fn hear(&self, environment_id: &str, came: Result<Heartbeat, String>) {
        let mut beats = self.0.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let told = beats.entry(environment_id.to_owned()).or_default();
        let (before, now) = (told.problem.clone(), now_ms());
        told.hear(came, now);
        match (&before, &told.problem) {
            // One that never was is missed by nobody: the environment has no store yet.
            (None, Some(why)) if told.n.is_some() => {
                tracing::warn!(environment = environment_id, why, "no heartbeat in the metadata");
            }
            (Some(_), None) => tracing::info!(environment = environment_id, n = told.n, "the heartbeat in the metadata goes on"),
            _ => {}
        }
    }
}

/// Keeps the heartbeats of all environments until `stop` says so: one task an environment, so that a ZooKeeper that hangs delays no other.
pub async fn keep(app: App, mut stop: watch::Receiver<bool>) {
    let mut tasks: BTreeMap<String, Task> = BTreeMap::new();
    let mut surveys = interval(SURVEY);
    surveys.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = surveys.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let Ok(environments) = environments::list(&app.db).await else { continue };
        tasks.retain(|id, _| environments.iter().any(|environment| environment.id == *id));
        for environment in environments {
            let app = app.clone();
            tasks.entry(environment.id.clone()).or_insert_with(|| Task(tokio::spawn(beat_on(app, environment.id))));
        }
    }
}

/// Ends when it is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn beat_on(app: App, environment_id: String) {
    let mut heart = Heart::default();
    let mut beats = interval(EVERY);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Which ZooKeeper it is stands in the database, which need not be asked each second.
        let store = match app.metadata.store(&environment_id).await {
            Ok(store) => store,
            Err(error) => {
                // Without the database there is no page either that would show it.
                if let Error::Unavailable(text) = error {
                    app.metadata.hear(&environment_id, Err(text.say(Messages::ENGLISH)));
                }
                tokio::time::sleep(SURVEY).await;
                continue;
            }
        };
        for _ in 0..BEATS {
            beats.tick().await;
            let came = heart.beat(store.as_ref(), &environment_id, now_ms()).await;
            app.metadata.hear(&environment_id, came.map_err(|Rest(why)| why));
            if heart.node_is_missing {
                app.metadata.complete(&environment_id).await;
                break;
            }
        }
    }
}

/// One portal's part in one environment's heartbeat.
#[derive(Debug, Default)]
pub(super) struct Heart {
    /// Version of the role's node when it was seen that the tree is ours to write.
    role: Option<i32>,
    /// What this portal wrote last, or may have, and the version that the node has since; `None`: not known.
    mine: Option<(Heartbeat, Option<i32>)>,
    /// The tree is ours, and the node is not there.
    pub(super) node_is_missing: bool,
    /// The version that another portal's last beat left, and how many looks it has stood for.
    others: Option<(i32, u32)>,
}

/// Why this portal saw no heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rest(pub String);

impl From<MetaError> for Rest {
    fn from(error: MetaError) -> Self {
        Self(error.to_string())
    }
}

impl Heart {
    /// One look, and the beat if it is ours to give; the last beat that there is.
    pub(super) async fn beat(&mut self, store: &dyn MetaStore, environment_id: &str, now_ms: i64) -> Result<Heartbeat, Rest> {
        if let (Some(role), Some((last, Some(version)))) = (self.role, self.mine)
            && let Some(beat) = self.write(store, role, version, last, now_ms).await?
        {
            return Ok(beat);
        }
        let role = self.may_write(store, environment_id).await?;
        let node = store.get(&Path::SystemHeartbeat.to_string()).await?;
        self.node_is_missing = node.is_none();
        let node = node.ok_or_else(|| Rest("/zms/system/heartbeat is missing; it is made anew".to_owned()))?;
        // What stands there and is no heartbeat counts as none.
        let last: Heartbeat = serde_json::from_slice(&node.data).unwrap_or_default();
        let ours = self.mine.is_some_and(|(written, _)| written == last);
        let still = match self.others {
            Some((version, still)) if version == node.version => still + 1,
            _ => 0,
        };
        self.others = Some((node.version, still));
        if ours || last == Heartbeat::default() || still >= STILL {
            let beat = self.write(store, role, node.version, last, now_ms).await?;
            return Ok(beat.unwrap_or(last));
        }
        self.mine = None;
        Ok(last)
    }

    /// The version of the role's node, if this tree is this environment's and its portal writes it.
    async fn may_write(&mut self, store: &dyn MetaStore, environment_id: &str) -> Result<i32, Rest> {
        if let Some(role) = self.role {
            return Ok(role);
        }
        let rest = |why: &str| Rest(why.to_owned());
        let id = store.get(&Path::SystemId.to_string()).await?;
        let id = id.ok_or_else(|| rest("there is no metadata of ZMS in this ZooKeeper yet"))?;
        if *id.data != *environment_id.as_bytes() {
            return Err(rest("this ZooKeeper holds the metadata of another environment"));
        }
        let node = store.get(&Path::SystemRole.to_string()).await?.ok_or_else(|| rest("/zms/system/role is missing"))?;
        match serde_json::from_slice::<SystemRole>(&node.data) {
            Ok(SystemRole { role: Role::Active, .. }) => {}
            Ok(_) => return Err(rest("this room is on standby: its mirror writes the metadata")),
            Err(error) => return Err(Rest(format!("/zms/system/role cannot be read: {error}"))),
        }
        self.role = Some(node.version);
        Ok(node.version)
    }

    /// The beat after `last`; `None` if somebody was faster, or has taken the right to write: then it is looked at anew.
    async fn write(
        &mut self,
        store: &dyn MetaStore,
        role: i32,
        version: i32,
        last: Heartbeat,
        now_ms: i64,
    ) -> Result<Option<Heartbeat>, MetaError> {
        let next = Heartbeat { n: last.n.saturating_add(1), at: now_ms };
        let (path, data) = (Path::SystemHeartbeat.to_string(), serde_json::to_vec(&next).expect("a heartbeat has only numbers"));
        let check = Change::Check { path: Path::SystemRole.to_string(), version: role };
        let change = Change::Set { path, data, version: Some(version) };
        match store.apply(&[check, change]).await {
            Ok(versions) => {
                self.mine = Some((next, versions.last().copied()));
                Ok(Some(next))
            }
            Err(MetaError::Changed(_) | MetaError::Missing(_)) => {
                (self.mine, self.role) = (None, None);
                Ok(None)
            }
            Err(error) => {
                if matches!(error, MetaError::Unknown(_)) {
                    // It may have been done or not: the next look tells.
                    self.mine = Some((next, None));
                }
                self.role = None;
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_late_when_the_number_stands_still_and_not_when_its_writer_s_clock_does() {
        let mut told = Told::default();
        assert!(told.is_late(0), "none was seen");
        told.hear(Ok(Heartbeat { n: 7, at: 3 }), 10_000);
        assert_eq!((told.age_s(12_900), told.is_late(15_000), told.is_late(15_001)), (Some(2), false, true));
        told.hear(Ok(Heartbeat { n: 7, at: 3 }), 15_000);
        assert!(told.is_late(15_001), "the same number");
        told.hear(Err("ZooKeeper is not connected".to_owned()), 16_000);
        assert_eq!((told.n, told.seen_at, told.problem.is_some()), (Some(7), Some(10_000), true), "what was seen stays");
        told.hear(Ok(Heartbeat { n: 8, at: 1 }), 17_000);
        assert_eq!(told, Told { n: Some(8), seen_at: Some(17_000), problem: None });
    }
}
