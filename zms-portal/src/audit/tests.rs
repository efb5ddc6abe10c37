use serde_json::json;
use sqlx::AssertSqlSafe;

use super::chain::{Break, Broken, CLOSE, Chain, verify};
use super::{Entry, Outcome, Query, check, list, record, see};
use crate::access::{Role, User};
use crate::db::Db;
use crate::error::Error;

/// 2026-11-25T12:00:00Z.
const NOON: i64 = 1_795_608_000_000;
const DAY: i64 = 86_400_000;

async fn write(db: &Db, at: i64, who: &str, act: &str) {
    let mut tx = db.begin().await.unwrap();
    let entry = Entry {
        at,
        who,
        address: "10.0.0.9",
        act,
        target: "environment/dev",
        detail: json!({ "title": "Dev" }),
        result: Outcome::Done,
    };
    record(&mut tx, entry).await.unwrap();
    tx.commit().await.unwrap();
}

async fn change(db: &Db, sql: &str) {
    let mut tx = db.begin().await.unwrap();
    for statement in sql.split(';') {
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// Three acts on each of three days: rows 1 to 3, and 4 that closes all but the last.
async fn three_days(db: &Db) {
    for day in 0..3 {
        for n in 0..3 {
            write(db, NOON + day * DAY + n, "ada", "environment.create").await;
        }
    }
}

#[tokio::test]
async fn each_day_is_a_chain_that_the_next_day_follows() {
    let (_folder, db) = Db::temporary().await;
    assert_eq!(verify(&db).await.unwrap(), Chain { rows: 0, last: String::new(), hash: String::new(), broken: None });
    three_days(&db).await;
    let chain = verify(&db).await.unwrap();
    assert_eq!((chain.rows, chain.last.as_str(), &chain.broken), (11, "2026-11-27.3", &None));
    assert_eq!(chain.hash.len(), 64);
    let page = list(&db, &Query::default()).await.unwrap();
    let positions: Vec<_> = page.items.iter().map(|row| (row.position(), row.act.as_str())).collect();
    assert_eq!(positions[0], ("2026-11-27.3".to_owned(), "environment.create"));
    assert_eq!(positions[3], ("2026-11-26.4".to_owned(), CLOSE));
}

#[tokio::test]
async fn a_row_that_is_changed_deleted_or_swapped_is_found() {
    let columns = [
        "at = at + 1",
        "who = 'eve'",
        "address = '::1'",
        "act = 'x'",
        "target = 'x'",
        "detail = '{}'",
        "result = 'denied'",
        "hash = 'x'",
    ];
    let mut cases: Vec<(String, &str, Break)> = columns
        .iter()
        .map(|to| (format!("update audit set {to} where day = '2026-11-26' and n = 2"), "2026-11-26.2", Break::Changed))
        .collect();
    let delete = |what: &str| format!("delete from audit where {what}");
    cases.extend([
        (delete("day = '2026-11-26' and n = 2"), "2026-11-26.3", Break::Missing),
        (delete("day = '2026-11-25' and n = 1"), "2026-11-25.2", Break::Missing),
        (delete("day = '2026-11-25' and n >= 3"), "2026-11-26.1", Break::NotClosed),
        (delete("day = '2026-11-25'"), "2026-11-26.1", Break::Changed),
        (delete("day = '2026-11-26'"), "2026-11-27.1", Break::Changed),
        // Taken out, and the rest moved up.
        (
            "delete from audit where day = '2026-11-26' and n = 2; update audit set n = n - 1 where day = '2026-11-26' and n > 2".to_owned(),
            "2026-11-26.2",
            Break::Changed,
        ),
        // Two rows change places.
        (
            "update audit set n = 99 where day = '2026-11-26' and n = 2; update audit set n = 2 where day = '2026-11-26' and n = 3; \
             update audit set n = 3 where day = '2026-11-26' and n = 99"
                .to_owned(),
            "2026-11-26.2",
            Break::Changed,
        ),
    ]);
    for (sql, at, why) in cases {
        let (_folder, db) = Db::temporary().await;
        three_days(&db).await;
        change(&db, &sql).await;
        assert_eq!(verify(&db).await.unwrap().broken, Some(Broken { at: at.to_owned(), why }), "{sql}");
    }
}

#[tokio::test]
async fn rows_cut_off_at_the_very_end_show_by_the_hash_that_was_kept_elsewhere() {
    let (_folder, db) = Db::temporary().await;
    three_days(&db).await;
    let kept = verify(&db).await.unwrap();
    change(&db, "delete from audit where day = '2026-11-27' and n = 3").await;
    let now = verify(&db).await.unwrap();
    assert_eq!(now.broken, None);
    assert_ne!(now.hash, kept.hash);
}

#[tokio::test]
async fn a_clock_that_went_back_writes_into_the_day_that_is_open() {
    let (_folder, db) = Db::temporary().await;
    write(&db, NOON + DAY, "ada", "a").await;
    write(&db, NOON, "ada", "b").await;
    write(&db, NOON + DAY, "ada", "c").await;
    let chain = verify(&db).await.unwrap();
    assert_eq!((chain.rows, chain.last.as_str(), chain.broken), (3, "2026-11-26.3", None));
}

#[tokio::test]
async fn an_act_that_is_rolled_back_was_not_done_and_is_not_recorded() {
    let (_folder, db) = Db::temporary().await;
    write(&db, NOON, "ada", "a").await;
    let mut tx = db.begin().await.unwrap();
    let entry =
        Entry { at: NOON + DAY, who: "ada", address: "", act: "b", target: "", detail: json!(null), result: Outcome::Failed };
    record(&mut tx, entry).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(verify(&db).await.unwrap().rows, 1);
}

#[tokio::test]
async fn the_list_is_filtered_and_goes_on_where_a_page_ended() {
    let (_folder, db) = Db::temporary().await;
    for n in 0..5 {
        write(&db, NOON + n, if n % 2 == 0 { "ada" } else { "bob_b" }, "sign_in.accept").await;
    }
    let acts = async |query: Query| {
        let page = list(&db, &query).await.unwrap();
        (page.items.iter().map(|row| row.n).collect::<Vec<_>>(), page.next)
    };
    let any = Query::default();
    assert_eq!(acts(Query { limit: 2, ..any.clone() }).await, (vec![5, 4], Some("2026-11-25.4".to_owned())));
    assert_eq!(acts(Query { limit: 2, before: "2026-11-25.2".to_owned(), ..any.clone() }).await, (vec![1], None));
    assert_eq!(acts(Query { limit: 5, ..any.clone() }).await.1, None);
    assert_eq!(acts(Query { text: "ADA".to_owned(), ..any.clone() }).await.0, [5, 3, 1]);
    // A sign that SQL has a meaning for is itself.
    assert_eq!(acts(Query { text: "bob_b".to_owned(), ..any.clone() }).await.0, [4, 2]);
    assert_eq!(acts(Query { text: "a_a".to_owned(), ..any.clone() }).await.0, Vec::<i64>::new());
    assert_eq!(acts(Query { text: "environment/dev".to_owned(), ..any.clone() }).await.0.len(), 5);
    assert_eq!(acts(Query { result: "denied".to_owned(), ..any.clone() }).await.0, Vec::<i64>::new());
    assert_eq!(acts(Query { from: "2026-11-26".to_owned(), ..any.clone() }).await.0, Vec::<i64>::new());
    assert_eq!(acts(Query { to: "2026-11-25".to_owned(), ..any }).await.0.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_one_moment_come_one_after_the_other_even_at_midnight() {
    let (_folder, db) = Db::temporary().await;
    let midnight = NOON + DAY / 2;
    let writers = (0..8_i64).map(|writer| {
        let db = db.clone();
        tokio::spawn(async move {
            for n in 0..10 {
                write(&db, midnight + (n - 5) * 1_000 + writer, "ada", "a").await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let chain = verify(&db).await.unwrap();
    assert_eq!((chain.rows, chain.broken), (81, None), "80 acts and one end of a day");
}

#[tokio::test]
async fn only_operators_and_administrators_see_the_audit() {
    let (_folder, db) = Db::temporary().await;
    for (role, allowed) in [
        (Role::Viewer, false),
        (Role::Developer, false),
        (Role::Approver, false),
        (Role::Operator, true),
        (Role::Administrator, true),
    ] {
        let user = User { id: "U1".to_owned(), name: "ada".to_owned(), roles: vec![role], language: String::new() };
        assert_eq!(see(&db, &user, &Query::default()).await.is_ok(), allowed, "{role}");
        assert_eq!(check(&db, &user).await.is_ok(), allowed, "{role}");
    }
    let user = User { id: "U1".to_owned(), name: "ada".to_owned(), roles: vec![Role::Operator], language: String::new() };
    let wrong = see(&db, &user, &Query { result: "maybe".to_owned(), ..Query::default() }).await;
    assert!(matches!(wrong, Err(Error::Invalid(problems)) if problems[0].field == "result"));
}
