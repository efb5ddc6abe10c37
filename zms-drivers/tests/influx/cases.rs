//! The contract.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use zms_core::series::{Number, Point, ROCKETMQ_BROKER, Retention, TOPIC};
use zms_drivers::influx::fake::Length;
use zms_drivers::influx::{Aggregate, Column, Lines, MetricError, Question, Right};

use super::bench::{ADMINISTRATOR, Bench, PASSWORD, Rig, admin, lines, now, question, start, store};

type Case = for<'a> fn(&'a dyn Bench) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

// Writing and asking, which go alike with 1.x and 2.
cases![DATA:
    windows_have_means_and_extremes_and_the_last_value,
    a_gap_stays_absent_and_is_never_zero,
    the_same_point_twice_is_one_point,
    windows_start_at_multiples_and_the_end_is_not_part_of_the_time,
    series_are_chosen_and_made_by_tags,
    retentions_are_apart,
    nothing_is_asked_for_nothing,
    a_wrong_password_is_denied,
    a_right_is_that_right_in_that_database,
    a_value_of_a_tag_is_only_a_value,
    a_partial_write_counts_what_was_dropped,
    a_point_older_than_its_retention_is_dropped,
];

// Administration, which is that of 1.x. The first makes the administrator whom all others need.
cases![ADMINISTRATION:
    the_first_administrator_is_made_and_then_checked,
    a_wrong_administrator_is_denied,
    a_user_administers_nothing,
    a_user_gets_the_password_and_the_right_that_were_asked_for_last,
    a_changed_retention_is_altered_back,
    what_is_not_there_is_missing,
    quotes_in_names_and_passwords_are_characters,
    control_characters_in_names_and_passwords_are_refused,
];

fn topic(name: &str, after_ms: i64) -> Point {
    Point::new(&TOPIC, &["main", name], start() + after_ms)
}

fn rate(name: &str, after_ms: i64, rate: f64) -> Point {
    topic(name, after_ms).with("rate_in", Some(rate))
}

fn denied<T: std::fmt::Debug>(what: &str, result: Result<T, MetricError>) {
    assert!(matches!(result, Err(MetricError::Denied { .. })), "{what}: {result:?}");
}

/// Of a database where one may do nothing.
fn shut_out<T: std::fmt::Debug>(bench: &dyn Bench, what: &str, result: Result<T, MetricError>) {
    if bench.hides() { missing(what, "database", result) } else { denied(what, result) }
}

fn missing<T: std::fmt::Debug>(what: &str, named: &str, result: Result<T, MetricError>) {
    assert!(matches!(&result, Err(MetricError::Missing { what }) if what.contains(named)), "{what}: {result:?}");
}

async fn the_first_administrator_is_made_and_then_checked(bench: &dyn Bench) {
    for _ in 0..2 {
        admin(bench).ensure_administrator().await.unwrap();
    }
    denied("a wrong password", bench.admin_as(ADMINISTRATOR, "wrong").ensure_administrator().await);
    denied("a second first one", bench.admin_as("other", PASSWORD).ensure_administrator().await);
    let rig = Rig::new(bench, "first").await;
    denied("a user", bench.admin_as(&rig.writes.user, &rig.writes.password).ensure_administrator().await);
}

async fn windows_have_means_and_extremes_and_the_last_value(bench: &dyn Bench) {
    let rig = Rig::new(bench, "windows").await;
    let points = [rate("a", 70_000, 10.5), rate("a", 20_000, 2.0), rate("a", 0, 1.0), rate("a", 10_000, 6.0)];
    rig.write(Retention::Raw, &points.map(|point| point.with_whole("end", Some(7)))).await;
    let all = [Aggregate::Mean, Aggregate::Max, Aggregate::Min, Aggregate::Last, Aggregate::Sum];
    let columns = |field| all.map(|aggregate| Column { field, aggregate }).to_vec();
    let ask = async |field| rig.store.ask(&Question { columns: columns(field), ..question(&TOPIC, field) }).await.unwrap();
    let series = ask("rate_in").await;
    assert_eq!(series.len(), 1);
    assert_eq!(series[0].tags, BTreeMap::new());
    assert_eq!(
        series[0].points,
        [(start(), [3.0, 6.0, 1.0, 2.0, 9.0].map(Some).to_vec()), (start() + 60_000, [10.5; 5].map(Some).to_vec())]
    );
    let whole = &ask("end").await[0].points;
    assert_eq!(whole[0].1, [7.0, 7.0, 7.0, 7.0, 21.0].map(Some));
}

