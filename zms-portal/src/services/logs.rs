//! A piece of an instance's log, asked from its host while a person looks.

use std::time::Duration;

use zms_core::host::{Ask, Finding};
use zms_core::names::InstanceId;

use crate::app::App;
use crate::error::{Error, Result};
use crate::hosts;

/// A host that does not answer within this time is away.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the hub may need beyond its own deadline.
const SPARE: Duration = Duration::from_secs(1);

/// A piece of a log, safe to show.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct LogPiece {
    /// Control characters are replaced by their pictures.
    pub text: String,
    /// Where the piece begins, in bytes.
    pub from: u64,
    /// Where the next one begins.
    pub next: u64,
    /// How long the log is.
    pub size: u64,
}

/// From byte `from` on, or the log's end.
///
/// # Errors
/// [`Error::Unavailable`] if the host does not answer or has no such log.
pub(super) async fn read(app: &App, host: &str, instance: &InstanceId, from: Option<u64>) -> Result<LogPiece> {
    let ask = Ask::Log { instance: instance.clone(), from };
    let answer = tokio::time::timeout(DEADLINE + SPARE, hosts::ask(app, host, ask, DEADLINE)).await;
    match answer {
        Ok(Ok(Finding::Log { text, from, next, size })) => Ok(LogPiece { text: visible(&text), from, next, size }),
        Ok(Err(error)) => Err(error),
        Ok(Ok(Finding::Preflight { .. })) | Err(_) => {
            Err(Error::Unavailable(crate::error::Text::new(|m| m.services_log_no_answer().to_owned())))
        }
    }
}

/// What a terminal would obey is shown instead: a log may hold whatever a client sent.
fn visible(text: &str) -> String {
    text.chars()
        .filter(|c| *c != '\r')
        .map(|c| match c {
            '\n' | '\t' => c,
            '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
            '\u{7f}' => '\u{2421}',
            // C1 controls, and marks that turn the direction of what follows.
            '\u{80}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_cannot_paint_on_the_readers_screen() {
        assert_eq!(visible("a\u{1b}[31mred\u{7}\r\n\tb\u{9b}c\u{202e}d"), "a\u{241b}[31mred\u{2407}\n\tb\u{fffd}c\u{fffd}d");
        assert_eq!(visible("中文 ok"), "中文 ok");
    }
}
