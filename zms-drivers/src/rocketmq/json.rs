//! The JSON that brokers write: mostly JSON, but maps may have numbers and whole objects as keys (`{0:"a"}`, `{{"queueId":1}:5}`), and
//! there may be `NaN` and single quotes. Strict JSON is tried first.

use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

/// Deepest nesting that is read.
const DEEPEST: u32 = 64;

/// Where a text stops being readable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {why}")]
pub struct JsonError {
    /// Byte from 0.
    pub at: usize,
    /// What is wrong there.
    pub why: String,
}

/// Reads a text as a type.
///
/// # Errors
/// Where it cannot be read, or how it differs from the type.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    if let Ok(value) = serde_json::from_slice(text) {
        return Ok(value);
    }
    let value = loose(text)?;
    serde_json::from_value(value).map_err(|error| JsonError { at: 0, why: error.to_string() })
}

/// Reads a text in which keys may be anything. A key that is no text becomes its JSON text.
///
/// # Errors
/// Where it cannot be read.
pub fn loose(text: &[u8]) -> Result<Value, JsonError> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let value = reader.value()?;
    reader.skip_blanks();
    if reader.at == text.len() { Ok(value) } else { Err(reader.wrong("something follows the end")) }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
}

impl Reader<'_> {
    fn wrong(&self, why: &str) -> JsonError {
        JsonError { at: self.at, why: why.to_owned() }
    }

    fn skip_blanks(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    /// The next byte that is no blank; it stays where it is.
    fn next(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.text.get(self.at).copied()
    }

    fn value(&mut self) -> Result<Value, JsonError> {
        if self.depth == DEEPEST {
            return Err(self.wrong("nested too deep"));
        }
        self.depth += 1;
        let value = match self.next() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(quote @ (b'"' | b'\'')) => self.string(quote).map(Value::String),
            Some(_) => self.word(),
            None => Err(self.wrong("it ends here")),
        };
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Value, JsonError> {
        self.at += 1;
        let mut map = Map::new();
        loop {
            match self.next() {
                Some(b'}') => break,
                Some(b',') => {
                    self.at += 1;
                    continue;
                }
                _ => {}
            }
            let key = match self.value()? {
                Value::String(key) => key,
                other => other.to_string(),
            };
            if self.next() != Some(b':') {
                return Err(self.wrong("a colon is missing"));
            }
            self.at += 1;
            let value = self.value()?;
            map.insert(key, value);
        }
        self.at += 1;
        Ok(Value::Object(map))
    }

    fn array(&mut self) -> Result<Value, JsonError> {
        self.at += 1;
        let mut values = Vec::new();
        loop {
            match self.next() {
                Some(b']') => break,
                Some(b',') => self.at += 1,
                _ => values.push(self.value()?),
            }
        }
        self.at += 1;
        Ok(Value::Array(values))
    }

    fn string(&mut self, quote: u8) -> Result<String, JsonError> {
        let begin = self.at;
        // Again as strict JSON, which knows how to read escapes.
        let mut strict = vec![b'"'];
        self.at += 1;
        loop {
            let byte = *self.text.get(self.at).ok_or_else(|| self.wrong("a text does not end"))?;
            self.at += 1;
            match byte {
                byte if byte == quote => break,
                b'\\' => {
                    let escaped = *self.text.get(self.at).ok_or_else(|| self.wrong("a text does not end"))?;
                    self.at += 1;
                    if escaped != b'\'' {
                        strict.push(b'\\');
                    }
                    strict.push(escaped);
                }
                b'"' => strict.extend(b"\\\""),
                byte => strict.push(byte),
            }
        }
        strict.push(b'"');
        serde_json::from_slice(&strict).map_err(|error| JsonError { at: begin, why: error.to_string() })
    }

    fn word(&mut self) -> Result<Value, JsonError> {
        let begin = self.at;
        while self.text.get(self.at).is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-._$".contains(byte)) {
            self.at += 1;
        }
        let word = std::str::from_utf8(&self.text[begin..self.at]).unwrap_or_default();
        match word {
            "" => Err(self.wrong("neither a value nor its end")),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" | "NaN" | "Infinity" | "-Infinity" => Ok(Value::Null),
            // Longs may have their Java suffix.
            number => match number.trim_end_matches('L').parse::<Number>() {
                Ok(number) => Ok(Value::Number(number)),
                Err(_) => Ok(Value::String(word.to_owned())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_brokers_write_is_read() {
        for (text, value) in [
            (r#"{0:"a",1:"b"}"#, json!({"0": "a", "1": "b"})),
            (r#"{{"queueId":1,"topic":"t"}:{"maxOffset":5}}"#, json!({r#"{"queueId":1,"topic":"t"}"#: {"maxOffset": 5}})),
            ("{'a':'it\\'s \"so\"'}", json!({"a": "it's \"so\""})),
            (r#"{"a":NaN,"b":[1,,2],"c":12L,}"#, json!({"a": null, "b": [1, 2], "c": 12})),
            (r#" {"a" : { -1 : 0 } } "#, json!({"a": {"-1": 0}})),
        ] {
            assert_eq!(loose(text.as_bytes()), Ok(value), "{text}");
        }
        assert_eq!(read::<BTreeMap<i64, String>>(br#"{0:"a"}"#), Ok(BTreeMap::from([(0, "a".to_owned())])));
    }

    #[test]
    fn what_nobody_writes_is_told_with_its_place() {
        let deep = "[".repeat(100_000);
        for (text, at) in
            [("", 0), ("{\"a\" 1}", 5), ("[1", 2), ("\"a", 2), ("{}x", 2), (deep.as_str(), 64), ("'\\", 2), ("{,", 2)]
        {
            assert_eq!(loose(text.as_bytes()).unwrap_err().at, at, "{:.20}", text);
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn strict_json_means_the_same(value in any_json()) {
            prop_assert_eq!(loose(value.to_string().as_bytes()), Ok(value));
        }

        #[test]
        fn nothing_panics(text in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"{}[]:,\"'\\0Nn-".to_vec())], 0..300)) {
            let _ = loose(&text);
        }
    }
}
