//! A request made of the examples of a description, so that it can be sent as it stands.

use serde_json::Value;

use super::example;
use crate::web::form::encode;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// In small letters.
    pub method: String,
    /// Below the prefix, with the query. A parameter of the path that has no example stays in braces.
    pub path: String,
    /// Empty if it takes none.
    pub body: String,
}

impl Call {
    /// Of an operation. Parameters of the query are there if they have an example.
    pub fn of(document: &Value, method: &str, path: &str, operation: &Value) -> Self {
        let (mut path, mut query) = (path.to_owned(), String::new());
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let (Some(name), Some(value)) = (parameter["name"].as_str(), example::of_parameter(parameter)) else { continue };
            if parameter["in"] == "path" {
                path = path.replace(&format!("{{{name}}}"), &encode(&value));
            } else if parameter["in"] == "query" {
                query.push(if query.is_empty() { '?' } else { '&' });
                query.push_str(&format!("{}={}", encode(name), encode(&value)));
            }
        }
        let body = example::of_content(document, &operation["requestBody"]["content"]["application/json"]);
        let body = body.map(|body| serde_json::to_string_pretty(&body).expect("JSON is text")).unwrap_or_default();
        Self { method: method.to_owned(), path: path + &query, body }
    }

    /// A line for a terminal.
    pub fn curl(&self, base: &str) -> String {
        curl(&self.method, &format!("{base}{}", self.path), &self.body)
    }
}

/// A line for a terminal. The cookies are those that the sign-in kept.
pub(super) fn curl(method: &str, url: &str, body: &str) -> String {
    let mut line = "curl -b zms.cookies".to_owned();
    if method != "get" {
        line.push_str(&format!(" -X {} -H 'Content-Type: application/json'", method.to_uppercase()));
    }
    if !body.is_empty() {
        line.push_str(&format!(" -d '{}'", body.replace('\'', r"'\''")));
    }
    format!("{line} '{}'", url.replace('\'', "%27"))
}
