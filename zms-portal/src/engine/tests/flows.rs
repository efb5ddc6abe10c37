//! What a command does and what it leaves alone; no worker runs here.

use super::toy::{Command, Job, State, Toy, flow, job, start};
use crate::db::Db;
use crate::engine::machine::{Machine, Status};
use crate::engine::view::{self, Query, StepState};
use crate::engine::{Engine, changes, note_change};
use crate::error::Error;
use crate::web::messages::Messages;

/// Everything that the engine wrote, as text: two of them are equal if nothing happened between.
async fn everything(db: &Db) -> Vec<String> {
    let mut all = Vec::new();
    for sql in [
        "select id || state || version || status || updated_at from flows order by id",
        "select flow_id || n || what from flow_events order by flow_id, n",
        "select id || state || attempts || note from effects order by id",
        "select environment_id || resource || flow_id from resource_locks order by resource",
        "select cast(n as text) || topic from changes order by n",
    ] {
        all.extend(sqlx::query_scalar::<_, String>(sql).fetch_all(db.read()).await.unwrap());
    }
    all
}

fn sentence(error: Error) -> String {
    match error {
        Error::Conflict(text) => text.say(Messages::ENGLISH),
        other => panic!("a conflict was expected, not {other:?}"),
    }
}

#[test]
fn the_toy_goes_from_state_to_state() {
    use Command::{JobDone, Pause, Resume, Stop};
    use State::{Finished, Paused, Stopped, Working};
    let done = || JobDone { job: "a".to_owned() };
    let cases: [(State, Command, Option<State>); 10] = [
        (Working { left: 2 }, done(), Some(Working { left: 1 })),
        (Working { left: 1 }, done(), Some(Finished)),
        (Working { left: 1 }, Pause, Some(Paused)),
        (Working { left: 1 }, Stop, Some(Stopped)),
        (Working { left: 1 }, Resume { jobs: vec![] }, None),
        (Paused, Resume { jobs: vec![job("b", "t")] }, Some(Working { left: 1 })),
        (Paused, Stop, Some(Stopped)),
        (Paused, done(), None),
        (Finished, Stop, None),
        (Stopped, done(), None),
    ];
    for (state, command, wanted) in cases {
        let next = Toy::step(&state, &command).ok().map(|next| next.state);
        assert_eq!(next, wanted, "{state:?} and {command:?}");
    }
}

