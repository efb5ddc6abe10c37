use zms_drivers::meta::{Access, MetaStore as _};

use super::flow::{Command, Effect, Part, State, Switch, begin};
use super::*;
use crate::clusters::test_support::{Stage, actor, until, user};
use crate::engine::{Machine as _, Refused};

#[test]
fn rights_follow_the_mode_and_the_place() {
    for (path, secured, legacy) in [
        ("/zms", Access::Read, Access::Read),
        ("/zms/topic", Access::Read, Access::Read),
        ("/zms/topic/orders", Access::Read, Access::Legacy),
        ("/zms/consumergroup/billing", Access::Read, Access::Legacy),
        ("/zms/cluster/k1", Access::Read, Access::Read),
        ("/zms/client/0a", Access::ReadCreate, Access::ReadCreate),
        ("/zms/system/lease", Access::Lease, Access::Lease),
        ("/zms/system/lease/collector", Access::Lease, Access::Lease),
        ("/zms/system/role", Access::Read, Access::Read),
    ] {
        assert_eq!((Mode::Secured.access(path), Mode::Legacy.access(path)), (secured, legacy), "{path}");
    }
}

#[test]
fn parts_follow_each_other_and_an_old_answer_moves_nothing() {
    let mut next = begin("e", Mode::Legacy);
    for part in [Part::System, Part::Clusters, Part::Topics, Part::Groups] {
        assert_eq!(next.effects, [Effect::EnsureRights { environment: "e".to_owned(), part }]);
        let done = Command::Rewritten { part, changed: 2 };
        let after = Switch::step(&next.state, &done).unwrap();
        assert!(matches!(Switch::step(&after.state, &done), Err(Refused::Stale)));
        next = after;
    }
    assert_eq!(next.state, State::Done { mode: Mode::Legacy, changed: 8 });
}

#[tokio::test]
async fn a_switch_rewrites_what_is_there_and_what_is_made_later_has_the_mode_too() {
    let stage = Stage::set().await;
    stage.published().await;
    let (app, environment, meta) = (&stage.app, &stage.environment, &stage.meta);
    crate::metadata::rights::register(app);
    let node = "/zms/topic/zms_statistics";
    assert_eq!(meta.access(node), Some(Access::Read));
    let (operator, viewer) = (user("olga", Role::Operator), user("victor", Role::Viewer));
    let now = crate::app::now_ms();
    assert!(matches!(switch(app, actor(&viewer), environment, (Mode::Legacy, ""), now).await, Err(Error::Forbidden)));

    meta.cut();
    let flow = switch(app, actor(&operator), environment, (Mode::Legacy, ""), now).await.unwrap();
    let second = switch(app, actor(&operator), environment, (Mode::Legacy, ""), now).await;
    assert!(matches!(second, Err(Error::Conflict(why)) if format!("{why:?}").contains("olga")), "one at a time");
    until("it says why it waits", async || app.engine.view(&flow).await.unwrap().steps.iter().any(|step| !step.note.is_empty()))
        .await;
    meta.heal();
    until("it is done", async || app.engine.view(&flow).await.unwrap().status.is_final()).await;
    assert_eq!((meta.access(node), mode(&app.db, &environment.id).await.unwrap()), (Some(Access::Legacy), Mode::Legacy));
    assert_eq!(meta.access("/zms/cluster/kafka"), Some(Access::Read));

    let wanted = crate::metadata::Wanted::Topic {
        name: zms_core::names::PhysicalName::new("orders").unwrap(),
        cluster: zms_core::names::ClusterName::new("kafka").unwrap(),
    };
    app.metadata.publish(environment, &wanted, zms_core::metadata::Order::default()).await.unwrap();
    assert_eq!(meta.access("/zms/topic/orders"), Some(Access::Legacy));

    let flow = switch(app, actor(&operator), environment, (Mode::Secured, ""), now).await.unwrap();
    until("it is done", async || app.engine.view(&flow).await.unwrap().status.is_final()).await;
    assert_eq!((meta.access(node), meta.access("/zms/topic/orders")), (Some(Access::Read), Some(Access::Read)));
    assert!(meta.get(node).await.unwrap().is_some());
}

#[tokio::test]
async fn nobody_is_shut_out_and_nothing_protected_is_switched_without_the_name_of_the_environment() {
    let stage = Stage::set().await;
    stage.published().await;
    register(&stage.app);
    let (app, meta, olga) = (&stage.app, &stage.meta, user("olga", Role::Operator));
    let now = crate::app::now_ms();
    let protected = Environment { protected: true, ..stage.environment.clone() };
    let refused = async |environment: &Environment, mode| match switch(app, actor(&olga), environment, (mode, "prod"), now).await
    {
        Err(Error::Invalid(problems)) => format!("{:?}", problems[0].text),
        other => panic!("{other:?}"),
    };
    assert!(refused(&protected, Mode::Legacy).await.contains("protected"));
    meta.put("/zms/topic/zms_statistics/10.0.0.9||DEFAULT_PRODUCER||1.0.0||2026-11-21T08:40||7", "");
    assert!(refused(&stage.environment, Mode::Secured).await.contains("1 Java clients"));
    meta.cut();
    let unknown = switch(app, actor(&olga), &stage.environment, (Mode::Secured, ""), now).await;
    assert!(matches!(unknown, Err(Error::Unavailable(_))), "{unknown:?}");
    meta.heal();
    let flow = switch(app, actor(&olga), &protected, (Mode::Secured, "dev"), now).await.unwrap();
    until("it is done", async || app.engine.view(&flow).await.unwrap().status.is_final()).await;
}
