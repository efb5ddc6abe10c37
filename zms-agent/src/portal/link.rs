//! The connection in use, shared by everything that needs the portal; it is exchanged when the host's certificate is.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt;
use zms_core::names::Sha512;

use super::connection::Connection;
use super::error::CallError;
use crate::fetch::Chunks;

/// See the module. A clone is the same link.
#[derive(Debug, Clone)]
pub struct Link {
    connection: Arc<RwLock<Arc<Connection>>>,
}

impl Link {
    /// A link that begins with this connection.
    pub fn new(connection: Connection) -> Self {
        Self { connection: Arc::new(RwLock::new(Arc::new(connection))) }
    }

    /// The connection to use now.
    pub fn now(&self) -> Arc<Connection> {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls from now on go through this one; those under way end on the old one.
    pub fn replace(&self, connection: Connection) {
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(connection);
    }

    /// The bytes of an archive from `from` on.
    pub async fn package(&self, sha512: &Sha512, from: u64) -> Result<Chunks, CallError> {
        let connection = self.now();
        let (response, continued) = connection.package(sha512, from).await?;
        // Whoever ignores `Range` sends what we have once more.
        let skip = if continued { 0 } else { from };
        let silence = connection.silence();
        let body = response.bytes_stream().boxed();
        let chunks = futures::stream::unfold((body, skip), move |(mut body, mut skip)| async move {
            loop {
                let chunk = match tokio::time::timeout(silence, body.next()).await {
                    Err(_) => return Some((Err(silent(silence)), (body, skip))),
                    Ok(None) => return None,
                    Ok(Some(Err(error))) => return Some((Err(io::Error::other(error)), (body, skip))),
                    Ok(Some(Ok(chunk))) => chunk,
                };
                let passed = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
                skip -= passed as u64;
                if passed < chunk.len() {
                    return Some((Ok(chunk[passed..].to_vec()), (body, skip)));
                }
            }
        });
        Ok(chunks.boxed())
    }
}

fn silent(silence: std::time::Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the portal sent nothing for {} s", silence.as_secs()))
}
