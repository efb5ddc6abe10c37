use super::*;

#[tokio::test]
async fn a_new_password_needs_the_present_one_and_ends_all_other_sessions() {
    let (_folder, db) = Db::temporary().await;
    let ada = person(&db, "ada", &[Role::Viewer]).await;
    let (here, there) =
        (enter(&db, "ada", PASSWORD, None, NOW).await.unwrap(), enter(&db, "ada", PASSWORD, None, NOW).await.unwrap());
    let change = async |present: &str, new: &str, now: i64| {
        let change = PasswordChange { present: present.to_owned(), new: new.to_owned() };
        change_password(&db, &throttle(), LIMITS, acting(&ada), change, now).await
    };
    assert!(said(change("wrong", "unrelated words are good", NOW).await).starts_with("present: "));
    assert!(said(change(PASSWORD, "short", NOW).await).starts_with("new: "));
    assert!(who(&db, &here, NOW).await.is_some() && who(&db, &there, NOW).await.is_some());
    let after = change(PASSWORD, "unrelated words are good", NOW).await.unwrap();
    assert_eq!((who(&db, &here, NOW).await, who(&db, &there, NOW).await), (None, None));
    assert_eq!(who(&db, &after, NOW).await.as_deref(), Some("ada"));
    assert!(enter(&db, "ada", PASSWORD, None, NOW).await.is_err());
    assert!(enter(&db, "ada", "unrelated words are good", None, NOW).await.is_ok());
    for n in 0..5 {
        assert!(said(change("wrong", "other unrelated words", NOW + n).await).starts_with("present: "));
    }
    assert!(
        said(change("unrelated words are good", "other unrelated words", NOW + 5).await).starts_with("too many: "),
        "a stolen session cannot guess"
    );
}

#[tokio::test]
async fn everybody_chooses_their_language() {
    let (_folder, db) = Db::temporary().await;
    let ada = person(&db, "ada", &[Role::Viewer]).await;
    set_language(&db, acting(&ada), "zh", NOW).await.unwrap();
    assert!(said(set_language(&db, acting(&ada), "xx", NOW).await).starts_with("language: "));
    let token = enter(&db, "ada", PASSWORD, None, NOW).await.unwrap();
    assert_eq!(session::find(&db, &token, LIMITS, NOW).await.unwrap().unwrap().user.language, "zh");
}
