//! Sorts what InfluxDB answers: the one place that looks at its status codes and texts.
//!
//! 1.x says `{"error":…}`, 2.x `{"message":…}`, and a failed statement is a 200 with the error inside. What has neither comes from
//! something else at this address: then a 400 must not make us throw points away.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::MetricError;

/// What came back, whoever sent it.
pub(super) struct Reply {
    pub status: u16,
    pub after: Option<Duration>,
    pub body: Vec<u8>,
}

/// A table of an answer: one series, or a list of names.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Row {
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub columns: Vec<String>,
    #[serde(default)]
    pub values: Vec<Vec<Value>>,
    #[serde(default)]
    pub partial: bool,
}

impl Row {
    /// Its lines by the names of their columns: versions differ in which there are.
    pub(super) fn records(&self) -> impl Iterator<Item = BTreeMap<&str, &Value>> {
        self.values.iter().map(|values| self.columns.iter().map(String::as_str).zip(values).collect())
    }
}

#[derive(Deserialize)]
struct Statement {
    #[serde(default)]
    series: Vec<Row>,
    error: Option<String>,
    #[serde(default)]
    partial: bool,
}

#[derive(Deserialize)]
struct Answer {
    results: Option<Vec<Statement>>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    error: Option<String>,
    message: Option<String>,
}

/// Of a write.
pub(super) fn written(what: &str, reply: &Reply) -> Result<(), MetricError> {
    if reply.status == 204 { Ok(()) } else { Err(refusal(what, reply)) }
}

/// Of a query.
pub(super) fn asked(what: &str, reply: &Reply) -> Result<Vec<Row>, MetricError> {
    if reply.status != 200 {
        return Err(refusal(what, reply));
    }
    let stranger = || MetricError::Answer { why: format!("{what}: status 200, but no results in it") };
    let answer: Answer = serde_json::from_slice(&reply.body).map_err(|_| stranger())?;
    if let Some(error) = answer.error {
        return Err(failed(what, &error));
    }
    let mut rows = Vec::new();
    for statement in answer.results.ok_or_else(stranger)? {
        if let Some(error) = statement.error {
            return Err(failed(what, &error));
        }
        if statement.partial || statement.series.iter().any(|row| row.partial) {
            return Err(MetricError::TooLarge);
        }
        rows.extend(statement.series);
    }
    Ok(rows)
}

fn refusal(what: &str, reply: &Reply) -> MetricError {
    let (said, after) = (said(&reply.body), reply.after);
    let why = said.as_deref().map_or_else(|| format!("status {}", reply.status), short);
    let has = |part: &str| said.as_ref().is_some_and(|said| said.contains(part));
    match reply.status {
        401 | 403 => MetricError::Denied { what: what.to_owned(), why },
        413 => MetricError::TooLarge,
        408 | 429 => MetricError::Passing { why, after },
        400 | 422 if has("partial write") => MetricError::Partial { dropped: said.as_deref().map_or(0, dropped), why },
        400..500 if has("queue length exceeded") => MetricError::Passing { why, after },
        // 2.x, of a database that is not there or that this user may not see.
        404 if has("dbrp mapping") => MetricError::Missing { what: format!("the database, or a bucket for it, to {what}") },
        404 if said.is_some() => MetricError::Missing { what: missing(&why) },
        500 if has("retention policy not found") => MetricError::Missing { what: missing(&why) },
        500..600 => MetricError::Passing { why, after },
        400..500 if said.is_some() => MetricError::Refused { why: format!("{what}: {why}") },
        status => MetricError::Answer { why: format!("{what}: status {status}") },
    }
}

/// Of one statement.
fn failed(what: &str, error: &str) -> MetricError {
    let why = short(error);
    let begins = |with: &[&str]| with.iter().any(|with| error.starts_with(with));
    let has = |parts: &[&str]| parts.iter().any(|part| error.contains(part));
    if begins(&["database not found", "retention policy not found", "user not found"]) {
        MetricError::Missing { what: missing(&why) }
    } else if has(&["not authorized", "authorization failed"]) {
        MetricError::Denied { what: what.to_owned(), why }
    } else if begins(&["max-select-"]) {
        MetricError::TooLarge
    } else if has(&["timeout", "max-concurrent-queries", "query interrupted", "query aborted", "engine is closed"]) {
        MetricError::Passing { why, after: None }
    } else {
        MetricError::Refused { why: format!("{what}: {why}") }
    }
}

/// What InfluxDB itself says, in either version; plain text only from its limiter, whose status says enough.
fn said(body: &[u8]) -> Option<String> {
    let failure: Failure = serde_json::from_slice(body).ok()?;
    failure.error.or(failure.message)
}

/// It repeats each line that it could not read, which may be a whole batch.
fn short(text: &str) -> String {
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `database not found: "a"` → `database "a"`.
fn missing(text: &str) -> String {
    match text.split_once(" not found") {
        Some((kind, name)) => format!("{kind} {}", name.trim_start_matches(':').trim()).trim_end().to_owned(),
        None => text.to_owned(),
    }
}

/// The number stands at the end; before it there may be names with anything in them. Lines that it could not read it does not count.
fn dropped(text: &str) -> u64 {
    let counted = text.rsplit_once("dropped=").map_or("", |(_, rest)| rest);
    let counted = counted.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let unread = text.matches("unable to parse '").count();
    counted.max(u64::try_from(unread).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "answer/tests.rs"]
mod tests;
