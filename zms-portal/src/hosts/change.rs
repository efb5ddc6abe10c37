//! What people change about a host: its name, and whether it is one of ours.

use serde_json::json;

use super::join::LONGEST_NAME;
use super::row::HostDetail;
use super::store;
use crate::access::{Actor, Role};
use crate::app::App;
use crate::db::is_taken;
use crate::engine;
use crate::environments::Environment;
use crate::error::{Error, Result};

/// Letters of the id that a host out of service has behind its name.
const TAIL: usize = 6;

/// A host of `environment`; [`Error::NotFound`] when it is another environment's.
pub async fn of(app: &App, environment: &Environment, host_id: &str) -> Result<HostDetail> {
    let host = store::detail(app.db.read(), host_id).await?;
    if host.environment_id == environment.id { Ok(host) } else { Err(Error::NotFound) }
}

/// Gives a host another name; for operators and administrators. Its id, and with it everything that it runs, stays.
///
/// # Errors
/// [`Error::Invalid`] when the name is none or is taken.
pub async fn rename(
    app: &App,
    actor: Actor<'_>,
    environment: &Environment,
    host_id: &str,
    name: &str,
    now_ms: i64,
) -> Result<()> {
    let target = format!("host/{host_id}");
    actor.require(&app.db, Role::Operator, "host.rename", &target, now_ms).await?;
    let before = of(app, environment, host_id).await?;
    if before.row.revoked {
        return Err(Error::conflict(|m| m.hosts_is_revoked().to_owned()));
    }
    let name = name.trim();
    if !is_name(name) {
        return Err(Error::invalid("name", |m| m.hosts_bad_name(LONGEST_NAME)));
    }
    let mut tx = app.db.begin().await?;
    store::rename(&mut tx, host_id, name).await.map_err(|error| {
        if is_taken(&error) {
            let name = name.to_owned();
            return Error::invalid("name", move |m| m.hosts_name_taken(&name));
        }
        error.into()
    })?;
    actor.record(&mut tx, "host.rename", &target, json!({ "before": before.row.name, "after": name }), now_ms).await?;
    tx.commit().await?;
    Ok(())
}

/// Takes a host out of service for ever: its certificate opens nothing any more, at once. What runs on it goes on until somebody
/// stops it there. Its name gets free. For operators and administrators.
pub async fn revoke(app: &App, actor: Actor<'_>, environment: &Environment, host_id: &str, now_ms: i64) -> Result<()> {
    let target = format!("host/{host_id}");
    actor.require(&app.db, Role::Operator, "host.revoke", &target, now_ms).await?;
    let before = of(app, environment, host_id).await?;
    if before.row.revoked {
        return Ok(());
    }
    // No living host can be named like that.
    let name = format!("{}~{}", before.row.name, &host_id[host_id.len().saturating_sub(TAIL)..].to_ascii_lowercase());
    let mut tx = app.db.begin().await?;
    store::revoke(&mut tx, host_id, &name).await?;
    actor.record(&mut tx, "host.revoke", &target, json!({ "name": before.row.name }), now_ms).await?;
    engine::note_change(&mut tx, &target, now_ms).await?;
    tx.commit().await?;
    app.hub.wake(host_id);
    tracing::info!(host = host_id, name = before.row.name, by = actor.user.name, "a host was taken out of service");
    Ok(())
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !bytes.is_empty()
        && bytes.len() <= LONGEST_NAME
        && plain(bytes[0])
        && bytes.iter().all(|byte| plain(*byte) || b".-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_dns_could_have() {
        for good in ["a", "web-1", "10.0.0.1", "web-1.example.com", &"x".repeat(63)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", ".a", "A", "a b", "a~b", "ä", "a/b", &"x".repeat(64)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
