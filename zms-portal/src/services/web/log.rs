//! The log of an instance.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::super::logs::{self, LogPiece};
use super::super::{find, store};
use super::environment;
use super::service::Head;
use crate::access::{Role, User};
use crate::app::{App, now_ms};
use crate::error::{Error, Result};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::messages::Messages;
use crate::web::{self, Path, Query};

/// The end of a log that is refreshed again and again is cut to so many lines.
const TAIL_LINES: usize = 400;

/// One step back, in bytes: what an agent gives at most.
const STEP_BACK: u64 = 256 << 10;

/// Which log, and where in it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    instance: String,
    /// From this byte on; without it the end.
    from: Option<u64>,
}

#[derive(Template)]
#[template(path = "services/logs.html")]
struct LogsPage {
    chrome: Chrome,
    head: Head,
    instances: Vec<String>,
    part: LogPart,
}

/// The part that refreshes itself.
#[derive(Template)]
#[template(path = "services/log_part.html")]
struct LogPart {
    m: Messages,
    env: String,
    name: String,
    instance: String,
    /// The end of the log is followed, a piece in its middle is not.
    follows: bool,
    piece: std::result::Result<LogPiece, String>,
}

impl LogPart {
    /// Where the piece before this one begins.
    fn earlier(&self) -> Option<u64> {
        let from = self.piece.as_ref().ok()?.from;
        (from > 0).then(|| from.saturating_sub(STEP_BACK))
    }

    /// Where the piece after this one begins.
    fn later(&self) -> Option<u64> {
        let piece = self.piece.as_ref().ok()?;
        (!self.follows && piece.next < piece.size).then_some(piece.next)
    }

    fn link(&self) -> String {
        format!("{}/part?instance={}", Link::Service(&self.env, &self.name, "logs"), self.instance)
    }
}

pub(super) async fn page(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    let environment = environment(&chrome)?;
    let service = find(&app, &environment, &name, now_ms()).await?;
    let head = Head::new(&environment.name, &service, "logs", &user);
    let part = load(&app, &chrome, &user, &name, wanted).await?;
    let instances = service.instances.into_iter().map(|instance| instance.name).collect();
    web::page(LogsPage { chrome, head, instances, part })
}

pub(super) async fn part(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    web::page(load(&app, &chrome, &user, &name, wanted).await?)
}

async fn load(app: &App, chrome: &Chrome, user: &User, name: &str, wanted: Wanted) -> Result<LogPart> {
    user.require(Role::Viewer)?;
    let environment = environment(chrome)?;
    let row = store::service(app.db.read(), &environment.id, name).await?;
    let instances = store::instances(app.db.read(), &row.id).await?;
    let chosen = instances.iter().find(|instance| wanted.instance.is_empty() || instance.name() == wanted.instance);
    let chosen = chosen.ok_or(Error::NotFound)?;
    let piece = match logs::read(app, &chosen.host_id, &chosen.spec.id, wanted.from).await {
        Ok(piece) if wanted.from.is_none() => Ok(tail(piece)),
        Ok(piece) => Ok(piece),
        // The page stays: the host may be back with the next look.
        Err(Error::Unavailable(text) | Error::Conflict(text)) => Err(text.say(chrome.m)),
        Err(error) => return Err(error),
    };
    Ok(LogPart {
        m: chrome.m,
        env: environment.name,
        name: name.to_owned(),
        instance: chosen.name().to_owned(),
        follows: wanted.from.is_none(),
        piece,
    })
}

/// The last lines of a piece.
fn tail(mut piece: LogPiece) -> LogPiece {
    let mut starts = piece.text.match_indices('\n').map(|(at, _)| at + 1).rev().skip(TAIL_LINES);
    if let Some(start) = starts.next() {
        piece.text.drain(..start);
    }
    piece
}
