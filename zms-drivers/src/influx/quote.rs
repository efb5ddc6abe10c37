//! Names and passwords as InfluxQL has them, for the statements that take no bound values.

use super::MetricError;

/// `"a"`.
pub(super) fn name(what: &str, name: &str) -> Result<String, MetricError> {
    quoted(what, name, '"')
}

/// `'a'`.
pub(super) fn text(what: &str, text: &str) -> Result<String, MetricError> {
    quoted(what, text, '\'')
}

/// What is refused is not repeated: it may be a password.
fn quoted(what: &str, text: &str, quote: char) -> Result<String, MetricError> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(MetricError::Refused { why: format!("{what} has one character at least and no control characters") });
    }
    let mut quoted = String::from(quote);
    for char in text.chars() {
        if char == quote || char == '\\' {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    quoted.push(quote);
    Ok(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_quoted_text_but_its_end() {
        assert_eq!(name("it", r#"a"; drop database "b"#).unwrap(), r#""a\"; drop database \"b""#);
        assert_eq!(name("it", "a'b").unwrap(), r#""a'b""#);
        assert_eq!(text("it", r"a' or \").unwrap(), r"'a\' or \\'");
        assert_eq!(text("it", "主").unwrap(), "'主'");
    }

    #[test]
    fn control_characters_are_refused_without_being_shown() {
        for wrong in ["", "secret\n", "secret\0", "\u{7f}secret", "sec\u{85}ret"] {
            let error = text("a password", wrong).unwrap_err();
            assert_eq!(error.to_string(), "refused: a password has one character at least and no control characters");
        }
    }
}
