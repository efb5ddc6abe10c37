//! An administrator invites; the person opens a link that works once and sets a password that nobody else ever knew. Who forgot a
//! password gets such a link too.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{name_problem, name_taken, store};
use crate::access::name::{UserName, shown};
use crate::access::session::{self, Limits};
use crate::access::throttle::{Throttle, Verdict, too_many};
use crate::access::token::Token;
use crate::access::{Actor, Role, password};
use crate::audit::{self, Entry, Outcome};
use crate::db::{Db, Tx, is_taken};
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
    /// What the person may do; absent where somebody who has an account gets a new password and keeps their roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
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
    actor.require(db, Role::Administrator, "user.invite", &format!("user/{}", shown(&new.name)), now_ms).await?;
    make_new(db, public_url, (&actor.user.name, actor.address), new, now_ms).await
}

/// Makes a link with which a person sets a new password; roles stay, and with the new password all sessions end.
///
/// # Errors
/// [`Error::Forbidden`]; [`Error::NotFound`] when nobody has this name.
pub async fn password_link(db: &Db, public_url: &str, actor: Actor<'_>, name: &str, now_ms: i64) -> Result<Invited> {
    actor.require(db, Role::Administrator, "user.password_link", &format!("user/{}", shown(name)), now_ms).await?;
    let name = UserName::parse(name).ok_or(Error::NotFound)?;
    let mut tx = db.begin().await?;
    if !store::exists(&mut tx, &name).await? {
        return Err(Error::NotFound);
    }
    let link = Making { who: &actor.user.name, address: actor.address, act: "user.password_link", name, role: None };
    link.make(tx, public_url, now_ms).await
}

/// Invites an administrator from the portal's own machine, for the day on which no administrator can sign in any more: whoever can run
/// a command there with the portal's settings can read its database too.
///
/// # Errors
/// [`Error::Invalid`] when the name is not one or taken.
pub async fn invite_administrator(db: &Db, public_url: &str, name: &str, now_ms: i64) -> Result<Invited> {
    let new = NewInvitation { name: name.to_owned(), role: Role::Administrator };
    make_new(db, public_url, ("", ""), new, now_ms).await
}

async fn make_new(db: &Db, public_url: &str, (who, address): (&str, &str), new: NewInvitation, now_ms: i64) -> Result<Invited> {
    let name = UserName::parse(&new.name).ok_or_else(|| Error::Invalid(vec![name_problem("name")]))?;
    let mut tx = db.begin().await?;
    if store::exists(&mut tx, &name).await? {
        return Err(name_taken("name"));
    }
    Making { who, address, act: "user.invite", name, role: Some(new.role) }.make(tx, public_url, now_ms).await
}

/// A link that is being made.
struct Making<'a> {
    who: &'a str,
    address: &'a str,
    act: &'static str,
    name: UserName,
    role: Option<Role>,
}

impl Making<'_> {
    async fn make(self, mut tx: Tx, public_url: &str, now_ms: i64) -> Result<Invited> {
        let Self { who, address, act, name, role } = self;
        let (token, expires_at) = (Token::random(), now_ms + VALID_MS);
        store::replace_invitation(&mut tx, &token.hash(), &name, role, who, now_ms, expires_at).await?;
        let (target, detail) = (format!("user/{name}"), json!({ "role": role, "valid_until": expires_at }));
        audit::record(&mut tx, Entry { at: now_ms, who, address, act, target: &target, detail, result: Outcome::Done }).await?;
        tx.commit().await?;
        let link = format!("{}{}#{}", public_url.trim_end_matches('/'), Link::Invitation, token.reveal());
        Ok(Invited { name: name.to_string(), role, link, expires_at })
    }
}

/// Makes the invited person with their own password, or gives somebody who is there a new one, and begins their session; `before` is the session that the browser had.
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
    let (id, act) = match role {
        Some(role) => {
            let id = store::insert(&mut tx, &name, &kept, &[role], now_ms).await;
            (id.map_err(|error| if is_taken(&error) { not_good() } else { error.into() })?, "user.accept_invitation")
        }
        None => {
            let id = store::replace_password(&mut tx, &name, &kept).await?.ok_or_else(not_good)?;
            session::end_all(&mut tx, &id).await?;
            (id, "user.new_password")
        }
    };
    if let Some(before) = before {
        session::end(&mut tx, before).await?;
    }
    let session = session::start(&mut tx, &id, address, limits, now_ms).await?;
    store::note_sign_in(&mut tx, &id, now_ms).await?;
    let (who, target, detail) = (name.as_str(), format!("user/{name}"), json!({ "role": role }));
    audit::record(&mut tx, Entry { at: now_ms, who, address, act, target: &target, detail, result: Outcome::Done }).await?;
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
