//! What the server in memory does not play: a server that dies, and addresses where something else listens.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zms_core::series::{Point, Retention, TOPIC};
use zms_drivers::influx::fake::FakeInflux;
use zms_drivers::influx::{self, Aggregate, Column, Lines, MetricError, Question, Right, Series, Store};
use zms_testbed::Influx;

use super::bench::{Bench, Rig, lines, question, start};

/// For listeners that let us wait.
const SHORT: Duration = Duration::from_millis(500);
const SOON: Duration = Duration::from_secs(3);

/// Many points and questions, the same to both.
pub async fn the_fake_answers_as_influxdb_does(fake: &dyn Bench, real: &dyn Bench) {
    let (fake, real) = (Rig::new(fake, "compare").await, Rig::new(real, "compare").await);
    let mut seed = 7_u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let tags = ["", "a", "b,c", "d e", "主"];
    let points: Vec<Point> = (0..600)
        .map(|_| {
            let tags = [tags[next(5) as usize], tags[next(5) as usize]];
            let point = Point::new(&TOPIC, &tags, start() + i64::try_from(next(600_000)).unwrap());
            // Fields of quarters: their sums do not depend on the order.
            let point = point.with("rate_in", (next(3) > 0).then(|| next(4_000) as f64 / 4.0 - 300.0));
            point.with_whole("end", Some(next(1_000)))
        })
        .collect();
    for rig in [&fake, &real] {
        rig.write(Retention::Raw, &points).await;
    }
    let all = [Aggregate::Mean, Aggregate::Max, Aggregate::Min, Aggregate::Last, Aggregate::Sum];
    let mut answers = 0;
    for _ in 0..60 {
        let column = |field, nth: u64| Column { field, aggregate: all[nth as usize] };
        let columns = vec![column("rate_in", next(5)), column("end", next(5))];
        let by = [vec![], vec!["topic"], vec!["cluster"], vec!["topic", "cluster"]][next(4) as usize].clone();
        let wanted = vec![("cluster", vec![tags[next(5) as usize].to_owned(), tags[next(5) as usize].to_owned()])];
        let from_ms = start() + i64::try_from(next(300_000)).unwrap();
        let (to_ms, step_ms) = (from_ms + i64::try_from(next(300_000)).unwrap(), 1 + i64::try_from(next(60_000)).unwrap());
        let (tags, limit_series) = (if next(2) == 0 { wanted } else { Vec::new() }, 1 + next(9) as usize);
        let question = Question { columns, by, tags, from_ms, to_ms, step_ms, limit_series, ..question(&TOPIC, "rate_in") };
        let (fake, real) = (fake.store.ask(&question).await.unwrap(), real.store.ask(&question).await.unwrap());
        assert!(alike(&fake, &real), "{question:?}\n fake {fake:?}\n real {real:?}");
        answers += usize::from(!fake.is_empty());
    }
    assert!(answers > 30, "{answers} answers had something in them: too few to say anything");
}

/// But for the last digits of means, which depend on the order in which a server adds.
fn alike(one: &[Series], other: &[Series]) -> bool {
    let close = |one: &Option<f64>, other: &Option<f64>| match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= 1e-12 * one.abs().max(1.0),
        (None, None) => true,
        (None, Some(_)) | (Some(_), None) => false,
    };
    let points = |series: &Series| series.points.iter().map(|(at, _)| *at).collect::<Vec<_>>();
    let columns = |series: &Series| series.points.iter().flat_map(|(_, columns)| columns.clone()).collect::<Vec<_>>();
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            let (ours, theirs) = (columns(one), columns(other));
            one.tags == other.tags
                && points(one) == points(other)
                && ours.len() == theirs.len()
                && ours.iter().zip(&theirs).all(|(one, other)| close(one, other))
        })
}

/// It takes 25 million bytes.
pub async fn a_batch_that_is_too_large_says_so(bench: &dyn Bench) {
    let rig = Rig::new(bench, "large").await;
    let mut batch = Lines::new();
    let name = "a".repeat(10_000);
    while batch.bytes() < 26_000_000 {
        let end = batch.len();
        assert!(batch.push(&Point::new(&TOPIC, &[&name, ""], start()).with_whole("end", Some(end))));
    }
    assert_eq!(rig.sink.write(Retention::Raw, &batch).await, Err(MetricError::TooLarge));
    assert_eq!(rig.sink.write(Retention::Raw, &batch.halves().0).await, Ok(()));
}

