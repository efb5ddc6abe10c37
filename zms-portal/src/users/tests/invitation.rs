use super::*;

#[tokio::test]
async fn an_invitation_works_once_and_for_a_day() {
    let (_folder, db) = Db::temporary().await;
    let ada = user(&db, "ada", &[Role::Administrator]).await;
    let invited = async |name: &str| {
        let new = NewInvitation { name: name.to_owned(), role: Role::Operator };
        invite(&db, URL, acting(&ada), new, NOW)
            .await
            .unwrap()
            .link
            .strip_prefix("https://zms.example:8443/invite#")
            .unwrap()
            .to_owned()
    };
    let accepted = async |token: &str, now: i64| {
        let acceptance = Acceptance { token: token.to_owned(), password: PASSWORD.to_owned() };
        accept(&db, &throttle(), LIMITS, acceptance, None, ADDRESS, now).await
    };
    let (grace, late) = (invited("Grace").await, invited("late").await);
    let session = accepted(&grace, NOW + 1).await.unwrap();
    assert_eq!(who(&db, &session, NOW + 1).await.as_deref(), Some("grace"));
    let wrong = said(accepted(&grace, NOW + 2).await);
    assert!(wrong.starts_with("token: "), "{wrong}");
    assert_eq!(said(accepted(&late, NOW + 24 * 60 * MINUTE).await), wrong, "too late");
    assert_eq!(said(accepted(Token::random().reveal(), NOW).await), wrong, "never given");
    assert_eq!(said(accepted("", NOW).await), wrong);
    assert!(accepted(&late, NOW + 24 * 60 * MINUTE - 1).await.is_ok());
    assert!(enter(&db, "grace", PASSWORD, None, NOW).await.is_ok(), "and can sign in from then on");
    let kept: Vec<String> = sqlx::query_scalar("select token_hash from invitations").fetch_all(db.read()).await.unwrap();
    assert!(!kept.contains(&grace));
}

#[tokio::test]
async fn of_two_who_accept_at_the_same_moment_one_gets_the_account() {
    let (_folder, db) = Db::temporary().await;
    let ada = user(&db, "ada", &[Role::Administrator]).await;
    let link =
        invite(&db, URL, acting(&ada), NewInvitation { name: "grace".into(), role: Role::Viewer }, NOW).await.unwrap().link;
    let secret = link.split_once('#').unwrap().1;
    let throttle = throttle();
    let accepted = async || {
        let acceptance = Acceptance { token: secret.to_owned(), password: PASSWORD.to_owned() };
        accept(&db, &throttle, LIMITS, acceptance, None, ADDRESS, NOW).await
    };
    let (one, other) = tokio::join!(accepted(), accepted());
    assert!(one.is_ok() != other.is_ok());
}

#[tokio::test]
async fn a_bad_password_does_not_use_the_invitation_up_and_a_second_invitation_replaces_the_first() {
    let (_folder, db) = Db::temporary().await;
    let ada = user(&db, "ada", &[Role::Administrator]).await;
    let invited = async || {
        let link =
            invite(&db, URL, acting(&ada), NewInvitation { name: "grace".into(), role: Role::Viewer }, NOW).await.unwrap().link;
        link.split_once('#').unwrap().1.to_owned()
    };
    let accepted = async |token: &str, password: &str| {
        let acceptance = Acceptance { token: token.to_owned(), password: password.to_owned() };
        said(accept(&db, &throttle(), LIMITS, acceptance, None, ADDRESS, NOW).await)
    };
    let first = invited().await;
    let second = invited().await;
    assert!(accepted(&first, PASSWORD).await.starts_with("token: "));
    assert!(accepted(&second, "gracegracegrace").await.starts_with("password: "));
    assert_eq!(accepted(&second, PASSWORD).await, "done");
    let again = said(invite(&db, URL, acting(&ada), NewInvitation { name: "GRACE".into(), role: Role::Viewer }, NOW).await);
    assert_eq!(again, "name: Somebody has this name already.");
}

#[tokio::test]
async fn when_no_administrator_can_sign_in_another_comes_in_from_the_portals_machine() {
    let (_folder, db) = Db::temporary().await;
    user(&db, "ada", &[Role::Administrator]).await;
    let link = invite_administrator(&db, URL, "rescue", NOW).await.unwrap().link;
    let token = link.split_once('#').unwrap().1.to_owned();
    let acceptance = Acceptance { token, password: PASSWORD.to_owned() };
    let session = accept(&db, &throttle(), LIMITS, acceptance, None, ADDRESS, NOW).await.unwrap();
    let found = session::find(&db, &session, LIMITS, NOW).await.unwrap().unwrap();
    assert!(found.user.may(Role::Administrator));
    assert!(matches!(invite_administrator(&db, URL, "ada", NOW).await, Err(Error::Invalid(_))), "an account is never taken over");
    assert!(matches!(invite_administrator(&db, URL, "a b", NOW).await, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn who_forgot_a_password_sets_a_new_one_by_a_link_and_keeps_the_roles() {
    let (_folder, db) = Db::temporary().await;
    let ada = user(&db, "ada", &[Role::Administrator]).await;
    let roles = [Role::Developer, Role::Approver];
    add_with(&db, "grace", &password::hash(PASSWORD).await.unwrap(), &roles).await;
    let before = enter(&db, "grace", PASSWORD, None, NOW).await.unwrap();
    let link = async |name: &str| password_link(&db, URL, acting(&ada), name, NOW).await;
    let token = link("grace").await.unwrap().link.split_once('#').unwrap().1.to_owned();
    assert!(who(&db, &before, NOW).await.is_some(), "nothing happens until the link is used");
    let accepted = async |password: &str| {
        let acceptance = Acceptance { token: token.clone(), password: password.to_owned() };
        accept(&db, &throttle(), LIMITS, acceptance, None, ADDRESS, NOW).await
    };
    let session = accepted("four unrelated good words").await.unwrap();
    let found = session::find(&db, &session, LIMITS, NOW).await.unwrap().unwrap();
    assert_eq!((found.user.name.as_str(), found.user.roles.len()), ("grace", roles.len()));
    assert!(who(&db, &before, NOW).await.is_none(), "sessions of the old password have ended");
    assert!(enter(&db, "grace", PASSWORD, None, NOW).await.is_err());
    assert!(accepted("another four good words").await.is_err(), "it works once");
    assert!(matches!(link("nobody").await, Err(Error::NotFound)));
    assert!(matches!(password_link(&db, URL, acting(&found.user), "ada", NOW).await, Err(Error::Forbidden)));
}

#[tokio::test]
async fn a_link_for_a_new_password_does_not_open_a_disabled_account() {
    let (_folder, db) = Db::temporary().await;
    let ada = user(&db, "ada", &[Role::Administrator]).await;
    user(&db, "grace", &[Role::Viewer]).await;
    let token = password_link(&db, URL, acting(&ada), "grace", NOW).await.unwrap().link.split_once('#').unwrap().1.to_owned();
    change(&db, acting(&ada), "grace", UserChange { disabled: Some(true), ..UserChange::default() }, NOW).await.unwrap();
    let acceptance = Acceptance { token, password: PASSWORD.to_owned() };
    assert!(said(accept(&db, &throttle(), LIMITS, acceptance, None, ADDRESS, NOW).await).starts_with("token: "));
}
