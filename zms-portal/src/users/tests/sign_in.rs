use std::time::Instant;

use super::*;

#[tokio::test]
async fn a_session_that_was_planted_before_the_sign_in_is_worth_nothing_after_it() {
    let (_folder, db) = Db::temporary().await;
    person(&db, "mallory", &[Role::Viewer]).await;
    person(&db, "ada", &[Role::Operator]).await;
    let planted = enter(&db, "mallory", PASSWORD, None, NOW).await.unwrap();
    let token = enter(&db, "ada", PASSWORD, Some(&planted), NOW).await.unwrap();
    assert!(token != planted);
    assert_eq!(who(&db, &planted, NOW).await, None);
    assert_eq!(who(&db, &token, NOW).await.as_deref(), Some("ada"));
    let again = enter(&db, "ada", PASSWORD, Some(&token), NOW).await.unwrap();
    assert!(again != token && who(&db, &token, NOW).await.is_none(), "each sign-in makes a new one");
}

#[tokio::test]
async fn a_refused_sign_in_leaves_the_session_that_is_there() {
    let (_folder, db) = Db::temporary().await;
    person(&db, "ada", &[Role::Operator]).await;
    let token = enter(&db, "ada", PASSWORD, None, NOW).await.unwrap();
    assert!(enter(&db, "ada", "wrong", Some(&token), NOW).await.is_err());
    assert!(who(&db, &token, NOW).await.is_some());
}

#[tokio::test]
async fn wrong_name_wrong_password_and_a_disabled_person_get_the_same_answer() {
    let (_folder, db) = Db::temporary().await;
    person(&db, "ada", &[Role::Administrator]).await;
    let gone = person(&db, "gone", &[Role::Viewer]).await;
    let mut tx = db.begin().await.unwrap();
    store::disable(&mut tx, &gone.id, true).await.unwrap();
    tx.commit().await.unwrap();
    let mut answers = Vec::new();
    for (name, password) in
        [("ada", "wrong"), ("nobody", PASSWORD), ("gone", PASSWORD), ("gone", "wrong"), ("", ""), ("a b' or 1=1 --", "x")]
    {
        answers.push(said(enter(&db, name, password, None, NOW).await));
    }
    answers.dedup();
    assert_eq!(answers, ["password: Name or password is wrong, or this person may not sign in."]);
    let whys: Vec<String> = audited(&db).await.into_iter().map(|row| row.rsplit_once(' ').unwrap().1.to_owned()).collect();
    assert_eq!(
        whys,
        [
            r#"{"why":"password"}"#,
            r#"{"why":"unknown"}"#,
            r#"{"why":"disabled"}"#,
            r#"{"why":"password"}"#,
            r#"{"why":"unknown"}"#,
            r#"{"why":"unknown"}"#
        ]
    );
}

#[tokio::test]
async fn a_name_that_does_not_exist_takes_as_long() {
    let (_folder, db) = Db::temporary().await;
    person(&db, "ada", &[Role::Administrator]).await;
    let mut shortest = [u128::MAX; 2];
    // Apart, so that no try is refused for the ones before it; the shortest, so that other tests do not count.
    for round in 0..6 {
        for (which, name) in ["ada", "nobody"].into_iter().enumerate() {
            let begun = Instant::now();
            assert!(enter(&db, name, "wrong", None, NOW + round * 20 * MINUTE).await.is_err());
            shortest[which] = shortest[which].min(begun.elapsed().as_micros());
        }
    }
    // Without the hash of nobody it is a tenth and less.
    let [known, unknown] = shortest;
    assert!(unknown * 4 > known, "known {known} µs, unknown {unknown} µs");
}

#[tokio::test]
async fn an_account_that_is_guessed_at_waits_and_even_the_right_password_does_not_tell() {
    let (_folder, db) = Db::temporary().await;
    person(&db, "ada", &[Role::Administrator]).await;
    for _ in 0..5 {
        assert!(said(enter(&db, "ada", "wrong", None, NOW).await).starts_with("password:"));
        assert!(said(enter(&db, "nobody", "wrong", None, NOW).await).starts_with("password:"));
    }
    let answers = [("ada", "wrong"), (" ADA ", PASSWORD), ("nobody", "wrong")];
    let mut texts = Vec::new();
    for (name, password) in answers {
        texts.push(said(enter(&db, name, password, None, NOW + 29_999).await));
    }
    texts.dedup();
    assert_eq!(texts, ["too many: Too many tries. Wait some minutes, then try again."]);
    let row = audited(&db).await.into_iter().rev().nth(1).unwrap();
    assert_eq!(row, r#"ada sign_in.refuse user/ada denied {"why":"too many tries"}"#);
    assert!(enter(&db, "ada", PASSWORD, None, NOW + 30_000).await.is_ok());
    assert!(said(enter(&db, "ada", "wrong", None, NOW + 30_001).await).starts_with("password:"), "a right one starts afresh");
}

#[tokio::test]
async fn one_address_that_tries_many_names_is_stopped_and_cannot_fill_the_audit() {
    let (_folder, db) = Db::temporary().await;
    let throttle = throttle();
    let mut last = String::new();
    for n in 0..40 {
        let mut tx = db.begin().await.unwrap();
        let verdict = throttle.admit(&mut tx, Some(&format!("user{n}")), ADDRESS, NOW).await.unwrap();
        tx.commit().await.unwrap();
        last = if matches!(verdict, crate::access::throttle::Verdict::Address) { "address" } else { "" }.to_owned();
    }
    assert_eq!(last, "address");
    assert!(said(enter(&db, "ada", "wrong", None, NOW).await).starts_with("too many:"));
    assert_eq!(audited(&db).await, Vec::<String>::new());
}

#[tokio::test]
async fn tries_at_the_same_moment_count_each_other() {
    let (_folder, db) = Db::temporary().await;
    person(&db, "ada", &[Role::Administrator]).await;
    let tries = (0..12).map(|_| enter(&db, "ada", "wrong", None, NOW));
    let looked_at =
        futures::future::join_all(tries).await.into_iter().filter(|result| matches!(result, Err(Error::Invalid(_)))).count();
    assert_eq!(looked_at, 5);
}

#[tokio::test]
async fn what_was_typed_as_password_is_recorded_nowhere() {
    let (_folder, db) = Db::temporary().await;
    let ada = person(&db, "ada", &[Role::Administrator]).await;
    refused(&db, "ada", "My secret in clear").await;
    refused(&db, "My secret in clear", "").await;
    refused(&db, &"x".repeat(100_000), "").await;
    enter(&db, "ada", PASSWORD, None, NOW).await.unwrap();
    let change = PasswordChange { present: PASSWORD.into(), new: "My secret in clear".into() };
    change_password(&db, &throttle(), LIMITS, acting(&ada), change, NOW).await.unwrap();
    let rows = audited(&db).await;
    assert_eq!(rows.len(), 5);
    for row in rows {
        assert!(!row.contains("secret") && !row.contains("horse") && row.len() < 300, "{row}");
    }
}

#[tokio::test]
async fn signing_out_ends_the_session_and_is_audited_once() {
    let (_folder, db) = Db::temporary().await;
    let ada = person(&db, "ada", &[Role::Viewer]).await;
    let token = enter(&db, "ada", PASSWORD, None, NOW).await.unwrap();
    for _ in 0..2 {
        sign_out(&db, Some(&ada), &token, ADDRESS, NOW + 1).await.unwrap();
    }
    assert_eq!(who(&db, &token, NOW + 1).await, None);
    assert_eq!(audited(&db).await, ["ada sign_in.accept user/ada done null", "ada sign_out user/ada done null"]);
}
