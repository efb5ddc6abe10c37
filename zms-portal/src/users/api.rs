//! People and sessions over REST.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Acceptance, Credentials, Invited, NewInvitation, NewUser, PasswordChange, Person, UserChange};
use crate::access::session::{self, Limits};
use crate::access::throttle::Throttle;
use crate::access::{Actor, Address, Role, User, Visitor};
use crate::app::{App, now_ms};
use crate::error::Result;
use crate::web::{Json, Path};

/// Operations on people and sessions.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_session, begin_session, end_session))
        .routes(routes!(change_own_password))
        .routes(routes!(list_users, create_user))
        .routes(routes!(get_user, change_user))
        .routes(routes!(invite_user))
        .routes(routes!(make_password_link))
        .routes(routes!(accept_invitation))
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
struct Myself {
    /// The user name.
    name: String,
    /// What I may do.
    roles: Vec<Role>,
    /// `en`, `zh`, or empty: the browser's.
    language: String,
}

/// Tells who is signed in.
#[utoipa::path(get, path = "/session", tag = "session",
    responses((status = 200, description = "Who I am", body = Myself), (status = 401, description = "Nobody is signed in")))]
async fn get_session(user: User) -> Json<Myself> {
    Json(Myself { name: user.name, roles: user.roles, language: user.language })
}

/// Signs in. Every refusal of name or password reads alike.
#[utoipa::path(post, path = "/session", tag = "session", request_body = Credentials,
    responses((status = 204, description = "Signed in; the cookie __Host-zms is the session"), (status = 422, description = "Name or password is wrong"),
        (status = 429, description = "Too many tries")))]
async fn begin_session(
    address: Address,
    State(app): State<App>,
    headers: HeaderMap,
    Json(credentials): Json<Credentials>,
) -> Result<(StatusCode, HeaderMap)> {
    let throttle = Throttle::open(&app).await?;
    let before = session::cookie_of(&headers);
    let token =
        super::sign_in(&app.db, &throttle, Limits::of(&app.config), credentials, before.as_ref(), &address.0, now_ms()).await?;
    Ok((StatusCode::NO_CONTENT, with_cookie(&token)))
}

/// Signs out.
#[utoipa::path(delete, path = "/session", tag = "session", responses((status = 204, description = "The session has ended")))]
async fn end_session(
    Visitor(user): Visitor,
    address: Address,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<(StatusCode, HeaderMap)> {
    if let Some(token) = session::cookie_of(&headers) {
        super::sign_out(&app.db, user.as_ref(), &token, &address.0, now_ms()).await?;
    }
    let mut answer = HeaderMap::new();
    session::clear_cookie(&mut answer);
    Ok((StatusCode::NO_CONTENT, answer))
}

/// Changes one's own password and ends one's other sessions.
#[utoipa::path(put, path = "/session/password", tag = "session", request_body = PasswordChange,
    responses((status = 204, description = "Changed; the cookie is a new one"), (status = 422, description = "The present or the new password is not right"),
        (status = 429, description = "Too many tries")))]
async fn change_own_password(
    user: User,
    address: Address,
    State(app): State<App>,
    Json(change): Json<PasswordChange>,
) -> Result<(StatusCode, HeaderMap)> {
    let actor = Actor { user: &user, address: &address.0 };
    let throttle = Throttle::open(&app).await?;
    let token = super::change_password(&app.db, &throttle, Limits::of(&app.config), actor, change, now_ms()).await?;
    Ok((StatusCode::NO_CONTENT, with_cookie(&token)))
}

/// Everybody.
#[derive(Debug, Serialize, ToSchema)]
struct People {
    /// By name.
    items: Vec<Person>,
}

/// Lists people; for administrators.
#[utoipa::path(get, path = "/users", tag = "users",
    responses((status = 200, description = "Everybody, by name", body = People), (status = 403, description = "Administrators only")))]
async fn list_users(user: User, State(app): State<App>) -> Result<Json<People>> {
    Ok(Json(People { items: super::list(&app.db, &user, Limits::of(&app.config), now_ms()).await? }))
}

