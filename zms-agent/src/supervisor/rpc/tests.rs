use std::collections::VecDeque;
use std::sync::{Arc, Mutex as StdMutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;

/// A supervisord that gives these answers in turn and remembers what it was asked.
struct Canned {
    _folder: tempfile::TempDir,
    client: Client,
    asked: Arc<StdMutex<Vec<String>>>,
}

impl Canned {
    fn new(answers: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Arc::new(StdMutex::new(Vec::new()));
        let (mut answers, notes): (VecDeque<_>, _) = (answers.into_iter().collect(), Arc::clone(&asked));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = Vec::new();
                while !question.ends_with(b"</methodCall>") {
                    if stream.read_buf(&mut question).await.unwrap() == 0 {
                        break;
                    }
                }
                notes.lock().unwrap().push(String::from_utf8(question).unwrap());
                // Out of answers: it hangs, as one that is busy does.
                let Some(answer) = answers.pop_front() else {
                    std::future::pending::<Vec<u8>>().await;
                    return;
                };
                let _ = stream.write_all(&answer).await;
            }
        });
        let waits = Waits { answer: Duration::from_secs(20), stop: Duration::from_secs(20) };
        Self { client: Client::with_waits(&socket, waits), _folder: folder, asked }
    }

    fn asked(&self) -> Vec<String> {
        let method = |text: &String| {
            let name = text.split("<methodName>").nth(1).unwrap().split('<').next().unwrap();
            name.strip_prefix("supervisor.").unwrap().to_owned()
        };
        self.asked.lock().unwrap().iter().map(method).collect()
    }
}

