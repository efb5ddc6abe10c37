//! The page of the API, made from the same description that `/api/v1/openapi.json` gives.

mod call;
mod example;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use serde_json::Value;
use utoipa::openapi::{OpenApi, Server};

use self::call::Call;
use super::chrome::Chrome;
use super::links::Link;
use crate::access::User;
use crate::app::App;
use crate::error::Result;

/// Where the API begins.
const PREFIX: &str = "/api/v1";

/// In the order in which people use them.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The description of the API, as JSON.
#[derive(Debug, Clone)]
pub(super) struct Description(Arc<Value>);

impl Description {
    /// With the name, version and prefix that clients need.
    pub fn new(mut document: OpenApi) -> Self {
        "ZMS".clone_into(&mut document.info.title);
        env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
        document.servers = Some(vec![Server::new(PREFIX)]);
        Self(Arc::new(serde_json::to_value(document).expect("a description is JSON")))
    }
}

/// `/api/v1/openapi.json`.
pub(super) async fn json(State(description): State<Description>) -> Json<Value> {
    Json(Value::clone(&description.0))
}

#[derive(Template)]
#[template(path = "web/api.html")]
struct ApiPage {
    chrome: Chrome,
    sign_in: String,
    groups: Vec<Group>,
}

struct Group {
    name: String,
    operations: Vec<Operation>,
}

struct Operation {
    /// For links into the page.
    id: String,
    method: String,
    path: String,
    summary: String,
    about: String,
    parameters: Vec<Parameter>,
    /// Empty if it takes none.
    body: String,
    curl: String,
    answers: Vec<(String, String)>,
}

struct Parameter {
    name: String,
    place: String,
    required: bool,
    about: String,
}

/// `/docs/api`.
pub(super) async fn page(
    chrome: Chrome,
    _user: User,
    State(app): State<App>,
    Extension(description): Extension<Description>,
) -> Result<Response> {
    let base = format!("{}{PREFIX}", app.config.public_url.trim_end_matches('/'));
    let credentials = r#"{"name": "ada", "password": "…"}"#;
    let sign_in = call::curl("post", &format!("{base}/session"), credentials).replacen("curl -b", "curl -c", 1);
    super::page(ApiPage { chrome, sign_in, groups: groups(&description.0, &base) })
}

/// Operations by tag, or by the first part of their path.
fn groups(document: &Value, base: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            let Some(operation) = item.get(method) else { continue };
            let of_path = path.split('/').nth(1).unwrap_or_default();
            let name = operation["tags"][0].as_str().unwrap_or(of_path).to_owned();
            let operation = describe(document, base, method, path, operation);
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.operations.push(operation),
                None => groups.push(Group { name, operations: vec![operation] }),
            }
        }
    }
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}

fn describe(document: &Value, base: &str, method: &str, path: &str, operation: &Value) -> Operation {
    let text = |value: &Value| value.as_str().unwrap_or_default().trim().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let parameter = |given: &Value| Parameter {
        name: text(&given["name"]),
        place: text(&given["in"]),
        required: given["required"] == true,
        about: text(&given["description"]),
    };
    let call = Call::of(document, method, path, operation);
    let answers = operation["responses"].as_object().into_iter().flatten();
    Operation {
        id: operation["operationId"]
            .as_str()
            .map_or_else(|| format!("{method}{}", path.replace(['/', '{', '}'], "-")), str::to_owned),
        method: method.to_uppercase(),
        path: format!("{PREFIX}{path}"),
        summary: text(&operation["summary"]),
        about: text(&operation["description"]),
        parameters: list(&operation["parameters"]).iter().map(parameter).collect(),
        curl: call.curl(base),
        body: call.body,
        answers: answers.map(|(status, answer)| (status.clone(), text(&answer["description"]))).collect(),
    }
}
