//! The frame around all slices: what every page and every answer has in common.
//!
//! [`messages`] texts in both languages · [`links`] addresses · [`chrome`] what every page knows · [`form`] what comes in · [`Problems`] what is wrong with it · [`list`] filter,
//! sort and page from the address · [`failure`] errors as pages and as `problem+json` · [`assets`] files · [`mod@layers`] headers and refusals ·
//! `docs` the page of the API.

pub mod assets;
pub mod chrome;
mod docs;
pub mod failure;
pub mod flash;
pub mod form;
pub mod layers;
pub mod links;
pub mod list;
pub mod messages;
mod preferences;
mod problems;
#[cfg(test)]
mod tests;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};

pub use form::{Form, Json, Path, Query};
pub use layers::layers;
pub use problems::Problems;

use crate::error::{Error, Result};

/// A page.
pub fn page(template: impl Template) -> Result<Response> {
    page_with(StatusCode::OK, template)
}

/// A page with another status: 422 for a form that is shown again.
pub fn page_with(status: StatusCode, template: impl Template) -> Result<Response> {
    let text = template.render().map_err(|error| Error::from(anyhow::Error::new(error).context("rendering a page")))?;
    Ok((status, Html(titled(text))).into_response())
}

/// Where the layout wants the page's name; it is written once, as the first heading.
const TITLE: &str = "<!--title-->";

/// Puts the text of the first heading into the title that the browser's tab shows.
fn titled(page: String) -> String {
    let heading = page.split_once("<h1>").and_then(|(_, rest)| rest.split_once("</h1>")).map(|(heading, _)| heading);
    let Some(heading) = heading else { return page };
    let mut text = String::new();
    let mut inside_tag = false;
    for character in heading.chars() {
        match character {
            '<' => inside_tag = true,
            '>' => inside_tag = false,
            _ if !inside_tag => text.push(character),
            _ => {}
        }
    }
    page.replacen(TITLE, &format!("{} · ", text.split_whitespace().collect::<Vec<_>>().join(" ")), 1)
}

/// After a form that succeeded: 303, so that a reload sends nothing again.
pub fn see_other(link: impl std::fmt::Display) -> Response {
    Redirect::to(&link.to_string()).into_response()
}

/// A number of many digits as people read it: `12.3 k`. What is not known is no number, so it is not written by this.
pub fn thousands(number: f64) -> String {
    let (mut number, mut name) = (number, "");
    for next in [" k", " M", " G"] {
        if number.abs() < 1000.0 {
            break;
        }
        (number, name) = (number / 1000.0, next);
    }
    let digits = if number.abs() >= 100.0 || number.fract() == 0.0 {
        0
    } else if number.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{number:.digits$}{name}")
}

/// A time for the element `<time datetime>`; the browser shows it in the reader's zone.
pub fn timestamp(ms: i64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let time = time::OffsetDateTime::from_unix_timestamp(ms.div_euclid(1_000)).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    time.format(format).unwrap_or_default()
}

include!(concat!(env!("OUT_DIR"), "/icons.rs"));
