//! A cluster that ZMS did not install: adopted, changed, published, let go.

use zms_core::collect::{BrokerTls, Mechanism};
use zms_drivers::broker::ClusterAdmin as _;

use super::super::test_support::{Stage, actor, until, user};
use super::super::{Cluster, NewCluster, Tried, adopt, by_id, change, let_go, list, publish, try_out};
use crate::access::Role;
use crate::app::now_ms;
use crate::clusters::ClusterChange;
use crate::environments;
use crate::error::{Error, Result};

pub const PASSWORD: &str = "a very secret word";

pub fn wish(name: &str, address: &str) -> NewCluster {
    NewCluster { name: name.to_owned(), kind: "kafka".to_owned(), addresses: address.to_owned(), ..NewCluster::default() }
}

pub async fn adopted(stage: &Stage, name: &str, address: &str) -> Cluster {
    stage.app.brokers.fake_at(address, &stage.brokers);
    let olga = user("olga", Role::Operator);
    adopt(&stage.app, actor(&olga), &stage.environment, &wish(name, address), now_ms()).await.unwrap()
}

async fn published(stage: &Stage, name: &str, address: &str) {
    adopted(stage, name, address).await;
    let olga = user("olga", Role::Operator);
    let flow = publish(&stage.app, actor(&olga), &stage.environment, name, now_ms()).await.unwrap();
    until("it is published", async || stage.app.engine.view(&flow).await.unwrap().status.is_final()).await;
}