async fn a_gap_stays_absent_and_is_never_zero(bench: &dyn Bench) {
    let rig = Rig::new(bench, "gap").await;
    rig.write(Retention::Raw, &[rate("a", 0, 1.0), topic("a", 180_000).with_whole("end", Some(5))]).await;
    let column = |field| Column { field, aggregate: Aggregate::Mean };
    let columns = vec![column("rate_in"), column("end"), column("kept")];
    let both = rig.store.ask(&Question { columns, ..question(&TOPIC, "end") }).await.unwrap();
    let expected = [(start(), vec![Some(1.0), None, None]), (start() + 180_000, vec![None, Some(5.0), None])];
    assert_eq!(both[0].points, expected);
    let one = rig.store.ask(&question(&TOPIC, "rate_in")).await.unwrap();
    assert_eq!(one[0].points, [(start(), vec![Some(1.0)])]);
    assert_eq!(rig.store.ask(&question(&TOPIC, "kept")).await.unwrap(), [], "a field that was never written");
    assert_eq!(rig.store.ask(&question(&ROCKETMQ_BROKER, "put_rate")).await.unwrap(), [], "a measurement that was never written");
}

async fn the_same_point_twice_is_one_point(bench: &dyn Bench) {
    let rig = Rig::new(bench, "twice").await;
    let point = rate("a", 0, 3.0);
    rig.write(Retention::Raw, &[point.clone(), point.clone()]).await;
    rig.write(Retention::Raw, &[point]).await;
    // A field that comes later joins the point; a value that comes later takes the place of the first.
    rig.write(Retention::Raw, &[topic("a", 0).with_whole("end", Some(1))]).await;
    rig.write(Retention::Raw, &[topic("a", 0).with_whole("end", Some(2))]).await;
    let sum = |field| Column { field, aggregate: Aggregate::Sum };
    let columns = vec![sum("rate_in"), sum("end")];
    let series = rig.store.ask(&Question { columns, ..question(&TOPIC, "end") }).await.unwrap();
    assert_eq!(series[0].points, [(start(), vec![Some(3.0), Some(2.0)])]);
}

async fn windows_start_at_multiples_and_the_end_is_not_part_of_the_time(bench: &dyn Bench) {
    let rig = Rig::new(bench, "edges").await;
    let points = [29_999, 30_000, 59_999, 60_000, 119_999, 120_000].map(|after| rate("a", after, 1.0));
    rig.write(Retention::Raw, &points).await;
    let columns = vec![Column { field: "rate_in", aggregate: Aggregate::Sum }];
    let (from_ms, to_ms) = (start() + 30_000, start() + 120_000);
    let series = rig.store.ask(&Question { columns, from_ms, to_ms, ..question(&TOPIC, "rate_in") }).await.unwrap();
    assert_eq!(series[0].points, [(start(), vec![Some(2.0)]), (start() + 60_000, vec![Some(2.0)])]);
    let always = Question { from_ms: i64::MIN, to_ms: i64::MAX, step_ms: 3_600_000, ..question(&TOPIC, "rate_in") };
    assert_eq!(rig.store.ask(&always).await.unwrap()[0].points, [(start(), vec![Some(1.0)])]);
}

