//! Does an answer fit the schema that the description gives for it?

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Words that say nothing about which values fit.
const NOTES: [&str; 6] = ["description", "title", "example", "examples", "default", "format"];
const KNOWN: [&str; 14] = [
    "$ref",
    "type",
    "enum",
    "const",
    "oneOf",
    "anyOf",
    "allOf",
    "properties",
    "required",
    "additionalProperties",
    "propertyNames",
    "items",
    "prefixItems",
    "minimum",
];
/// Deeper than any answer of ours.
const DEEPEST: usize = 32;

/// Everything that does not fit, each with its place. A word of a schema that this check does not know does not fit either.
pub fn misfits(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut check = Check { document, found: Vec::new() };
    check.value(schema, value, "answer", 0);
    check.found
}

struct Check<'a> {
    document: &'a Value,
    found: Vec<String>,
}

impl Check<'_> {
    fn say(&mut self, place: &str, what: impl std::fmt::Display) {
        self.found.push(format!("{place}: {what}"));
    }

    fn value(&mut self, schema: &Value, value: &Value, place: &str, depth: usize) {
        self.shape(schema, value, place, depth);
        let (Some(object), Some(known)) = (value.as_object(), names(self.document, schema, 0)) else { return };
        for name in object.keys().filter(|name| !known.contains(name.as_str())) {
            self.say(place, format!("{name} is not described"));
        }
    }

    fn shape(&mut self, schema: &Value, value: &Value, place: &str, depth: usize) {
        let Some(words) = schema.as_object() else { return self.say(place, format!("{schema} is no schema")) };
        if depth > DEEPEST {
            return self.say(place, "it is too deep");
        }
        for word in words.keys().filter(|word| ![&KNOWN[..], &NOTES[..]].concat().contains(&word.as_str())) {
            self.say(place, format!("this check does not know the word {word}"));
        }
        if let Some(name) = words.get("$ref").and_then(Value::as_str) {
            match self.document.pointer(name.trim_start_matches('#')) {
                Some(target) => self.shape(target, value, place, depth + 1),
                None => self.say(place, format!("there is no {name}")),
            }
        }
        self.kind(words, value, place);
        for (word, most) in [("oneOf", 1), ("anyOf", usize::MAX), ("allOf", usize::MAX)] {
            let Some(parts) = words.get(word).and_then(Value::as_array) else { continue };
            if word == "allOf" {
                parts.iter().for_each(|part| self.shape(part, value, place, depth + 1));
                continue;
            }
            let fitting = parts.iter().filter(|part| misfits(self.document, part, value).is_empty()).count();
            if !(1..=most).contains(&fitting) {
                self.say(place, format!("{fitting} of {} fit in {word}: {value}", parts.len()));
            }
        }
        match value {
            Value::Object(object) => self.object(words, object, place, depth),
            Value::Array(items) => {
                let first = words.get("prefixItems").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                for (n, item) in items.iter().enumerate() {
                    let schema = first.get(n).or_else(|| words.get("items").filter(|items| items.is_object()));
                    if let Some(schema) = schema {
                        self.value(schema, item, &format!("{place}[{n}]"), depth + 1);
                    }
                }
            }
            _ => {}
        }
    }

    fn kind(&mut self, words: &Map<String, Value>, value: &Value, place: &str) {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let is = |wanted: &Value| wanted == kind || (wanted == "number" && kind == "integer");
        match words.get("type") {
            None => {}
            Some(Value::Array(kinds)) if kinds.iter().any(is) => {}
            Some(wanted) if is(wanted) => {}
            Some(wanted) => self.say(place, format!("it is {kind} and should be {wanted}")),
        }
        if let Some(choices) = words.get("enum").and_then(Value::as_array)
            && !choices.contains(value)
        {
            self.say(place, format!("{value} is none of {choices:?}"));
        }
        if words.get("const").is_some_and(|only| only != value) {
            self.say(place, format!("{value} is not {}", words["const"]));
        }
        if let (Some(least), Some(number)) = (words.get("minimum").and_then(Value::as_f64), value.as_f64())
            && number < least
        {
            self.say(place, format!("{number} is less than {least}"));
        }
    }

    fn object(&mut self, words: &Map<String, Value>, object: &Map<String, Value>, place: &str, depth: usize) {
        for name in words.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                self.say(place, format!("{name} is missing"));
            }
        }
        let properties = words.get("properties").and_then(Value::as_object);
        for (name, value) in object {
            if let Some(schema) = words.get("propertyNames") {
                self.value(schema, &json!(name), &format!("the name {name} in {place}"), depth + 1);
            }
            let schema = properties.and_then(|properties| properties.get(name));
            let schema = schema.or_else(|| words.get("additionalProperties").filter(|schema| schema.is_object()));
            if let Some(schema) = schema {
                self.value(schema, value, &format!("{place}.{name}"), depth + 1);
            }
        }
    }
}

