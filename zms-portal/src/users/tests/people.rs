use super::*;

#[tokio::test]
async fn only_administrators_manage_people_and_who_else_tries_is_audited() {
    let (_folder, db) = Db::temporary().await;
    add(&db, "ada", &[Role::Administrator]).await;
    for role in [Role::Viewer, Role::Developer, Role::Approver, Role::Operator] {
        let eve = user(&db, &format!("eve-{role}"), &[role]).await;
        let invitation = NewInvitation { name: "x".into(), role: Role::Administrator };
        let new = NewUser { name: "x".into(), password: PASSWORD.into(), roles: vec![Role::Administrator] };
        let promote = UserChange { roles: Some(vec![Role::Administrator]), ..UserChange::default() };
        assert_eq!(said(invite(&db, URL, acting(&eve), invitation, NOW).await), "Forbidden");
        assert_eq!(said(create(&db, acting(&eve), new, NOW).await), "Forbidden");
        assert_eq!(said(change(&db, acting(&eve), &eve.name, promote, NOW).await), "Forbidden");
        assert_eq!(said(list(&db, &eve, LIMITS, NOW).await), "Forbidden");
        assert_eq!(said(find(&db, &eve, "ada", LIMITS, NOW).await), "Forbidden");
        let denied = audited(&db).await;
        assert_eq!(
            denied[denied.len() - 3..].iter().filter(|row| row.contains(" denied ") && row.starts_with("eve-")).count(),
            3
        );
    }
    let people: i64 = sqlx::query_scalar("select count(*) from users").fetch_one(db.read()).await.unwrap();
    let administrators: i64 =
        sqlx::query_scalar("select count(*) from role_grants where role = 'administrator'").fetch_one(db.read()).await.unwrap();
    assert_eq!((people, administrators), (5, 1));
}

#[tokio::test]
async fn the_last_administrator_stays_one() {
    let (_folder, db) = Db::temporary().await;
    let ada = user(&db, "ada", &[Role::Administrator, Role::Operator]).await;
    let grace = user(&db, "grace", &[Role::Administrator]).await;
    let demote = UserChange { roles: Some(vec![Role::Viewer]), ..UserChange::default() };
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    let both = UserChange { disabled: Some(true), roles: Some(vec![Role::Administrator]), end_sessions: true };
    change(&db, acting(&ada), "grace", disable.clone(), NOW).await.unwrap();
    for attempt in [&demote, &disable, &both] {
        assert!(said(change(&db, acting(&ada), "ada", attempt.clone(), NOW).await).starts_with("conflict: "), "{attempt:?}");
    }
    change(&db, acting(&ada), "grace", UserChange { disabled: Some(false), ..UserChange::default() }, NOW).await.unwrap();
    change(&db, acting(&ada), "ada", demote, NOW).await.unwrap();
    assert!(said(change(&db, acting(&grace), "grace", disable, NOW).await).starts_with("conflict: "));
    let ada = find(&db, &grace, "ada", LIMITS, NOW).await.unwrap();
    assert_eq!((ada.roles, ada.disabled), (vec![Role::Viewer], false));
}

#[tokio::test]
async fn two_administrators_cannot_take_each_other_out_at_the_same_moment() {
    let (_folder, db) = Db::temporary().await;
    let (ada, grace) = (user(&db, "ada", &[Role::Administrator]).await, user(&db, "grace", &[Role::Administrator]).await);
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    let (one, other) =
        tokio::join!(change(&db, acting(&ada), "grace", disable.clone(), NOW), change(&db, acting(&grace), "ada", disable, NOW));
    assert!(one.is_ok() != other.is_ok());
}

#[tokio::test]
async fn disabling_ends_sessions_at_once_and_enabling_does_not_bring_them_back() {
    let (_folder, db) = Db::temporary().await;
    let ada = user(&db, "ada", &[Role::Administrator]).await;
    person(&db, "grace", &[Role::Developer]).await;
    let token = enter(&db, "grace", PASSWORD, None, NOW).await.unwrap();
    assert_eq!(find(&db, &ada, "grace", LIMITS, NOW).await.unwrap().sessions, 1);
    change(&db, acting(&ada), "grace", UserChange { disabled: Some(true), ..UserChange::default() }, NOW).await.unwrap();
    assert_eq!(who(&db, &token, NOW).await, None);
    assert!(enter(&db, "grace", PASSWORD, None, NOW).await.is_err());
    change(&db, acting(&ada), "grace", UserChange { disabled: Some(false), ..UserChange::default() }, NOW).await.unwrap();
    assert_eq!(who(&db, &token, NOW).await, None);
    assert!(enter(&db, "grace", PASSWORD, None, NOW).await.is_ok());
}

#[tokio::test]
async fn an_administrator_changes_roles_and_ends_sessions() {
    let (_folder, db) = Db::temporary().await;
    let ada = user(&db, "ada", &[Role::Administrator]).await;
    person(&db, "grace", &[Role::Developer]).await;
    let token = enter(&db, "grace", PASSWORD, None, NOW).await.unwrap();
    let roles = UserChange { roles: Some(vec![Role::Operator, Role::Approver, Role::Operator]), ..UserChange::default() };
    change(&db, acting(&ada), "grace", roles, NOW).await.unwrap();
    let now = session::find(&db, &token, LIMITS, NOW).await.unwrap().unwrap().user;
    assert_eq!(now.roles, [Role::Approver, Role::Operator], "in force with the next request");
    change(&db, acting(&ada), "grace", UserChange { end_sessions: true, ..UserChange::default() }, NOW).await.unwrap();
    assert_eq!(who(&db, &token, NOW).await, None);
    let none = UserChange { roles: Some(Vec::new()), ..UserChange::default() };
    assert!(said(change(&db, acting(&ada), "grace", none, NOW).await).starts_with("roles: "));
    assert_eq!(said(change(&db, acting(&ada), "nobody", UserChange::default(), NOW).await), "NotFound");
    let acts = audited(&db).await;
    assert_eq!(acts[1], r#"ada user.change_roles user/grace done {"after":["approver","operator"],"before":["developer"]}"#);
    assert_eq!(acts[2], r#"ada user.end_sessions user/grace done {"ended":1}"#);
}

#[tokio::test]
async fn an_administrator_makes_a_person_for_scripts() {
    let (_folder, db) = Db::temporary().await;
    let ada = user(&db, "ada", &[Role::Administrator]).await;
    let new = |name: &str, password: &str, roles: &[Role]| NewUser {
        name: name.into(),
        password: password.into(),
        roles: roles.to_vec(),
    };
    create(&db, acting(&ada), new("pipeline", PASSWORD, &[Role::Operator]), NOW).await.unwrap();
    assert!(enter(&db, "pipeline", PASSWORD, None, NOW).await.is_ok());
    assert!(said(create(&db, acting(&ada), new("Pipeline", PASSWORD, &[Role::Operator]), NOW).await).starts_with("name: "));
    let Err(Error::Invalid(problems)) = create(&db, acting(&ada), new("a b", "short", &[]), NOW).await else {
        panic!("all of it is wrong")
    };
    assert_eq!(problems.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>(), ["name", "password", "roles"]);
    let people = list(&db, &ada, LIMITS, NOW).await.unwrap();
    assert_eq!(
        people.iter().map(|person| (person.name.as_str(), person.sessions)).collect::<Vec<_>>(),
        [("ada", 0), ("pipeline", 1)]
    );
}