async fn series_are_chosen_and_made_by_tags(bench: &dyn Bench) {
    let rig = Rig::new(bench, "tags").await;
    let broker = |cluster, broker, role, rate| {
        Point::new(&ROCKETMQ_BROKER, &[cluster, broker, role], start()).with("put_rate", Some(rate))
    };
    let points =
        [broker("x", "a", "master", 1.0), broker("x", "b", "slave", 2.0), broker("x", "c", "", 4.0), broker("y", "a", "", 8.0)];
    rig.write(Retention::Raw, &points).await;
    let ask = async |tags: &[(&'static str, &[&str])], by: &[&'static str], limit_series| {
        let tags = tags.iter().map(|(tag, values)| (*tag, values.iter().map(|&value| value.to_owned()).collect())).collect();
        let columns = vec![Column { field: "put_rate", aggregate: Aggregate::Sum }];
        let question = Question { columns, tags, by: by.to_vec(), limit_series, ..question(&ROCKETMQ_BROKER, "put_rate") };
        let series = rig.store.ask(&question).await.unwrap();
        let short =
            |tags: &BTreeMap<String, String>| tags.iter().map(|(tag, value)| format!("{tag}={value}")).collect::<Vec<_>>();
        series.iter().map(|series| (short(&series.tags).join(" "), series.points[0].1[0].unwrap())).collect::<Vec<_>>()
    };
    let named = |series: &[(&str, f64)]| series.iter().map(|(tags, sum)| ((*tags).to_owned(), *sum)).collect::<Vec<_>>();
    assert_eq!(ask(&[], &[], 9).await, named(&[("", 15.0)]));
    assert_eq!(ask(&[("cluster", &["x"])], &[], 9).await, named(&[("", 7.0)]));
    assert_eq!(ask(&[("broker", &["a", "b", "nobody"])], &[], 9).await, named(&[("", 11.0)]));
    assert_eq!(ask(&[("broker", &["a", "b"]), ("cluster", &["x", "z"])], &[], 9).await, named(&[("", 3.0)]));
    assert_eq!(ask(&[], &["broker"], 9).await, named(&[("broker=a", 9.0), ("broker=b", 2.0), ("broker=c", 4.0)]));
    assert_eq!(ask(&[], &["broker"], 2).await, named(&[("broker=a", 9.0), ("broker=b", 2.0)]));
    let both = named(&[
        ("cluster=x role=", 4.0),
        ("cluster=x role=master", 1.0),
        ("cluster=x role=slave", 2.0),
        ("cluster=y role=", 8.0),
    ]);
    assert_eq!(ask(&[], &["role", "cluster"], 9).await, both);
    assert_eq!(ask(&[("role", &[""])], &["broker"], 9).await, named(&[("broker=a", 8.0), ("broker=c", 4.0)]));
    assert_eq!(ask(&[("cluster", &["nobody"])], &["broker"], 9).await, named(&[]));
}

async fn retentions_are_apart(bench: &dyn Bench) {
    let rig = Rig::new(bench, "apart").await;
    for (nth, retention) in Retention::ALL.into_iter().enumerate() {
        rig.write(retention, &[topic("a", 0).with_whole("end", Some(nth))]).await;
    }
    for (nth, retention) in Retention::ALL.into_iter().enumerate() {
        let series = rig.store.ask(&Question { retention, ..question(&TOPIC, "end") }).await.unwrap();
        assert_eq!(series[0].points, [(start(), vec![Some(nth as f64)])], "{retention:?}");
    }
}

async fn nothing_is_asked_for_nothing(bench: &dyn Bench) {
    let nobody = store(bench, "nothing", "nobody", "none");
    assert_eq!(bench.sink(&nobody).write(Retention::Raw, &Lines::new()).await, Ok(()));
    let (store, question) = (bench.store(&nobody), question(&TOPIC, "end"));
    let of_none = vec![("topic", Vec::new())];
    for question in [
        Question { to_ms: question.from_ms, ..question.clone() },
        Question { limit_series: 0, ..question.clone() },
        Question { tags: of_none, ..question.clone() },
    ] {
        assert_eq!(store.ask(&question).await, Ok(Vec::new()));
    }
    let wrong = store.ask(&Question { step_ms: 0, ..question }).await;
    assert!(matches!(wrong, Err(MetricError::Refused { .. })), "{wrong:?}");
}

async fn a_wrong_password_is_denied(bench: &dyn Bench) {
    let rig = Rig::new(bench, "wrong").await;
    for (user, password) in [(rig.writes.user.as_str(), "wrong"), ("nobody", "wrong"), (ADMINISTRATOR, ""), ("", "")] {
        let wrong = store(bench, "wrong", user, password);
        denied("write", bench.sink(&wrong).write(Retention::Raw, &lines(&[rate("a", 0, 1.0)])).await);
        denied("ask", bench.store(&wrong).ask(&question(&TOPIC, "end")).await);
    }
}

async fn a_wrong_administrator_is_denied(bench: &dyn Bench) {
    for (user, password) in [("nobody", "wrong"), (ADMINISTRATOR, ""), ("", "")] {
        denied("administer", bench.admin_as(user, password).ensure_database("wrong administrator").await);
    }
}

async fn a_user_administers_nothing(bench: &dyn Bench) {
    let rig = Rig::new(bench, "administered").await;
    for user in [&rig.writes, &rig.asks] {
        denied("a wrong password", bench.admin_as(&user.user, "wrong").ensure_database("made").await);
        let user = bench.admin_as(&user.user, &user.password);
        denied("a user makes a database", user.ensure_database("made").await);
        denied("a user makes a user", user.ensure_user("made", "made", "administered", Right::Write).await);
    }
}

async fn a_right_is_that_right_in_that_database(bench: &dyn Bench) {
    let (rig, other) = (Rig::new(bench, "right").await, Rig::new(bench, "other").await);
    let (point, question) = (lines(&[rate("a", 0, 1.0)]), question(&TOPIC, "rate_in"));
    denied("a reader writes", bench.sink(&rig.asks).write(Retention::Raw, &point).await);
    shut_out(bench, "a writer asks", bench.store(&rig.writes).ask(&question).await);
    for stranger in [&other.writes, &other.asks] {
        let stranger = store(bench, "right", &stranger.user, &stranger.password);
        shut_out(bench, "a stranger writes", bench.sink(&stranger).write(Retention::Raw, &point).await);
        shut_out(bench, "a stranger asks", bench.store(&stranger).ask(&question).await);
    }
    rig.sink.write(Retention::Raw, &point).await.unwrap();
    assert_eq!(rig.store.ask(&question).await.unwrap().len(), 1, "what is right is let in");
}

async fn a_user_gets_the_password_and_the_right_that_were_asked_for_last(bench: &dyn Bench) {
    let (rig, _other) = (Rig::new(bench, "last").await, Rig::new(bench, "last other").await);
    let (point, question) = (lines(&[rate("a", 0, 1.0)]), question(&TOPIC, "rate_in"));
    let (admin, user) = (admin(bench), rig.writes.user.as_str());
    let may = async |database: &str, password: &str| {
        let store = store(bench, database, user, password);
        let may_write = bench.sink(&store).write(Retention::Raw, &point).await.is_ok();
        (may_write, bench.store(&store).ask(&question).await.is_ok())
    };
    assert_eq!(may("last", &rig.writes.password).await, (true, false));
    for _ in 0..2 {
        admin.ensure_user(user, "new", "last", Right::Write).await.unwrap();
        assert_eq!((may("last", &rig.writes.password).await, may("last", "new").await), ((false, false), (true, false)));
    }
    admin.ensure_user(user, "new", "last", Right::Read).await.unwrap();
    assert_eq!(may("last", "new").await, (false, true));
    admin.ensure_user(user, "new", "last other", Right::Write).await.unwrap();
    assert_eq!((may("last", "new").await, may("last other", "new").await), ((false, false), (true, false)));
    bench.promote(user).await;
    assert_eq!(may("last", "new").await, (true, true));
    admin.ensure_user(user, "new", "last", Right::Write).await.unwrap();
    assert_eq!((may("last", "new").await, may("last other", "new").await), ((true, false), (false, false)));
    let itself = admin.ensure_user(ADMINISTRATOR, "new", "last", Right::Write).await;
    assert!(matches!(itself, Err(MetricError::Refused { .. })), "{itself:?}");
}

async fn a_changed_retention_is_altered_back(bench: &dyn Bench) {
    let ours = || {
        let length = |kept: Retention| (kept.hours(), kept.shard_hours(), kept == Retention::Raw);
        let length =
            |kept| Some(length(kept)).map(|(hours, shard_hours, default)| Length { hours, shard_hours, default }).unwrap();
        Retention::ALL.map(|kept| (kept.name().to_owned(), length(kept)))
    };
    let admin = admin(bench);
    for _ in 0..2 {
        admin.ensure_database("altered").await.unwrap();
        assert_eq!(bench.retentions("altered").await, BTreeMap::from(ours()));
    }
    let length = |hours, shard_hours, default| Length { hours, shard_hours, default };
    let others = length(500, 24, true);
    bench.set_retention("altered", "raw", length(48, 24, false)).await;
    bench.set_retention("altered", "m5", length(Retention::M5.hours(), 24, false)).await;
    bench.set_retention("altered", "h1", length(24, 24, true)).await;
    bench.set_retention("altered", "somebody's", others).await;
    admin.ensure_database("altered").await.unwrap();
    let mut expected = BTreeMap::from(ours());
    expected.insert("somebody's".to_owned(), Length { default: false, ..others });
    assert_eq!(bench.retentions("altered").await, expected);
    bench.set_retention("altered", "h1", Length { default: true, ..expected["h1"] }).await;
    admin.ensure_database("altered").await.unwrap();
    assert_eq!(bench.retentions("altered").await, expected);

    // A database that somebody else made gets what is missing.
    bench.make_database("bare").await;
    admin.ensure_database("bare").await.unwrap();
    let made = bench.retentions("bare").await;
    assert!(ours().iter().all(|(name, length)| made.get(name) == Some(length)), "{made:?}");
}

async fn what_is_not_there_is_missing(bench: &dyn Bench) {
    let (point, question) = (lines(&[rate("a", 0, 1.0)]), question(&TOPIC, "rate_in"));
    let nowhere = store(bench, "nowhere", ADMINISTRATOR, PASSWORD);
    missing("write", "nowhere", bench.sink(&nowhere).write(Retention::Raw, &point).await);
    missing("ask", "nowhere", bench.store(&nowhere).ask(&question).await);
    missing("let in", "nowhere", admin(bench).ensure_user("lost", "lost", "nowhere", Right::Write).await);
    // Who may do nothing there learns by writing that it is not there, and by asking nothing.
    let user = Rig::new(bench, "somewhere").await.asks;
    let nowhere = store(bench, "nowhere", &user.user, &user.password);
    missing("write", "nowhere", bench.sink(&nowhere).write(Retention::Raw, &point).await);
    denied("ask", bench.store(&nowhere).ask(&question).await);
    bench.make_database("empty").await;
    let empty = store(bench, "empty", ADMINISTRATOR, PASSWORD);
    missing("write", "m5", bench.sink(&empty).write(Retention::M5, &point).await);
    missing("ask", "m5", bench.store(&empty).ask(&Question { retention: Retention::M5, ..question }).await);
}

async fn a_value_of_a_tag_is_only_a_value(bench: &dyn Bench) {
    let rig = Rig::new(bench, "values").await;
    let values = [
        "a' or 1=1 --",
        "a",
        "' or ''='",
        "\"",
        "\\",
        "a\\b",
        "a\\,b",
        "\\n",
        "a,b",
        "a=b",
        "a b",
        " ",
        "#",
        "主题",
        "$t0_0",
        "/a/",
        "tab\t",
        "a;drop database x",
        "\0",
        "%27",
        "a+b&c",
        "\\'",
        "\\\\",
        "\u{feff}",
        "a\u{2028}b",
    ];
    let points: Vec<Point> = values.iter().zip(1..).map(|(value, end)| topic(value, 0).with_whole("end", Some(end))).collect();
    rig.write(Retention::Raw, &points).await;
    let ask = async |wanted: &[&str]| {
        let tags = vec![("topic", wanted.iter().map(|&value| value.to_owned()).collect())];
        rig.store.ask(&Question { tags, by: vec!["topic"], ..question(&TOPIC, "end") }).await.unwrap()
    };
    for (value, end) in values.iter().zip(1_i32..) {
        // At the end a backslash cannot be written.
        let value = value.strip_suffix('\\').map_or((*value).to_owned(), |rest| format!("{rest}_"));
        let series = ask(&[&value]).await;
        assert_eq!(series.len(), 1, "{value:?}: {series:?}");
        assert_eq!(series[0].tags["topic"], value);
        assert_eq!(series[0].points, [(start(), vec![Some(f64::from(end))])], "{value:?}");
    }
    for nobody in ["b' or 1=1 --", "') or ('1'='1", "' or time > 0 --", "/.*/", ".*", "*"] {
        assert_eq!(ask(&[nobody]).await, [], "{nobody:?}");
    }
    assert_eq!(ask(&["a", "a' or 1=1 --"]).await.len(), 2);
}

async fn quotes_in_names_and_passwords_are_characters(bench: &dyn Bench) {
    let (database, user) = (r#"it's "a; b" 主"#, r#"u'"\ 主"#);
    let admin = admin(bench);
    admin.ensure_database(database).await.unwrap();
    for password in [r"p'w\", r#""; drop database x; --"#, "'", r"\'", "主", " a "] {
        for right in [Right::Write, Right::Read] {
            admin.ensure_user(user, password, database, right).await.unwrap();
            let store = store(bench, database, user, password);
            let written = bench.sink(&store).write(Retention::Raw, &lines(&[rate("a", 0, 1.0)])).await;
            assert_eq!(written.is_ok(), right == Right::Write, "{password}: {written:?}");
            let asked = bench.store(&store).ask(&question(&TOPIC, "rate_in")).await;
            assert_eq!(asked.is_ok(), right == Right::Read, "{password}: {asked:?}");
        }
    }
    admin.ensure_database(database).await.unwrap();
}

async fn control_characters_in_names_and_passwords_are_refused(bench: &dyn Bench) {
    let admin = admin(bench);
    admin.ensure_database("plain").await.unwrap();
    let refused = |what: &str, result: Result<(), MetricError>| {
        assert!(
            matches!(&result, Err(error @ MetricError::Refused { .. }) if !error.to_string().contains("secret")),
            "{what}: {result:?}"
        );
    };
    for wrong in ["", "secret\n", "\0secret", "secret\u{7f}"] {
        refused("database", admin.ensure_database(wrong).await);
        refused("user", admin.ensure_user(wrong, "p", "plain", Right::Read).await);
        refused("password", admin.ensure_user("u", wrong, "plain", Right::Read).await);
        refused("database", admin.ensure_user("u", "p", wrong, Right::Read).await);
        refused("administrator", bench.admin_as("plain", wrong).ensure_administrator().await);
    }
    for wrong in ["..", "a/b", "a\\b"] {
        refused("database", admin.ensure_database(wrong).await);
    }
    refused("user with a colon", admin.ensure_user("a:b", "p", "plain", Right::Read).await);
}

async fn a_partial_write_counts_what_was_dropped(bench: &dyn Bench) {
    let rig = Rig::new(bench, "partial").await;
    rig.write(Retention::Raw, &[rate("a", 0, 1.0)]).await;
    let conflict = |name| {
        let mut point = rate(name, 0, 5.0);
        point.fields[0].1 = Number::Whole(5);
        point
    };
    let mixed = lines(&[conflict("a"), rate("b", 0, 2.0), conflict("c"), rate("d", 0, 3.0)]);
    let written = rig.sink.write(Retention::Raw, &mixed).await;
    assert!(matches!(written, Err(MetricError::Partial { dropped: 2, .. })), "{written:?}");
    let series = rig.store.ask(&Question { by: vec!["topic"], ..question(&TOPIC, "rate_in") }).await.unwrap();
    let values: Vec<_> = series.iter().map(|series| (series.tags["topic"].as_str(), series.points[0].1[0])).collect();
    assert_eq!(values, [("a", Some(1.0)), ("b", Some(2.0)), ("d", Some(3.0))], "the others are written");
}

async fn a_point_older_than_its_retention_is_dropped(bench: &dyn Bench) {
    let rig = Rig::new(bench, "old").await;
    let old = Point { at_ms: now() - 8 * 86_400_000, ..rate("a", 0, 1.0) };
    let written = rig.sink.write(Retention::Raw, &lines(&[old.clone(), rate("b", 0, 1.0)])).await;
    assert!(matches!(written, Err(MetricError::Partial { dropped: 1, .. })), "{written:?}");
    assert_eq!(rig.sink.write(Retention::M5, &lines(&[old])).await, Ok(()));
}
