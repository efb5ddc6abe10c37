//! Snapshots of collectors for all portals: each collector tells one of them, which keeps it in the database; the others look there
//! twice a second. A portal alone keeps them in memory only.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sqlx::Row as _;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use zms_core::collect::Snapshot;

use crate::app::App;
use crate::error::Result;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Largest snapshot once it is unpacked, bytes.
const LARGEST: u64 = 64 << 20;

/// Keeps a snapshot for all portals, unless a later leader was heard already, whose fence is returned then.
pub(super) async fn tell(
    app: &App,
    environment_id: &str,
    snapshot: Snapshot,
    now_ms: i64,
) -> Result<std::result::Result<(), u64>> {
    if app.db.is_shared()
        && let Err(fence) = keep(app, environment_id, &snapshot, now_ms).await?
    {
        return Ok(Err(fence));
    }
    Ok(app.metrics.snapshots.tell(environment_id, snapshot, now_ms))
}

async fn keep(app: &App, environment_id: &str, snapshot: &Snapshot, now_ms: i64) -> Result<std::result::Result<(), u64>> {
    let fence = i64::try_from(snapshot.fence).context("the fence of a snapshot")?;
    let body = pack(snapshot.clone()).await?;
    let mut tx = app.db.begin().await?;
    // Not older than what is there: the clocks of two portals differ a little.
    let upsert = "insert into snapshots (environment_id, fence, at, body) values ($1, $2, $3, $4) on conflict (environment_id) do update \
                  set fence = $2, at = case when snapshots.at < $3 then $3 else snapshots.at + 1 end, body = $4 where snapshots.fence <= $2";
    let kept = sqlx::query(upsert).bind(environment_id).bind(fence).bind(now_ms).bind(body).execute(&mut *tx).await?;
    if kept.rows_affected() == 0 {
        let leads: i64 = sqlx::query_scalar("select fence from snapshots where environment_id = $1")
            .bind(environment_id)
            .fetch_one(&mut *tx)
            .await?;
        return Ok(Err(u64::try_from(leads).unwrap_or_default()));
    }
    tx.commit().await?;
    Ok(Ok(()))
}

/// Hears what collectors told other portals, until `stop` says so.
pub async fn follow(app: App, mut stop: watch::Receiver<bool>) {
    if !app.db.is_shared() {
        return;
    }
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = BTreeMap::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if let Err(error) = hear(&app, &mut seen).await {
            tracing::warn!(?error, "snapshots of collectors cannot be read; trying again");
        }
    }
}

/// Takes what is newer than what was `seen`: an environment's time.
pub(super) async fn hear(app: &App, seen: &mut BTreeMap<String, i64>) -> Result<()> {
    for row in sqlx::query("select environment_id, at from snapshots").fetch_all(app.db.read()).await? {
        let (id, at): (String, i64) = (row.try_get("environment_id")?, row.try_get("at")?);
        let here = app.metrics.snapshots.last(&id).map_or(i64::MIN, |told| told.at_ms);
        if at <= here.max(seen.get(&id).copied().unwrap_or(i64::MIN)) {
            continue;
        }
        let row =
            sqlx::query("select at, body from snapshots where environment_id = $1").bind(&id).fetch_one(app.db.read()).await?;
        let at: i64 = row.try_get("at")?;
        seen.insert(id.clone(), at);
        match unpack(row.try_get("body")?).await {
            // A later leader was heard here meanwhile.
            Ok(snapshot) => app.metrics.snapshots.tell(&id, snapshot, at).unwrap_or_default(),
            Err(error) => tracing::warn!(?error, environment = id, "a snapshot of a collector cannot be read"),
        }
    }
    Ok(())
}

async fn pack(snapshot: Snapshot) -> Result<String> {
    let work = move || {
        let json = serde_json::to_vec(&snapshot)?;
        anyhow::Ok(BASE64_STANDARD.encode(zstd::bulk::compress(&json, 1)?))
    };
    Ok(tokio::task::spawn_blocking(work).await.context("packing a snapshot")??)
}

async fn unpack(body: String) -> Result<Snapshot> {
    let work = move || {
        let packed = BASE64_STANDARD.decode(body)?;
        let json = std::io::Read::take(zstd::Decoder::new(packed.as_slice())?, LARGEST);
        anyhow::Ok(serde_json::from_reader(std::io::BufReader::new(json))?)
    };
    Ok(tokio::task::spawn_blocking(work).await.context("unpacking a snapshot")??)
}