/// Makes a person with a password, for scripts; people are invited. For administrators.
#[utoipa::path(post, path = "/users", tag = "users", request_body = NewUser,
    responses((status = 201, description = "Made", body = Person), (status = 403, description = "Administrators only"),
        (status = 422, description = "Name, password or roles are not right")))]
async fn create_user(
    user: User,
    address: Address,
    State(app): State<App>,
    Json(new): Json<NewUser>,
) -> Result<(StatusCode, Json<Person>)> {
    let actor = Actor { user: &user, address: &address.0 };
    let name = new.name.trim().to_lowercase();
    super::create(&app.db, actor, new, now_ms()).await?;
    let made = super::find(&app.db, &user, &name, Limits::of(&app.config), now_ms()).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// One person; for administrators.
#[utoipa::path(get, path = "/users/{name}", tag = "users", params(("name" = String, Path, description = "The user name", example = "grace")),
    responses((status = 200, description = "The person", body = Person), (status = 404, description = "Nobody has this name")))]
async fn get_user(user: User, State(app): State<App>, Path(name): Path<String>) -> Result<Json<Person>> {
    Ok(Json(super::find(&app.db, &user, &name, Limits::of(&app.config), now_ms()).await?))
}

/// Changes roles, disables or enables, ends sessions; for administrators.
#[utoipa::path(patch, path = "/users/{name}", tag = "users", params(("name" = String, Path, description = "The user name", example = "grace")), request_body = UserChange,
    responses((status = 204, description = "Changed"), (status = 403, description = "Administrators only"), (status = 404, description = "Nobody has this name"),
        (status = 409, description = "The last administrator stays one")))]
async fn change_user(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(name): Path<String>,
    Json(change): Json<UserChange>,
) -> Result<StatusCode> {
    super::change(&app.db, Actor { user: &user, address: &address.0 }, &name, change, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Invites a person; for administrators. The link is told once.
#[utoipa::path(post, path = "/invitations", tag = "users", request_body = NewInvitation,
    responses((status = 201, description = "Invited", body = Invited), (status = 403, description = "Administrators only"),
        (status = 422, description = "The name is not one, or taken")))]
async fn invite_user(
    user: User,
    address: Address,
    State(app): State<App>,
    Json(new): Json<NewInvitation>,
) -> Result<(StatusCode, Json<Invited>)> {
    let actor = Actor { user: &user, address: &address.0 };
    Ok((StatusCode::CREATED, Json(super::invite(&app.db, &app.config.public_url, actor, new, now_ms()).await?)))
}

/// Makes a link with which a person sets a new password; for administrators. It is told once; roles stay.
#[utoipa::path(post, path = "/users/{name}/password-link", tag = "users", params(("name" = String, Path, description = "The user name", example = "grace")),
    responses((status = 201, description = "Made", body = Invited), (status = 403, description = "Administrators only"),
        (status = 404, description = "Nobody has this name")))]
async fn make_password_link(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<(StatusCode, Json<Invited>)> {
    let actor = Actor { user: &user, address: &address.0 };
    Ok((StatusCode::CREATED, Json(super::password_link(&app.db, &app.config.public_url, actor, &name, now_ms()).await?)))
}

/// Sets the password of an invited person or a new one of somebody who forgot theirs, and signs in.
#[utoipa::path(post, path = "/invitations/accept", tag = "users", request_body = Acceptance,
    responses((status = 204, description = "Accepted; the cookie __Host-zms is the session"), (status = 422, description = "Invitation or password is not right"),
        (status = 429, description = "Too many tries")))]
async fn accept_invitation(
    address: Address,
    State(app): State<App>,
    headers: HeaderMap,
    Json(acceptance): Json<Acceptance>,
) -> Result<(StatusCode, HeaderMap)> {
    let throttle = Throttle::open(&app).await?;
    let before = session::cookie_of(&headers);
    let token =
        super::accept(&app.db, &throttle, Limits::of(&app.config), acceptance, before.as_ref(), &address.0, now_ms()).await?;
    Ok((StatusCode::NO_CONTENT, with_cookie(&token)))
}

fn with_cookie(token: &crate::access::token::Token) -> HeaderMap {
    let mut headers = HeaderMap::new();
    session::set_cookie(&mut headers, token);
    headers
}
