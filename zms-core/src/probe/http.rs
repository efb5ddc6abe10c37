//! A smallest HTTP/1.1 client: one GET, and the head of its answer.

use super::Verdict;
use crate::names::shown;

/// Longest head that is read on for, in bytes; servers send a few hundred.
const HEAD_LIMIT: usize = 64 << 10;

/// A GET of `path`, after which the server closes the connection.
pub(super) fn get(host: &str, port: u16, path: &str) -> Vec<u8> {
    let slash = if path.starts_with('/') { "" } else { "/" };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    format!(
        "GET {slash}{} HTTP/1.1\r\nHost: {}:{port}\r\nUser-Agent: zms-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        visible(path),
        visible(&host),
    )
    .into_bytes()
}

/// Percent-encodes what would end a request line or a header (blanks, line ends, anything not ASCII).
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// 200, whatever the body.
pub(super) fn check_ok(reply: &[u8], end: bool) -> Verdict {
    match read_head(reply, end) {
        Ok(head) if head.status == 200 => Verdict::Healthy,
        Ok(head) => Verdict::NotYet(format!("it answers {} instead of 200", head.says())),
        Err(verdict) => verdict,
    }
}

/// 204 with InfluxDB's version: any other server behind this port would not send it.
pub(super) fn check_ping(reply: &[u8], end: bool) -> Verdict {
    match read_head(reply, end) {
        Ok(head) if head.status != 204 => Verdict::NotYet(format!("/ping answers {} instead of 204", head.says())),
        Ok(head) if head.header("X-Influxdb-Version").is_none_or(str::is_empty) => {
            Verdict::NotYet("/ping answers 204 without the header X-Influxdb-Version: this is no InfluxDB".to_owned())
        }
        Ok(_) => Verdict::Healthy,
        Err(verdict) => verdict,
    }
}

struct Head<'a> {
    status: u16,
    reason: &'a str,
    headers: Vec<(&'a str, &'a str)>,
}

impl Head<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn says(&self) -> String {
        format!("{} {}", self.status, shown(self.reason)).trim_end().to_owned()
    }
}

/// The head once it is whole; before that, what to do instead.
fn read_head(reply: &[u8], end: bool) -> Result<Head<'_>, Verdict> {
    let begins_well = reply.iter().zip(b"HTTP/1.").all(|(got, wanted)| got == wanted);
    if !begins_well {
        return Err(Verdict::NotYet("the answer is not HTTP/1".to_owned()));
    }
    let Some(length) = reply.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Err(if reply.len() > HEAD_LIMIT {
            Verdict::NotYet(format!("the head of the answer is longer than {HEAD_LIMIT} bytes"))
        } else if end && reply.is_empty() {
            Verdict::NotYet("the connection closed without an answer".to_owned())
        } else if end {
            Verdict::NotYet(format!("the connection closed after {} bytes, before the end of the headers", reply.len()))
        } else {
            Verdict::Partial
        });
    };
    let head = std::str::from_utf8(&reply[..length]).ok().and_then(parse_head);
    head.ok_or_else(|| Verdict::NotYet("the head of the answer is not HTTP/1".to_owned()))
}

fn parse_head(text: &str) -> Option<Head<'_>> {
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.splitn(3, ' ');
    first.next().filter(|version| matches!(*version, "HTTP/1.0" | "HTTP/1.1"))?;
    let status = first.next().filter(|code| code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()))?;
    let status = status.parse().ok()?;
    let headers = lines.map(|line| line.split_once(':').map(|(key, value)| (key, value.trim()))).collect::<Option<_>>()?;
    Some(Head { status, reason: first.next().unwrap_or_default(), headers })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PONG: &[u8] = b"HTTP/1.1 204 No Content\r\nContent-Type: application/json\r\nX-Influxdb-Version: 1.6.7~rc0\r\n\r\n";

    fn why(verdict: Verdict) -> String {
        match verdict {
            Verdict::NotYet(why) => why,
            other => panic!("expected NotYet, got {other:?}"),
        }
    }

    #[test]
    fn a_ping_with_influxdbs_version_is_healthy() {
        assert_eq!(check_ping(PONG, false), Verdict::Healthy);
        assert_eq!(check_ping(PONG, true), Verdict::Healthy);
        assert_eq!(check_ping(b"HTTP/1.1 204 No Content\r\nx-influxdb-version:v1.13.2\r\n\r\n", true), Verdict::Healthy);
    }

    #[test]
    fn every_beginning_of_a_good_answer_is_partial_and_cut_is_a_sentence() {
        for length in 0..PONG.len() {
            assert_eq!(check_ping(&PONG[..length], false), Verdict::Partial, "{length}");
            assert!(why(check_ping(&PONG[..length], true)).contains("connection closed"), "{length}");
        }
    }

    #[test]
    fn other_answers_say_what_came() {
        let cases: [(&[u8], &str); 9] = [
            (b"HTTP/1.1 200 OK\r\nX-Influxdb-Version: 1\r\n\r\n", "200 OK instead of 204"),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "503 Service Unavailable"),
            (b"HTTP/1.1 204\r\n\r\n", "this is no InfluxDB"),
            (b"HTTP/1.1 204 No Content\r\nX-Influxdb-Version:  \r\n\r\n", "this is no InfluxDB"),
            (b"HTTP/2 204 No Content\r\n\r\n", "not HTTP/1"),
            (b"HTTP/1.1 0204 x\r\n\r\n", "not HTTP/1"),
            (b"HTTP/1.1 204 No Content\r\nno colon\r\n\r\n", "not HTTP/1"),
            (b"rw", "not HTTP/1"),
            (b"\x15\x03\x03\x00\x02\x02\x46", "not HTTP/1"),
        ];
        for (reply, expected) in cases {
            let said = why(check_ping(reply, true));
            assert!(said.contains(expected), "{said}");
        }
        assert_eq!(check_ok(b"HTTP/1.1 200 OK\r\n\r\n[1]", false), Verdict::Healthy);
        assert!(why(check_ok(PONG, true)).contains("204 No Content instead of 200"));
    }

    #[test]
    fn a_head_without_end_is_given_up() {
        let mut endless = b"HTTP/1.1 200 OK\r\nA: ".to_vec();
        endless.resize(HEAD_LIMIT + 1, b'a');
        assert!(why(check_ok(&endless, false)).contains("longer than"));
    }

    #[test]
    fn nothing_in_a_path_or_host_can_add_a_header() {
        let request = String::from_utf8(get("h\r\nX: y", 80, "a b\r\nEvil: 1")).unwrap();
        assert!(request.starts_with("GET /a%20b%0D%0AEvil:%201 HTTP/1.1\r\nHost: [h%0D%0AX:%20y]:80\r\n"), "{request}");
        assert!(String::from_utf8(get("::1", 8086, "/ping")).unwrap().contains("Host: [::1]:8086\r\n"));
    }

    proptest! {
        #[test]
        fn no_input_panics_and_no_random_bytes_are_healthy(reply in proptest::collection::vec(any::<u8>(), 0..600), end: bool) {
            prop_assert!(check_ok(&reply, end) != Verdict::Healthy);
            prop_assert!(check_ping(&reply, end) != Verdict::Healthy);
        }

        #[test]
        fn a_damaged_answer_does_not_panic(at in 0..PONG.len(), byte: u8, cut in 0..PONG.len(), end: bool) {
            let mut reply = PONG.to_vec();
            reply[at] = byte;
            let _ = (check_ping(&reply[..cut], end), check_ok(&reply, end));
        }
    }
}
