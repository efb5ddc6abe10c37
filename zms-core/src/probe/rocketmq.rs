//! RocketMQ's protocol as far as probes need it: a frame is its length, the length of its header, the header in JSON, the body.
//!
//! A broker opens its port a second or two before the name servers know it, and until then no client finds it. So it is asked who it
//! is (its configuration, 26) and then a name server whether it is listed (106). Codes are the same in 4.9 and 5.

use super::{REPLY_LIMIT, Verdict};
use crate::names::shown;

const CLUSTER_INFO: u16 = 106;
const BROKER_CONFIG: u16 = 26;

/// The question to a name server: which brokers are there?
pub(super) fn cluster_info() -> Vec<u8> {
    frame(CLUSTER_INFO)
}

/// The question to a broker: how are you configured?
pub(super) fn broker_config() -> Vec<u8> {
    frame(BROKER_CONFIG)
}

fn frame(code: u16) -> Vec<u8> {
    let header = format!(
        r#"{{"code":{code},"flag":0,"language":"OTHER","opaque":{code},"serializeTypeCurrentRPC":"JSON","version":399}}"#
    );
    // The upper byte of the second length says how the header is written: 0 is JSON.
    let length = header.len() as u32;
    [&(length + 4).to_be_bytes(), &length.to_be_bytes(), header.as_bytes()].concat()
}

/// Judges a name server's answer: it answers, whatever it knows.
pub(super) fn check_name_server(reply: &[u8], end: bool) -> Verdict {
    match answer(reply, end, CLUSTER_INFO) {
        Ok(body) if table(body).is_some() => Verdict::Healthy,
        Ok(_) => Verdict::NotYet("its answer has no brokerAddrTable: this is no name server".to_owned()),
        Err(verdict) => verdict,
    }
}

/// Judges a broker's own answer (0) and that of a name server about it (1).
pub(super) fn check_broker(question: usize, reply: &[u8], end: bool, broker: &str, id: u64, name_servers: &[String]) -> Verdict {
    if question > 1 {
        return Verdict::NotYet("there was no such question".to_owned());
    }
    let body = match answer(reply, end, if question == 0 { BROKER_CONFIG } else { CLUSTER_INFO }) {
        Ok(body) => body,
        Err(verdict) => return verdict,
    };
    if question == 0 {
        return match is_itself(body, broker, id) {
            Ok(()) => Verdict::AskAnother { request: cluster_info(), at: name_servers.to_vec() },
            Err(why) => Verdict::NotYet(why),
        };
    }
    let Some(table) = table(body) else {
        return Verdict::NotYet("its name server's answer has no brokerAddrTable".to_owned());
    };
    let listed = table.pointer(&format!("/{broker}/brokerAddrs/{id}")).is_some_and(|address| address.is_string());
    if listed { Verdict::Healthy } else { Verdict::NotYet(format!("its name server does not list {broker} with id {id} yet")) }
}

/// Is this configuration (properties) that of the broker?
fn is_itself(body: &[u8], broker: &str, id: u64) -> Result<(), String> {
    let text = String::from_utf8_lossy(body);
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
    let (name, number) = (value("brokerName"), value("brokerId"));
    if name == broker && number == id.to_string() {
        return Ok(());
    }
    Err(format!("it is the broker \"{}\" with id \"{}\", not {broker} with id {id}", shown(name), shown(number)))
}

/// The body of a whole answer to `code`, or what to do instead.
fn answer(reply: &[u8], end: bool, code: u16) -> Result<&[u8], Verdict> {
    let cut = || match (end, reply.len()) {
        (false, _) => Verdict::Partial,
        (true, 0) => Verdict::NotYet("the connection closed without an answer".to_owned()),
        (true, length) => Verdict::NotYet(format!("the connection closed after {length} bytes of an answer")),
    };
    let foreign = |what: String| Verdict::NotYet(format!("{what}: this does not speak RocketMQ's protocol"));
    let Some((length, rest)) = reply.split_first_chunk::<4>() else { return Err(cut()) };
    let length = u32::from_be_bytes(*length) as usize;
    if !(4..=REPLY_LIMIT - 4).contains(&length) {
        return Err(foreign(format!("it answers with a frame of {length} bytes")));
    }
    if rest.len() < length {
        return Err(cut());
    }
    let Some((word, rest)) = rest[..length].split_first_chunk::<4>() else { return Err(cut()) };
    let word = u32::from_be_bytes(*word);
    let (form, header) = (word >> 24, (word & 0x00ff_ffff) as usize);
    let header = rest.split_at_checked(header).filter(|_| form == 0);
    let Some((header, body)) = header else { return Err(foreign("its answer has no header in JSON".to_owned())) };
    let Ok(header) = serde_json::from_slice::<serde_json::Value>(header) else {
        return Err(foreign("the header of its answer is no JSON".to_owned()));
    };
    if header["opaque"] != code {
        return Err(Verdict::NotYet("its answer belongs to another question".to_owned()));
    }
    match header["code"].as_i64() {
        Some(0) => Ok(body),
        said => {
            let remark: String = header["remark"].as_str().unwrap_or_default().chars().take(200).collect();
            let said = said.map_or("none".to_owned(), |code| code.to_string());
            Err(Verdict::NotYet(format!("it answers {code} with code {said} \"{}\"", shown(&remark))))
        }
    }
}

