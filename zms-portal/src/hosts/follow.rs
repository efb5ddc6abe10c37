//! What this portal does for its hosts twice a second: it hears what other portals changed, asks what they could not, and writes down
//! who was heard.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::hub::{Hub, Inner};
use super::{relay, seen, store};
use crate::db::Db;
use crate::error::{Error, Result};

/// How often changes by other portals are looked for.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is written down who was heard.
const WRITE: Duration = Duration::from_secs(5);

/// As long as the hub lives.
pub(super) async fn run(hub: Weak<Inner>, db: Db) {
    let mut last = None;
    let mut written = Instant::now();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(hub) = Hub::of(&hub) else { return };
        if let Err(error) = wake(&hub, &db, &mut last).await {
            tracing::warn!(?error, "looking for changed hosts failed; trying again");
        }
        if db.is_shared()
            && let Err(error) = relay::answer(&hub, &db).await
        {
            tracing::warn!(?error, "looking for questions of other portals failed; trying again");
        }
        if written.elapsed() >= WRITE {
            written = Instant::now();
            if let Err(error) = seen::write(&hub, &db).await {
                tracing::warn!(?error, "writing down which hosts were heard failed; trying again");
            }
        }
    }
}

async fn wake(hub: &Hub, db: &Db, last: &mut Option<i64>) -> Result<()> {
    let Some(from) = *last else {
        *last = Some(store::last_change(db).await?);
        // Requests may have looked before the first number was read, and what changed in between is not above it.
        hub.wake_all();
        return Ok(());
    };
    let changes = store::changes_after(db, from).await?;
    *last = Some(changes.last().map_or(from, |(n, _)| *n));
    changes.iter().for_each(|(_, host_id)| hub.wake(host_id));
    Ok::<_, Error>(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::note_change;

    #[tokio::test]
    async fn a_change_between_the_look_of_a_held_request_and_the_first_number_is_heard() {
        let (_folder, db) = Db::temporary().await;
        let hub = Hub::new();
        let line = hub.line("h1");
        let mut last = None;
        for at in 1..3 {
            let mut woken = std::pin::pin!(line.wake.notified());
            woken.as_mut().enable();
            let mut tx = db.begin().await.unwrap();
            note_change(&mut tx, "host/h1", at).await.unwrap();
            tx.commit().await.unwrap();
            wake(&hub, &db, &mut last).await.unwrap();
            let heard = tokio::time::timeout(Duration::from_secs(1), woken).await;
            assert!(heard.is_ok(), "change {at}");
        }
    }
}