/// Names that an object may have; `None` where any name may stand.
fn names<'a>(document: &'a Value, schema: &'a Value, depth: usize) -> Option<BTreeSet<&'a str>> {
    if depth > DEEPEST {
        return None;
    }
    if let Some(place) = schema["$ref"].as_str() {
        return names(document, document.pointer(place.trim_start_matches('#'))?, depth + 1);
    }
    // Of several choices one fits, which is looked at by itself.
    if schema.get("oneOf").is_some() || schema.get("anyOf").is_some() || schema.get("additionalProperties").is_some() {
        return None;
    }
    let mut found: BTreeSet<&str> =
        schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        found.extend(names(document, part, depth + 1)?);
    }
    (schema.get("properties").is_some() || schema.get("allOf").is_some()).then_some(found)
}

#[test]
fn what_does_not_fit_is_named_with_its_place() {
    let document = json!({ "components": { "schemas": {
        "Row": { "type": "object", "required": ["id"], "properties": { "id": { "type": "string" }, "n": { "type": ["integer", "null"], "minimum": 0 },
            "state": { "type": "string", "enum": ["up", "down"] } } },
        "Full": { "allOf": [{ "$ref": "#/components/schemas/Row" }, { "type": "object", "required": ["more"], "properties": { "more": { "type": "number" } } }] },
        "Either": { "oneOf": [{ "$ref": "#/components/schemas/Row" }, { "type": "null" }] },
        "Rows": { "type": "array", "items": { "$ref": "#/components/schemas/Row" } },
        "Map": { "type": "object", "additionalProperties": { "type": "string" } },
        "Pair": { "type": "array", "prefixItems": [{ "type": "string" }, { "type": "boolean" }], "items": false },
    } } });
    for (name, value, expected) in [
        ("Row", json!({ "id": "a", "n": null, "state": "up" }), ""),
        ("Row", json!({ "n": 1 }), "answer: id is missing"),
        ("Row", json!({ "id": 1 }), "answer.id: it is integer and should be \"string\""),
        ("Row", json!({ "id": "a", "n": -1 }), "answer.n: -1 is less than 0"),
        ("Row", json!({ "id": "a", "n": 1.5 }), "answer.n: it is number and should be [\"integer\",\"null\"]"),
        ("Row", json!({ "id": "a", "secret": 1 }), "answer: secret is not described"),
        ("Row", json!({ "id": "a", "state": "left" }), "answer.state: \"left\" is none of"),
        ("Full", json!({ "id": "a", "more": 1 }), ""),
        ("Full", json!({ "id": "a", "more": 1, "other": 1 }), "answer: other is not described"),
        ("Full", json!({ "more": 1 }), "answer: id is missing"),
        ("Either", json!(null), ""),
        ("Either", json!(7), "answer: 0 of 2 fit in oneOf"),
        ("Rows", json!([{ "id": "a" }, {}]), "answer[1]: id is missing"),
        ("Map", json!({ "a": "b" }), ""),
        ("Map", json!({ "a": 1 }), "answer.a: it is integer"),
        ("Pair", json!(["a", 1]), "answer[1]: it is integer"),
        ("Nothing", json!(1), "there is no #/components/schemas/Nothing"),
    ] {
        let found = misfits(&document, &json!({ "$ref": format!("#/components/schemas/{name}") }), &value).join("; ");
        assert!(if expected.is_empty() { found.is_empty() } else { found.contains(expected) }, "{name} {value}: {found}");
    }
    assert!(misfits(&document, &json!({ "maxLength": 1 }), &json!("a"))[0].contains("maxLength"));
}