pub async fn a_killed_server_is_away_quickly_and_has_its_points_when_it_is_back(bench: &dyn Bench, mut server: Influx) -> Influx {
    let rig = Rig::new(bench, "killed").await;
    let point = |after| Point::new(&TOPIC, &["main", "a"], start() + after).with("rate_in", Some(1.0));
    rig.write(Retention::Raw, &[point(0)]).await;
    server = tokio::task::spawn_blocking(move || {
        server.kill();
        server
    })
    .await
    .unwrap();
    for _ in 0..2 {
        away("write", SOON, rig.sink.write(Retention::Raw, &lines(&[point(60_000)]))).await;
        away("ask", SOON, rig.store.ask(&question(&TOPIC, "rate_in"))).await;
    }
    server = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    })
    .await
    .unwrap();
    // It answers before it has read its shards; then it says that it cannot yet, which passes.
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match rig.sink.write(Retention::Raw, &lines(&[point(60_000)])).await {
            Ok(()) => break,
            Err(error) => assert!(error.is_passing() && Instant::now() < end, "not within 20 s: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let series = rig.store.ask(&question(&TOPIC, "rate_in")).await.unwrap();
    assert_eq!(series[0].points, [(start(), vec![Some(1.0)]), (start() + 60_000, vec![Some(1.0)])]);
    server
}

async fn away<T: std::fmt::Debug>(what: &str, within: Duration, call: impl Future<Output = Result<T, MetricError>>) {
    let result = tokio::time::timeout(within, call).await.unwrap_or_else(|_| panic!("{what}: no answer within {within:?}"));
    let Err(error) = result else { panic!("{what}: {result:?}") };
    assert!(matches!(error, MetricError::Away { .. }) && error.is_passing(), "{what}: {error:?}");
    assert!(!error.to_string().contains("geheim"), "{error}");
}

/// What listens there does this with each connection.
async fn listen<F: Future<Output = ()> + Send>(with: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let with = Arc::new(with);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let with = Arc::clone(&with);
            tokio::spawn(async move { with(stream).await });
        }
    });
    url
}

/// Reads some of the request, so that what is sent next answers it.
async fn hear(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 1024]).await;
}

/// Answers and closes.
async fn answer(mut stream: TcpStream, answer: String) {
    hear(&mut stream).await;
    // Whether the client is still there is its own affair.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn at(url: &str) -> Store {
    let [database, user, password] = ["d", "u", "geheim"].map(str::to_owned);
    Store { url: url.to_owned(), database, user, password, deadline: SHORT }
}

/// All that can be asked of an address.
async fn calls(url: &str) -> Vec<MetricError> {
    let (store, admin) = (at(url), influx::admin(url, "u", "geheim", SHORT).unwrap());
    let point = Point::new(&TOPIC, &["main", "a"], start()).with("rate_in", Some(1.0));
    let all = async {
        let written = influx::sink(&store).unwrap().write(Retention::Raw, &lines(&[point])).await;
        let asked = influx::store(&store).unwrap().ask(&question(&TOPIC, "rate_in")).await.map(drop);
        let results = [
            written,
            asked,
            admin.ensure_administrator().await,
            admin.ensure_database("d").await,
            admin.ensure_user("v", "geheim too", "d", Right::Read).await,
        ];
        results.map(Result::unwrap_err).to_vec()
    };
    let errors = tokio::time::timeout(SHORT * 5 + SOON, all).await.expect("each call ends by its deadline");
    for error in &errors {
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error:?}");
    }
    errors
}

