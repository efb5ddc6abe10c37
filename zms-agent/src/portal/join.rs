//! `zms-agent join`: makes this host one of a portal's.
//!
//! The key is made here and never leaves. Key and enrolment are on disk before the first call, so that an answer that got lost is
//! asked for again and costs no second use of the token. The token comes on standard input and goes nowhere but to the portal,
//! and to it only after it has shown a certificate of the authority that the join line pins.

use std::io::BufRead;
use std::path::Path;

use anyhow::Context;
use tokio::time::{Instant, sleep};
use ulid::Ulid;
use zms_core::host::{JoinReply, JoinRequest};
use zms_core::names::HostId;

use super::connection::{Connection, portal_url};
use super::contact::Contact;
use super::error::CallError;
use super::pki::{self, Pki};
use super::{Membership, Waits, now_ms, shown};
use crate::layout::Layout;
use crate::{disk, facts};

/// Longest token, in bytes.
const TOKEN_LIMIT: u64 = 4096;
/// Largest file of certificates, in bytes.
const AUTHORITY_LIMIT: u64 = 256 << 10;

/// How a join went well.
#[derive(Debug, PartialEq, Eq)]
pub enum Joined {
    /// The host has its certificate now.
    Now(HostId),
    /// It had one already, which holds until then.
    Before(HostId, String),
}

/// How it did not.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The portal said no; the same line will not work again.
    #[error("{0}")]
    Refused(String),
    /// Something else is in the way.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// A token. Never shown.
pub struct Token(String);

impl Token {
    /// Reads one line.
    pub fn read(input: impl BufRead) -> anyhow::Result<Self> {
        let mut line = String::new();
        input.take(TOKEN_LIMIT).read_line(&mut line).context("reading the token from standard input")?;
        let token = line.trim();
        let fits = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
        anyhow::ensure!(fits, "the token: one line without blanks is expected on standard input");
        Ok(Self(token.to_owned()))
    }
}

/// Joins, or says that this host has joined already. `url` is where the portal is joined (`https://portal:8443`), `authority` a
/// file with the certificate that its own must come from.
pub async fn join(layout: &Layout, url: &str, authority: &Path, token: impl BufRead, waits: Waits) -> Result<Joined, JoinError> {
    let url = portal_url(url)?.as_str().trim_end_matches('/').to_owned();
    if let Some(joined) = joined_already(layout, &url)? {
        forget_enrolment(layout)?;
        return Ok(joined);
    }
    let shown_path = authority.display();
    let pem = disk::read_bounded(authority, AUTHORITY_LIMIT).with_context(|| format!("reading {shown_path}"))?;
    let pem = String::from_utf8(pem.with_context(|| format!("{shown_path}: is not there"))?).context("reading the authority")?;
    let connection = Connection::new(&url, &pem, None, waits).with_context(|| format!("{shown_path} with {url}"))?;
    let Token(token) = Token::read(token)?;

    let pki = Pki::new(layout);
    let enrolment = enrolment(layout, &pki)?;
    let csr = pki::signing_request(&pki.next_key().map_err(anyhow::Error::from)?).map_err(anyhow::Error::from)?;
    let request = JoinRequest { token, enrolment, csr, facts: facts::collect(layout).await };
    let reply = ask(&connection, &request, waits).await.inspect_err(|error| {
        // Another enrolment is the only way on; everything else may be asked for again with the same.
        if matches!(error, Asked::Taken) {
            let _ = forget_enrolment(layout);
        }
    })?;
    finish(layout, &pki, url, &pem, reply, waits).map(Joined::Now).map_err(JoinError::from)
}

