//! What a person signs in with.

use std::fmt;

/// A user name: 1 to 64 lower-case letters, digits and `.` `_` `-` `@`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName(String);

/// Longest name, in characters.
const LONGEST: usize = 64;

impl UserName {
    /// Reads what a person typed: blanks around it and capitals do not matter. `None` if nobody can have this name.
    pub fn parse(typed: &str) -> Option<Self> {
        let name = typed.trim().to_lowercase();
        let bytes = name.as_bytes();
        let fits = bytes.len() <= LONGEST
            && bytes.first().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
            && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-@".contains(byte));
        fits.then_some(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody typed as a name, for the audit: shortened, and without signs that could forge a line. People type their password into
/// the wrong field now and then, so it is recorded for known shapes of names only.
pub fn shown(typed: &str) -> String {
    match UserName::parse(typed) {
        Some(name) => name.0,
        None => format!("({} characters that are no name)", typed.chars().count()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn capitals_and_blanks_do_not_make_another_person() {
        assert_eq!(UserName::parse(" Ada.L@Example.com ").unwrap().as_str(), "ada.l@example.com");
        for typed in ["", " ", ".ada", "-ada", "ada lovelace", "ada/..", "ada\n", "阿达", "ada<b>", &"a".repeat(65)] {
            let typed = format!("{typed}\u{0}");
            assert!(UserName::parse(&typed).is_none(), "{typed:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_recorded_short_and_on_one_line(typed: String) {
            let shown = shown(&typed);
            prop_assert!(shown.len() <= 80 && shown.chars().all(|c| c.is_ascii() && !c.is_ascii_control()));
        }
    }
}
