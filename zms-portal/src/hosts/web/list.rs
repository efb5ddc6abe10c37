//! All hosts of an environment.

use std::cmp::Ordering;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::super::row::{HostRow, HostStatus};
use super::environment;
use crate::access::{Role, User};
use crate::app::{App, now_ms};
use crate::error::Result;
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::list::{List, ListQuery, csv, csv_row};
use crate::web::messages::Messages;
use crate::web::{self, Query, timestamp};

/// What can be sorted by; the first is the default.
const KEYS: [&str; 10] = ["name", "address", "status", "os", "cpus", "memory", "disk", "agent", "seen", "instances"];

#[derive(Template)]
#[template(path = "hosts/list.html")]
struct ListPage {
    chrome: Chrome,
    env: String,
    operator: bool,
    rows: Rows,
}

/// The part that refreshes itself.
#[derive(Template)]
#[template(path = "hosts/rows.html")]
struct Rows {
    m: Messages,
    env: String,
    operator: bool,
    list: List,
    rows: web::list::Rows<Line>,
}

struct Line {
    host: HostRow,
    status: HostStatus,
}

pub(super) async fn page(chrome: Chrome, user: User, State(app): State<App>, Query(query): Query<ListQuery>) -> Result<Response> {
    let rows = load(&chrome, &user, &app, &query).await?;
    if rows.list.csv {
        return Ok(csv(&format!("hosts-{}", rows.env), table(&rows.rows.rows, chrome.m)));
    }
    web::page(ListPage { env: rows.env.clone(), operator: rows.operator, chrome, rows })
}

pub(super) async fn rows(chrome: Chrome, user: User, State(app): State<App>, Query(query): Query<ListQuery>) -> Result<Response> {
    web::page(load(&chrome, &user, &app, &query).await?)
}

async fn load(chrome: &Chrome, user: &User, app: &App, query: &ListQuery) -> Result<Rows> {
    user.require(Role::Viewer)?;
    let (environment, list, now, m) = (environment(chrome)?, List::new(query, &KEYS), now_ms(), chrome.m);
    let hosts = super::super::list(&app.db, &environment.id).await?;
    let lines = hosts.into_iter().map(|host| Line { status: host.status(now), host }).collect();
    let text = |line: &Line| {
        let HostRow { name, address, facts, .. } = &line.host;
        let addresses = facts.addresses.join(" ");
        format!(
            "{name} {address} {addresses} {} {} {} {}",
            facts.hostname,
            facts.os,
            line.host.agent_version(),
            line.status.text(m)
        )
    };
    Ok(Rows { m, env: environment.name, operator: user.may(Role::Operator), rows: list.apply(lines, text, compare), list })
}

fn compare(key: &str, a: &Line, b: &Line) -> Ordering {
    let by = match key {
        "address" => a.host.address.cmp(&b.host.address),
        "status" => a.status.cmp(&b.status),
        "os" => a.host.facts.os.cmp(&b.host.facts.os),
        "cpus" => a.host.facts.cpus.cmp(&b.host.facts.cpus),
        "memory" => a.host.facts.memory_mib.cmp(&b.host.facts.memory_mib),
        "disk" => a.host.facts.disk_free_mib.cmp(&b.host.facts.disk_free_mib),
        "agent" => a.host.agent_version().cmp(b.host.agent_version()),
        "seen" => a.host.seen_at.cmp(&b.host.seen_at),
        "instances" => a.host.instances().1.cmp(&b.host.instances().1),
        _ => Ordering::Equal,
    };
    by.then_with(|| natural(&a.host.name, &b.host.name))
}

/// `web-2` before `web-10`.
fn natural(a: &str, b: &str) -> Ordering {
    let split = |text: &str| {
        let end = text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        (text[..end].to_owned(), text[end..].parse::<u64>().unwrap_or_default())
    };
    split(a).cmp(&split(b)).then_with(|| a.cmp(b))
}

fn table(lines: &[Line], m: Messages) -> String {
    let head = [
        "id",
        "name",
        "address",
        "status",
        "os",
        "cpus",
        "memory_mib",
        "disk_free_mib",
        "disk_mib",
        "agent_version",
        "seen_at",
        "instances_done",
        "instances",
    ];
    let mut text = csv_row(head);
    for Line { host, status } in lines {
        let (done, all) = host.instances();
        let facts = &host.facts;
        let numbers =
            [u64::from(facts.cpus), facts.memory_mib, facts.disk_free_mib, facts.disk_mib].map(|number| number.to_string());
        let (seen, done, all) = (host.seen_at.map(timestamp).unwrap_or_default(), done.to_string(), all.to_string());
        let mut row = vec![host.id.as_str(), &host.name, &host.address, status.text(m), &facts.os];
        row.extend(numbers.iter().map(String::as_str));
        row.extend([host.agent_version(), &seen, &done, &all]);
        text.push_str(&csv_row(row));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_numbers_are_in_the_order_that_people_expect() {
        let mut names = ["web-10", "web-2", "db-1", "web", "web-1"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["db-1", "web", "web-1", "web-2", "web-10"]);
    }
}