/// A certificate that holds and that the portal takes.
fn joined_already(layout: &Layout, url: &str) -> anyhow::Result<Option<Joined>> {
    let Some(membership) = Membership::load(layout)? else { return Ok(None) };
    let Ok(held) = Pki::new(layout).look() else { return Ok(None) };
    if held.best().until_ms < now_ms() || Contact::load(layout).denied {
        return Ok(None);
    }
    anyhow::ensure!(
        membership.url == url,
        "this host belongs to the portal {} already; to give it to {url}, end the agent and delete {} first",
        membership.url,
        layout.membership().display()
    );
    Ok(Some(Joined::Before(membership.host, shown(held.best().until_ms))))
}

/// The name of this join: the one of an earlier try if its key is still there too.
fn enrolment(layout: &Layout, pki: &Pki) -> anyhow::Result<String> {
    let path = layout.enrolment();
    let known = disk::read_bounded(&path, 1024)?.and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse::<Ulid>().ok());
    if let Some(known) = known
        && pki.has_next_key()?
    {
        return Ok(known.to_string());
    }
    // A left-over key of a renewal was made for another purpose.
    pki.withdraw()?;
    let enrolment = Ulid::new().to_string();
    disk::write_whole(&path, enrolment.as_bytes(), 0o600).with_context(|| format!("writing {}", path.display()))?;
    Ok(enrolment)
}

fn forget_enrolment(layout: &Layout) -> anyhow::Result<()> {
    let path = layout.enrolment();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("deleting {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Why there is no reply.
#[derive(Debug)]
enum Asked {
    Refused(String),
    /// The portal knows our enrolment with another key.
    Taken,
    Late(CallError),
    Stranger(CallError),
}

impl From<Asked> for JoinError {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Refused(why) => Self::Refused(why),
            Asked::Taken => {
                Self::Refused("the portal knows this host's enrolment with another key; run the join line again".to_owned())
            }
            Asked::Late(error) => {
                Self::Failed(anyhow::anyhow!("{error}; it was tried until the time was up, run the join line again"))
            }
            Asked::Stranger(error) => Self::Failed(anyhow::anyhow!("{error}; the token is still secret")),
        }
    }
}

async fn ask(connection: &Connection, request: &JoinRequest, waits: Waits) -> Result<JoinReply, Asked> {
    let end = Instant::now() + waits.join;
    let mut failures = 0;
    loop {
        let error = match connection.join(request).await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        let passing = match &error {
            CallError::Unreachable { .. } | CallError::Garbled(_) => true,
            CallError::Refused { status, .. } => *status >= 500 || matches!(status, 408 | 429),
            CallError::Denied(_) | CallError::Stranger { .. } => false,
        };
        if !passing {
            return Err(match error {
                CallError::Stranger { .. } => Asked::Stranger(error),
                CallError::Refused { status: 409, .. } => Asked::Taken,
                CallError::Denied(_) => Asked::Refused(
                    "the portal refused the token: it is used up, expired or withdrawn; make a new join line".to_owned(),
                ),
                other => Asked::Refused(other.to_string()),
            });
        }
        failures += 1;
        let pause = waits.after_failures(failures).max(error.again().unwrap_or_default());
        if Instant::now() + pause >= end {
            return Err(Asked::Late(error));
        }
        tracing::warn!(%error, "cannot join yet; trying again");
        sleep(pause).await;
    }
}

/// Puts everything in place. Killed anywhere, the next join or the agent goes on from there.
fn finish(layout: &Layout, pki: &Pki, url: String, authority: &str, reply: JoinReply, waits: Waits) -> anyhow::Result<HostId> {
    let JoinReply { host, certificate, agent_url } = reply;
    let identity = pki.propose(certificate).context("the portal's answer")?;
    // What a client cannot be made of is found here and not when the agent starts.
    Connection::new(&agent_url, authority, Some(&identity), waits).context("the portal's answer")?;
    disk::write_whole(&layout.authority(), authority.as_bytes(), 0o644).context("writing the portal's authority")?;
    Membership { host: host.clone(), agent_url, url }.save(layout).context("writing which portal this host belongs to")?;
    Contact::forget(layout).context("forgetting an earlier portal")?;
    pki.promote()?;
    forget_enrolment(layout)?;
    Ok(host)
}
