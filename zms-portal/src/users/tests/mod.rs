//! The use cases on a real database: `sign_in` `invitation` `people` `account`; `http`: pages and API with all layers around them;
//! `several`: the same behind a load balancer.

mod account;
mod http;
mod invitation;
mod people;
mod several;
mod sign_in;

use super::test_support::{add, add_with, user};
use super::*;
use crate::access::session::{self, Limits};
use crate::access::throttle::Throttle;
use crate::access::token::Token;
use crate::access::{Actor, User, password};
use crate::audit;
use crate::db::Db;
use crate::error::Result;
use crate::web::messages::Messages;

const NOW: i64 = 1_795_000_000_000;
const MINUTE: i64 = 60_000;
const LIMITS: Limits = Limits { idle_ms: 30 * MINUTE, absolute_ms: 12 * 60 * MINUTE };
const ADDRESS: &str = "192.0.2.1";
const PASSWORD: &str = "correct horse battery";
const URL: &str = "https://zms.example:8443/";

fn throttle() -> Throttle {
    Throttle::new(b"test")
}

async fn person(db: &Db, name: &str, roles: &[Role]) -> User {
    let kept = password::hash(PASSWORD).await.unwrap();
    User { id: add_with(db, name, &kept, roles).await, name: name.to_owned(), roles: roles.to_vec(), language: String::new() }
}

fn acting(user: &User) -> Actor<'_> {
    Actor { user, address: ADDRESS }
}

async fn enter(db: &Db, name: &str, password: &str, before: Option<&Token>, now: i64) -> Result<Token> {
    let credentials = Credentials { name: name.to_owned(), password: password.to_owned() };
    sign_in(db, &throttle(), LIMITS, credentials, before, ADDRESS, now).await
}

async fn refused(db: &Db, name: &str, password: &str) {
    assert!(enter(db, name, password, None, NOW).await.is_err());
}

async fn who(db: &Db, token: &Token, now: i64) -> Option<String> {
    session::find(db, token, LIMITS, now).await.unwrap().map(|session| session.user.name)
}

/// Kind, fields and sentences of a refusal.
fn said<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(Error::Invalid(problems)) => {
            problems.iter().map(|problem| format!("{}: {}", problem.field, problem.text.say(Messages::ENGLISH))).collect()
        }
        Err(Error::TooMany(text)) => format!("too many: {}", text.say(Messages::ENGLISH)),
        Err(Error::Conflict(text)) => format!("conflict: {}", text.say(Messages::ENGLISH)),
        Err(other) => format!("{other:?}"),
    }
}

async fn audited(db: &Db) -> Vec<String> {
    let page = audit::list(db, &audit::Query { limit: 500, ..audit::Query::default() }).await.unwrap();
    page.items
        .into_iter()
        .rev()
        .map(|row| format!("{} {} {} {} {}", row.who, row.act, row.target, row.result, row.detail))
        .collect()
}
