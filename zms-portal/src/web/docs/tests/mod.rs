//! Every operation of the API by its own example, as the description gives it: nothing is sent that does not stand there.
//!
//! `story` moments at which the named things exist · `stage` a portal at one of them.
//! `schema` does an answer fit · `names` no two types with one name · `page` what people see.

mod names;
mod page;
mod schema;
mod stage;
mod story;

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;

use self::stage::{Reply, Sender, Stage};
use self::story::{Moment, Story};
use super::call::Call;
use super::example;

/// Answered without a session on purpose: one begins or ends with them.
const PUBLIC: [&str; 4] = ["finish_setup", "begin_session", "accept_invitation", "end_session"];
/// Open to everybody who is signed in: they change nothing but the person's own session and password.
const OWN: [&str; 2] = ["end_session", "change_own_password"];

/// Lists that must not be empty in an answer.
const LISTS: [&str; 12] = [
    "items",
    "clusters",
    "topics",
    "groups",
    "producers",
    "consumers",
    "series",
    "partitions",
    "instances",
    "steps",
    "events",
    "checks",
];

/// The document and the story are the same for all tests of a run.
static SHARED: Mutex<Weak<(Story, Value)>> = Mutex::const_new(Weak::new());

async fn shared() -> Arc<(Story, Value)> {
    let mut shared = SHARED.lock().await;
    if let Some(known) = shared.upgrade() {
        return known;
    }
    let story = Story::told().await;
    let path = "/openapi.json".to_owned();
    let call = Call { method: "get".to_owned(), path, body: String::new() };
    let reply = story.stage(Moment::Nobody).await.send(&call, Sender::Nobody).await;
    let made = Arc::new((story, serde_json::from_str(&reply.body).unwrap()));
    *shared = Arc::downgrade(&made);
    made
}

struct Operation<'a> {
    id: &'a str,
    method: &'a str,
    path: &'a str,
    value: &'a Value,
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let methods = ["get", "head", "options", "trace", "post", "put", "patch", "delete"];
    let paths = document["paths"].as_object().unwrap();
    let mut found = Vec::new();
    for (path, item) in paths {
        for (method, value) in item.as_object().unwrap().iter().filter(|(word, _)| methods.contains(&word.as_str())) {
            let id = value["operationId"].as_str().unwrap_or("an operation without an id");
            found.push(Operation { id, method, path, value });
        }
    }
    found
}

impl Operation<'_> {
    fn call(&self, document: &Value) -> Call {
        Call::of(document, self.method, self.path, self.value)
    }

    /// Where examples are missing: of parameters that must be there, and of the body.
    fn gaps(&self, document: &Value) -> Vec<String> {
        let mut gaps = Vec::new();
        for parameter in self.value["parameters"].as_array().into_iter().flatten() {
            if parameter["required"] == true && example::of_parameter(parameter).is_none() {
                gaps.push(format!("the parameter {} has no example", parameter["name"]));
            }
        }
        let content = &self.value["requestBody"]["content"]["application/json"];
        let schema = match content["schema"]["$ref"].as_str() {
            Some(place) => document.pointer(place.trim_start_matches('#')).unwrap_or(&Value::Null),
            None => &content["schema"],
        };
        if self.value.get("requestBody").is_some() && content["example"].is_null() && schema["example"].is_null() {
            gaps.push("the body has no example".to_owned());
        }
        gaps
    }

    /// How far the story must have come for its example to work; `None` if nobody said so.
    fn moment(&self) -> Option<Moment> {
        Some(match self.id {
            "finish_setup" => Moment::Nobody,
            "create_environment"
            | "begin_session"
            | "end_session"
            | "change_own_password"
            | "create_user"
            | "change_user"
            | "invite_user"
            | "make_password_link"
            | "accept_invitation" => Moment::People,
            "change_environment" | "make_join_line" | "withdraw_join_line" | "rename_host" | "revoke_host" | "adopt_cluster"
            | "try_cluster" | "change_cluster" | "publish_cluster" | "let_go_cluster" | "set_networks" | "rescan_packages"
            | "plan_service" | "install_service" | "set_stores" | "make_client_file" => Moment::Hosts,
            // Before anything is published: another store is refused then.
            "begin_import"
            | "put_metadata_rights"
            | "get_metadata_store"
            | "put_metadata_store"
            | "try_metadata_store"
            | "delete_metadata_store" => Moment::Hosts,
            "preview_take_over" | "take_over_cluster" => Moment::Kafka,
            "change_service" | "remove_service" | "act_on_service" | "act_on_instance" | "cancel_service" | "apply" => {
                Moment::Kafka
            }
            "approve" | "reject" | "withdraw" | "cancel" => Moment::Asked,
            "retry" => Moment::Stuck,
            "search_messages" => Moment::Made,
            _ if self.method == "get" => Moment::Made,
            _ => return None,
        })
    }

    /// What else must have happened.
    async fn prepare(&self, stage: &Stage, call: &Call) {
        let body = || serde_json::from_str::<Value>(&call.body).unwrap_or_default();
        match self.id {
            "finish_setup" => stage.accept_code(&body()).await,
            "accept_invitation" => stage.invite_grace(&body()).await,
            "get_user" | "change_user" | "make_password_link" => stage.add_grace().await,
            "change_cluster" | "publish_cluster" | "let_go_cluster" => stage.adopt().await,
            "get_import" | "begin_import" => stage.plant_tree(),
            "get_metadata_store" | "delete_metadata_store" => stage.choose_store().await,
            "cancel" => stage.approve().await,
            "cancel_service" => stage.restart().await,
            _ => {}
        }
    }

    /// What is wrong with an answer.
    fn misfits(&self, document: &Value, reply: &Reply) -> Vec<String> {
        let status = reply.status.as_u16().to_string();
        let documented = &self.value["responses"][&status];
        if !reply.status.is_success() || documented.is_null() {
            return vec![format!("answers {status}, which is no documented success: {}", reply.body)];
        }
        let Some(content) = documented["content"].as_object() else {
            return if reply.body.is_empty() {
                Vec::new()
            } else {
                vec![format!("has a body that is not described: {}", reply.body)]
            };
        };
        let Some(described) = content.get(&reply.kind) else {
            return vec![format!("answers {:?}, described are {:?}", reply.kind, content.keys().collect::<Vec<_>>())];
        };
        let value = if reply.kind == "application/json" {
            match serde_json::from_str(&reply.body) {
                Ok(value) => value,
                Err(error) => return vec![format!("answers no JSON ({error}): {}", reply.body)],
            }
        } else {
            json!(reply.body)
        };
        let mut wrong = schema::misfits(document, &described["schema"], &value);
        // An empty list fits whatever its items should be.
        let lists =
            value.as_object().into_iter().flatten().filter(|(name, list)| LISTS.contains(&name.as_str()) && **list == json!([]));
        wrong.extend(lists.map(|(name, _)| format!("has nothing in {name}, so nothing of it was looked at")));
        wrong
    }

    /// Sends the example and looks at the answer; everything that is wrong.
    async fn judged(&self, document: &Value, story: &Story) -> Vec<String> {
        let mut wrong = self.gaps(document);
        if let (true, Some(moment)) = (wrong.is_empty(), self.moment()) {
            let (stage, call) = (story.stage(moment).await, self.call(document));
            self.prepare(&stage, &call).await;
            wrong = self.misfits(document, &stage.send(&call, Sender::Ada).await);
        } else if wrong.is_empty() {
            wrong.push("nobody said at which moment of the story its example works: Operation::moment".to_owned());
        }
        wrong.into_iter().map(|what| format!("{} {} ({}) {what}", self.method, self.path, self.id)).collect()
    }
}

