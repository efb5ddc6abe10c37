//! What is wrong with a form, in the reader's language, for the form that is shown again.

use axum::http::StatusCode;

use super::messages::Messages;
use crate::error::{Error, Problem, Result};

/// Sentences by field; the empty field is the form as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<(String, String)>);

impl Problems {
    /// In the language of `m`.
    pub fn new(problems: &[Problem], m: Messages) -> Self {
        Self(problems.iter().map(|problem| (problem.field.clone(), problem.text.say(m))).collect())
    }

    /// Of what a use case said, with the status of the answer; what no form can mend is an error still.
    pub fn of_error(error: Error, m: Messages) -> Result<(StatusCode, Self)> {
        let status = error.status();
        let problems = match error {
            Error::Invalid(problems) => Self::new(&problems, m),
            Error::TooMany(text) | Error::Conflict(text) | Error::Unavailable(text) => Self(vec![(String::new(), text.say(m))]),
            error @ (Error::SignIn | Error::Forbidden | Error::NotFound | Error::Malformed(..) | Error::Internal(_)) => {
                return Err(error);
            }
        };
        Ok((status, problems))
    }

    /// The sentences about one field.
    pub fn of(&self, field: &str) -> Vec<&str> {
        self.iter().filter(|(at, _)| *at == field).map(|(_, text)| text).collect()
    }

    /// Is something wrong with this field?
    pub fn has(&self, field: &str) -> bool {
        self.iter().any(|(at, _)| at == field)
    }

    /// Is nothing wrong?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many sentences there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Fields and what is wrong with them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(field, text)| (field.as_str(), text.as_str()))
    }
}
