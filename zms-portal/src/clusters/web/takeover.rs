//! Choosing what is taken over.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::super::takeover::{Choice, Preview};
use super::super::{Governed, takeover};
use super::Head;
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::error::{Error, Problem, Result};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::{self, Form, Path, Problems, Query};

#[derive(Template)]
#[template(path = "clusters/takeover.html")]
struct ChoosePage {
    chrome: Chrome,
    head: Head,
    /// Pattern and owner, and once somebody has sent the form, what they ticked.
    choice: Choice,
    /// Nobody has: everything that could be taken over is ticked.
    fresh: bool,
    /// What fits; a sentence when nothing is known of the cluster.
    preview: std::result::Result<Preview, String>,
    problems: Problems,
}

impl ChoosePage {
    fn is_ticked(&self, field: &str, name: &str) -> bool {
        let ticked = if field == "topic" { &self.choice.topics } else { &self.choice.groups };
        self.fresh || ticked.iter().any(|other| other == name)
    }
}

async fn show(app: &App, chrome: Chrome, head: Head, choice: Choice, problems: &[Problem]) -> Result<Response> {
    let fits = Choice { pattern: choice.pattern.clone(), ..Choice::default() };
    let preview = match takeover::preview(app, &head.cluster, &fits, now_ms()).await {
        Ok(preview) => Ok(preview),
        Err(Error::Unavailable(why)) => Err(why.say(chrome.m)),
        Err(error) => return Err(error),
    };
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let (fresh, problems) = (problems.is_empty(), Problems::new(problems, chrome.m));
    web::page_with(status, ChoosePage { chrome, head, choice, fresh, preview, problems })
}

pub(super) async fn choose(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
    Query(mut choice): Query<Choice>,
) -> Result<Response> {
    user.require(Role::Operator)?;
    let head = Head::load(&app, &chrome, &user, &name, "").await?;
    if choice.pattern.is_empty() {
        "*".clone_into(&mut choice.pattern);
    }
    if choice.owner.is_empty() {
        choice.owner.clone_from(&user.name);
    }
    show(&app, chrome, head, choice, &[]).await
}

pub(super) async fn begin(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response> {
    let actor = Actor { user: &user, address: &address.0 };
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let mut choice = Choice::default();
    let mut pattern = String::new();
    for (field, value) in fields {
        match field.as_str() {
            "topic" => choice.topics.push(value),
            "group" => choice.groups.push(value),
            "owner" => choice.owner = value,
            "pattern" => pattern = value,
            _ => {}
        }
    }
    // What is ticked counts, not what fits: the pattern only showed the page.
    match takeover::take_over(&app, actor, &environment, &name, &choice, now_ms()).await {
        Ok(flow) => Ok(web::see_other(Link::Flow(&flow))),
        Err(Error::Invalid(problems)) => {
            let head = Head::load(&app, &chrome, &user, &name, "").await?;
            let choice = Choice { pattern, ..choice };
            show(&app, chrome, head, choice, &problems).await
        }
        Err(error) => Err(error),
    }
}