/// Within a deadline; a portal that hangs is a fault of its own.
async fn judge<'a>(document: &Value, story: &Story, operations: impl Iterator<Item = &'a Operation<'a>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for operation in operations {
        let judged = tokio::time::timeout(Duration::from_secs(40), operation.judged(document, story)).await;
        wrong.extend(judged.unwrap_or_else(|_| vec![format!("{} does not come to an end", operation.id)]));
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_works_by_its_example_and_answers_as_described() {
    let shared = shared().await;
    let (story, document) = &*shared;
    let operations = operations(document);
    assert!(operations.len() > 40, "{} operations", operations.len());
    let wrong = judge(document, story, operations.iter()).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_answered_without_a_session_and_who_may_only_look_changes_nothing() {
    let shared = shared().await;
    let (story, document) = &*shared;
    let stage = story.stage(Moment::Made).await;
    let mut wrong = Vec::new();
    for operation in operations(document).iter().filter(|operation| !PUBLIC.contains(&operation.id)) {
        let call = operation.call(document);
        let changes = operation.method != "get" && !OWN.contains(&operation.id);
        let asked = [(Sender::Nobody, 401, true), (Sender::Vera, 403, changes)];
        for (sender, expected, _) in asked.into_iter().filter(|(.., ask)| *ask) {
            let reply = stage.send(&call, sender).await;
            if reply.status.as_u16() != expected {
                wrong.push(format!("{} by {sender:?}: {} and not {expected}: {}", operation.id, reply.status, reply.body));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_example_a_wrong_schema_and_an_unknown_operation_are_found() {
    let shared = shared().await;
    let (story, right) = &*shared;
    let environment = "/paths/~1environments~1{env}/get";
    for (id, place, value, expected) in [
        ("get_environment", format!("{environment}/parameters/0/example"), json!("nowhere"), "answers 404"),
        ("get_environment", format!("{environment}/parameters/0/example"), Value::Null, "has no example"),
        ("get_environment", format!("{environment}/responses/200"), Value::Null, "no documented success"),
        ("get_environment", "/components/schemas/Environment/required".to_owned(), json!(["size"]), "size is missing"),
        ("get_environment", "/components/schemas/Environment/properties/id/type".to_owned(), json!("integer"), "should be"),
        ("apply", "/components/schemas/RequestWish/example/rate".to_owned(), json!(0), "answers 422"),
        (
            "change_environment",
            "/components/schemas/EnvironmentChange/example".to_owned(),
            Value::Null,
            "the body has no example",
        ),
        ("renamed", "/paths/~1packages~1rescan/post/operationId".to_owned(), json!("renamed"), "nobody said"),
    ] {
        let mut document = right.clone();
        *document.pointer_mut(&place).unwrap_or_else(|| panic!("{place} is not in the description")) = value;
        let operations = operations(&document);
        let wrong = judge(&document, story, operations.iter().filter(|operation| operation.id == id)).await;
        assert!(wrong.iter().any(|wrong| wrong.contains(expected)), "{place}: {wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_of_the_page_can_be_run_as_it_stands() {
    let shared = shared().await;
    for operation in super::groups(&shared.1, "https://zms.example:8443/api/v1").iter().flat_map(|group| &group.operations) {
        let url = operation.curl.rsplit(" '").next().unwrap();
        assert!(url.starts_with("https://zms.example:8443/api/v1/") && !url.contains(['{', '}']), "{}", operation.curl);
    }
}
