//! Pages of people: `sign_in` · `invitation` · `people` (administrators) · `account`; `problems` what a form shows again.

mod account;
mod invitation;
mod people;
mod sign_in;

use axum::Router;
use axum::routing::{get, post};

use crate::app::App;
use crate::web::links::Link;

/// Pages.
pub fn pages() -> Router<App> {
    Router::new()
        .route(&Link::SignIn.to_string(), get(sign_in::show).post(sign_in::sign_in))
        .route(&Link::SignOut.to_string(), post(sign_in::sign_out))
        .route(&Link::Invitation.to_string(), get(invitation::show).post(invitation::accept))
        .route(&Link::Users.to_string(), get(people::list).post(people::invite))
        .route(&format!("{}/{{name}}", Link::Users), post(people::change))
        .route(&Link::Account.to_string(), get(account::show))
        .route(&format!("{}/password", Link::Account), post(account::change_password))
        .route(&format!("{}/language", Link::Account), post(account::choose_language))
}
