//! The page of packages.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};

use super::{PackageView, version};
use crate::access::{Role, User};
use crate::app::App;
use crate::error::Result;
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::list::{self, List, ListQuery, Rows};
use crate::web::{self, Query};

/// Pages.
pub fn pages() -> Router<App> {
    Router::new().route("/packages", get(page)).route("/packages/rescan", post(rescan))
}

const SORTED_BY: [&str; 4] = ["name", "kind", "size", "used"];

#[derive(Template)]
#[template(path = "packages/list.html")]
struct PackagesPage {
    chrome: Chrome,
    folder: String,
    list: List,
    rows: Rows<PackageView>,
    broken: Vec<super::Broken>,
    operator: bool,
}

async fn page(chrome: Chrome, user: User, State(app): State<App>, Query(query): Query<ListQuery>) -> Result<Response> {
    user.require(Role::Viewer)?;
    let list = List::new(&query, &SORTED_BY);
    let text = |item: &PackageView| format!("{} {} {} {} {}", item.name, item.version, item.kind, item.licence, item.arch);
    let rows = list.apply(super::views(&app).await?, text, |key, a, b| {
        let by_name = || a.name.cmp(&b.name).then_with(|| version::compare(&b.version, &a.version));
        match key {
            "size" => a.size.cmp(&b.size).then_with(by_name),
            "kind" => a.kind.cmp(&b.kind).then_with(by_name),
            "used" => a.used_by.len().cmp(&b.used_by.len()).then_with(by_name),
            _ => by_name(),
        }
    });
    if list.csv {
        return Ok(csv(&rows.rows));
    }
    let folder = app.stock.folder().display().to_string();
    let operator = user.may(Role::Operator);
    web::page(PackagesPage { chrome, folder, list, rows, broken: app.stock.list().broken.clone(), operator })
}

async fn rescan(user: User, State(app): State<App>) -> Result<Response> {
    user.require(Role::Operator)?;
    app.stock.rescan().await?;
    Ok(web::see_other(Link::Packages))
}

fn csv(packages: &[PackageView]) -> Response {
    let mut text = list::csv_row(["name", "version", "kind", "licence", "arch", "size", "sha512", "state", "used by"]);
    for package in packages {
        let used: Vec<String> = package.used_by.iter().map(|used| format!("{}/{}", used.environment, used.service)).collect();
        let PackageView { name, version, kind, licence, arch, sha512, state, .. } = package;
        text.push_str(&list::csv_row(
            [name, version, kind, licence, arch, &package.size.to_string(), sha512, state, &used.join(" ")].map(String::as_str),
        ));
    }
    list::csv("packages", text)
}
