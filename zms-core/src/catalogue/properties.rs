//! Writes Java properties, the way `java.util.Properties` reads them back.

use std::fmt::Write;

/// One line `key=value`, with its line end. Whatever is given, it reads back as this one property.
pub(super) fn line(key: &str, value: &str) -> String {
    let mut out = String::with_capacity(key.len() + value.len() + 2);
    for character in key.chars() {
        if matches!(character, ' ' | ':' | '=' | '#' | '!') {
            out.push('\\');
        }
        push(&mut out, character);
    }
    out.push('=');
    let mut leading = true;
    for character in value.chars() {
        leading &= character == ' ';
        if leading {
            out.push('\\');
        }
        push(&mut out, character);
    }
    out.push('\n');
    out
}

fn push(out: &mut String, character: char) {
    match character {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{c}' => out.push_str("\\f"),
        ' '..='~' => out.push(character),
        // The readers take the file for Latin-1, so everything else is written as UTF-16 in hexadecimal digits.
        other => {
            for unit in other.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("a String takes every write");
            }
        }
    }
}

/// Reads properties as `java.util.Properties` does, to show in tests that nothing was added or lost.
#[cfg(test)]
pub(crate) fn read(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for line in text.split('\n').filter(|line| !line.trim_start().is_empty()) {
        if line.starts_with(['#', '!']) {
            continue;
        }
        let (mut key, mut value, mut in_value) = (Vec::new(), Vec::new(), false);
        let mut characters = line.chars();
        while let Some(character) = characters.next() {
            let before_value = in_value && value.is_empty();
            let target = if in_value { &mut value } else { &mut key };
            match character {
                '=' | ':' | ' ' if !in_value => in_value = true,
                ' ' if before_value => {}
                '\\' => match characters.next().unwrap() {
                    'n' => target.push(10),
                    'r' => target.push(13),
                    't' => target.push(9),
                    'f' => target.push(12),
                    'u' => target.push(u16::from_str_radix(&characters.by_ref().take(4).collect::<String>(), 16).unwrap()),
                    other => target.extend(other.encode_utf16(&mut [0; 2]).iter()),
                },
                other => target.extend(other.encode_utf16(&mut [0; 2]).iter()),
            }
        }
        pairs.push((String::from_utf16(&key).unwrap(), String::from_utf16(&value).unwrap()));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_java_would_read_otherwise_is_escaped() {
        for (key, value, expected) in [
            ("a.b", "c=d:e #f", "a.b=c=d:e #f\n"),
            ("a b", "  c ", "a\\ b=\\ \\ c \n"),
            ("#k", "c:\\d", "\\#k=c:\\\\d\n"),
            ("k", "1\n2\r", "k=1\\n2\\r\n"),
            ("k", "主🦀", "k=\\u4e3b\\ud83e\\udd80\n"),
            ("k", "{data}", "k={data}\n"),
        ] {
            assert_eq!(line(key, value), expected);
        }
    }

    proptest! {
        #[test]
        fn every_property_reads_back_alone(key in ".{1,20}", value in "(?s).{0,40}") {
            prop_assume!(!key.trim_start().is_empty());
            let text = line(&key, &value);
            prop_assert_eq!(text.matches('\n').count(), 1);
            prop_assert_eq!(read(&text), vec![(key, value)]);
        }
    }
}
