use super::*;

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, after: Some(Duration::from_secs(7)), body: body.as_bytes().to_vec() }
}

fn kind(error: &MetricError) -> &'static str {
    match error {
        MetricError::Partial { .. } => "partial",
        MetricError::Refused { .. } => "refused",
        MetricError::TooLarge => "too large",
        MetricError::Denied { .. } => "denied",
        MetricError::Missing { .. } => "missing",
        MetricError::Passing { .. } => "passing",
        MetricError::Away { .. } => "away",
        MetricError::Answer { .. } => "answer",
    }
}

/// Bodies are those of 1.6.7, 1.13.2, 2.7.12 and of what else may stand at an address.
#[test]
fn each_refusal_of_a_write_has_its_kind() {
    let conflict = r#"{"error":"partial write: field type conflict: input field \"v\" on measurement \"m\" is type integer, already exists as type float dropped=3"}"#;
    let table = [
        (400, conflict, "partial"),
        (
            422,
            r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: points beyond retention policy dropped=1"}"#,
            "partial",
        ),
        (400, r#"{"error":"unable to parse 'x': missing fields"}"#, "refused"),
        (400, r#"{"code":"invalid","message":"unable to parse 'x': missing fields"}"#, "refused"),
        (400, r#"{"code":"invalid","message":"queue length exceeded"}"#, "passing"),
        (400, "<html>400 The plain HTTP request was sent to HTTPS port</html>", "answer"),
        (401, r#"{"error":"authorization failed"}"#, "denied"),
        (401, "", "denied"),
        (403, r#"{"error":"\"u\" user is not authorized to write to database \"d\""}"#, "denied"),
        (404, r#"{"error":"database not found: \"d\""}"#, "missing"),
        (404, r#"{"code":"not found","message":"no dbrp mapping found"}"#, "missing"),
        (404, "404 page not found", "answer"),
        (413, r#"{"error":"Request Entity Too Large"}"#, "too large"),
        (413, "<html>", "too large"),
        (429, "", "passing"),
        (500, r#"{"error":"retention policy not found: raw"}"#, "missing"),
        (500, r#"{"error":"timeout"}"#, "passing"),
        (500, "", "passing"),
        (503, "request throttled, queue full\n", "passing"),
        (502, "<html>", "passing"),
        (200, "", "answer"),
        (200, "{}", "answer"),
        (302, "", "answer"),
        (418, "{}", "answer"),
    ];
    for (status, body, expected) in table {
        let error = written("write", &reply(status, body)).unwrap_err();
        assert_eq!(kind(&error), expected, "{status} {body}: {error:?}");
        assert_eq!(error.is_passing(), expected == "passing", "{status} {body}");
    }
    assert_eq!(written("write", &reply(204, "")), Ok(()));
}

#[test]
fn what_passes_says_when_to_come_again() {
    let error = written("write", &reply(503, "request throttled, queue full")).unwrap_err();
    assert_eq!(error, MetricError::Passing { why: "status 503".into(), after: Some(Duration::from_secs(7)) });
}

#[test]
fn dropped_points_are_counted_at_the_end_of_the_text() {
    assert_eq!(dropped("partial write: points beyond retention policy dropped=12"), 12);
    assert_eq!(dropped("partial write: conflict on \"dropped=9\" dropped=1"), 1);
    assert_eq!(dropped("partial write: unable to parse 'a': b\nunable to parse 'c': d dropped=0"), 2);
    assert_eq!(dropped("partial write"), 0);
}

#[test]
fn what_is_missing_has_a_name() {
    assert_eq!(missing("database not found: \"a b\""), "database \"a b\"");
    assert_eq!(missing("retention policy not found: raw"), "retention policy raw");
    assert_eq!(missing("bucket \"a\" not found"), "bucket \"a\"");
    assert_eq!(missing("no dbrp mapping found"), "no dbrp mapping found");
}

#[test]
fn a_statement_fails_inside_of_a_success() {
    let table = [
        ("database not found: d", "missing"),
        ("retention policy not found: raw", "missing"),
        ("user not found", "missing"),
        ("not authorized to execute", "denied"),
        ("max-select-buckets limit exceeded: (9/1)", "too large"),
        ("query-timeout limit exceeded", "passing"),
        ("max-concurrent-queries limit exceeded(1, 1)", "passing"),
        ("query interrupted", "passing"),
        ("engine is closed", "passing"),
        ("not implemented: CREATE DATABASE", "refused"),
    ];
    for (text, expected) in table {
        for body in [format!(r#"{{"results":[{{"statement_id":0,"error":"{text}"}}]}}"#), format!(r#"{{"error":"{text}"}}"#)] {
            let error = asked("ask", &reply(200, &body)).unwrap_err();
            assert_eq!(kind(&error), expected, "{body}: {error:?}");
        }
    }
}

#[test]
fn an_answer_is_whole_or_none() {
    let rows = asked(
        "ask",
        &reply(
            200,
            r#"{"results":[{"series":[{"name":"m","tags":{"t":"a"},"columns":["time","c0"],"values":[[1,null],[2,3]]}]},{}]}"#,
        ),
    );
    let rows = rows.unwrap();
    assert_eq!((rows.len(), rows[0].tags["t"].as_str(), rows[0].values.len()), (1, "a", 2));
    assert_eq!(rows[0].records().map(|record| record["c0"].as_f64()).collect::<Vec<_>>(), [None, Some(3.0)]);
    for cut in [r#"{"results":[{"partial":true}]}"#, r#"{"results":[{"series":[{"columns":[],"values":[],"partial":true}]}]}"#] {
        assert_eq!(asked("ask", &reply(200, cut)).unwrap_err(), MetricError::TooLarge);
    }
    for garbage in ["", "{}", "[]", "<html>hello</html>", r#"{"results":1}"#, r#"{"status":"pass"}"#] {
        assert_eq!(kind(&asked("ask", &reply(200, garbage)).unwrap_err()), "answer", "{garbage}");
    }
}

#[test]
fn a_batch_that_is_repeated_is_counted_and_cut_short() {
    let unread = "unable to parse '主': no\n".repeat(5_000);
    let body = serde_json::json!({"error": format!("partial write: {unread} dropped=0")}).to_string();
    let error = written("write", &reply(400, &body)).unwrap_err();
    assert!(matches!(&error, MetricError::Partial { dropped: 5_000, why } if why.chars().count() == 401), "{error}");
}
