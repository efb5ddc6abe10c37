//! What brokers call JSON: names of members may be numbers or whole objects, as Java's library writes maps.

use serde_json::{Map, Number, Value};

/// How deep it may be.
const DEPTH: usize = 64;

/// Reads it; a name that is no text becomes the text of what it is: `{0:1}` has the name `0`, `{{"a":1}:2}` the name `{"a":1}`.
///
/// # Errors
/// In words, with the place.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, String> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.value(0)?;
    if reader.peek().is_some() {
        return reader.fail("something follows");
    }
    Ok(value)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn fail<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("{what} at byte {} of {}", self.at, self.bytes.len()))
    }

    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH {
            return self.fail("too deep");
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.text().map(Value::String),
            Some(_) => self.word(),
            None => self.fail("the end came too soon"),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut members = Map::new();
        while !self.take(b'}') {
            let name = match self.value(depth + 1)? {
                Value::String(name) => name,
                other => other.to_string(),
            };
            if !self.take(b':') {
                return self.fail("no : after a name");
            }
            let value = self.value(depth + 1)?;
            members.insert(name, value);
            if !self.take(b',') && self.peek() != Some(b'}') {
                return self.fail("no , or } after a member");
            }
        }
        Ok(Value::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut items = Vec::new();
        while !self.take(b']') {
            items.push(self.value(depth + 1)?);
            if !self.take(b',') && self.peek() != Some(b']') {
                return self.fail("no , or ] after an item");
            }
        }
        Ok(Value::Array(items))
    }

    fn text(&mut self) -> Result<String, String> {
        let begin = self.at;
        self.at += 1;
        while let Some(byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'"' => {
                    let text = serde_json::from_slice(&self.bytes[begin..self.at]);
                    return text.or_else(|_| self.fail("a text that cannot be read"));
                }
                _ => {}
            }
        }
        self.fail("a text without an end")
    }

    fn word(&mut self) -> Result<Value, String> {
        let begin = self.at;
        while self.bytes.get(self.at).is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(byte)) {
            self.at += 1;
        }
        match std::str::from_utf8(&self.bytes[begin..self.at]).unwrap_or_default() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            // Java writes a number that is none.
            "null" | "NaN" => Ok(Value::Null),
            word => match word.parse::<Number>() {
                Ok(number) => Ok(Value::Number(number)),
                Err(_) => {
                    self.at = begin;
                    self.fail("neither a text nor a number")
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn names_that_are_no_texts_are_read() {
        for (text, value) in [
            (r#"{"a":{0:1,1:2}}"#, json!({"a": {"0": 1, "1": 2}})),
            (r#"{{"q":1,"b":"x"}:{"n":NaN}}"#, json!({r#"{"b":"x","q":1}"#: {"n": null}})),
            (r#"{"a":[{0:"\"}"}, true,],}"#, json!({"a": [{"0": "\"}"}, true]})),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_says_where() {
        for text in ["", "{", "{0}", "{0:1", "[1 2]", "{0:x}", "{0:1}2", r#"{0:"a"#, &"[".repeat(100)] {
            assert!(parse(text.as_bytes()).unwrap_err().contains("at byte"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(text in r#"[\[\]{}:,"\\0-9a nul-]{0,60}"#) {
            let _ = parse(text.as_bytes());
        }
    }
}
