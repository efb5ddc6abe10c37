//! What administrators see of others.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use crate::access::session::Limits;
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::error::{Error, Result};
use crate::users::{self, Invited, NewInvitation, Person, UserChange};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::list::{self, List, ListQuery, Rows};
use crate::web::{self, Form, Path, Problems, Query, timestamp};

/// What the list can be sorted by.
const SORTS: [&str; 3] = ["name", "signed_in", "created"];

#[derive(Template)]
#[template(path = "users/people.html")]
struct PeoplePage {
    chrome: Chrome,
    list: List,
    people: Rows<Person>,
    /// What was typed into the form of the invitation.
    name: String,
    role: Role,
    problems: Problems,
}

impl PeoplePage {
    async fn load(chrome: Chrome, app: &App, user: &User, query: &ListQuery) -> Result<Self> {
        let list = List::new(query, &SORTS);
        let people = users::list(&app.db, user, Limits::of(&app.config), now_ms()).await?;
        let people = list.apply(
            people,
            |person| format!("{} {}", person.name, roles(person)),
            |key, a, b| match key {
                "signed_in" => a.signed_in_at.cmp(&b.signed_in_at),
                "created" => a.created_at.cmp(&b.created_at),
                _ => a.name.cmp(&b.name),
            },
        );
        Ok(Self { chrome, list, people, name: String::new(), role: Role::Developer, problems: Problems::default() })
    }

    fn is_me(&self, person: &Person) -> bool {
        self.chrome.user.as_ref().is_some_and(|user| user.name == person.name)
    }
}

impl Person {
    /// As `<time>` takes it.
    fn signed_in(&self) -> Option<String> {
        self.signed_in_at.map(timestamp)
    }

    /// As `<time>` takes it.
    fn created(&self) -> String {
        timestamp(self.created_at)
    }

    fn has_sessions(&self) -> bool {
        self.sessions > 0
    }
}

/// As the CSV has them.
fn roles(person: &Person) -> String {
    person.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" ")
}

pub(super) async fn list(chrome: Chrome, user: User, State(app): State<App>, Query(query): Query<ListQuery>) -> Result<Response> {
    let page = PeoplePage::load(chrome, &app, &user, &query).await?;
    if !page.list.csv {
        return web::page(page);
    }
    let mut text = list::csv_row(["name", "roles", "disabled", "signed_in_at", "created_at"]);
    for person in &page.people.rows {
        let signed_in = person.signed_in().unwrap_or_default();
        let disabled = if person.disabled { "yes" } else { "no" };
        text.push_str(&list::csv_row([person.name.as_str(), &roles(person), disabled, &signed_in, &person.created()]));
    }
    Ok(list::csv("users", text))
}

#[derive(Template)]
#[template(path = "users/invited.html")]
struct InvitedPage {
    chrome: Chrome,
    invited: Invited,
}

#[derive(Deserialize)]
pub(super) struct InviteForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    role: String,
}

/// The link is in the answer itself: nothing keeps it for a page after a redirect.
pub(super) async fn invite(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Form(InviteForm { name, role }): Form<InviteForm>,
) -> Result<Response> {
    let role: Role = role.parse().map_err(|_| Error::invalid("role", |m| m.users_no_role().to_owned()))?;
    let actor = Actor { user: &user, address: &address.0 };
    let new = NewInvitation { name: name.clone(), role };
    match users::invite(&app.db, &app.config.public_url, actor, new, now_ms()).await {
        Ok(invited) => web::page(InvitedPage { chrome, invited }),
        Err(error) => {
            let (status, problems) = Problems::of_error(error, chrome.m)?;
            let page = PeoplePage::load(chrome, &app, &user, &ListQuery::default()).await?;
            web::page_with(status, PeoplePage { name, role, problems, ..page })
        }
    }
}

/// One of the buttons beside a person. The roles are as many fields as are ticked.
pub(super) async fn change(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path(name): Path<String>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response> {
    let act = fields.iter().find(|(field, _)| field == "act").map(|(_, act)| act.as_str()).unwrap_or_default();
    let change = match act {
        "roles" => {
            let ticked = fields.iter().filter(|(field, _)| field == "role").filter_map(|(_, role)| role.parse().ok());
            UserChange { roles: Some(ticked.collect()), ..UserChange::default() }
        }
        "disable" => UserChange { disabled: Some(true), ..UserChange::default() },
        "enable" => UserChange { disabled: Some(false), ..UserChange::default() },
        "password_link" => {
            let actor = Actor { user: &user, address: &address.0 };
            let invited = users::password_link(&app.db, &app.config.public_url, actor, &name, now_ms()).await?;
            return web::page(InvitedPage { chrome, invited });
        }
        "end_sessions" => UserChange { end_sessions: true, ..UserChange::default() },
        _ => return Err(Error::invalid("act", |m| m.users_act_unknown().to_owned())),
    };
    match users::change(&app.db, Actor { user: &user, address: &address.0 }, &name, change, now_ms()).await {
        Ok(()) => Ok(web::flash::with(web::see_other(Link::Users), &chrome.m.users_changed(&name))),
        Err(error) => {
            let (status, problems) = Problems::of_error(error, chrome.m)?;
            let page = PeoplePage::load(chrome, &app, &user, &ListQuery::default()).await?;
            web::page_with(status, PeoplePage { problems, ..page })
        }
    }
}
