//! People for tests.

use super::store;
use crate::access::name::UserName;
use crate::access::{Role, User};
use crate::db::Db;

/// Adds a person who cannot sign in, and gives their id.
pub async fn add(db: &Db, name: &str, roles: &[Role]) -> String {
    add_with(db, name, "no password", roles).await
}

/// Adds a person with this kept password.
pub async fn add_with(db: &Db, name: &str, kept: &str, roles: &[Role]) -> String {
    let mut tx = db.begin().await.unwrap();
    let id = store::insert(&mut tx, &UserName::parse(name).unwrap(), kept, roles, 1).await.unwrap();
    tx.commit().await.unwrap();
    id
}

/// Adds a person and gives them as if signed in.
pub async fn user(db: &Db, name: &str, roles: &[Role]) -> User {
    User { id: add(db, name, roles).await, name: name.to_owned(), roles: roles.to_vec(), language: String::new() }
}
