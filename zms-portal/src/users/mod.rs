//! People: they sign in and out, administrators invite them and decide what they may do.
//!
//! 1. `sign_in` sign-in and sign-out.
//! 2. `invitation` an administrator invites, the person sets their own password.
//! 3. `change` what administrators do to others · `account` what everybody does to themselves.
//! 4. `web` pages, `api` REST, `store` SQL.

mod account;
mod api;
mod change;
mod invitation;
mod sign_in;
mod store;
#[cfg(test)]
pub mod test_support;
#[cfg(test)]
mod tests;
mod web;

use serde::Serialize;
use serde_json::{Value, json};

pub use account::{PasswordChange, change_password, set_language};
pub use api::api;
pub use change::{NewUser, UserChange, change, create, find, list};
pub use invitation::{Acceptance, Invited, NewInvitation, accept, invite, invite_administrator, password_link};
pub use sign_in::{Credentials, sign_in, sign_out};
pub use store::{insert, note_sign_in};
pub use web::pages;

use crate::access::Role;
use crate::error::{Error, Problem};

/// A person as administrators see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Person {
    /// What they sign in with.
    pub name: String,
    /// What they may do.
    pub roles: Vec<Role>,
    /// May not sign in.
    pub disabled: bool,
    /// When they signed in last, milliseconds since 1970.
    pub signed_in_at: Option<i64>,
    /// When they were made, milliseconds since 1970.
    pub created_at: i64,
    /// Sessions that have not ended.
    pub sessions: i64,
}

/// What a name must be.
pub fn name_problem(field: &str) -> Problem {
    Problem::new(field, |m| m.users_name_wrong().to_owned())
}

/// Somebody has the name.
pub fn name_taken(field: &str) -> Error {
    Error::invalid(field, |m| m.users_name_taken().to_owned())
}

fn roles_json(roles: &[Role]) -> Value {
    json!(roles.iter().map(|role| role.as_str()).collect::<Vec<_>>())
}
