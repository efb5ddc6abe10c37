use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use zookeeper_client as zk;

use super::{LARGEST, Shared, rights};

/// Before it is tried again to make a node that could not be made.
const AGAIN: Duration = Duration::from_secs(1);

/// Keeps a node there with the wanted value, as long as somebody can still change what is wanted.
pub(super) async fn keep(shared: Arc<Shared>, path: String, mut wanted: watch::Receiver<Vec<u8>>) {
    loop {
        let gone = {
            let mut wanted = wanted.clone();
            async move { while wanted.changed().await.is_ok() {} }
        };
        let Some((client, connection)) = shared.connected(gone).await else { return };
        let data = wanted.borrow_and_update().clone();
        let made = timeout(shared.options.deadline, ensure(&shared, &client, &path, &data)).await;
        let again = match made {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                tracing::debug!(path, %error, "an ephemeral node cannot be made now");
                Some(AGAIN)
            }
            Err(_late) => Some(AGAIN),
        };
        let mut up = shared.up.clone();
        let mut closing = shared.closing.subscribe();
        // Held on to only where it is needed: the session ends with the last holder.
        drop(client);
        let still = tokio::select! {
            changed = wanted.changed() => changed.is_ok(),
            _ = up.wait_for(|up| up.as_ref().is_none_or(|up| up.connection != connection)) => true,
            () = sleep(again.unwrap_or_else(|| shared.next_relist())) => true,
            // It goes with the session.
            _ = closing.wait_for(|closing| *closing) => return,
        };
        if !still {
            if let Ok(up) = shared.up() {
                // Without the right to delete it goes with the session.
                let _ = timeout(shared.options.deadline, up.client.delete(&path, None)).await;
            }
            return;
        }
    }
}

async fn ensure(shared: &Shared, client: &zk::Client, path: &str, data: &[u8]) -> Result<(), zk::Error> {
    if data.len() > LARGEST {
        return Err(zk::Error::BadArguments(&"too large for one request"));
    }
    let acl = rights::ephemeral(shared.options.identity.is_some());
    let options = zk::CreateMode::Ephemeral.with_acls(zk::Acls::new(&acl));
    // Twice: what is left over of our former session is deleted, and then it can be made.
    for _ in 0..2 {
        match client.create(path, data, &options).await {
            Ok(_) => return Ok(()),
            Err(zk::Error::NodeExists) => {}
            Err(error) => return Err(error),
        }
        let (there, stat) = match client.get_data(path).await {
            Err(zk::Error::NoNode) => continue,
            read => read?,
        };
        if stat.ephemeral_owner == client.session_id().0 {
            return if there == data { Ok(()) } else { client.set_data(path, data, None).await.map(drop) };
        }
        client.delete(path, Some(stat.version)).await?;
    }
    Err(zk::Error::NodeExists)
}
