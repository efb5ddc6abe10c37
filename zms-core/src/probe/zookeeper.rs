//! ZooKeeper's four-letter words: `isro` for a quorum that accepts writes, `srvr` for the part a server plays in it.

use super::{REPLY_LIMIT, Verdict};
use crate::names::shown;

/// The first question: does it serve writes?
pub(super) fn read_only() -> &'static [u8] {
    b"isro"
}

/// Judges the answer to `isro` (0) or `srvr` (1). An answer is whole when the server closes the connection.
pub(super) fn check(question: usize, reply: &[u8], end: bool) -> Verdict {
    if reply.len() > REPLY_LIMIT {
        return Verdict::NotYet(format!("it answers with more than {REPLY_LIMIT} bytes: this is no ZooKeeper"));
    }
    if !end {
        return Verdict::Partial;
    }
    if reply.is_empty() {
        return Verdict::NotYet("the connection closed without an answer".to_owned());
    }
    let text = String::from_utf8_lossy(reply);
    let word = if question == 0 { "isro" } else { "srvr" };
    if text.contains("not in the whitelist") {
        return Verdict::NotYet(format!(
            "{word} is not in the setting 4lw.commands.whitelist of zoo.cfg; it must hold srvr and isro"
        ));
    }
    // A server that is up but finds no majority answers `null` to isro and this sentence to everything else.
    if text.contains("This ZooKeeper instance is not currently serving requests") || text.trim() == "null" {
        return Verdict::NotYet("it has no quorum: too few servers of the ensemble see each other".to_owned());
    }
    match question {
        0 => check_read_only(text.trim()),
        1 => check_mode(&text),
        _ => Verdict::NotYet("there was no such question".to_owned()),
    }
}

fn check_read_only(answer: &str) -> Verdict {
    match answer {
        "rw" => Verdict::Ask { request: b"srvr".to_vec(), reconnect: true },
        "ro" => Verdict::NotYet("it is read-only: it has lost its quorum".to_owned()),
        other => Verdict::NotYet(format!("it answers isro with \"{}\" instead of rw", shown(other))),
    }
}

fn check_mode(answer: &str) -> Verdict {
    match answer.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::trim) {
        Some("leader" | "follower" | "observer" | "standalone") => Verdict::Healthy,
        Some(other) => Verdict::NotYet(format!("it is in mode \"{}\"", shown(other))),
        None => Verdict::NotYet("its answer to srvr names no mode".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SRVR: &str = "Zookeeper version: 3.9.5-abc, built on 2026-01-01 00:00 UTC\nLatency min/avg/max: 0/0.0/0\nReceived: 1\n\
                        Zxid: 0x0\nMode: standalone\nNode count: 5\n";

    #[test]
    fn rw_and_then_a_mode_is_healthy() {
        assert_eq!(check(0, b"rw", true), Verdict::Ask { request: b"srvr".to_vec(), reconnect: true });
        for mode in ["standalone", "leader", "follower", "observer"] {
            assert_eq!(check(1, SRVR.replace("standalone", mode).as_bytes(), true), Verdict::Healthy, "{mode}");
        }
    }

    #[test]
    fn an_answer_is_whole_only_when_the_server_closes() {
        assert_eq!(check(0, b"", false), Verdict::Partial);
        assert_eq!(check(0, b"rw", false), Verdict::Partial);
        assert_eq!(check(1, SRVR.as_bytes(), false), Verdict::Partial);
    }

    #[test]
    fn everything_else_is_a_sentence() {
        let cases: [(usize, &str, &str); 12] = [
            (0, "", "without an answer"),
            (0, "ro", "read-only"),
            (0, "null", "no quorum"),
            (0, "This ZooKeeper instance is not currently serving requests\n", "no quorum"),
            (1, "This ZooKeeper instance is not currently serving requests\n", "no quorum"),
            (
                0,
                "isro is not executed because it is not in the whitelist.\n",
                "isro is not in the setting 4lw.commands.whitelist",
            ),
            (
                1,
                "srvr is not executed because it is not in the whitelist.\n",
                "srvr is not in the setting 4lw.commands.whitelist",
            ),
            (0, "rwx", "\"rwx\" instead of rw"),
            (0, "HTTP/1.1 400 Bad Request\r\n", "instead of rw"),
            (1, "rw", "names no mode"),
            (1, "Not Mode: leader\n", "names no mode"),
            (1, "Mode: read-only\n", "mode \"read-only\""),
        ];
        for (question, reply, expected) in cases {
            match check(question, reply.as_bytes(), true) {
                Verdict::NotYet(why) => assert!(why.contains(expected), "{reply:?}: {why}"),
                other => panic!("{reply:?}: {other:?}"),
            }
        }
        assert!(matches!(check(0, &vec![b'x'; REPLY_LIMIT + 1], false), Verdict::NotYet(why) if why.contains("more than")));
    }

    proptest! {
        #[test]
        fn no_input_panics_and_no_random_bytes_are_healthy(
            question in 0usize..4, reply in proptest::collection::vec(any::<u8>(), 0..600), end: bool,
        ) {
            prop_assert!(check(question, &reply, end) != Verdict::Healthy);
        }
    }
}
