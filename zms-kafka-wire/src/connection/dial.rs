//! From a name to a connection, without leaving the networks in which brokers may be.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::WireError;
use crate::options::Options;

type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// How names become addresses.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(String, u16) -> Found + Send + Sync>);

impl Resolver {
    /// One of one's own.
    pub fn new<F>(resolve: impl Fn(String, u16) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Self(Arc::new(move |host, port| Box::pin(resolve(host, port))))
    }
}

impl Default for Resolver {
    /// The system's.
    fn default() -> Self {
        Self::new(|host, port| async move { Ok(tokio::net::lookup_host((host.as_str(), port)).await?.collect()) })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// Resolves once and dials exactly what was found and allowed: a second look-up could give another answer than the one that was judged.
pub(super) async fn dial(address: &str, (host, port): (&str, u16), options: &Options) -> Result<TcpStream, WireError> {
    let failed = |error: io::Error| WireError::Connect { address: address.to_owned(), why: error.to_string() };
    let found = (options.resolver.0)(host.to_owned(), port).await.map_err(failed)?;
    let Some(networks) = &options.networks else { return TcpStream::connect(&found[..]).await.map_err(failed) };
    let allowed: Vec<SocketAddr> = found.iter().copied().filter(|at| networks.contain(at.ip())).collect();
    if allowed.is_empty() && !found.is_empty() {
        let found: Vec<String> = found.iter().map(|at| at.ip().to_string()).collect();
        let (address, found, networks) = (address.to_owned(), found.join(", "), networks.to_string());
        return Err(WireError::Outside { address, found, networks });
    }
    TcpStream::connect(&allowed[..]).await.map_err(failed)
}