#[tokio::test]
async fn who_accepts_and_says_nothing_is_away_by_the_deadline() {
    let url = listen(async |stream| {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    for error in calls(&url).await {
        assert!(matches!(&error, MetricError::Away { why } if why.contains("no answer within 500ms")), "{error:?}");
    }
}

#[tokio::test]
async fn who_begins_an_answer_and_does_not_end_it_is_away_by_the_deadline() {
    let url = listen(async |mut stream: TcpStream| {
        hear(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").await;
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if stream.write_all(b" ").await.is_err() {
                return;
            }
        }
    })
    .await;
    for error in calls(&url).await {
        assert!(matches!(&error, MetricError::Away { why } if why.contains("no answer within 500ms")), "{error:?}");
    }
}

#[tokio::test]
async fn nobody_is_away() {
    let url = format!("http://127.0.0.1:{}", zms_testbed::free_port());
    for error in calls(&url).await {
        assert!(matches!(&error, MetricError::Away { why } if why.contains(&url)), "{error:?}");
    }
}

#[tokio::test]
async fn who_answers_something_else_is_no_influxdb() {
    let whole = |head: &str, body: &str| format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let table = [
        ("SSH-2.0-OpenSSH_9.2p1\r\n".to_owned(), "away"),
        (String::new(), "away"),
        (whole("200 OK\r\nContent-Type: text/html", "<html>hello</html>"), "answer"),
        (whole("200 OK", "{\"status\":\"pass\"}"), "answer"),
        (whole("404 Not Found", "404 page not found"), "answer"),
        (whole("400 Bad Request", "Client sent an HTTP request to an HTTPS server."), "answer"),
        (whole("302 Found\r\nLocation: http://127.0.0.1:1/", ""), "answer"),
        (whole("401 Unauthorized", "{\"error\":\"not with geheim\"}"), "denied"),
        (whole("400 Bad Request", "{\"error\":\"create user with password 'geheim too'\"}"), "refused"),
        (whole("503 Unavailable\r\nRetry-After: 5", "busy"), "passing"),
    ];
    for (text, expected) in table {
        let shown = text.clone();
        let url = listen(move |stream| answer(stream, text.clone())).await;
        for error in calls(&url).await {
            let kind = match &error {
                MetricError::Away { .. } => "away",
                MetricError::Answer { .. } => "answer",
                MetricError::Denied { .. } => "denied",
                MetricError::Refused { .. } => "refused",
                MetricError::Passing { after, .. } if *after == Some(Duration::from_secs(5)) => "passing",
                MetricError::Passing { .. } | MetricError::Partial { .. } => "other",
                MetricError::TooLarge | MetricError::Missing { .. } => "other",
            };
            assert_eq!(kind, expected, "{shown:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_end_does_not_fill_memory() {
    for (version, too_large) in [("", false), ("X-Influxdb-Version: 1.6.7\r\n", true)] {
        let head = format!("HTTP/1.1 200 OK\r\n{version}\r\n");
        let url = listen(move |mut stream: TcpStream| {
            let head = head.clone();
            async move {
                hear(&mut stream).await;
                let _ = stream.write_all(head.as_bytes()).await;
                while stream.write_all(&[b' '; 65_536]).await.is_ok() {}
            }
        })
        .await;
        let store = Store { deadline: Duration::from_secs(30), ..at(&url) };
        let error = influx::store(&store).unwrap().ask(&question(&TOPIC, "rate_in")).await.unwrap_err();
        assert_eq!(error == MetricError::TooLarge, too_large, "{error:?}");
        assert_eq!(matches!(error, MetricError::Answer { .. }), !too_large, "{error:?}");
    }
}

#[tokio::test]
async fn a_password_is_not_shown() {
    for url in ["http://h:1", "http://u:geheim@h:1"] {
        let shown = format!("{:?}", at(url));
        assert!(!shown.contains("geheim") && shown.contains("deadline"), "{shown}");
    }
    let refused = influx::sink(&at("http://u:geheim@h:1")).err().unwrap();
    assert!(!refused.to_string().contains("geheim"), "{refused}");
}

#[tokio::test]
async fn the_fake_fails_as_it_is_told_to_and_goes_on() {
    let fake = FakeInflux::new();
    let point = Point::new(&TOPIC, &["main", "a"], 5).with("rate_in", Some(1.0));
    let (batch, fault) = (lines(&[point]), MetricError::Passing { why: "busy".to_owned(), after: None });
    fake.set_fault(Some(fault.clone()));
    assert_eq!(fake.sink().write(Retention::Raw, &batch).await, Err(fault.clone()));
    assert_eq!(fake.store().ask(&question(&TOPIC, "end")).await, Err(fault.clone()));
    assert_eq!(fake.admin().ensure_database("d").await, Err(fault));
    assert_eq!(fake.points(Retention::Raw), []);
    fake.set_fault(None);
    fake.admin().ensure_administrator().await.unwrap();
    fake.sink().write(Retention::Raw, &batch).await.unwrap();
    assert_eq!(fake.points(Retention::Raw)[0].at_ms, 5);
    assert_eq!(fake.points(Retention::M5), []);
}
