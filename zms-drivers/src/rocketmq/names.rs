//! Asking name servers. They do not know each other: one may be dead, hang, be none at all, or not have heard of a broker yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::json::JsonError;
use super::remoting::{Answer, Remoting, RemotingError, Request, RequestCode, answers};
use super::route::{ClusterInfo, Route};

/// The name servers of a cluster.
#[derive(Debug)]
pub struct NameServers {
    addresses: Vec<String>,
    /// Who answered last: is asked first.
    first: AtomicUsize,
    remoting: Arc<Remoting>,
}

impl NameServers {
    /// At these addresses.
    ///
    /// # Errors
    /// [`RemotingError::Options`] without an address, or with one that cannot be right.
    pub fn new(addresses: Vec<String>, remoting: Arc<Remoting>) -> Result<Self, RemotingError> {
        if addresses.is_empty() {
            return Err(RemotingError::Options("name servers: at least one host:port".to_owned()));
        }
        addresses.iter().try_for_each(|address| Remoting::check(address))?;
        Ok(Self { addresses, first: AtomicUsize::new(0), remoting })
    }

    /// Their addresses.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Where a topic is; `None` if no name server that answers knows it.
    ///
    /// # Errors
    /// [`RemotingError`] of the last one if none answered.
    pub async fn route(&self, topic: &str) -> Result<Option<Route>, RemotingError> {
        let request = Request::new(RequestCode::GetRouteinfoByTopic).with("topic", topic);
        let missing = |error: &RemotingError| error.answer() == Some(answers::NO_TOPIC);
        let found = self.look(request, Answer::read::<Route>, |route| !route.queues.is_empty(), missing).await?;
        Ok(found.filter(|route| !route.queues.is_empty()))
    }

    /// All brokers.
    ///
    /// # Errors
    /// [`RemotingError`] of the last one if none answered.
    pub async fn cluster(&self) -> Result<ClusterInfo, RemotingError> {
        let request = Request::new(RequestCode::GetBrokerClusterInfo);
        let found = self.look(request, Answer::read::<ClusterInfo>, |info| !info.brokers.is_empty(), |_| false).await?;
        Ok(found.unwrap_or_default())
    }

    /// Asks one after the other until one says something that will do. What was said otherwise counts when nobody does; an answer that
    /// `missing` takes for "not here" counts as said.
    async fn look<T>(
        &self,
        request: Request,
        read: impl Fn(&Answer) -> Result<T, JsonError>,
        will_do: impl Fn(&T) -> bool,
        missing: impl Fn(&RemotingError) -> bool,
    ) -> Result<Option<T>, RemotingError> {
        let (count, first) = (self.addresses.len(), self.first.load(Ordering::Relaxed));
        // One that hangs must leave time for the others.
        let whole = self.remoting.options().call_deadline;
        let patience = if count == 1 { whole } else { whole / 4 };
        let (mut said, mut somebody, mut failed) = (None, false, None);
        for turn in 0..count {
            let index = (first + turn) % count;
            let address = &self.addresses[index];
            let answer = self.remoting.ask_within(address, request.clone(), patience).await;
            let answer =
                answer.and_then(|answer| read(&answer).map_err(|error| RemotingError::garbled(address, request.code, &error)));
            match answer {
                Ok(answer) if will_do(&answer) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(Some(answer));
                }
                Ok(answer) => {
                    somebody = true;
                    said = said.or(Some(answer));
                }
                Err(error) if missing(&error) => somebody = true,
                Err(error) => {
                    tracing::debug!(%error, "a name server does not help");
                    // Denied is told rather than away: it needs a person.
                    let worse = matches!(failed, Some(RemotingError::Denied { .. } | RemotingError::Answer { .. }));
                    if !worse {
                        failed = Some(error);
                    }
                }
            }
        }
        match failed {
            Some(error) if !somebody => Err(error),
            _ => Ok(said),
        }
    }
}