fn http(body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn value(xml: &str) -> Vec<u8> {
    let text = format!(
        "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value>{xml}</value>\n</param>\n</params>\n</methodResponse>\n"
    );
    http(text.as_bytes())
}

fn yes() -> Vec<u8> {
    value("<boolean>1</boolean>")
}

fn fault(code: i32, text: &str) -> Vec<u8> {
    let text = format!(
        "<?xml version='1.0'?>\n<methodResponse>\n<fault>\n<value><struct>\n<member>\n<name>faultCode</name>\n\
         <value><int>{code}</int></value>\n</member>\n<member>\n<name>faultString</name>\n\
         <value><string>{text}</string></value>\n</member>\n</struct></value>\n</fault>\n</methodResponse>\n"
    );
    http(text.as_bytes())
}

/// As supervisord 4.3.0 sends it.
fn program(name: &str, state: i32, pid: i32, spawnerr: &str) -> String {
    let member = |name: &str, value: &str| format!("<member>\n<name>{name}</name>\n<value>{value}</value>\n</member>\n");
    let int = |value: i32| format!("<int>{value}</int>");
    let string = |value: &str| format!("<string>{value}</string>");
    let members = [
        member("name", &string(name)),
        member("group", &string(name)),
        member("start", &int(1_700_000_000)),
        member("stop", &int(0)),
        member("now", &int(1_700_000_010)),
        member("state", &int(state)),
        member("statename", &string("X")),
        member("spawnerr", &string(spawnerr)),
        member("exitstatus", &int(7)),
        member("logfile", &string("")),
        member("stdout_logfile", &string("")),
        member("stderr_logfile", &string("")),
        member("pid", &int(pid)),
        member("description", &string("")),
    ];
    format!("<value><struct>\n{}</struct></value>", members.concat())
}

fn programs(list: &[String]) -> Vec<u8> {
    value(&format!("<array><data>\n{}</data></array>", list.concat()))
}

#[tokio::test]
async fn answers_are_read_as_supervisord_sends_them() {
    let names = |list: &[&str]| {
        let values: String = list.iter().map(|name| format!("<value><string>{name}</string></value>\n")).collect();
        format!("<value><array><data>\n{values}</data></array></value>\n")
    };
    let changes = format!(
        "<array><data>\n<value><array><data>\n{}{}{}</data></array></value>\n</data></array>",
        names(&["a", "b"]),
        names(&[]),
        names(&["c"])
    );
    let state = "<struct>\n<member>\n<name>statecode</name>\n<value><int>1</int></value>\n</member>\n<member>\n<name>statename</name>\n<value><string>RUNNING</string></value>\n</member>\n</struct>";
    let supervisord = Canned::new([
        value("<string>4.3.0</string>"),
        value("<int>4711</int>"),
        value(state),
        programs(&[program("kafka-1", 20, 812, ""), program("zk-1", 200, 0, "Exited too quickly &amp; often")]),
        programs(&[]),
        value(&changes),
    ]);
    let client = &supervisord.client;
    assert_eq!(client.version().await.unwrap(), "4.3.0");
    assert_eq!(client.pid().await.unwrap(), 4711);
    assert_eq!(client.state().await.unwrap(), ServerState::Running);
    let all = client.all().await.unwrap();
    assert_eq!((all[0].name.as_str(), all[0].state, all[0].pid, all[0].exitstatus), ("kafka-1", State::Running, Some(812), 7));
    assert_eq!((all[1].state, all[1].pid, all[1].spawnerr.as_str()), (State::Fatal, None, "Exited too quickly & often"));
    assert_eq!(client.all().await.unwrap(), []);
    let changes = client.reload_config().await.unwrap();
    assert_eq!(
        (changes.added, changes.changed, changes.removed),
        (vec!["a".to_owned(), "b".to_owned()], vec![], vec!["c".to_owned()])
    );
}

#[tokio::test]
async fn bytes_that_xml_does_not_allow_do_not_hide_the_other_programs() {
    let mut bad = program("a", 30, 0, "no such file: X").into_bytes();
    let place = bad.iter().rposition(|byte| *byte == b'X').unwrap();
    bad.splice(place..=place, [0x1b, 0xff, 0x00, b'!']);
    let body = [
        b"<?xml version='1.0'?><methodResponse><params><param><value><array><data>".as_slice(),
        &bad,
        program("b", 20, 9, "").as_bytes(),
        b"</data></array></value></param></params></methodResponse>",
    ]
    .concat();
    let all = Canned::new([http(&body)]).client.all().await.unwrap();
    assert_eq!(all[0].spawnerr, "no such file: \u{fffd}\u{fffd}\u{fffd}!");
    assert_eq!(all[1].pid, Some(9));
}

#[tokio::test]
async fn what_is_done_already_is_done_and_other_faults_are_told() {
    let supervisord =
        Canned::new([fault(90, "ALREADY_ADDED: a"), fault(60, "x"), fault(70, "x"), fault(10, "x"), fault(10, "x")]);
    let client = &supervisord.client;
    client.ensure_added("a").await.unwrap();
    client.ensure_started("a").await.unwrap();
    client.ensure_stopped("a").await.unwrap();
    client.ensure_stopped("a").await.unwrap();
    client.ensure_removed("a").await.unwrap();

    let supervisord = Canned::new([fault(92, "CANT_REREAD: bad file"), fault(77, "odd")]);
    let error = supervisord.client.reload_config().await.unwrap_err();
    assert!(matches!(&error, RpcError::Fault(Fault { kind: FaultKind::CantReread, .. })), "{error:?}");
    assert_eq!(error.to_string(), "supervisord refused: CANT_REREAD: bad file (fault 92)");
    let error = supervisord.client.ensure_started("a").await.unwrap_err();
    assert!(matches!(error, RpcError::Fault(Fault { kind: FaultKind::Other(77), .. })));
}

#[tokio::test]
async fn a_running_program_is_stopped_before_it_is_removed() {
    let supervisord = Canned::new([fault(91, "x"), yes(), fault(91, "x"), fault(70, "x"), yes()]);
    supervisord.client.ensure_removed("a").await.unwrap();
    assert_eq!(
        supervisord.asked(),
        ["removeProcessGroup", "stopProcess", "removeProcessGroup", "stopProcess", "removeProcessGroup"]
    );
    let asked = supervisord.asked.lock().unwrap();
    assert!(asked[1].contains("<string>a</string>") && asked[1].contains("<boolean>0</boolean>"), "no waiting: {}", asked[1]);
}

#[tokio::test]
async fn a_program_that_stops_slowly_is_asked_for_again_later() {
    let mut supervisord = Canned::new((0..100).flat_map(|_| [fault(91, "x"), fault(70, "x")]));
    supervisord.client.waits.stop = Duration::from_millis(300);
    let error = supervisord.client.ensure_removed("a").await.unwrap_err();
    assert_eq!(error.to_string(), "program a is still being stopped");
}

#[tokio::test]
async fn a_supervisord_that_hangs_is_given_up_after_the_deadline() {
    let mut supervisord = Canned::new([]);
    supervisord.client.waits.answer = Duration::from_millis(100);
    let error = supervisord.client.version().await.unwrap_err();
    assert_eq!(error.to_string(), "supervisord has not answered supervisor.getSupervisorVersion within 100 ms");
}

#[tokio::test]
async fn whatever_else_answers_is_an_error_and_no_panic() {
    let long = [b"HTTP/1.0 200 OK\r\n\r\n".to_vec(), vec![b'x'; 5 << 20]].concat();
    let cut = yes();
    let table: [(&str, Vec<u8>); 8] = [
        ("is HTTP 500", b"HTTP/1.0 500 Internal Server Error\r\nContent-Length: 5\r\n\r\noops!".to_vec()),
        ("connection broke", b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()),
        ("connection broke", Vec::new()),
        ("not XML-RPC", http(b"<html>hello</html>")),
        ("not XML-RPC", http(b"")),
        ("another form", value("<int>3</int>")),
        ("longer than", long),
        ("broke", cut[..cut.len() - 20].to_vec()),
    ];
    for (expected, answer) in table {
        let supervisord = Canned::new([answer]);
        let error = supervisord.client.version().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error} should contain {expected:?}");
    }
    let nobody = Client::new("/nonexistent/socket");
    assert!(matches!(nobody.version().await, Err(RpcError::Connect(_))));
}

#[tokio::test]
async fn calls_are_made_one_after_the_other() {
    let supervisord = Canned::new([value("<string>1</string>"), value("<string>2</string>"), value("<string>3</string>")]);
    let client = &supervisord.client;
    let (a, b, c) = tokio::join!(client.version(), client.version(), client.version());
    assert_eq!([a.unwrap(), b.unwrap(), c.unwrap()], ["1", "2", "3"]);
}
