//! An administrator invites; the person opens a link that works once and sets a password that nobody else ever knew.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Actor, name_problem, name_taken, store};
use crate::access::name::{UserName, shown};
use crate::access::session::{self, Limits};
use crate::access::throttle::{Throttle, Verdict, too_many};
use crate::access::token::Token;
use crate::access::{Role, password};
use crate::audit::{self, Entry, Outcome};
use crate::db::{Db, is_taken};
use crate::error::{Error, Result};
use crate::web::links::Link;

/// An invitation is good for a day.
pub const VALID_MS: i64 = 24 * 3_600_000;

/// Whom to invite.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "grace", "role": "developer" }))]
pub struct NewInvitation {
    /// What the person will sign in with.
    pub name: String,
    /// What the person may do.
    pub role: Role,
}

/// An invitation, told once.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Invited {
    /// What the person will sign in with.
    pub name: String,
    /// What the person may do.
    pub role: Role,
    /// Give it to the person and to nobody else: it works once. It cannot be shown again; to invite again makes another one and this one
    /// worthless. The secret stands behind the `#`, which browsers send to nobody and no server writes into a log.
    pub link: String,
    /// Good until then, milliseconds since 1970.
    pub expires_at: i64,
}

/// What an invited person enters.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "token": "3q2-796tvu_erb7v3q2-796tvu_erb7v3q2-796tvu8", "password": "correct horse battery" }))]
pub struct Acceptance {
    /// The part of the link behind `#`.
    pub token: String,
    /// 12 to 128 characters.
    pub password: String,
}

/// Invites a person; an invitation of the same name that is still open is good for nothing then.
///
/// # Errors
/// [`Error::Forbidden`]; [`Error::Invalid`] when the name is not one or taken.
pub async fn invite(db: &Db, public_url: &str, actor: Actor<'_>, new: NewInvitation, now_ms: i64) -> Result<Invited> {
    actor.require_administrator(db, "user.invite", &format!("user/{}", shown(&new.name)), now_ms).await?;
    make(db, public_url, (&actor.user.name, actor.address), new, now_ms).await
}

/// Invites an administrator from the portal's own machine, for the day on which no administrator can sign in any more: whoever can run
/// a command there with the portal's settings can read its database too.
///
/// # Errors
/// [`Error::Invalid`] when the name is not one or taken.
pub async fn invite_administrator(db: &Db, public_url: &str, name: &str, now_ms: i64) -> Result<Invited> {
    let new = NewInvitation { name: name.to_owned(), role: Role::Administrator };
    make(db, public_url, ("", ""), new, now_ms).await
}

async fn make(db: &Db, public_url: &str, (who, address): (&str, &str), new: NewInvitation, now_ms: i64) -> Result<Invited> {
    let name = UserName::parse(&new.name).ok_or_else(|| Error::Invalid(vec![name_problem("name")]))?;
    let (token, expires_at) = (Token::random(), now_ms + VALID_MS);
    let mut tx = db.begin().await?;
    if store::exists(&mut tx, &name).await? {
        return Err(name_taken("name"));
    }
    store::replace_invitation(&mut tx, &token.hash(), &name, new.role, who, now_ms, expires_at).await?;
    let (target, detail) = (format!("user/{name}"), json!({ "role": new.role, "valid_until": expires_at }));
    let entry = Entry { at: now_ms, who, address, act: "user.invite", target: &target, detail, result: Outcome::Done };
    audit::record(&mut tx, entry).await?;
    tx.commit().await?;
    let link = format!("{}{}#{}", public_url.trim_end_matches('/'), Link::Invitation, token.reveal());
    Ok(Invited { name: name.to_string(), role: new.role, link, expires_at })
}

/// Makes the invited person with their own password and begins their session; `before` is the session that the browser had.
///
/// # Errors
/// [`Error::Invalid`] with what is wrong, among it an invitation that is wrong, used or too old, which read alike; [`Error::TooMany`].
pub async fn accept(
    db: &Db,
    throttle: &Throttle,
    limits: Limits,
    acceptance: Acceptance,
    before: Option<&Token>,
    address: &str,
    now_ms: i64,
) -> Result<Token> {
    let invited = open_invitation(db, throttle, &acceptance.token, address, now_ms).await?;
    let store::OpenInvitation { hash, name, role } = invited;
    if let Some(problem) = password::problem("password", &acceptance.password, name.as_str()) {
        return Err(Error::Invalid(vec![problem]));
    }
    let kept = password::hash(&acceptance.password).await?;
    let mut tx = db.begin().await?;
    if !store::use_invitation(&mut tx, &hash, now_ms).await? {
        return Err(not_good());
    }
    let id = store::insert(&mut tx, &name, &kept, &[role], now_ms).await;
    let id = id.map_err(|error| if is_taken(&error) { not_good() } else { error.into() })?;
    if let Some(before) = before {
        session::end(&mut tx, before).await?;
    }
    let session = session::start(&mut tx, &id, address, limits, now_ms).await?;
    store::note_sign_in(&mut tx, &id, now_ms).await?;
    let (who, target, detail) = (name.as_str(), format!("user/{name}"), json!({ "roles": [role] }));
    audit::record(
        &mut tx,
        Entry { at: now_ms, who, address, act: "user.accept_invitation", target: &target, detail, result: Outcome::Done },
    )
    .await?;
    tx.commit().await?;
    Ok(session)
}

/// Counts a try and looks for the invitation; a wrong one is audited.
async fn open_invitation(db: &Db, throttle: &Throttle, typed: &str, address: &str, now_ms: i64) -> Result<store::OpenInvitation> {
    let mut tx = db.begin().await?;
    let Verdict::Admitted(attempt) = throttle.admit(&mut tx, None, address, now_ms).await? else {
        tx.commit().await?;
        return Err(too_many());
    };
    let found = match Token::parse(typed) {
        Some(token) => store::invitation(&mut tx, token.hash(), now_ms).await?,
        None => None,
    };
    if found.is_some() {
        attempt.forgive(&mut tx).await?;
    } else {
        let entry = Entry {
            at: now_ms,
            who: "",
            address,
            act: "user.accept_invitation",
            target: "user",
            detail: json!({ "why": "token" }),
            result: Outcome::Denied,
        };
        audit::record(&mut tx, entry).await?;
    }
    tx.commit().await?;
    found.ok_or_else(not_good)
}

fn not_good() -> Error {
    Error::invalid("token", |m| m.users_invitation_wrong().to_owned())
}
