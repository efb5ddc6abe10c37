//! What the page shows.

use serde_json::json;

use serde_json::Value;

use super::super::groups;

fn document() -> Value {
    json!({
        "paths": { "/environments": {
            "post": { "tags": ["environments"], "operationId": "create_environment", "summary": "Makes an environment.",
                "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/New" } } } },
                "responses": { "201": { "description": "Made" } } },
            "get": { "tags": ["environments"], "parameters": [{ "name": "q", "in": "query", "description": "Filter" }], "responses": {} } } },
        "components": { "schemas": { "New": { "example": { "name": "it's" } } } }
    })
}

#[test]
fn an_operation_is_shown_with_its_example_and_a_line_that_can_be_run() {
    let groups = groups(&document(), "https://zms:8443/api/v1");
    assert_eq!((groups.len(), groups[0].name.as_str()), (1, "environments"));
    let [get, post] = &groups[0].operations[..] else { panic!("two operations") };
    assert_eq!((get.method.as_str(), get.parameters[0].place.as_str(), get.parameters[0].required), ("GET", "query", false));
    assert_eq!(get.curl, "curl -b zms.cookies 'https://zms:8443/api/v1/environments'");
    assert_eq!((post.id.as_str(), post.path.as_str()), ("create_environment", "/api/v1/environments"));
    assert!(post.body.contains("\"name\": \"it's\""), "{}", post.body);
    assert!(
        post.curl.contains(r"-X POST -H 'Content-Type: application/json' -d '{") && post.curl.contains(r"it'\''s"),
        "{}",
        post.curl
    );
    assert_eq!(post.answers, [("201".to_owned(), "Made".to_owned())]);
}
