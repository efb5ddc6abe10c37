//! The page of the audit, for operators.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::chain::{Break, Chain};
use super::{Outcome, Page, Row, store};
use crate::access::User;
use crate::app::App;
use crate::error::Result;
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::messages::Messages;
use crate::web::{Query, page, timestamp};

/// Pages of the audit.
pub fn pages() -> Router<App> {
    Router::new().route("/audit", get(audit))
}

#[derive(Template)]
#[template(path = "audit/list.html")]
struct AuditPage {
    chrome: Chrome,
    query: store::Query,
    found: Page,
    /// What a check found, if one was asked for.
    chain: Option<(bool, String)>,
}

/// Is the chain to be checked as well?
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Check {
    check: String,
}

async fn audit(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Query(query): Query<store::Query>,
    Query(check): Query<Check>,
) -> Result<Response> {
    let found = super::see(&app.db, &user, &query).await?;
    let chain = if check.check.is_empty() { None } else { Some(super::check(&app.db, &user).await?) };
    let chain = chain.map(|chain| (chain.broken.is_none(), sentence(&chain, chrome.m)));
    page(AuditPage { chrome, query, found, chain })
}

fn sentence(chain: &Chain, m: Messages) -> String {
    match &chain.broken {
        None if chain.rows == 0 => m.audit_chain_empty().to_owned(),
        None => m.audit_chain_whole(chain.rows, &chain.last, &chain.hash),
        Some(broken) => match broken.why {
            Break::Changed => m.audit_chain_changed(&broken.at, chain.rows),
            Break::Missing => m.audit_chain_missing(&broken.at, chain.rows),
            Break::NotClosed => m.audit_chain_not_closed(&broken.at, chain.rows),
        },
    }
}

impl Outcome {
    /// For people.
    fn text(self, m: &Messages) -> &'static str {
        match self {
            Self::Done => m.audit_result_done(),
            Self::Denied => m.audit_result_denied(),
            Self::Failed => m.audit_result_failed(),
        }
    }
}

impl Row {
    /// As the `<time>` element takes it.
    fn time(&self) -> String {
        timestamp(self.at)
    }

    /// The person, for people.
    fn person<'a>(&'a self, m: &Messages) -> &'a str {
        if self.who.is_empty() { m.audit_portal() } else { &self.who }
    }
}
