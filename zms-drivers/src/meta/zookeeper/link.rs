use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use zookeeper_client::{self as zk, SessionState};

use super::{Link, Options};

/// A connection. Whoever holds its client holds the session too, so nobody keeps it longer than a call.
#[derive(Clone)]
pub(super) struct Up {
    pub client: Arc<zk::Client>,
    /// Counts connections; each one is a reason to read everything again.
    pub connection: u64,
}

/// What [`Link::Down`] says after the end.
pub(super) const CLOSED: &str = "the store was closed";

/// Between two attempts to connect, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// For the end of a session.
const FAREWELL: Duration = Duration::from_secs(1);

/// Keeps a connection until it is told to end. An expired session never comes back, so a new client is made then.
pub(super) async fn keep(
    options: Options,
    up: watch::Sender<Option<Up>>,
    link: watch::Sender<Link>,
    mut closing: watch::Receiver<bool>,
) {
    let (mut connection, mut pause) = (0, PAUSE.0);
    loop {
        let connected = tokio::select! {
            connected = connect(&options) => connected,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        let why = match connected {
            Ok(client) => {
                pause = PAUSE.0;
                let client = Arc::new(client);
                let ended = follow(&client, &up, &link, &mut connection, &mut closing).await;
                up.send_replace(None);
                let Some(why) = ended else {
                    farewell(client).await;
                    break;
                };
                why
            }
            Err(why) => why,
        };
        link.send_replace(Link::Down(why));
        tokio::select! {
            () = sleep(pause) => {}
            _ = closing.wait_for(|closing| *closing) => break,
        }
        pause = (pause * 2).min(PAUSE.1);
    }
    up.send_replace(None);
    link.send_replace(Link::Down(CLOSED.to_owned()));
}

/// Servers that may be dialled. A name is resolved here to be judged and by the library to be dialled: who answers for the name could say
/// something else the second time, so networks bound whom an operator can name, not what a hostile name server can do.
async fn within(options: &Options) -> Result<String, String> {
    let Some(networks) = &options.networks else { return Ok(options.addresses.clone()) };
    let (mut allowed, mut why) = (Vec::new(), String::new());
    for address in options.addresses.split(',') {
        let found = timeout(options.deadline, tokio::net::lookup_host(address)).await;
        let found: Vec<_> = match found {
            Ok(Ok(found)) => found.map(|at| at.ip()).collect(),
            Ok(Err(error)) => {
                why = format!("{address}: {error}");
                continue;
            }
            Err(_late) => {
                why = format!("{address}: its name is not resolved in time");
                continue;
            }
        };
        match found.iter().find(|at| !networks.contain(**at)) {
            Some(outside) => why = format!("{address} is {outside}, outside the environment's networks ({networks})"),
            None => allowed.push(address),
        }
    }
    if allowed.is_empty() { Err(why) } else { Ok(allowed.join(",")) }
}

async fn connect(options: &Options) -> Result<zk::Client, String> {
    let addresses = within(options).await?;
    let mut connector = zk::Client::connector().with_session_timeout(options.session_timeout).with_fail_eagerly();
    if let Some(identity) = &options.identity {
        // Given here it is sent again after each reconnect.
        connector = connector.with_auth("digest", format!("{}:{}", identity.user, identity.password).as_bytes());
    }
    let connecting = async {
        match &options.tls {
            None => connector.connect(&addresses).await,
            Some(tls) => {
                let tls = zk::TlsOptions::new().with_pem_ca(&tls.authority_pem)?;
                connector.with_tls(tls).secure_connect(&addresses).await
            }
        }
    };
    match timeout(options.session_timeout.max(options.deadline), connecting).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(format!("{}: {error}", options.addresses)),
        Err(_late) => Err(format!("{}: no answer", options.addresses)),
    }
}

/// Says how the connection is until its session ended (and why), or until it is told to end (`None`).
async fn follow(
    client: &Arc<zk::Client>,
    up: &watch::Sender<Option<Up>>,
    link: &watch::Sender<Link>,
    connection: &mut u64,
    closing: &mut watch::Receiver<bool>,
) -> Option<String> {
    let mut states = client.state_watcher();
    let mut state = states.state();
    // Only losses are told before the first change.
    if !matches!(state, SessionState::Expired | SessionState::AuthFailed | SessionState::Closed | SessionState::Disconnected) {
        state = SessionState::SyncConnected;
    }
    loop {
        match state {
            SessionState::SyncConnected => {
                *connection += 1;
                up.send_replace(Some(Up { client: Arc::clone(client), connection: *connection }));
                link.send_replace(Link::Up(*connection));
            }
            SessionState::Disconnected => {
                up.send_replace(None);
                link.send_replace(Link::Down("the connection was lost".to_owned()));
            }
            SessionState::ConnectedReadOnly => {
                up.send_replace(None);
                link.send_replace(Link::Down("the server only reads: it has lost the others".to_owned()));
            }
            SessionState::Expired => return Some("the session expired".to_owned()),
            SessionState::AuthFailed => return Some("the identity was refused".to_owned()),
            SessionState::Closed => return Some("the session was closed".to_owned()),
        }
        state = tokio::select! {
            state = states.changed() => state,
            _ = closing.wait_for(|closing| *closing) => return None,
        };
    }
}

/// Ends the session, so that its ephemeral nodes go now: it ends when the last holder of the client lets go.
async fn farewell(client: Arc<zk::Client>) {
    let end = Instant::now() + FAREWELL;
    while Arc::strong_count(&client) > 1 && Instant::now() < end {
        sleep(Duration::from_millis(5)).await;
    }
    let mut states = client.state_watcher();
    drop(client);
    let ended = async {
        while !matches!(states.changed().await, SessionState::Closed | SessionState::Expired | SessionState::AuthFailed) {}
    };
    let _ = timeout(FAREWELL, ended).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn servers_outside_the_networks_are_not_dialled() {
        let networks = Some("10.0.0.0/8".parse().unwrap());
        let of = |addresses: &str| Options { addresses: addresses.to_owned(), networks: networks.clone(), ..Options::default() };
        assert_eq!(within(&of("10.0.0.1:2181,192.0.2.1:2181")).await.unwrap(), "10.0.0.1:2181");
        for outside in ["127.0.0.1:2181", "[::1]:2181", "169.254.169.254:80", "[::ffff:127.0.0.1]:2181", "localhost:2181"] {
            let why = within(&of(outside)).await.unwrap_err();
            assert!(why.contains("outside the environment's networks (10.0.0.0/8)"), "{outside}: {why}");
        }
        assert!(within(&Options { networks: None, ..of("127.0.0.1:2181") }).await.is_ok());
    }
}
