use super::*;
use crate::app::now_ms;
use crate::clusters::test_support::{Stage, actor, user};

fn pem() -> String {
    rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem()
}

#[tokio::test]
async fn a_store_by_its_addresses_is_what_applications_and_collectors_are_told_and_its_password_is_shown_nowhere() {
    let stage = Stage::set().await;
    let (app, environment, olga) = (&stage.app, &stage.environment, user("olga", Role::Operator));
    let authority = pem();
    let new = |user: &str, password: &str| NewExternal {
        addresses: " 10.0.0.1:2281, 10.0.0.2:2281".to_owned(),
        authority: authority.clone(),
        user: user.to_owned(),
        password: password.to_owned(),
    };
    let victor = user("victor", Role::Viewer);
    assert!(matches!(choose(app, actor(&victor), environment, new("", ""), now_ms()).await, Err(Error::Forbidden)));
    choose(app, actor(&olga), environment, new("super", "secret-word"), now_ms()).await.unwrap();
    let way = app.metadata.way(&environment.id).await.unwrap().unwrap();
    assert_eq!((way.addresses.as_str(), way.secure, way.external), ("10.0.0.1:2281,10.0.0.2:2281", true, true));
    let portal = app.metadata.identity(&environment.id, "portal").await.unwrap();
    assert_eq!((portal.user.as_str(), portal.password.as_str()), ("super", "secret-word"));
    assert_eq!(app.metadata.identity(&environment.id, "sdk").await.unwrap().user, "sdk");

    // An empty password keeps the one that is known.
    choose(app, actor(&olga), environment, new("super", ""), now_ms()).await.unwrap();
    assert_eq!(app.metadata.identity(&environment.id, "portal").await.unwrap().password, "secret-word");
    let shown = format!("{:?} {:?}", new("super", "secret-word"), find(&app.db, &environment.id).await.unwrap());
    assert!(!shown.contains("secret-word"), "{shown}");
    let details: Vec<String> = sqlx::query_scalar("select detail from audit").fetch_all(app.db.read()).await.unwrap();
    assert!(
        details.iter().any(|detail| detail.contains("10.0.0.2:2281"))
            && !details.iter().any(|detail| detail.contains("secret-word"))
    );

    // Without TLS there is no identity.
    let plain = NewExternal { addresses: "10.0.0.1:2181".to_owned(), ..NewExternal::default() };
    choose(app, actor(&olga), environment, plain, now_ms()).await.unwrap();
    let way = app.metadata.way(&environment.id).await.unwrap().unwrap();
    assert_eq!((way.secure, way.authority.as_str()), (false, ""));
    assert_eq!(app.metadata.identity(&environment.id, "portal").await.unwrap().user, "portal");

    forget(app, actor(&olga), environment, now_ms()).await.unwrap();
    assert!(app.metadata.way(&environment.id).await.unwrap().is_none());
    assert!(matches!(forget(app, actor(&olga), environment, now_ms()).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn what_the_environment_has_of_its_own_is_sent_to_no_server_of_the_callers_choice() {
    let stage = Stage::set().await;
    let (app, environment, olga) = (&stage.app, &stage.environment, user("olga", Role::Operator));
    let identity = async |new: &NewExternal| {
        let known = find(&app.db, &environment.id).await.unwrap();
        let checked = check::check(new.clone(), known.as_ref(), &Networks::default());
        identity_for(app, environment, &checked.unwrap(), known.as_ref()).await.unwrap().unwrap()
    };
    let (ours, theirs) = (pem(), pem());
    let at = |addresses: &str, authority: &str| NewExternal {
        addresses: addresses.to_owned(),
        authority: authority.to_owned(),
        ..NewExternal::default()
    };
    let installed = app.metadata.identity(&environment.id, "portal").await.unwrap();
    let tried = identity(&at("10.0.0.66:2281", &theirs)).await;
    assert!(tried.user != "portal" && tried.password != installed.password, "somebody whom nobody knows");

    // Chosen without a user: another password than the installed store has, and it is used where it goes already only.
    choose(app, actor(&olga), environment, at("10.0.0.1:2281,10.0.0.2:2281", &ours), now_ms()).await.unwrap();
    let made = app.metadata.identity(&environment.id, "portal").await.unwrap();
    assert!(made.user == "portal" && made.password != installed.password);
    assert_eq!(identity(&at("10.0.0.2:2281", &ours)).await.password, made.password);
    for elsewhere in [at("10.0.0.66:2281", &ours), at("10.0.0.2:2281,10.0.0.66:2281", &ours), at("10.0.0.2:2281", &theirs)] {
        assert_ne!(identity(&elsewhere).await.password, made.password, "{elsewhere:?}");
    }
    choose(app, actor(&olga), environment, at("10.0.0.66:2281", &theirs), now_ms()).await.unwrap();
    for who in ["portal", "sdk", "collector", "backup"] {
        let there = app.metadata.identity(&environment.id, who).await.unwrap();
        assert!(there.password != made.password && there.password != installed.password, "{who}");
    }

    // A password that was typed for one store.
    let typed = |new: NewExternal, password: &str| NewExternal { user: "zms".to_owned(), password: password.to_owned(), ..new };
    choose(app, actor(&olga), environment, typed(at("10.0.0.1:2281", &ours), "typed-once"), now_ms()).await.unwrap();
    assert_eq!(identity(&typed(at("10.0.0.1:2281", &ours), "")).await.password, "typed-once");
    for elsewhere in [at("10.0.0.66:2281", &ours), at("10.0.0.1:2281", &theirs)] {
        for refused in [
            choose(app, actor(&olga), environment, typed(elsewhere.clone(), ""), now_ms()).await.map(drop),
            attempt(app, actor(&olga), environment, typed(elsewhere.clone(), ""), now_ms()).await.map(drop),
        ] {
            assert!(matches!(&refused, Err(Error::Invalid(problems)) if problems[0].field == "password"), "{refused:?}");
        }
    }
}

#[tokio::test]
async fn a_store_that_lacks_what_is_published_does_not_take_the_place_of_the_one_that_has_it() {
    let stage = Stage::set().await;
    let (app, environment, olga) = (&stage.app, &stage.environment, user("olga", Role::Operator));
    let at = |addresses: &str| NewExternal { addresses: addresses.to_owned(), ..NewExternal::default() };
    choose(app, actor(&olga), environment, at("10.0.0.1:2181,10.0.0.2:2181"), now_ms()).await.unwrap();
    choose(app, actor(&olga), environment, at("10.0.0.3:2181,10.0.0.4:2181"), now_ms()).await.unwrap();
    stage.published().await;
    // Nobody listens there, so nothing is seen to be there.
    let refused = choose(app, actor(&olga), environment, at("127.0.0.1:1"), now_ms()).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    assert_eq!(find(&app.db, &environment.id).await.unwrap().unwrap().addresses, "10.0.0.3:2181,10.0.0.4:2181");
    choose(app, actor(&olga), environment, at("10.0.0.4:2181"), now_ms()).await.unwrap();
}

#[tokio::test]
async fn narrowed_networks_reach_a_store_that_is_open() {
    let stage = Stage::set().await;
    let (app, environment, olga) = (&stage.app, &stage.environment, user("olga", Role::Operator));
    // The stage's store stands for no address, so this environment is one without it.
    let (name, colour) = ("real".to_owned(), "green".to_owned());
    let new = environments::NewEnvironment { name, colour, ..environments::NewEnvironment::default() };
    let real = environments::create(&app.db, actor(&olga), new, now_ms()).await.unwrap();
    assert_ne!(real.id, environment.id);
    let plain = NewExternal { addresses: "127.0.0.1:1".to_owned(), ..NewExternal::default() };
    choose(app, actor(&olga), &real, plain, now_ms()).await.unwrap();
    let open = app.metadata.store(&real.id).await.unwrap();
    assert!(std::sync::Arc::ptr_eq(&open, &app.metadata.store(&real.id).await.unwrap()));
    environments::set_networks(&app.db, actor(&olga), &real, &["10.0.0.0/8".to_owned()], now_ms()).await.unwrap();
    let narrowed = app.metadata.store(&real.id).await.unwrap();
    assert!(!std::sync::Arc::ptr_eq(&open, &narrowed), "it would go on with the networks that it was opened with");
    let way = app.metadata.way(&real.id).await.unwrap().unwrap();
    assert_eq!(way.networks.unwrap().to_string(), "10.0.0.0/8");
}

/// On a real ZooKeeper, with TLS: what a try says, and that a wrong password is only another identity.
#[tokio::test(flavor = "multi_thread")]
async fn a_try_says_what_is_there_and_a_wrong_password_is_another_identity() {
    use zms_drivers::meta::zookeeper::{Identities, ZooKeeper, digest};
    use zms_drivers::meta::{Access, Change, Link, MetaStore as _};
    use zms_testbed::{ZooKeeper as Server, ZooWish};

    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = tokio::task::spawn_blocking(|| Server::start(ZooWish { tls: true })).await.unwrap();
    let stage = Stage::set().await;
    let (app, environment, olga) = (&stage.app, &stage.environment, user("olga", Role::Operator));
    let secure = |user: &str, password: &str| NewExternal {
        addresses: server.tls().unwrap(),
        authority: server.authority_pem().to_owned(),
        user: user.to_owned(),
        password: password.to_owned(),
    };
    let attempt = async |new: NewExternal| attempt(app, actor(&olga), environment, new, now_ms()).await.unwrap();
    let found = attempt(secure("", "")).await;
    assert_eq!((found.reachable, found.version.as_deref(), &found.tree), (true, Some("3.9.5"), &Some(Tree::Absent)), "{found:?}");
    assert_eq!(found.rights, Some(Rights::Write));

    // A tree whose nodes belong to somebody.
    let other = |who: &str| digest(who, "their password");
    let access = Identities {
        portal: other("portal"),
        sdk: other("sdk"),
        collector: other("collector"),
        backup: other("backup"),
        world_reads: true,
    };
    let tls = Some(Tls { authority_pem: server.authority_pem().to_owned() });
    let identity = Some(Identity { user: "portal".to_owned(), password: "their password".to_owned() });
    let owner =
        ZooKeeper::start(Options { addresses: server.tls().unwrap(), tls, identity, access: Some(access), ..Options::default() });
    let mut link = owner.link();
    link.wait_for(|link| matches!(link, Link::Up(_))).await.unwrap();
    for path in ["/zms", "/zms/topic", "/zms/topic/orders"] {
        owner
            .apply(&[Change::Create { path: path.to_owned(), data: b"clusterName=k1\n".to_vec(), access: Access::Read }])
            .await
            .unwrap();
    }
    let found = attempt(secure("portal", "wrong")).await;
    assert_eq!(found.tree, Some(Tree::First { topics: 1, groups: 0 }), "{found:?}");
    assert!(matches!(&found.rights, Some(Rights::TooFew { why }) if why.contains("/zms")), "{found:?}");
    assert_eq!(attempt(secure("portal", "their password")).await.rights, Some(Rights::Write));
    let plain = NewExternal { addresses: server.plain(), ..NewExternal::default() };
    let found = attempt(plain).await;
    assert!(found.reachable && matches!(found.rights, Some(Rights::TooFew { .. })), "{found:?}");
    assert_eq!(owner.children("/zms/topic").await.unwrap().unwrap(), ["orders"]);
    assert_eq!(owner.get("/zms/topic/orders").await.unwrap().unwrap().version, 0, "nothing was written");

    let stranger = NewExternal { authority: pem(), ..secure("", "") };
    let found = attempt(stranger).await;
    assert!(!found.reachable && found.problem.is_some(), "a server that nobody vouches for: {found:?}");
}
