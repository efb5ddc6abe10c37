//! Names and passwords as InfluxQL has them, for the statements that take no bound values.

use super::MetricError;

/// `"a"`.
pub(super) fn database(name: &str) -> Result<String, MetricError> {
    // It becomes a folder.
    if name.contains(['/', '\\']) || name == "." || name == ".." {
        return Err(MetricError::Refused { why: format!("database {name:?}: a database's name has no slash and is no folder") });
    }
    quoted("a database's name", name, '"')
}

/// `"a"`.
pub(super) fn user(name: &str) -> Result<String, MetricError> {
    // HTTP ends a user's name at the first one.
    if name.contains(':') {
        return Err(MetricError::Refused { why: format!("user {name:?}: a user's name has no colon") });
    }
    quoted("a user's name", name, '"')
}

/// `'a'`.
pub(super) fn password(text: &str) -> Result<String, MetricError> {
    quoted("a password", text, '\'')
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
        assert_eq!(user(r"a\").unwrap(), r#""a\\""#);
        assert_eq!(database(r#"a"; drop database "b"#).unwrap(), r#""a\"; drop database \"b""#);
        assert_eq!(database("a'b").unwrap(), r#""a'b""#);
        assert_eq!(password(r"a' or \").unwrap(), r"'a\' or \\'");
        assert_eq!(password("主").unwrap(), "'主'");
    }

    #[test]
    fn control_characters_are_refused_without_being_shown() {
        for wrong in ["", "secret\n", "secret\0", "\u{7f}secret", "sec\u{85}ret"] {
            let error = password(wrong).unwrap_err();
            assert_eq!(error.to_string(), "refused: a password has one character at least and no control characters");
        }
    }

    #[test]
    fn a_user_with_a_colon_could_never_come_in() {
        assert!(user("a:b").is_err());
        assert_eq!(user("a b").unwrap(), "\"a b\"");
    }

    #[test]
    fn a_database_is_no_path() {
        for wrong in ["..", ".", "a/b", "../b", "a\\b"] {
            assert!(database(wrong).is_err(), "{wrong}");
        }
    }
}
