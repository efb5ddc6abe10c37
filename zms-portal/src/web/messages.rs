//! Every text that people read, in both languages: typed functions made by `build.rs` from `messages/*.toml`.

/// A language of the portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// The tag for `lang` and cookies.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }

    /// Reads a tag such as `zh`, `zh-CN` or `en_US`.
    pub fn parse(tag: &str) -> Option<Self> {
        match tag.split(['-', '_']).next()?.trim().to_ascii_lowercase().as_str() {
            "en" => Some(Self::English),
            "zh" => Some(Self::Chinese),
            _ => None,
        }
    }
}

/// All texts in one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Messages(pub Language);

impl Messages {
    /// In English; also the language of logs and of API errors without `Accept-Language`.
    pub const ENGLISH: Self = Self(Language::English);
    /// In Chinese.
    pub const CHINESE: Self = Self(Language::Chinese);

    /// The first language of an `Accept-Language` header that there is, else English.
    pub fn accepting(header: &str) -> Self {
        let mut wishes: Vec<(f32, Language)> = header
            .split(',')
            .filter_map(|wish| {
                let (tag, weight) = wish.split_once(";q=").unwrap_or((wish, "1"));
                Some((weight.trim().parse().unwrap_or(0.0), Language::parse(tag.trim())?))
            })
            .collect();
        wishes.sort_by(|a, b| b.0.total_cmp(&a.0));
        wishes.first().map_or(Self::ENGLISH, |(_, language)| Self(*language))
    }
}

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

#[cfg(test)]
#[path = "../../build/messages.rs"]
mod generator;

#[cfg(test)]
#[path = "../../build/icons.rs"]
mod icons;

#[cfg(test)]
mod tests {
    use super::generator::generate;
    use super::*;

    #[test]
    fn the_browser_s_first_language_that_there_is_wins() {
        for (header, language) in [
            ("", Language::English),
            ("de, fr", Language::English),
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("de;q=1.0, zh;q=0.5, en;q=0.7", Language::English),
        ] {
            assert_eq!(Messages::accepting(header).0, language, "{header}");
        }
    }

    #[test]
    fn a_missing_language_or_another_placeholder_fails_with_file_and_key() {
        for (text, expected) in [
            ("a = { en = \"x\" }", "messages/f.toml: a: has no text in zh"),
            ("a = { en = \"x {n}\", zh = \"y {m}\" }", "placeholders differ"),
            ("a = { en = \"x {\", zh = \"y\" }", "brace"),
            ("a = \"x\"", "must be { en"),
            ("a = { en = \"x\", zh = \"\" }", "empty in zh"),
            ("a = { en = \"x\", zh = \"y\", de = \"z\" }", "language de"),
        ] {
            let problems = generate(&[("f".into(), text.into())]).unwrap_err().join("\n");
            assert!(problems.contains(expected), "{text}: {problems}");
        }
    }

    #[test]
    fn two_files_cannot_make_the_same_function() {
        let text = |key: &str| format!("{key} = {{ en = \"x\", zh = \"y\" }}");
        let problems = generate(&[("a".into(), text("b_c")), ("a_b".into(), text("c"))]).unwrap_err();
        assert_eq!(problems, ["messages/a_b.toml: c: another file has a text of the name a_b_c already"]);
        let problems = generate(&[("a".into(), format!("{}\n{}", text("b"), text("b")))]).unwrap_err();
        assert!(problems[0].starts_with("messages/a.toml: ") && problems[0].contains("duplicate key"), "{problems:?}");
    }

    #[test]
    fn a_text_with_placeholders_becomes_a_function_of_them() {
        let code = generate(&[("f".into(), "a = { en = \"{n} of {all}\", zh = \"共 {all} 个中的 {n} 个\" }".into())]).unwrap();
        assert!(code.contains("pub fn f_a(&self, n: impl std::fmt::Display, all: impl std::fmt::Display) -> String"), "{code}");
    }
    #[test]
    fn an_icon_that_nobody_copied_fails_and_says_what_to_run() {
        let files = [("home".to_owned(), "<!-- x -->\n<svg\n width=\"24\">\n  <path d=\"M0 0\" />\n</svg>\n".to_owned())];
        let text = r#"{{ ICON("home")|safe }} ICON("x-1") ICON(name) ICON("…")"#.replace("ICON", "icon");
        let used = super::icons::used(&text);
        assert_eq!(used, ["home", "x-1"]);
        assert!(
            super::icons::generate(&files, &used)
                .unwrap_err()
                .contains("icon(\"x-1\") is not in static/vendor/icons: run scripts/assets")
        );
        let code = super::icons::generate(&files, &used[..1]).unwrap();
        assert!(code.contains(r#"<path d=\"M0 0\" /></svg>"#) && code.contains("aria-hidden"), "{code}");
    }
}
