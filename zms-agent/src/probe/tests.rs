use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use super::*;

/// Long enough for every answer that comes, on any machine.
const PLENTY: Duration = Duration::from_secs(30);
/// For answers that do not come.
const SHORT: Duration = Duration::from_millis(150);

/// A server that answers its connections with these bytes in turn (the last again and again), after the question, and
/// then closes or keeps still.
async fn server(answers: Vec<Vec<u8>>, close: bool) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answers[count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)].clone();
            let mut question = [0; 4096];
            let _ = stream.read(&mut question).await;
            let _ = stream.write_all(&answer).await;
            if !close {
                kept.push(stream);
            }
        }
    });
    (port, connections)
}

fn http(port: u16) -> Probe {
    Probe::Http { host: "127.0.0.1".to_owned(), port, path: "/livez".to_owned() }
}

fn zookeeper(port: u16) -> Probe {
    Probe::Zookeeper { host: "127.0.0.1".to_owned(), port }
}

async fn why(probe: &Probe, deadline: Duration) -> String {
    match super::probe(probe, deadline).await {
        Health::NotYet { why } => why,
        other => panic!("expected a reason, got {other:?}"),
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn right_answers_are_healthy_also_when_asked_again_on_a_new_connection() {
    let (port, _) = server(vec![OK.to_vec()], true).await;
    assert_eq!(probe(&http(port), PLENTY).await, Health::Healthy);
    let srvr = b"Zookeeper version: 3.9.5\nMode: standalone\nNode count: 5\n".to_vec();
    let (port, connections) = server(vec![b"rw".to_vec(), srvr], true).await;
    assert_eq!(probe(&zookeeper(port), PLENTY).await, Health::Healthy);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn each_way_of_not_answering_has_its_sentence() {
    let (port, _) = server(vec![Vec::new()], false).await;
    let silent = why(&http(port), SHORT).await;
    assert_eq!(silent, format!("127.0.0.1:{port}: accepted the connection and said nothing for 150 ms"));

    let (port, _) = server(vec![b"HTTP/1.1 200 OK\r\nA: b\r\n".to_vec()], false).await;
    let half = why(&http(port), Duration::from_secs(1)).await;
    assert_eq!(half, format!("127.0.0.1:{port}: sent 23 bytes of an answer and no end to it within 1 s"));

    let (port, _) = server(vec![b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()], false).await;
    let garbage = why(&http(port), PLENTY).await;
    assert!(garbage.starts_with(&format!("127.0.0.1:{port}: ")) && garbage.contains("not HTTP"), "{garbage}");

    for probe in [http, zookeeper] {
        let (port, _) = server(vec![Vec::new()], true).await;
        let closed = why(&probe(port), PLENTY).await;
        assert!(closed.contains("without an answer") || closed.contains("closed the connection"), "{closed}");
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let refused = why(&http(port), PLENTY).await;
    assert_eq!(refused, format!("127.0.0.1:{port}: connection refused (nothing listens)"));
}

#[tokio::test]
async fn a_frame_of_kafka_that_ends_in_the_middle_is_not_healthy() {
    let kafka = |port| Probe::Kafka { host: "127.0.0.1".to_owned(), port, node_id: 1 };
    let half_frame = vec![0, 0, 1, 0, 0, 0, 0, 1, 0, 0];
    let (port, _) = server(vec![half_frame.clone()], true).await;
    let closed = why(&kafka(port), PLENTY).await;
    assert!(closed.starts_with(&format!("127.0.0.1:{port}: ")), "{closed}");
    let (port, _) = server(vec![half_frame], false).await;
    let open = why(&kafka(port), SHORT).await;
    assert!(open.contains("10 bytes of an answer and no end"), "{open}");
}

#[tokio::test]
async fn an_endless_answer_is_given_up_at_the_limit() {
    let (port, _) = server(vec![vec![b'x'; 2 * REPLY_LIMIT]], false).await;
    let endless = why(&zookeeper(port), PLENTY).await;
    assert_eq!(endless, format!("127.0.0.1:{port}: sent 1024 KiB without an end to its answer"));
}
