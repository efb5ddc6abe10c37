use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use zookeeper_client as zk;

use super::{Node, Seen, Shared, Tree, node as node_of};

/// After something failed in a way that passes.
const AGAIN: Duration = Duration::from_millis(200);
/// Changes of a tree come in bursts; it is listed once for those of a moment.
const BURST: Duration = Duration::from_millis(50);
/// Nodes of a tree that are read at once.
const AT_ONCE: usize = 64;

impl Shared {
    /// Waits for a connection; `None` when nobody wants to know any more.
    pub(super) async fn connected(&self, gone: impl Future<Output = ()>) -> Option<(zk::Client, u64)> {
        let (mut up, mut closing) = (self.up.clone(), self.closing.subscribe());
        tokio::select! {
            up = up.wait_for(Option::is_some) => {
                let up = up.ok()?.clone()?;
                Some((zk::Client::clone(&up.client), up.connection))
            }
            () = gone => None,
            _ = closing.wait_for(|closing| *closing) => None,
        }
    }

    /// Waits until it is connected anew, or not at all.
    async fn reconnected(&self, connection: u64) {
        let mut up = self.up.clone();
        let _ = up.wait_for(|up| up.as_ref().is_none_or(|up| up.connection != connection)).await;
    }

    /// Half to one and a half of the time between two lists.
    pub(super) fn next_relist(&self) -> Duration {
        let mut byte = [0];
        // Without randomness the timers of many processes stay where they are: no worse than without jitter.
        let _ = aws_lc_rs::rand::fill(&mut byte);
        self.options.relist / 2 + self.options.relist.mul_f64(f64::from(byte[0]) / 256.0)
    }
}

fn publish<T: PartialEq>(sender: &watch::Sender<T>, seen: T) {
    sender.send_if_modified(|known| {
        let differs = *known != seen;
        *known = seen;
        differs
    });
}

/// Follows one node with one-shot watches: those survive a reconnect. Reading and watching are one request, so nothing falls between.
pub(super) async fn node(shared: Arc<Shared>, path: String, sender: watch::Sender<Seen>) {
    loop {
        let Some((client, connection)) = shared.connected(sender.closed()).await else { return };
        let watcher = match timeout(shared.options.deadline, look(&client, &path)).await {
            Ok(Ok((seen, watcher))) => {
                publish(&sender, seen);
                watcher
            }
            Ok(Err(zk::Error::NoAuth)) => {
                publish(&sender, Seen::Denied);
                None
            }
            Ok(Err(error)) => {
                tracing::debug!(path, %error, "reading a node that is followed");
                drop(client);
                sleep(AGAIN).await;
                continue;
            }
            Err(_late) => continue,
        };
        drop(client);
        let changed = async {
            match watcher {
                Some(watcher) => drop(watcher.changed().await),
                None => std::future::pending().await,
            }
        };
        let mut closing = shared.closing.subscribe();
        tokio::select! {
            () = changed => {}
            () = shared.reconnected(connection) => {}
            () = sleep(shared.next_relist()) => {}
            () = sender.closed() => return,
            _ = closing.wait_for(|closing| *closing) => return,
        }
    }
}

async fn look(client: &zk::Client, path: &str) -> Result<(Seen, Option<zk::OneshotWatcher>), zk::Error> {
    match client.get_and_watch_data(path).await {
        Ok((data, stat, watcher)) => Ok((Seen::There(node_of(data, &stat)), Some(watcher))),
        Err(zk::Error::NoNode) => match client.check_and_watch_stat(path).await? {
            (None, watcher) => Ok((Seen::Absent, Some(watcher))),
            // Made in between: look again at once.
            (Some(_), _) => {
                let (data, stat, watcher) = client.get_and_watch_data(path).await?;
                Ok((Seen::There(node_of(data, &stat)), Some(watcher)))
            }
        },
        Err(error) => Err(error),
    }
}

/// Follows a subtree: a recursive watch as a hint, and a full list after each hint, each reconnect and on a timer.
pub(super) async fn tree(shared: Arc<Shared>, prefix: String, sender: watch::Sender<Option<Arc<Tree>>>) {
    loop {
        let Some((client, connection)) = shared.connected(sender.closed()).await else { return };
        // First the watch, then the list: what changes in between is listed again.
        let armed = timeout(shared.options.deadline, client.watch(&prefix, zk::AddWatchMode::PersistentRecursive)).await;
        let Ok(Ok(mut watcher)) = armed else {
            drop(client);
            sleep(AGAIN).await;
            continue;
        };
        loop {
            match timeout(shared.options.deadline * 3, list(&client, &prefix)).await {
                Ok(Ok(tree)) => publish(&sender, Some(Arc::new(tree))),
                Ok(Err(error)) => {
                    tracing::debug!(prefix, %error, "listing a tree that is followed");
                    sleep(AGAIN).await;
                    break;
                }
                Err(_late) => break,
            }
            let mut closing = shared.closing.subscribe();
            tokio::select! {
                event = watcher.changed() => if event.event_type == zk::EventType::Session {
                    // After a reconnect the watch is silent for ever: it is armed again. After the end it must not be asked again.
                    break;
                },
                () = shared.reconnected(connection) => break,
                () = sleep(shared.next_relist()) => {}
                () = sender.closed() => return,
                _ = closing.wait_for(|closing| *closing) => return,
            }
            if !drain(&mut watcher).await {
                break;
            }
        }
    }
}

/// Lets a burst of changes pass; `false` if the watch ended in it.
async fn drain(watcher: &mut zk::PersistentWatcher) -> bool {
    let burst = sleep(BURST);
    tokio::pin!(burst);
    loop {
        tokio::select! {
            () = &mut burst => return true,
            event = watcher.changed() => if event.event_type == zk::EventType::Session {
                return false;
            },
        }
    }
}

/// Everything below a path and itself; empty if it is not there. What may not be read is left out.
async fn list(client: &zk::Client, prefix: &str) -> Result<Tree, zk::Error> {
    let mut tree = Tree::new();
    let mut waiting = vec![prefix.to_owned()];
    let mut reading = FuturesUnordered::new();
    loop {
        while reading.len() < AT_ONCE {
            let Some(path) = waiting.pop() else { break };
            reading.push(read(client.clone(), path));
        }
        let Some((path, outcome)) = reading.next().await else { return Ok(tree) };
        match outcome {
            Ok((node, children)) => {
                waiting.extend(children.into_iter().map(|name| format!("{path}/{name}")));
                tree.insert(path, node);
            }
            // Deleted while we listed, or not ours to see.
            Err(zk::Error::NoNode | zk::Error::NoAuth) => {}
            Err(error) => return Err(error),
        }
    }
}

async fn read(client: zk::Client, path: String) -> (String, Result<(Node, Vec<String>), zk::Error>) {
    let (data, children) = tokio::join!(client.get_data(&path), client.list_children(&path));
    let both = data.and_then(|(data, stat)| Ok((node_of(data, &stat), children?)));
    (path, both)
}