/// Names and addresses of the brokers in an answer to 106.
fn table(body: &[u8]) -> Option<serde_json::Value> {
    let text = quote_numbers(&String::from_utf8_lossy(body));
    let mut answer: serde_json::Value = serde_json::from_str(&text).ok()?;
    answer.get_mut("brokerAddrTable").filter(|table| table.is_object()).map(serde_json::Value::take)
}

/// Brokers write ids as keys without quotes, `{0:"10.0.0.1:10911"}`, which is no JSON.
fn quote_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let (mut in_text, mut escaped, mut digits) = (false, false, String::new());
    for character in text.chars() {
        if !digits.is_empty() || (character.is_ascii_digit() && !in_text && out.ends_with(['{', ','])) {
            if character.is_ascii_digit() {
                digits.push(character);
                continue;
            }
            let quote = if character == ':' { "\"" } else { "" };
            out.extend([quote, &std::mem::take(&mut digits), quote]);
        }
        if in_text {
            in_text = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else {
            in_text = character == '"';
        }
        out.push(character);
    }
    out + &digits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LISTED: &str = r#"{"brokerAddrTable":{"orders-1":{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10921"},"brokerName":"orders-1","cluster":"o"}},"clusterAddrTable":{"o":["orders-1"]}}"#;

    fn reply(opaque: u16, code: i64, body: &str) -> Vec<u8> {
        let header = format!(r#"{{"code":{code},"flag":1,"language":"JAVA","opaque":{opaque},"remark":"r","version":1}}"#);
        let (header, body) = (header.as_bytes(), body.as_bytes());
        let length = (4 + header.len() + body.len()) as u32;
        [&length.to_be_bytes(), &(header.len() as u32).to_be_bytes(), header, body].concat()
    }

    fn broker(question: usize, reply: &[u8], id: u64) -> Verdict {
        check_broker(question, reply, false, "orders-1", id, &["10.0.0.9:9876".to_owned()])
    }

    fn why(verdict: Verdict) -> String {
        match verdict {
            Verdict::NotYet(why) => why,
            other => panic!("expected NotYet, got {other:?}"),
        }
    }

    #[test]
    fn a_broker_that_is_itself_and_is_listed_is_healthy() {
        let own = reply(26, 0, "#Sat\nbrokerName=orders-1\nx=y\nbrokerId=1\n");
        let next = Verdict::AskAnother { request: cluster_info(), at: vec!["10.0.0.9:9876".to_owned()] };
        assert_eq!(broker(0, &own, 1), next);
        assert_eq!(broker(1, &reply(106, 0, LISTED), 1), Verdict::Healthy);
        assert_eq!(check_name_server(&reply(106, 0, LISTED), false), Verdict::Healthy);
        let none = r#"{"brokerAddrTable":{},"clusterAddrTable":{}}"#;
        assert_eq!(check_name_server(&reply(106, 0, none), false), Verdict::Healthy, "one without brokers works");
        assert!(why(broker(0, &own, 0)).contains("id \"1\", not orders-1 with id 0"));
        assert!(why(broker(1, &reply(106, 0, LISTED), 2)).contains("does not list orders-1 with id 2 yet"));
        assert!(why(broker(1, &reply(106, 0, none), 0)).contains("does not list"));
    }

    #[test]
    fn every_beginning_of_an_answer_is_partial_and_a_cut_one_says_so() {
        let whole = reply(106, 0, LISTED);
        for length in 0..whole.len() {
            assert_eq!(check_name_server(&whole[..length], false), Verdict::Partial, "{length}");
            assert!(why(check_name_server(&whole[..length], true)).contains("closed"), "{length}");
        }
    }

    #[test]
    fn everything_else_is_a_sentence() {
        for (bytes, expected) in [
            (reply(106, 1, ""), "code 1 \"r\""),
            (reply(26, 0, LISTED), "another question"),
            (reply(106, 0, "{}"), "no name server"),
            (reply(106, 0, "[1,2"), "no name server"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "does not speak"),
            (b"\0\0\0\x08\x01\0\0\x04abcd".to_vec(), "no header in JSON"),
            (b"\0\0\0\x08\0\0\0\x09abcd".to_vec(), "no header in JSON"),
            (b"\0\0\0\x08\0\0\0\x04abcd".to_vec(), "is no JSON"),
        ] {
            let said = why(check_name_server(&bytes, false));
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn keys_that_are_numbers_are_quoted_and_nothing_else_is() {
        for (text, expected) in [
            ("{0:\"a\",12:1}", "{\"0\":\"a\",\"12\":1}"),
            ("[1,2,3]", "[1,2,3]"),
            ("{\"a{0:\":[5,6]}", "{\"a{0:\":[5,6]}"),
            ("{\"a\\\"{1:\":1}", "{\"a\\\"{1:\":1}"),
            ("{1", "{1"),
        ] {
            assert_eq!(quote_numbers(text), expected);
        }
    }

    proptest! {
        #[test]
        fn no_input_panics_and_no_random_bytes_are_healthy(
            question in 0usize..3, reply in proptest::collection::vec(any::<u8>(), 0..300), end: bool, at in 0usize..40, byte: u8,
        ) {
            prop_assert!(check_broker(question, &reply, end, "b", 0, &[]) != Verdict::Healthy);
            prop_assert!(check_name_server(&reply, end) != Verdict::Healthy);
            let mut damaged = self::reply(106, 0, LISTED);
            damaged[at] = byte;
            let _ = check_name_server(&damaged, end);
        }
    }
}
