//! Examples out of a description of an API: the given one, or one made from the schema.

use serde_json::{Map, Value, json};

/// How deep a schema is followed; types that contain themselves end here.
const DEEPEST: usize = 8;

/// An example of a body; `None` when there is no body.
pub(super) fn of_content(document: &Value, content: &Value) -> Option<Value> {
    let content = content.as_object()?;
    if let Some(example) = content.get("example") {
        return Some(example.clone());
    }
    let first = content.get("examples").and_then(Value::as_object).and_then(|examples| examples.values().next());
    if let Some(example) = first.and_then(|example| example.get("value")) {
        return Some(example.clone());
    }
    Some(of_schema(document, content.get("schema")?, 0))
}

/// The example of a parameter, as it stands in an address.
pub(super) fn of_parameter(parameter: &Value) -> Option<String> {
    match [&parameter["example"], &parameter["schema"]["example"]].into_iter().find(|example| !example.is_null())? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn of_schema(document: &Value, schema: &Value, depth: usize) -> Value {
    if depth > DEEPEST {
        return Value::Null;
    }
    if let Some(place) = schema["$ref"].as_str() {
        let target = document.pointer(place.trim_start_matches('#')).unwrap_or(&Value::Null);
        return of_schema(document, target, depth + 1);
    }
    for known in [&schema["example"], &schema["examples"][0], &schema["default"], &schema["enum"][0]] {
        if !known.is_null() {
            return known.clone();
        }
    }
    for choice in ["oneOf", "anyOf"] {
        let usable = schema[choice].as_array().into_iter().flatten().find(|one| one["type"] != "null");
        if let Some(one) = usable {
            return of_schema(document, one, depth + 1);
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let parts = parts.iter().filter_map(|part| of_schema(document, part, depth + 1).as_object().cloned());
        return Value::Object(parts.flatten().collect());
    }
    // A type that may be absent is written as a list with "null".
    let kind = schema["type"]
        .as_str()
        .or_else(|| schema["type"].as_array()?.iter().filter_map(Value::as_str).find(|kind| *kind != "null"));
    match kind {
        Some("object") => of_object(document, schema, depth),
        Some("array") => json!([of_schema(document, &schema["items"], depth + 1)]),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        Some("boolean") => json!(false),
        Some("string") => json!("text"),
        Some(_) | None => Value::Null,
    }
}

fn of_object(document: &Value, schema: &Value, depth: usize) -> Value {
    let mut object = Map::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        object.insert(name.clone(), of_schema(document, property, depth + 1));
    }
    if object.is_empty() && schema["additionalProperties"].is_object() {
        object.insert("key".to_owned(), of_schema(document, &schema["additionalProperties"], depth + 1));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_made_from_the_schema_where_none_is_given() {
        let document = json!({ "components": { "schemas": {
            "Host": { "type": "object", "properties": { "id": { "type": "string" }, "next": { "$ref": "#/components/schemas/Host" } } },
            "Kind": { "type": "string", "enum": ["kafka", "zookeeper"] },
        } } });
        let cases = [
            (json!({ "schema": { "$ref": "#/components/schemas/Kind" } }), json!("kafka")),
            (json!({ "schema": { "type": ["integer", "null"], "minimum": 3 } }), json!(3)),
            (json!({ "schema": { "type": "object", "additionalProperties": { "type": "string" } } }), json!({ "key": "text" })),
            (json!({ "schema": { "oneOf": [{ "type": "null" }, { "type": "boolean" }] } }), json!(false)),
            (json!({ "example": { "a": 1 }, "schema": { "type": "string" } }), json!({ "a": 1 })),
            (json!({ "examples": { "one": { "value": 7 } } }), json!(7)),
        ];
        for (content, expected) in cases {
            assert_eq!(of_content(&document, &content), Some(expected), "{content}");
        }
        assert_eq!(of_content(&document, &Value::Null), None);
        let endless = of_content(&document, &json!({ "schema": { "$ref": "#/components/schemas/Host" } })).unwrap();
        assert_eq!(endless["next"]["next"]["id"], "text");
    }
}
