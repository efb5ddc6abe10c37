//! What the fake does not play: TLS, who may do what, and requests that are too large.

use zms_drivers::meta::zookeeper::{Identities, Identity, Options, Tls, ZooKeeper as Store, digest};
use zms_drivers::meta::{Access, Change, Link, MetaError, MetaStore, Seen};
use zms_testbed::ZooKeeper;

use super::{WAIT, options, until, up};

/// All of it.
pub async fn over_tls(server: &ZooKeeper) {
    let ids = |user: &str| digest(user, &format!("{user} password"));
    let access = Identities {
        portal: ids("portal"),
        sdk: ids("sdk"),
        collector: ids("collector"),
        backup: ids("backup"),
        world_reads: false,
    };
    let connect = async |user: &str, password: String, authority_pem: &str| {
        let identity = Some(Identity { user: user.into(), password });
        let tls = Some(Tls { authority_pem: authority_pem.into() });
        Store::start(Options { addresses: server.tls().unwrap(), tls, identity, access: Some(access.clone()), ..options(server) })
    };
    let portal = connect("portal", "portal password".into(), server.authority_pem()).await;
    up(&*portal).await;
    let make = |path: &str, access| Change::Create { path: path.into(), data: b"v".to_vec(), access };
    let made =
        portal.apply(&[make("/s", Access::Portal), make("/s-read", Access::Read), make("/s-create", Access::ReadCreate)]).await;
    made.unwrap();

    let sdk = connect("sdk", "sdk password".into(), server.authority_pem()).await;
    up(&*sdk).await;
    assert!(sdk.get("/s-read").await.unwrap().is_some());
    let set = Change::Set { path: "/s-read".into(), data: Vec::new(), version: None };
    for denied in [sdk.get("/s").await.map(drop), sdk.apply(&[set]).await.map(drop)] {
        assert!(matches!(denied, Err(MetaError::Denied { .. })), "{denied:?}");
    }
    let presence = sdk.ephemeral("/s-create/me", b"here".to_vec());
    until("the portal sees it", async || portal.get("/s-create/me").await.unwrap()).await;
    drop(presence);

    let stranger = connect("sdk", "wrong".into(), server.authority_pem()).await;
    up(&*stranger).await;
    assert!(matches!(stranger.get("/s-read").await, Err(MetaError::Denied { .. })));
    let mut node = stranger.node("/s-read");
    tokio::time::timeout(WAIT, node.wait_for(|seen| *seen == Seen::Denied)).await.unwrap().unwrap();

    let unknown = connect("sdk", "sdk password".into(), &zms_testbed::Certificates::new().authority_pem).await;
    let mut link = unknown.link();
    let refused = link.wait_for(|link| matches!(link, Link::Down(why) if why != "not connected yet"));
    tokio::time::timeout(WAIT, refused).await.expect("a server that nobody vouches for is not used").unwrap();

    legacy_mode(server, &access, &portal).await;

    let large = Change::Set { path: "/s".into(), data: vec![0; 1 << 20], version: None };
    assert!(matches!(portal.apply(&[large]).await, Err(MetaError::Large { .. })));
}

/// Java clients have no identity: in legacy mode one makes and deletes its node below a topic and changes nothing; in secured mode it
/// can do nothing at all.
async fn legacy_mode(server: &ZooKeeper, access: &Identities, secured: &Store) {
    let legacy = Store::start(Options {
        addresses: server.tls().unwrap(),
        tls: Some(Tls { authority_pem: server.authority_pem().into() }),
        identity: Some(Identity { user: "portal".into(), password: "portal password".into() }),
        access: Some(Identities { world_reads: true, ..access.clone() }),
        ..options(server)
    });
    let java = Store::start(options(server));
    up(&*legacy).await;
    up(&*java).await;
    let make = |path: &str, access| Change::Create { path: path.into(), data: b"v".to_vec(), access };
    legacy.apply(&[make("/l", Access::Read), make("/l/topic", Access::Legacy)]).await.unwrap();
    let set = |path: &str| [Change::Set { path: path.into(), data: b"mine".to_vec(), version: None }];
    let child = "/l/topic/10.0.0.1||DEFAULT_PRODUCER||1.0.0||2026-11-21T08:40:02.558647||32848";
    let denied = |result: Result<Vec<i32>, MetaError>| assert!(matches!(result, Err(MetaError::Denied { .. })), "{result:?}");

    assert!(java.get("/l").await.unwrap().is_some() && java.get("/l/topic").await.unwrap().is_some());
    let presence = java.ephemeral(child, Vec::new());
    until("its node is there", async || legacy.get(child).await.unwrap()).await;
    drop(presence);
    until("its node is gone at once", async || legacy.get(child).await.unwrap().is_none().then_some(())).await;
    denied(java.apply(&set("/l/topic")).await);
    denied(java.apply(&set("/l")).await);
    denied(java.apply(&[make("/l/other", Access::Legacy)]).await);
    assert!(matches!(java.ensure_access("/l/topic", Access::Legacy).await, Err(MetaError::Denied { .. })));
    assert_eq!(legacy.ensure_access("/l/topic", Access::Legacy).await, Ok(false), "it has these rights");

    assert_eq!(secured.ensure_access("/l/topic", Access::Read).await, Ok(true));
    assert_eq!(secured.ensure_access("/l", Access::Read).await, Ok(true));
    assert_eq!(secured.ensure_access("/l", Access::Read).await, Ok(false));
    for path in ["/l", "/l/topic"] {
        assert!(matches!(java.get(path).await, Err(MetaError::Denied { .. })), "{path}");
        denied(java.apply(&set(path)).await);
    }
    denied(java.apply(&[make(child, Access::Legacy)]).await);
    assert_eq!(legacy.ensure_access("/l/topic", Access::Legacy).await, Ok(true), "and back");
    assert!(java.get("/l/topic").await.unwrap().is_some());
}