async fn field_of(done: Result<impl std::fmt::Debug>) -> Vec<String> {
    match done {
        Err(Error::Invalid(problems)) => problems.into_iter().map(|problem| problem.field).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_adopted_touches_nothing_and_its_password_is_nowhere_but_sealed() {
    let stage = Stage::set().await;
    let olga = user("olga", Role::Operator);
    let new = NewCluster {
        tls: "system".into(),
        mechanism: "scram-sha-512".into(),
        user: "zms".into(),
        password: PASSWORD.into(),
        ..wish("old-kafka", "10.0.0.9:9093, kafka-2.example:9093")
    };
    assert!(!format!("{new:?}").contains(PASSWORD));
    let cluster = adopt(&stage.app, actor(&olga), &stage.environment, &new, now_ms()).await.unwrap();
    assert_eq!((cluster.is_adopted(), cluster.epoch, cluster.addresses.len()), (true, 0, 2));
    assert_eq!(cluster.way.login, Some((Mechanism::ScramSha512, "zms".to_owned())));
    let told = super::super::adopted(&stage.app.vault, &cluster).unwrap();
    assert_eq!((&told.tls, told.login.unwrap().password.as_str()), (&BrokerTls::System, PASSWORD));
    assert!(!format!("{cluster:?}{}", serde_json::to_string(&cluster).unwrap()).contains(PASSWORD));
    let rows: Vec<String> = sqlx::query_scalar("select detail from audit").fetch_all(stage.app.db.read()).await.unwrap();
    assert!(rows.iter().any(|row| row.contains("scram-sha-512")) && rows.iter().all(|row| !row.contains(PASSWORD)), "{rows:?}");
    // Nothing was written: not to ZooKeeper, not to a broker.
    assert_eq!(stage.node("/zms/cluster/old-kafka"), "");
    assert!(stage.brokers.topics().await.unwrap().is_empty());
    assert!(stage.app.engine.of_subject(Some(&stage.environment.id), "cluster/old-kafka").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_cannot_be_right_is_said_by_field_and_nobody_else_may() {
    let stage = Stage::set().await;
    stage.published().await;
    let olga = user("olga", Role::Operator);
    let new = |change: &dyn Fn(&mut NewCluster)| {
        let mut new = wish("old-kafka", "10.0.0.9:9092");
        change(&mut new);
        new
    };
    type Case<'a> = (&'a str, &'a dyn Fn(&mut NewCluster));
    let cases: [Case<'_>; 12] = [
        ("name", &|new| new.name = "a b".into()),
        ("name", &|new| new.name = "adopt".into()),
        ("name", &|new| new.name = "kafka".into()),
        ("kind", &|new| new.kind = "pulsar".into()),
        ("addresses", &|new| new.addresses = String::new()),
        ("addresses", &|new| new.addresses = "broker-1".into()),
        ("addresses", &|new| new.addresses = "http://broker:9092".into()),
        ("addresses", &|new| new.addresses = "169.254.169.254:80".into()),
        ("addresses", &|new| new.addresses = "8.8.8.8:9092".into()),
        ("authority", &|new| new.tls = "authority".into()),
        ("mechanism", &|new| (new.mechanism, new.user, new.password) = ("plain".into(), "zms".into(), "x".into())),
        ("password", &|new| (new.mechanism, new.user) = ("scram-sha-256".into(), "zms".into())),
    ];
    for (field, change) in cases {
        let done = adopt(&stage.app, actor(&olga), &stage.environment, &new(change), now_ms()).await;
        assert_eq!(field_of(done).await, [field]);
    }
    let dora = user("dora", Role::Developer);
    let denied = adopt(&stage.app, actor(&dora), &stage.environment, &new(&|_| {}), now_ms()).await;
    assert!(matches!(denied, Err(Error::Forbidden)));
    assert_eq!(list(&stage.app.db, &stage.environment.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn networks_of_the_environment_decide_where_brokers_may_be() {
    let stage = Stage::set().await;
    let olga = user("olga", Role::Operator);
    let (app, environment) = (&stage.app, &stage.environment);
    let texts = ["8.8.0.0/16".to_owned()];
    environments::set_networks(&app.db, actor(&olga), environment, &texts, now_ms()).await.unwrap();
    let cluster = adopt(app, actor(&olga), environment, &wish("there", "8.8.8.8:9092"), now_ms()).await.unwrap();
    let told = super::super::adopted(&app.vault, &cluster).unwrap();
    assert_eq!(told.networks.to_string(), "8.8.0.0/16");
    let done = adopt(app, actor(&olga), environment, &wish("here", "10.0.0.1:9092"), now_ms()).await;
    assert_eq!(field_of(done).await, ["addresses"]);
    let wrong = environments::set_networks(&app.db, actor(&olga), environment, &["10.0.0.0/99".to_owned()], now_ms()).await;
    assert_eq!(field_of(wrong).await, ["networks"]);
    // An empty list is the default again, and connections follow.
    environments::set_networks(&app.db, actor(&olga), environment, &[], now_ms()).await.unwrap();
    let told = super::super::adopted(&app.vault, &by_id(&app.db, &cluster.id).await.unwrap()).unwrap();
    assert!(told.networks.contain("10.0.0.1".parse().unwrap()) && !told.networks.contain("8.8.8.8".parse().unwrap()));
}

#[tokio::test]
async fn a_try_says_what_it_found_or_what_would_be_right() {
    let stage = Stage::set().await;
    let olga = user("olga", Role::Operator);
    stage.app.brokers.fake_at("10.0.0.9:9092", &stage.brokers);
    let new = wish("old-kafka", "10.0.0.9:9092");
    let tried = try_out(&stage.app, actor(&olga), &stage.environment, &new, None, now_ms()).await.unwrap();
    assert!(
        matches!(&tried, Tried::Answers { brokers, controller: Some(id), .. } if brokers.len() == 3 && id == "1"),
        "{tried:?}"
    );
    stage.brokers.cut();
    let tried = try_out(&stage.app, actor(&olga), &stage.environment, &new, None, now_ms()).await.unwrap();
    assert!(matches!(&tried, Tried::Fails { kind: super::super::tried::Fault::Unreachable, .. }), "{tried:?}");
    assert!(list(&stage.app.db, &stage.environment.id).await.unwrap().is_empty(), "nothing is kept");
}

#[tokio::test]
async fn credentials_can_be_changed_and_an_empty_password_keeps_the_present_one() {
    let stage = Stage::set().await;
    let olga = user("olga", Role::Operator);
    let (app, environment) = (&stage.app, &stage.environment);
    let login = |password: &str| ClusterChange {
        mechanism: Some("scram-sha-256".into()),
        user: Some("zms".into()),
        password: Some(password.to_owned()),
        ..ClusterChange::default()
    };
    adopted(&stage, "old-kafka", "10.0.0.9:9092").await;
    let password = |cluster: &Cluster| super::super::adopted(&app.vault, cluster).unwrap().login.map(|login| login.password);
    for (change_to, expected) in [
        (login("first"), Some("first")),
        (login(""), Some("first")),
        (ClusterChange { addresses: Some("10.0.0.8:9092,10.0.0.9:9092".into()), ..login("first") }, Some("first")),
        (ClusterChange { addresses: Some("10.0.0.8:9092".into()), ..ClusterChange::default() }, Some("first")),
        (login("second"), Some("second")),
        (ClusterChange { mechanism: Some(String::new()), ..ClusterChange::default() }, None),
    ] {
        let cluster = change(app, actor(&olga), environment, "old-kafka", change_to, now_ms()).await.unwrap();
        assert_eq!(password(&cluster).as_deref(), expected);
    }
    // It was forgotten with the mechanism, so another user needs a password again.
    let done = change(app, actor(&olga), environment, "old-kafka", login(""), now_ms()).await;
    assert_eq!(field_of(done).await, ["password"]);
    let secrets: Vec<String> = sqlx::query_scalar("select reference from secrets").fetch_all(app.db.read()).await.unwrap();
    assert!(secrets.iter().all(|reference| !reference.starts_with("cluster/")), "{secrets:?}");
    let installed = stage.kafka_is_healthy().await;
    let refused = change(app, actor(&olga), environment, installed.name.as_str(), ClusterChange::default(), now_ms()).await;
    assert!(matches!(refused, Err(Error::Conflict(_))));
}

#[tokio::test]
async fn a_kept_password_is_sent_to_no_server_that_it_was_not_typed_for() {
    let stage = Stage::set().await;
    let olga = user("olga", Role::Operator);
    let (app, environment) = (&stage.app, &stage.environment);
    let pem = || rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem().replace("\r\n", "\n");
    let (ours, theirs) = (pem(), pem());
    let new = NewCluster {
        tls: "authority".into(),
        authority: ours.clone(),
        mechanism: "plain".into(),
        user: "zms".into(),
        password: "typed-once".into(),
        ..wish("old-kafka", "10.0.0.8:9092, 10.0.0.9:9092")
    };
    let cluster = adopt(app, actor(&olga), environment, &new, now_ms()).await.unwrap();
    let addresses = |addresses: &str| ClusterChange { addresses: Some(addresses.to_owned()), ..ClusterChange::default() };
    let elsewhere = [
        addresses("10.0.0.66:9092"),
        addresses("10.0.0.9:9092,10.0.0.66:9092"),
        addresses("10.0.0.9:9093"),
        ClusterChange { authority: Some(theirs), ..ClusterChange::default() },
        ClusterChange { tls: Some("system".into()), ..ClusterChange::default() },
        ClusterChange { tls: Some("off".into()), ..ClusterChange::default() },
    ];
    for wish in elsewhere {
        let tried = NewCluster {
            addresses: wish.addresses.clone().unwrap_or_else(|| new.addresses.clone()),
            tls: wish.tls.clone().unwrap_or_else(|| new.tls.clone()),
            authority: wish.authority.clone().unwrap_or_else(|| new.authority.clone()),
            password: String::new(),
            ..new.clone()
        };
        let tried = try_out(app, actor(&olga), environment, &tried, Some(&cluster), now_ms()).await;
        let changed = change(app, actor(&olga), environment, "old-kafka", wish, now_ms()).await;
        for fields in [field_of(tried).await, field_of(changed).await] {
            assert!(fields.iter().any(|field| field == "password"), "{fields:?}");
        }
    }
    // Typed again it goes where it was typed for.
    let again = ClusterChange { password: Some("typed-twice".into()), ..addresses("10.0.0.66:9092") };
    change(app, actor(&olga), environment, "old-kafka", again, now_ms()).await.unwrap();
    // The lines of a form end with CR LF.
    let form = ClusterChange { authority: Some(ours.replace('\n', "\r\n")), ..ClusterChange::default() };
    let cluster = change(app, actor(&olga), environment, "old-kafka", form, now_ms()).await.unwrap();
    let told = super::super::adopted(&app.vault, &cluster).unwrap();
    assert_eq!(told.login.unwrap().password, "typed-twice");
}

#[tokio::test]
async fn applications_find_it_when_somebody_wishes_so_and_statistics_stay_where_they_are() {
    let stage = Stage::set().await;
    let olga = user("olga", Role::Operator);
    let (app, environment) = (&stage.app, &stage.environment);
    // Older than the installed one, and not known to applications: it must not hinder the topics of statistics there.
    let cluster = adopted(&stage, "old-kafka", "10.0.0.9:9092").await;
    stage.published().await;
    assert_eq!(stage.node("/zms/cluster/old-kafka"), "");
    let flow = publish(app, actor(&olga), environment, "old-kafka", now_ms()).await.unwrap();
    until("it is published", async || app.engine.view(&flow).await.unwrap().status.is_final()).await;
    assert!(stage.node("/zms/cluster/old-kafka").contains("bootAddr=10.0.0.9:9092"));
    assert!(stage.node("/zms/topic/zms_statistics").contains("clusterName=kafka"));
    // Let go: its node goes, and nothing else.
    let flow = let_go(app, actor(&olga), environment, "old-kafka", now_ms()).await.unwrap();
    until("it is let go", async || app.engine.view(&flow).await.unwrap().status.is_final()).await;
    assert!(matches!(by_id(&app.db, &cluster.id).await, Err(Error::NotFound)));
    assert_eq!(stage.node("/zms/cluster/old-kafka"), "");
    assert!(stage.node("/zms/topic/zms_statistics").contains("clusterName=kafka"));
    assert!(!stage.brokers.topics().await.unwrap().is_empty(), "nothing on its brokers is touched");
    let refused = let_go(app, actor(&olga), environment, "kafka", now_ms()).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "ZMS installed that one");
}

#[tokio::test]
async fn statistics_are_made_on_an_adopted_cluster_where_there_is_no_other_and_go_with_it() {
    let stage = Stage::set().await;
    let olga = user("olga", Role::Operator);
    let (app, environment) = (&stage.app, &stage.environment);
    published(&stage, "old-kafka", "10.0.0.9:9092").await;
    assert!(stage.node("/zms/topic/zms_statistics").contains("clusterName=old-kafka"));
    stage.meta.cut();
    let flow = let_go(app, actor(&olga), environment, "old-kafka", now_ms()).await.unwrap();
    let noted = async || app.engine.view(&flow).await.unwrap().steps.iter().any(|step| !step.note.is_empty());
    until("it waits for the metadata and says so", noted).await;
    stage.meta.heal();
    until("it is let go", async || app.engine.view(&flow).await.unwrap().status.is_final()).await;
    for path in ["/zms/cluster/old-kafka", "/zms/topic/zms_statistics", "/zms/consumergroup/zms_collector"] {
        assert_eq!(stage.node(path), "", "{path}");
    }
}

#[tokio::test]
async fn a_published_cluster_that_asks_for_a_login_from_now_on_tells_applications_so() {
    let stage = Stage::set().await;
    let olga = user("olga", Role::Operator);
    let (app, environment) = (&stage.app, &stage.environment);
    published(&stage, "old-kafka", "10.0.0.9:9092").await;
    assert!(!stage.node("/zms/cluster/old-kafka").contains("SCRAM"));
    let login = ClusterChange {
        mechanism: Some("scram-sha-256".into()),
        user: Some("zms".into()),
        password: Some("only-for-tests".into()),
        ..ClusterChange::default()
    };
    change(app, actor(&olga), environment, "old-kafka", login, now_ms()).await.unwrap();
    until("applications know", async || stage.node("/zms/cluster/old-kafka").contains("SCRAM-SHA-256")).await;
    assert!(!stage.node("/zms/cluster/old-kafka").contains("only-for-tests"));
}
