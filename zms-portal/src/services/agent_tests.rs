//! An installation as it goes in production: hosts are asked first, and an agent does what the agents' API tells it.

use std::time::Duration;

use tokio::sync::watch;
use zms_core::host::Level;

use super::test_agent::Agent;
use super::test_support::{TestApp, insert_host};
use super::wish::{Wish, WishedHost};
use super::{ServiceStatus, find, install, logs};
use crate::access::{Actor, Role, User};
use crate::app::now_ms;
use crate::environments::{self, NewEnvironment};
use crate::error::Error;
use crate::packages::test_support::put;

fn fields(error: Error) -> Vec<String> {
    match error {
        Error::Invalid(problems) => problems.into_iter().map(|problem| problem.field).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_are_asked_first_and_what_they_object_to_is_not_installed() {
    let test = TestApp::start().await;
    let app = &test.app;
    put(app.stock.folder(), "zookeeper", "3.9.5", "any", b"zookeeper");
    put(app.stock.folder(), "supervisor", "4.3.0", "any", b"supervisor");
    app.stock.rescan().await.unwrap();
    let operator = User { id: "U".to_owned(), name: "olga".to_owned(), roles: vec![Role::Operator], language: String::new() };
    let actor = Actor { user: &operator, address: "192.0.2.1" };
    let new = NewEnvironment { name: "dev".to_owned(), title: String::new(), colour: "green".to_owned(), protected: false };
    let environment = environments::create(&app.db, actor, new, now_ms()).await.unwrap();
    let host = insert_host(app, &environment, 1).await;
    let wish = |accept_warnings| Wish {
        name: "zk".to_owned(),
        kind: "zookeeper".to_owned(),
        hosts: vec![WishedHost { host: host.clone(), address: String::new() }],
        accept_warnings,
        ..Wish::default()
    };
    let silent = install(app, actor, &environment, wish(true), now_ms()).await.unwrap_err();
    assert_eq!(fields(silent), ["preflight"], "a host that nobody can ask is not installed on");

    let (level, levels) = watch::channel(Level::Fail);
    let (end, stop) = watch::channel(false);
    tokio::spawn(Agent::new(app, &host, levels).await.run());
    let worker = tokio::spawn({
        let app = app.clone();
        async move { app.engine.run(stop).await }
    });
    // The first sync connects the host to the hub.
    let connected = tokio::time::timeout(Duration::from_secs(20), async {
        while let Err(error) = install(app, actor, &environment, wish(false), now_ms()).await {
            if !format!("{error:?}").contains("not connected") {
                return error;
            }
            tokio::task::yield_now().await;
        }
        panic!("a failed check was passed over");
    });
    assert!(format!("{:?}", connected.await.expect("the agent connects")).contains("is looked at"));
    level.send_replace(Level::Warn);
    assert_eq!(fields(install(app, actor, &environment, wish(false), now_ms()).await.unwrap_err()), ["accept_warnings"]);
    let flow = install(app, actor, &environment, wish(true), now_ms()).await.unwrap();
    let mut changed = app.engine.changed();
    let done = tokio::time::timeout(Duration::from_secs(20), async {
        while app.engine.view(&flow).await.unwrap().status.to_string() != "done" {
            changed.changed().await.unwrap();
        }
    });
    done.await.expect("the flow is done");
    let service = find(app, &environment, "zk", now_ms()).await.unwrap();
    assert_eq!((service.status, service.instances[0].pid), (ServiceStatus::Healthy, Some(4242)));
    let piece = logs::read(app, &host, &"zk-1".parse().unwrap(), None).await.unwrap();
    assert_eq!(piece.text, "started\u{241b}[0m\n");
    end.send_replace(true);
    worker.await.unwrap();
}
