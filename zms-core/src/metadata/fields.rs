//! How the keys of a node become fields.

use super::route::Order;
use super::text::{Text, TextError};
use crate::names::{ClusterName, NameError, shown};

/// Why a node's value cannot be used. Whoever knew a good value before goes on with that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// No properties text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A key without which the node says nothing.
    #[error("the key `{0}` is missing")]
    Missing(&'static str),
    /// A name that cannot exist.
    #[error("`{key}`: {error}")]
    Name {
        /// Which key.
        key: &'static str,
        /// What is wrong.
        error: NameError,
    },
    /// Any other value that cannot be right.
    #[error("`{key}` is \"{}\": must be {right}", shown(.value))]
    Value {
        /// Which key.
        key: &'static str,
        /// What stands there.
        value: String,
        /// What would be right.
        right: String,
    },
}

impl NodeError {
    pub(super) fn value(key: &'static str, value: &str, right: impl Into<String>) -> Self {
        Self::Value { key, value: value.to_owned(), right: right.into() }
    }
}

/// A value that is there and not empty. The first ZMS wrote the literal `null` for nothing.
pub(super) fn filled<'a>(text: &'a Text, key: &str) -> Option<&'a str> {
    text.get(key).filter(|value| !value.is_empty() && *value != "null")
}

pub(super) fn required<'a>(text: &'a Text, key: &'static str) -> Result<&'a str, NodeError> {
    filled(text, key).ok_or(NodeError::Missing(key))
}

pub(super) fn name<N: std::str::FromStr<Err = NameError>>(key: &'static str, value: &str) -> Result<N, NodeError> {
    value.parse().map_err(|error| NodeError::Name { key, error })
}

pub(super) fn number(text: &Text, key: &'static str) -> Result<u64, NodeError> {
    match filled(text, key) {
        None => Ok(0),
        Some(value) => value.parse().map_err(|_| NodeError::value(key, value, "a whole number")),
    }
}

pub(super) fn truth(text: &Text, key: &'static str) -> Result<bool, NodeError> {
    match filled(text, key) {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
        Some(value) => Err(NodeError::value(key, value, "true or false")),
    }
}

/// `term` and `epoch`; 0 where the first ZMS wrote the node.
pub(super) fn order(text: &Text) -> Result<Order, NodeError> {
    Ok(Order { term: number(text, "term")?, epoch: number(text, "epoch")? })
}

pub(super) fn set_order(text: &mut Text, order: Order) {
    text.set("epoch", order.epoch.to_string());
    text.set("term", order.term.to_string());
}

/// Gray release of the first ZMS: some addresses are sent to another cluster.
pub(super) fn gated(text: &Text) -> Result<(String, Option<ClusterName>), NodeError> {
    let cluster = filled(text, "gatedCluster").map(|value| name("gatedCluster", value)).transpose()?;
    Ok((filled(text, "gatedIps").unwrap_or_default().to_owned(), cluster))
}

pub(super) fn set_gated(text: &mut Text, ips: &str, cluster: Option<&ClusterName>) {
    // Never the literal `null`: a Java client would look for a cluster of that name.
    text.set("gatedIps", ips);
    text.set("gatedCluster", cluster.map(ClusterName::as_str).unwrap_or_default());
}
