//! What handlers ask for: a signed-in person, perhaps one, the peer's address.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};

use super::User;
use super::session::{self, Limits};
use crate::app::{App, now_ms};
use crate::error::{Error, Result};

/// Whoever asks, signed in or not.
#[derive(Debug, Clone)]
pub struct Visitor(pub Option<User>);

impl FromRequestParts<App> for Visitor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        // A page asks several times in one request: for its frame, for its handler.
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let now = now_ms();
        let session = match session::cookie_of(&parts.headers) {
            Some(token) => session::find(&app.db, &token, Limits::of(&app.config), now).await?,
            None => None,
        };
        if let Some(session) = session.as_ref().filter(|_| !refreshes_itself(&parts.method, &parts.headers)) {
            session.touch(&app.db, now).await?;
        }
        let visitor = Self(session.map(|session| session.user));
        parts.extensions.insert(visitor.clone());
        Ok(visitor)
    }
}

/// A page that looks for news by a script is not a person at work: left open, it does not keep a session alive.
fn refreshes_itself(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::GET && headers.get("sec-fetch-dest").is_some_and(|destination| destination == "empty")
}

impl FromRequestParts<App> for User {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        Visitor::from_request_parts(parts, app).await?.0.ok_or(Error::SignIn)
    }
}

/// The peer's IP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(pub String);

impl Address {
    /// An IPv4 address that came in by an IPv6 socket is written as IPv4.
    pub fn of(ip: IpAddr) -> Self {
        Self(ip.to_canonical().to_string())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer =
            peer.ok_or_else(|| anyhow::anyhow!("a listener gives no peer address: it must set ConnectInfo<SocketAddr>"))?;
        Ok(Self::of(peer.0.ip()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_refreshes_itself_is_not_a_person_at_work() {
        for (method, destination, expected) in [
            (Method::GET, "empty", true),
            (Method::GET, "document", false),
            (Method::GET, "", false),
            (Method::POST, "empty", false),
        ] {
            let mut headers = HeaderMap::new();
            if !destination.is_empty() {
                headers.insert("sec-fetch-dest", destination.parse().unwrap());
            }
            assert_eq!(refreshes_itself(&method, &headers), expected, "{method} {destination}");
        }
    }

    #[test]
    fn an_ipv4_peer_of_an_ipv6_socket_is_written_as_ipv4() {
        for (peer, expected) in [("::ffff:192.0.2.7", "192.0.2.7"), ("192.0.2.7", "192.0.2.7"), ("2001:DB8::1", "2001:db8::1")] {
            assert_eq!(Address::of(peer.parse().unwrap()).0, expected);
        }
    }
}