#[tokio::test]
async fn a_flow_shows_its_steps_and_its_history() {
    let (_folder, db) = Db::temporary().await;
    let engine = Engine::new(db.clone());
    let id = start(&engine, &db, "service/orders", vec![job("a", "host/1"), job("b", "host/2")]).await;
    engine.command::<Toy>(&id, Command::JobDone { job: "a".to_owned() }, "", 7).await.unwrap();
    let flow = engine.view(&id).await.unwrap();
    assert_eq!(
        (flow.kind.as_str(), flow.subject.as_str(), flow.status, flow.created_by.as_str()),
        ("toy", "service/orders", Status::Running, "ada")
    );
    assert_eq!(flow.state, serde_json::json!({ "Working": { "left": 1 } }));
    assert_eq!(flow.updated_at, 7);
    let steps: Vec<_> = flow.steps.iter().map(|step| (step.name.as_str(), step.target.as_str(), step.state)).collect();
    assert_eq!(steps, [("do_job", "host/1", StepState::Due), ("do_job", "host/2", StepState::Due)]);
    let rest = serde_json::json!({ "job": "a" });
    assert_eq!(flow.events.iter().map(|event| event.name()).collect::<Vec<_>>(), [("JobDone", Some(&rest))]);
    assert!(matches!(engine.view("nothing").await, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_refused_command_leaves_no_trace() {
    let (_folder, db) = Db::temporary().await;
    let engine = Engine::new(db.clone());
    let id = start(&engine, &db, "s", vec![job("a", "t")]).await;
    let before = everything(&db).await;
    let refused = engine.command::<Toy>(&id, Command::Resume { jobs: vec![] }, "ada", 1).await.unwrap_err();
    assert_eq!(sentence(refused), Messages::ENGLISH.engine_moving());
    // A fault of the machine is none of the flow's, and stays without trace as well.
    let fault = engine.command::<Toy>(&id, Command::EndAndGoOn, "ada", 1).await.unwrap_err();
    assert!(matches!(fault, Error::Internal(_)), "{fault:?}");
    assert!(matches!(engine.command::<Toy>("nothing", Command::Stop, "ada", 1).await, Err(Error::NotFound)));
    assert_eq!(everything(&db).await, before);
    // The transaction of a caller who goes on stays usable.
    let mut tx = db.begin().await.unwrap();
    engine.command_in::<Toy>(&mut tx, &id, &Command::Resume { jobs: vec![] }, "ada", 1).await.unwrap_err();
    tx.commit().await.unwrap();
    assert_eq!(everything(&db).await, before);
}

#[tokio::test]
async fn a_flow_that_ended_cancels_what_was_due_and_hears_nothing_more() {
    let (_folder, db) = Db::temporary().await;
    let engine = Engine::new(db.clone());
    let id = start(&engine, &db, "s", vec![job("a", "t"), job("b", "t")]).await;
    engine.command::<Toy>(&id, Command::Stop, "ada", 5).await.unwrap();
    let flow = engine.view(&id).await.unwrap();
    assert_eq!(flow.status, Status::Cancelled);
    assert!(flow.steps.iter().all(|step| step.state == StepState::Cancelled && step.done_at == Some(5)), "{flow:#?}");
    assert_eq!(flow.progress(), (0, 0));
    let refused = engine.command::<Toy>(&id, Command::Stop, "ada", 6).await.unwrap_err();
    assert_eq!(sentence(refused), Messages::ENGLISH.engine_ended());
}

#[tokio::test]
async fn a_step_cancels_the_effects_that_its_new_state_does_not_want() {
    let (_folder, db) = Db::temporary().await;
    let engine = Engine::new(db.clone());
    let id = start(&engine, &db, "s", vec![job("a", "t"), job("keep", "t")]).await;
    engine.command::<Toy>(&id, Command::Pause, "ada", 5).await.unwrap();
    let resume = Command::Resume { jobs: vec![job("c", "t")] };
    engine.command::<Toy>(&id, resume, "ada", 6).await.unwrap();
    let flow = engine.view(&id).await.unwrap();
    let states: Vec<_> = flow.steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Cancelled, StepState::Due, StepState::Due]);
    assert_eq!(flow.progress(), (0, 2));
}

#[tokio::test]
async fn a_locked_resource_names_its_holder_until_the_holder_ends() {
    let (_folder, db) = Db::temporary().await;
    let engine = Engine::new(db.clone());
    let jobs = || -> Vec<Job> { vec![job("a", "t")] };
    let mut tx = db.begin().await.unwrap();
    let first = engine.start::<Toy>(&mut tx, flow("service/orders", Some("service/orders"), jobs())).await.unwrap();
    tx.commit().await.unwrap();
    let before = everything(&db).await;

    let mut tx = db.begin().await.unwrap();
    let refused = engine.start::<Toy>(&mut tx, flow("service/orders", Some("service/orders"), jobs())).await.unwrap_err();
    // Even a caller who commits nevertheless leaves nothing of the second flow.
    tx.commit().await.unwrap();
    let sentence = sentence(refused);
    assert!(sentence.contains("ada") && sentence.contains(&first), "{sentence}");
    assert_eq!(everything(&db).await, before);

    // The same resource of another environment is another resource.
    let mut tx = db.begin().await.unwrap();
    let elsewhere =
        crate::engine::NewFlow { environment_id: Some("dev"), ..flow("service/orders", Some("service/orders"), jobs()) };
    engine.start::<Toy>(&mut tx, elsewhere).await.unwrap();
    tx.commit().await.unwrap();

    engine.command::<Toy>(&first, Command::Stop, "ada", 1).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    engine.start::<Toy>(&mut tx, flow("service/orders", Some("service/orders"), jobs())).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_start_that_is_rolled_back_leaves_nothing() {
    let (_folder, db) = Db::temporary().await;
    let engine = Engine::new(db.clone());
    let mut tx = db.begin().await.unwrap();
    engine.start::<Toy>(&mut tx, flow("s", Some("r"), vec![job("a", "t")])).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(everything(&db).await, Vec::<String>::new());
}

#[tokio::test]
async fn flows_are_listed_newest_first_by_environment_subject_and_status() {
    let (_folder, db) = Db::temporary().await;
    let engine = Engine::new(db.clone());
    let mut tx = db.begin().await.unwrap();
    sqlx::query("insert into environments (id, name, title, colour, created_at) values ('E1', 'dev', '', '', 1)")
        .execute(&mut *tx)
        .await
        .unwrap();
    let mut ids = Vec::new();
    for n in 0..3 {
        let new = crate::engine::NewFlow {
            environment_id: (n > 0).then_some("E1"),
            ..flow(["a", "b", "a"][n], None, vec![job("a", "t")])
        };
        ids.push(engine.start::<Toy>(&mut tx, new).await.unwrap());
        // Ids of one millisecond sort by chance; a later flow has a later id.
        let next = crate::app::now_ms() + 1;
        while crate::app::now_ms() < next {
            tokio::task::yield_now().await;
        }
    }
    tx.commit().await.unwrap();
    engine.command::<Toy>(&ids[2], Command::Stop, "ada", 1).await.unwrap();
    let any = Query { limit: 10, ..Query::default() };
    let cases = [
        (any.clone(), vec![2, 1, 0]),
        (Query { environment: "dev", ..any.clone() }, vec![2, 1]),
        (Query { subject: "a", ..any.clone() }, vec![2, 0]),
        (Query { status: "cancelled", ..any.clone() }, vec![2]),
        (Query { limit: 1, ..any.clone() }, vec![2]),
        (Query { before: &ids[2], ..any.clone() }, vec![1, 0]),
        (Query { environment: "prod", ..any }, vec![]),
    ];
    for (query, wanted) in cases {
        let found: Vec<_> = view::list(&db, &query).await.unwrap().into_iter().map(|flow| flow.id).collect();
        assert_eq!(found, wanted.iter().map(|n| ids[*n].clone()).collect::<Vec<_>>(), "{query:?}");
    }
    let about: Vec<_> = engine.of_subject(Some("E1"), "a").await.unwrap().into_iter().map(|flow| flow.id).collect();
    assert_eq!(about, [ids[2].clone()]);
    assert_eq!(engine.of_subject(None, "a").await.unwrap().len(), 1);
}

#[tokio::test]
async fn numbers_of_changes_go_on_after_old_ones_are_forgotten() {
    let (_folder, db) = Db::temporary().await;
    for at in 1..=3 {
        let mut tx = db.begin().await.unwrap();
        note_change(&mut tx, "host/1", at).await.unwrap();
        tx.commit().await.unwrap();
    }
    changes::prune(&db, 100).await.unwrap();
    assert_eq!(changes::last(&db).await.unwrap(), 3);
    let mut tx = db.begin().await.unwrap();
    note_change(&mut tx, "host/1", 4).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(changes::last(&db).await.unwrap(), 4);
}
