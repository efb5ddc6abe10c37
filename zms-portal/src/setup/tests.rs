use super::*;
use crate::access::session::find;
use crate::audit::chain::verify;
use crate::error::Error;

const NOW: i64 = 1_795_000_000_000;
const MINUTE: i64 = 60_000;
const LIMITS: Limits = Limits { idle_ms: 30 * MINUTE, absolute_ms: 12 * 60 * MINUTE };
const ADDRESS: &str = "192.0.2.1";

fn first(code: &str) -> FirstAdministrator {
    FirstAdministrator { code: code.to_owned(), name: "Ada".to_owned(), password: "correct horse battery".to_owned() }
}

async fn try_finish(db: &Db, first: FirstAdministrator, now: i64) -> Result<Token> {
    finish(db, &Throttle::new(b"test"), LIMITS, first, ADDRESS, now).await
}

fn fields(result: Result<Token>) -> Vec<String> {
    match result {
        Err(Error::Invalid(problems)) => problems.into_iter().map(|problem| problem.field).collect(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it went through"),
    }
}

async fn acts(db: &Db) -> Vec<(String, String)> {
    let page = audit::list(db, &audit::Query::default()).await.unwrap();
    page.items.into_iter().rev().map(|row| (row.act, row.result.to_string())).collect()
}

#[tokio::test]
async fn who_has_the_code_becomes_the_administrator_and_is_signed_in() {
    let (_folder, db) = Db::temporary().await;
    assert!(!done(&db).await.unwrap());
    let code = make_code(&db, 30 * MINUTE, NOW).await.unwrap();
    let token = try_finish(&db, first(&code.to_lowercase().replace('-', " ")), NOW + MINUTE).await.unwrap();
    let user = find(&db, &token, LIMITS, NOW + MINUTE).await.unwrap().unwrap().user;
    assert_eq!((user.name.as_str(), user.roles.as_slice()), ("ada", &[Role::Administrator][..]));
    assert!(done(&db).await.unwrap());
    assert_eq!(acts(&db).await, [("setup.code".into(), "done".into()), ("setup.finish".into(), "done".into())]);
    assert_eq!(verify(&db).await.unwrap().broken, None);
}

#[tokio::test]
async fn the_database_knows_neither_code_nor_password() {
    let (_folder, db) = Db::temporary().await;
    let code = make_code(&db, 30 * MINUTE, NOW).await.unwrap();
    let kept: String = sqlx::query_scalar("select code_hash from setup_codes").fetch_one(db.read()).await.unwrap();
    assert!(!kept.contains(&code) && !kept.contains(&code.replace('-', "")));
    try_finish(&db, first(&code), NOW).await.unwrap();
    let kept: String = sqlx::query_scalar("select password from users").fetch_one(db.read()).await.unwrap();
    assert!(kept.starts_with("$argon2id$"));
    let audited: Vec<String> = sqlx::query_scalar("select detail from audit").fetch_all(db.read()).await.unwrap();
    assert!(audited.iter().all(|detail| !detail.contains("correct horse") && !detail.contains(&code)));
}

#[tokio::test]
async fn a_code_works_once_and_there_is_no_set_up_after_it() {
    let (_folder, db) = Db::temporary().await;
    let code = make_code(&db, 30 * MINUTE, NOW).await.unwrap();
    try_finish(&db, first(&code), NOW).await.unwrap();
    let again = FirstAdministrator { name: "mallory".into(), ..first(&code) };
    assert!(matches!(try_finish(&db, again, NOW).await, Err(Error::NotFound)));
    let another = make_code(&db, 30 * MINUTE, NOW).await.unwrap();
    assert!(matches!(try_finish(&db, first(&another), NOW).await, Err(Error::NotFound)), "nor with another code");
}

#[tokio::test]
async fn of_two_who_use_the_code_at_the_same_moment_one_gets_in() {
    let (_folder, db) = Db::temporary().await;
    let code = make_code(&db, 30 * MINUTE, NOW).await.unwrap();
    let other = FirstAdministrator { name: "grace".into(), ..first(&code) };
    let (one, other) = tokio::join!(try_finish(&db, first(&code), NOW), try_finish(&db, other, NOW));
    assert!(one.is_ok() != other.is_ok());
    let people: i64 = sqlx::query_scalar("select count(*) from users").fetch_one(db.read()).await.unwrap();
    assert_eq!(people, 1);
}

#[tokio::test]
async fn after_five_wrong_codes_the_right_one_is_good_for_nothing() {
    let (_folder, db) = Db::temporary().await;
    let code = make_code(&db, 30 * MINUTE, NOW).await.unwrap();
    for _ in 0..5 {
        assert_eq!(fields(try_finish(&db, first("0000-0000"), NOW).await), ["code"]);
    }
    assert_eq!(fields(try_finish(&db, first(&code), NOW).await), ["code"]);
    let new = make_code(&db, 30 * MINUTE, NOW).await.unwrap();
    assert_eq!(fields(try_finish(&db, first(&code), NOW).await), ["code"], "the old one is replaced");
    assert!(try_finish(&db, first(&new), NOW).await.is_ok());
    let refused = acts(&db).await.into_iter().filter(|act| *act == ("setup.finish".to_owned(), "denied".to_owned())).count();
    assert_eq!(refused, 7);
}

#[tokio::test]
async fn four_wrong_codes_leave_a_try() {
    let (_folder, db) = Db::temporary().await;
    let code = make_code(&db, 30 * MINUTE, NOW).await.unwrap();
    for _ in 0..4 {
        assert_eq!(fields(try_finish(&db, first("wrong"), NOW).await), ["code"]);
    }
    assert!(try_finish(&db, first(&code), NOW).await.is_ok());
}

#[tokio::test]
async fn a_code_is_good_for_its_minutes_only() {
    let (_folder, db) = Db::temporary().await;
    let code = make_code(&db, 10 * MINUTE, NOW).await.unwrap();
    assert_eq!(fields(try_finish(&db, first(&code), NOW + 10 * MINUTE).await), ["code"]);
    assert!(try_finish(&db, first(&code), NOW + 10 * MINUTE - 1).await.is_ok());
}

#[tokio::test]
async fn what_is_wrong_with_name_and_password_is_said_at_once_and_costs_no_try() {
    let (_folder, db) = Db::temporary().await;
    let code = make_code(&db, 30 * MINUTE, NOW).await.unwrap();
    for _ in 0..6 {
        let wrong = FirstAdministrator { name: "Ada Lovelace".into(), password: "short".into(), code: code.clone() };
        assert_eq!(fields(try_finish(&db, wrong, NOW).await), ["name", "password"]);
    }
    assert!(try_finish(&db, first(&code), NOW).await.is_ok());
}

#[tokio::test]
async fn without_a_code_nobody_gets_in() {
    let (_folder, db) = Db::temporary().await;
    for code in ["", "0", "0000-0000-0000-0000-0000-0000-00"] {
        assert_eq!(fields(try_finish(&db, first(code), NOW).await), ["code"], "{code}");
    }
}
