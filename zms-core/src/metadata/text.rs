//! Java-properties text, as `java.util.Properties` reads and writes it, with the order of its keys kept.

use std::fmt::Write;

/// Longest value of a node that is read, in bytes. Ours have some hundred.
pub const LONGEST: usize = 64 << 10;

/// Keys and values in their order. Comments and blank lines are not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(Vec<(String, String)>);

/// Why bytes are not properties text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A Java client could not read any key of such a node.
    #[error("line {line}: \\u must be followed by four hexadecimal digits")]
    Escape {
        /// Counted from 1, continued lines as one.
        line: usize,
    },
    /// More than [`LONGEST`].
    #[error("{size} bytes; a node of ZMS has at most {LONGEST}")]
    Long {
        /// In bytes.
        size: usize,
    },
}

impl Text {
    /// Reads what a node holds. Bytes are taken as ISO-8859-1, as a Java client takes them. Of a key that is there twice the last counts.
    pub fn parse(bytes: &[u8]) -> Result<Self, TextError> {
        if bytes.len() > LONGEST {
            return Err(TextError::Long { size: bytes.len() });
        }
        let characters: String = bytes.iter().copied().map(char::from).collect();
        let mut text = Self::default();
        for (index, line) in logical_lines(&characters).into_iter().enumerate() {
            let (key, value) = split(&line);
            let line = index + 1;
            text.set(&unescape(key).ok_or(TextError::Escape { line })?, unescape(value).ok_or(TextError::Escape { line })?);
        }
        Ok(text)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Changes a value in its place, or adds the key at the end.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some(entry) => entry.1 = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    /// Takes a key away.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(known, _)| known != key);
    }

    /// Keys and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// One line a key, ASCII only, LF at each end.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = String::new();
        for (key, value) in &self.0 {
            escape(&mut out, key, true);
            out.push('=');
            escape(&mut out, value, false);
            out.push('\n');
        }
        out.into_bytes()
    }
}

/// Lines as Java counts them: comments and blank lines dropped, leading blanks dropped, lines that end with an odd number of `\` joined.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open: Option<String> = None;
    for natural in text.replace("\r\n", "\n").split(['\n', '\r']) {
        let natural = natural.trim_start_matches(is_blank);
        let mut line = match open.take() {
            Some(begun) => begun + natural,
            None if natural.is_empty() || natural.starts_with(['#', '!']) => continue,
            None => natural.to_owned(),
        };
        let slashes = line.len() - line.trim_end_matches('\\').len();
        if slashes % 2 == 1 {
            line.pop();
            open = Some(line);
        } else {
            lines.push(line);
        }
    }
    lines.extend(open);
    lines
}

const fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{c}')
}

/// Key and value of a line, both still escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, character)| {
        let ends = !escaped && (is_blank(*character) || matches!(character, '=' | ':'));
        escaped = *character == '\\' && !escaped;
        ends
    });
    let Some((end, _)) = end else { return (line, "") };
    let rest = line[end..].trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], rest.trim_start_matches(is_blank))
}

fn unescape(text: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut buffer = [0; 2];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let character = match character {
            '\\' => match characters.next() {
                None => continue,
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    let digits: String = characters.by_ref().take(4).collect();
                    let whole = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                    units.push(u16::from_str_radix(&digits, 16).ok().filter(|_| whole)?);
                    continue;
                }
                Some(other) => other,
            },
            other => other,
        };
        units.extend_from_slice(character.encode_utf16(&mut buffer));
    }
    // Half a surrogate pair is no character in Rust; it is read as the replacement character.
    Some(String::from_utf16_lossy(&units))
}

fn escape(out: &mut String, text: &str, key: bool) {
    for (index, character) in text.chars().enumerate() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{c}' => out.push_str("\\f"),
            ' ' if key || index == 0 => out.push_str("\\ "),
            '=' | ':' | '#' | '!' if key => {
                out.push('\\');
                out.push(character);
            }
            ' '..='~' => out.push(character),
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    write!(out, "\\u{unit:04X}").expect("a string takes everything");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        Text::parse(text.as_bytes()).unwrap().0
    }

    #[test]
    fn lines_are_read_as_java_reads_them() {
        let table: [(&str, &[(&str, &str)]); 14] = [
            ("a=1\nb=2\n", &[("a", "1"), ("b", "2")]),
            ("a=1\r\nb=2\rc=3", &[("a", "1"), ("b", "2"), ("c", "3")]),
            ("#c\n! c\n\n  a = 1 ", &[("a", "1 ")]),
            ("a:1", &[("a", "1")]),
            ("a 1", &[("a", "1")]),
            ("a", &[("a", "")]),
            ("a==1", &[("a", "=1")]),
            ("a=1\\\n   2", &[("a", "12")]),
            ("a=1\\\\\nb=2", &[("a", "1\\"), ("b", "2")]),
            ("a\\=b=\\u0041\\:\\z", &[("a=b", "A:z")]),
            ("a=\\ud83d\\ude00", &[("a", "😀")]),
            ("a=1\na=2", &[("a", "2")]),
            ("bootAddr=10.0.0.1:9092,10.0.0.2:9092", &[("bootAddr", "10.0.0.1:9092,10.0.0.2:9092")]),
            ("r=[{\"a\":\"b=c\"}]", &[("r", "[{\"a\":\"b=c\"}]")]),
        ];
        for (text, expected) in table {
            let expected: Vec<(String, String)> = expected.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_a_java_client_could_not_read_is_an_error_that_names_the_line() {
        assert_eq!(Text::parse(b"a=1\nb=c:\\users"), Err(TextError::Escape { line: 2 }));
        assert_eq!(Text::parse(b"a=\\u12g4"), Err(TextError::Escape { line: 1 }));
        assert_eq!(Text::parse(b"a=\\u+123"), Err(TextError::Escape { line: 1 }));
        assert!(matches!(Text::parse(&vec![b'a'; LONGEST + 1]), Err(TextError::Long { .. })));
    }

    #[test]
    fn values_are_escaped_no_more_than_they_must_be() {
        let mut text = Text::default();
        text.set("bootAddr", "10.0.0.1:9092");
        text.set("routes", "[{\"a\":\"b=c\\d\"}]");
        text.set("title", " 订单");
        let bytes = String::from_utf8(text.to_bytes()).unwrap();
        assert_eq!(bytes, "bootAddr=10.0.0.1:9092\nroutes=[{\"a\":\"b=c\\\\d\"}]\ntitle=\\ \\u8BA2\\u5355\n");
    }

    #[test]
    fn a_changed_key_keeps_its_place_and_others_stay() {
        let mut text = Text::parse(b"z=1\nclusterName=a\nx=2\n").unwrap();
        text.set("clusterName", "b");
        text.set("epoch", "7");
        text.remove("x");
        assert_eq!(text.to_bytes(), b"z=1\nclusterName=b\nepoch=7\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(entries in proptest::collection::vec((".{0,12}", ".{0,40}"), 0..8)) {
            let mut text = Text::default();
            for (key, value) in entries {
                text.set(&key, value);
            }
            let bytes = text.to_bytes();
            prop_assert!(bytes.is_ascii());
            prop_assert_eq!(Text::parse(&bytes).unwrap(), text);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Text::parse(&bytes);
        }
    }
}
