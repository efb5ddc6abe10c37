//! Follows one node: from ZooKeeper, and at the start from the copy on disk if ZooKeeper does not answer.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use zms_core::metadata::path::Path;
use zms_drivers::meta::{Link, MetaStore, Seen};

use crate::cache::Cache;
use crate::{Error, Waits};

/// ZooKeeper, the copy on disk, and which environment they are of.
pub struct Source {
    pub meta: Arc<dyn MetaStore>,
    pub cache: Cache,
    pub waits: Waits,
    /// The environment that the client file names.
    expected: Option<String>,
    /// As read from this connection of the store.
    environment: Mutex<Option<(u64, String)>>,
}

impl Source {
    pub fn new(meta: Arc<dyn MetaStore>, cache: Cache, waits: Waits, expected: Option<String>) -> Self {
        Self { meta, cache, waits, expected, environment: Mutex::default() }
    }

    /// Id of the environment that ZooKeeper serves; empty if its tree has none (one of the first ZMS).
    ///
    /// # Errors
    /// Why it is not known, or that it is not the one that is expected.
    pub async fn environment(&self) -> Result<String, String> {
        let connection = match &*self.meta.link().borrow() {
            Link::Up(connection) => *connection,
            Link::Down(why) => return Err(format!("ZooKeeper is not connected: {why}")),
        };
        // It can change only with the servers, and they only with the connection.
        if let Some((_, known)) = self.lock().as_ref().filter(|(of, _)| *of == connection) {
            return Ok(known.clone());
        }
        let node = self.meta.get(&Path::SystemId.to_string()).await.map_err(|error| error.to_string())?;
        let read = node.map_or_else(String::new, |node| String::from_utf8_lossy(&node.data).trim().to_owned());
        if let Some(expected) = self.expected.as_ref().filter(|expected| **expected != read) {
            return Err(format!("this ZooKeeper serves environment \"{read}\", the client file is for \"{expected}\""));
        }
        let before = self.lock().replace((connection, read.clone()));
        if before.is_none_or(|(_, before)| before != read) {
            self.blocking(move |cache, environment| cache.keep_only(&environment), read.clone()).await;
        }
        Ok(read)
    }

    /// The copy of a node, if it is of the expected environment.
    pub async fn load(&self, path: &str) -> Option<crate::cache::Copy> {
        let (path, expected) = (path.to_owned(), self.expected.clone());
        let copy = self.blocking(|cache, path| cache.load(&path), path).await?;
        Some(copy).filter(|copy| expected.is_none_or(|expected| expected == copy.environment))
    }

    /// Keeps a copy of a node.
    pub async fn save(&self, path: &str, environment: &str, data: &[u8]) {
        let whole = (path.to_owned(), environment.to_owned(), data.to_vec());
        self.blocking(|cache, (path, environment, data)| cache.save(&path, &environment, &data), whole).await;
    }

    async fn blocking<A: Send + 'static, T: Send + 'static>(
        &self,
        work: impl FnOnce(Cache, A) -> T + Send + 'static,
        with: A,
    ) -> T {
        let cache = self.cache.clone();
        tokio::task::spawn_blocking(move || work(cache, with)).await.expect("it does not panic, and is not aborted")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(u64, String)>> {
        self.environment.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Something was seen.
#[derive(Debug)]
pub enum Step {
    /// A value, from ZooKeeper or (`live` is false) from disk.
    Value { environment: String, data: Vec<u8>, live: bool },
    /// The node is not there, or may not be read. Whoever knows a value goes on with it.
    Failed(Error),
    /// Nothing yet, and why.
    Waiting(String),
}

/// One node.
pub struct Follow {
    source: Arc<Source>,
    path: String,
    /// `topic orders`.
    what: String,
    seen: watch::Receiver<Seen>,
    /// What the last step was about.
    last: Seen,
    /// When the copy on disk is used; `None` after that was tried.
    disk_at: Option<Instant>,
}

impl Follow {
    pub fn new(source: &Arc<Source>, path: &Path, what: String) -> Self {
        let path = path.to_string();
        let seen = source.meta.node(&path);
        let disk_at = Some(Instant::now() + source.waits.first_answer);
        Self { source: Arc::clone(source), path, what, seen, last: Seen::NotYet, disk_at }
    }

    /// Where the node stands.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Waits for the next thing to be seen. `known`: something is followed already, so there is no hurry, and disk is of no use.
    /// May be dropped and called again.
    pub async fn next(&mut self, known: bool) -> Step {
        loop {
            let now = self.seen.borrow().clone();
            if now != self.last {
                if known {
                    sleep(Waits::some_of(self.source.waits.jitter)).await;
                }
                match self.look(known).await {
                    Ok(step) => return step,
                    Err(why) if known => {
                        tracing::debug!(path = self.path, why, "a change is not followed yet");
                        sleep(self.source.waits.retry).await;
                        continue;
                    }
                    Err(why) => {
                        if let Some(step) = self.disk(&why).await {
                            return step;
                        }
                        sleep(self.source.waits.retry).await;
                        continue;
                    }
                }
            }
            let disk_at = self.disk_at.filter(|_| !known);
            tokio::select! {
                changed = self.seen.changed() => if changed.is_err() {
                    // The store was closed; what is known stays.
                    std::future::pending::<()>().await;
                },
                () = sleep_until(disk_at.unwrap_or_else(Instant::now)), if disk_at.is_some() => {
                    let why = match &*self.source.meta.link().borrow() {
                        Link::Down(why) => format!("ZooKeeper is not connected: {why}"),
                        Link::Up(_) => "ZooKeeper did not answer yet".to_owned(),
                    };
                    if let Some(step) = self.disk(&why).await {
                        return step;
                    }
                }
            }
        }
    }

    /// The value was of no use: the copy on disk, if there is one and it was not used yet.
    pub async fn fall_back(&mut self) -> Option<Step> {
        self.disk_at = Some(Instant::now());
        self.disk("what ZooKeeper has is not usable").await
    }

    /// What is there now; an error if it cannot be judged yet.
    async fn look(&mut self, known: bool) -> Result<Step, String> {
        let now = self.seen.borrow_and_update().clone();
        let failure = match &now {
            Seen::NotYet => None,
            Seen::There(node) => {
                let environment = self.source.environment().await?;
                let data = node.data.to_vec();
                self.last = now;
                return Ok(Step::Value { environment, data, live: true });
            }
            Seen::Absent => Some(Error::Unknown { what: self.what.clone() }),
            Seen::Denied => Some(Error::Setting(format!(
                "{}: no right to read {} in ZooKeeper: user or password of the client file are wrong, or it is for another environment",
                self.what, self.path
            ))),
        };
        self.last = now;
        let Some(failure) = failure else { return Ok(Step::Waiting("ZooKeeper did not answer yet".to_owned())) };
        if !known {
            self.disk_at = Some(Instant::now());
            if let Some(step @ Step::Value { .. }) = self.disk(&failure.to_string()).await {
                return Ok(step);
            }
        }
        Ok(Step::Failed(failure))
    }

    /// Tried once, when its time has come.
    async fn disk(&mut self, why: &str) -> Option<Step> {
        self.disk_at.filter(|at| *at <= Instant::now())?;
        let copy = self.source.load(&self.path).await;
        self.disk_at = None;
        Some(match copy {
            Some(copy) => {
                tracing::warn!(path = self.path, why, saved_ms = copy.saved_ms, "metadata is taken from the copy on disk");
                Step::Value { environment: copy.environment, data: copy.data, live: false }
            }
            None => Step::Waiting(why.to_owned()),
        })
    }
}
