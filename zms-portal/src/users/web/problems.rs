//! What is wrong with a form, in the reader's language, for the form that is shown again.

use axum::http::StatusCode;

use crate::error::{Error, Result};
use crate::web::messages::Messages;

/// Sentences by field; the empty field is the form as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<(String, String)>);

impl Problems {
    /// Of what a use case said; what no form can mend is an error still.
    pub fn of(error: Error, m: Messages) -> Result<(StatusCode, Self)> {
        let status = error.status();
        let problems = match error {
            Error::Invalid(problems) => problems.iter().map(|problem| (problem.field.clone(), problem.text.say(m))).collect(),
            Error::TooMany(text) | Error::Conflict(text) | Error::Unavailable(text) => vec![(String::new(), text.say(m))],
            error @ (Error::SignIn | Error::Forbidden | Error::NotFound | Error::Malformed(..) | Error::Internal(_)) => {
                return Err(error);
            }
        };
        Ok((status, Self(problems)))
    }

    /// About one field.
    pub fn at<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(at, _)| at == field).map(|(_, text)| text.as_str())
    }

    /// Is something wrong with this field?
    pub fn has(&self, field: &str) -> bool {
        self.at(field).next().is_some()
    }
}
