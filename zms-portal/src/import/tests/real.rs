//! On a real ZooKeeper with TLS: a tree that an anonymous client wrote is imported, Java clients go on working, and are shut out at last.

use std::sync::Arc;

use zms_core::metadata::path::Path as Znode;
use zms_drivers::meta::zookeeper::{Options, ZooKeeper};
use zms_drivers::meta::{Access, Change, Link, MetaError, MetaStore};
use zms_testbed::{ZooKeeper as Server, ZooWish};

use super::*;
use crate::environments::NewEnvironment;
use crate::metadata::external::{NewExternal, choose};

/// As the first ZMS's portal wrote: no identity, everybody may do everything.
async fn make_first(java: &ZooKeeper) {
    let create = |path: String, value: &[u8]| Change::Create { path, data: value.to_vec(), access: Access::Legacy };
    for parent in ["/zms", "/zms/cluster", "/zms/topic", "/zms/consumergroup"] {
        java.apply(&[create(parent.to_owned(), b"")]).await.unwrap();
    }
    for (path, value) in FIRST.iter().filter(|(path, _)| path.matches('/').count() == 3 && !path.contains('\u{7}')) {
        java.apply(&[create((*path).to_owned(), value.as_bytes())]).await.unwrap();
    }
}

async fn connect(options: Options) -> Arc<ZooKeeper> {
    let store = ZooKeeper::start(options);
    let mut link = store.link();
    let up = link.wait_for(|link| matches!(link, Link::Up(_)));
    assert!(tokio::time::timeout(std::time::Duration::from_secs(20), up).await.is_ok_and(|link| link.is_ok()));
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_zmss_tree_goes_over_into_ours_and_its_java_clients_work_until_rights_are_secured() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = tokio::task::spawn_blocking(|| Server::start(ZooWish { tls: true })).await.unwrap();
    let java = connect(Options { addresses: server.plain(), ..Options::default() }).await;
    make_first(&java).await;
    let child = "/zms/topic/orders/127.0.0.1||DEFAULT_PRODUCER||1.0.0||2026-11-21T08:40:02.558647||32848";
    let presence = java.ephemeral(child, Vec::new());
    until("a Java client is there", async || java.get(child).await.unwrap().is_some()).await;

    let stage = Stage::set().await;
    let (app, olga) = (&stage.app, user("olga", Role::Operator));
    rights::register(app);
    register(app);
    app.brokers.fake_at("10.0.0.1:9092", &stage.brokers);
    let new = NewEnvironment { name: "old".to_owned(), title: String::new(), colour: "red".to_owned(), protected: false };
    let environment = crate::environments::create(&app.db, actor(&olga), new, now_ms()).await.unwrap();
    let store =
        NewExternal { addresses: server.tls().unwrap(), authority: server.authority_pem().to_owned(), ..NewExternal::default() };
    choose(app, actor(&olga), &environment, store, now_ms()).await.unwrap();
    // Connected in the background: until then it cannot be read.
    until("the tree is read", async || look(app, actor(&olga), &environment, now_ms()).await.is_ok()).await;
    let plan = look(app, actor(&olga), &environment, now_ms()).await.unwrap();
    assert_eq!((&plan.origin, plan.java_clients, plan.new_topics()), (&Origin::First, 1, 2));
    let before = java.get("/zms/topic/orders").await.unwrap().unwrap();
    assert!(java.get("/zms/system").await.unwrap().is_none());

    let ended = async |flow: String| {
        until("it ends", async || app.engine.view(&flow).await.unwrap().status.is_final()).await;
    };
    ended(begin(app, actor(&olga), &environment, "", now_ms()).await.unwrap()).await;
    let collectors = Znode::Group(PhysicalName::new("zms_collector").unwrap()).to_string();
    until("topics of statistics are there", async || java.get(&collectors).await.unwrap().is_some()).await;
    assert_eq!(java.get("/zms/topic/orders").await.unwrap().unwrap(), before, "value, version and transaction are as they were");
    assert_eq!(*java.get("/zms/system/id").await.unwrap().unwrap().data, *environment.id.as_bytes());
    assert!(look(app, actor(&olga), &environment, now_ms()).await.unwrap().is_done());
    // What we made has the rights of the mode: readable for all, changed by nobody.
    let set = |path: &str| [Change::Set { path: path.to_owned(), data: Vec::new(), version: None }];
    let denied = |done: Result<Vec<i32>, MetaError>| assert!(matches!(done, Err(MetaError::Denied { .. })), "{done:?}");
    denied(java.apply(&set("/zms/system/role")).await);
    denied(java.apply(&set(&collectors)).await);

    // Old nodes are open until rights are written.
    ended(rights::switch(app, actor(&olga), &environment, (Mode::Legacy, ""), now_ms()).await.unwrap()).await;
    denied(java.apply(&set("/zms/topic/orders")).await);
    denied(java.apply(&set("/zms/cluster/k1")).await);
    drop(presence);
    until("it may delete its node", async || java.get(child).await.unwrap().is_none()).await;
    let presence = java.ephemeral(child, Vec::new());
    until("it may make its node", async || java.get(child).await.unwrap().is_some()).await;

    ended(rights::switch(app, actor(&olga), &environment, (Mode::Secured, "old"), now_ms()).await.unwrap()).await;
    for path in ["/zms/topic/orders", "/zms/cluster/k1", "/zms/system/id", "/zms"] {
        assert!(matches!(java.get(path).await, Err(MetaError::Denied { .. })), "{path}");
    }
    let sdk = app.metadata.identity(&environment.id, "sdk").await.unwrap();
    let tls = zms_drivers::meta::zookeeper::Tls { authority_pem: server.authority_pem().to_owned() };
    let sdk =
        connect(Options { addresses: server.tls().unwrap(), tls: Some(tls), identity: Some(sdk), ..Options::default() }).await;
    assert!(sdk.get("/zms/topic/orders").await.unwrap().is_some());
    denied(sdk.apply(&set("/zms/topic/orders")).await);
    drop(presence);
}
