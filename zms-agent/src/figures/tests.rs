use std::io::{Read, Write};

use zms_core::collect::{Jolokia, Read as Wanted};

use super::*;

#[test]
fn a_living_host_and_process_have_figures() {
    let host = host::look(std::path::Path::new("/nowhere/at/all"));
    assert!(host.cpu_busy_ms.is_some_and(|ms| ms > 0) && host.cpus.is_some_and(|cpus| cpus > 0), "{host:?}");
    let (total, available) = (host.memory_bytes.unwrap(), host.memory_available_bytes.unwrap());
    assert!(available > 0 && available < total && total > 64 << 20, "{host:?}");
    assert!(host.disk_free_bytes.unwrap() <= host.disk_bytes.unwrap());
    let own = process::look(std::process::id());
    assert!(own.rss_bytes.is_some_and(|bytes| bytes > 1 << 20) && own.threads.is_some_and(|count| count > 0), "{own:?}");
    assert!(own.open_files.is_some_and(|count| count > 2) && own.uptime_ms.is_some(), "{own:?}");
}

#[test]
fn a_process_that_is_gone_has_none() {
    assert_eq!(process::look(u32::MAX), InstanceFigures::default());
}

/// Answers one request with these bytes.
fn server(answer: &'static [u8]) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        stream.write_all(answer).unwrap();
    });
    port
}

fn wanted(port: u16) -> Jolokia {
    let read = Wanted { name: "n".into(), mbean: "m:name=n".into(), attribute: "Count".into(), key: None };
    Jolokia { port, reads: vec![read] }
}

#[tokio::test]
async fn an_instance_is_asked_once_and_half_an_answer_is_silence_with_a_reason() {
    let http = jolokia::client(Duration::from_millis(500)).unwrap();
    let good = b"HTTP/1.1 200 OK\r\ncontent-length: 27\r\n\r\n[{\"status\":200,\"value\":42}]";
    assert_eq!(jolokia::ask(&http, &wanted(server(good))).await.unwrap()["n"], 42.0);
    for bad in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n[{\"status\":200"[..],
        b"HTTP/1.1 500 no\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnope",
        b"garbage",
    ] {
        let port = server(bad);
        let why = jolokia::ask(&http, &wanted(port)).await.unwrap_err();
        assert!(why.contains(&port.to_string()), "{why}");
    }
}

#[test]
fn five_minutes_of_frames_are_kept() {
    assert_eq!(Pace::default().kept(), 30);
}
