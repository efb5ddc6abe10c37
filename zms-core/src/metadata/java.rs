//! Clients of the first ZMS, as they stand below the topic or group that they use: ephemeral nodes without a value, whose name says who it
//! is. After a lost session they have no node although they live; so no node does not mean no client.

use crate::names::shown;

/// Longest name that is read, in bytes; theirs have about 80.
pub const LONGEST: usize = 400;
/// What stands between two parts of a name.
const BETWEEN: &str = "||";

/// A Java producer or consumer: `ip||instance||version||start||random`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JavaPresence {
    /// Its address, as it says.
    pub ip: String,
    /// As the application calls this producer or consumer: `DEFAULT_PRODUCER` if it does not.
    pub instance: String,
    /// Of the client library.
    pub version: String,
    /// When it started, by its clock and in its zone, which it does not say: `2026-11-21 08:40:02`.
    pub started: String,
}

impl JavaPresence {
    /// Reads the name of a node.
    ///
    /// # Errors
    /// A sentence, for names that no Java client makes.
    pub fn parse(name: &str) -> Result<Self, String> {
        Self::read(name).ok_or_else(|| {
            format!("\"{}\" is no client of the first ZMS: those are named ip||instance||version||start||number", shown(name))
        })
    }

    fn read(name: &str) -> Option<Self> {
        if name.len() > LONGEST || name.chars().any(char::is_control) {
            return None;
        }
        // What the application chose stands in the middle and may hold anything.
        let (rest, number) = name.rsplit_once(BETWEEN)?;
        let (rest, start) = rest.rsplit_once(BETWEEN)?;
        let (rest, version) = rest.rsplit_once(BETWEEN)?;
        let (ip, instance) = rest.split_once(BETWEEN)?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let address = !ip.is_empty() && ip.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-_%".contains(&b));
        let whole = digits(number) && number.len() <= 10 && address && ip.len() <= 64 && version.len() <= 64;
        let started = whole.then(|| local_time(start)).flatten()?;
        Some(Self { ip: ip.to_owned(), instance: instance.to_owned(), version: version.to_owned(), started })
    }
}

/// `LocalDateTime.toString()` without its fraction: seconds are left out when they are 0, fractions have 3, 6 or 9 digits.
fn local_time(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let shape = |wanted: &str| {
        whole.len() == wanted.len()
            && whole.bytes().zip(wanted.bytes()).all(|(b, wanted)| if wanted == b'0' { b.is_ascii_digit() } else { b == wanted })
    };
    let fraction = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    match (shape("0000-00-00T00:00:00"), shape("0000-00-00T00:00"), fraction) {
        (true, _, true) => Some(whole.replace('T', " ")),
        (_, true, true) => Some(format!("{}:00", whole.replace('T', " "))),
        _ => None,
    }
}

/// How a Java client is told from others of its topic or group. It says no process, so several of one address and one instance name
/// are counted: `number` from 1.
pub fn java_client(ip: &str, instance: &str, number: u32) -> String {
    format!("{ip}{BETWEEN}{instance}{BETWEEN}{number}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_java_clients_are_read() {
        for (name, instance, started) in [
            ("127.0.0.1||DEFAULT_PRODUCER||1.0.0||2026-11-21T08:40:02.558647||32848", "DEFAULT_PRODUCER", "2026-11-21 08:40:02"),
            ("127.0.0.1||DEFAULT_CONSUMER||1.0.0||2026-11-21T08:40:02||0", "DEFAULT_CONSUMER", "2026-11-21 08:40:02"),
            ("127.0.0.1||a||1.0.0||2026-11-21T08:40||99999", "a", "2026-11-21 08:40:00"),
            ("127.0.0.1||a||b||1.0.0||2026-11-21T08:40:02.123456789||7", "a||b", "2026-11-21 08:40:02"),
            ("127.0.0.1||||1.0.0||2026-11-21T08:40:02.000||7", "", "2026-11-21 08:40:02"),
        ] {
            let found = JavaPresence::parse(name).unwrap();
            assert_eq!((found.ip.as_str(), found.version.as_str()), ("127.0.0.1", "1.0.0"), "{name}");
            assert_eq!((found.instance.as_str(), found.started.as_str()), (instance, started), "{name}");
        }
        assert_eq!(JavaPresence::parse("fe80::1%eth0||a||1||2026-11-21T08:40||1").unwrap().ip, "fe80::1%eth0");
    }

    #[test]
    fn other_names_are_refused_with_a_sentence() {
        let long = format!("10.0.0.1||{}||1||2026-11-21T08:40||1", "a".repeat(LONGEST));
        for name in [
            "",
            "orders",
            "||||||||",
            "127.0.0.1||a||1||2026-11-21T08:40",
            "127.0.0.1||a||1||yesterday||1",
            "127.0.0.1||a||1||2026-11-21T08:40:02.||1",
            "127.0.0.1||a||1||2026-11-21T08:40:02.1234567890||1",
            "127.0.0.1||a||1||2026-11-21T08:40||one",
            "127.0.0.1||a||1||2026-11-21T08:40||12345678901",
            "<script>||a||1||2026-11-21T08:40||1",
            "127.0.0.1||a\u{7}||1||2026-11-21T08:40||1",
            "127.0.0.1||a||1||２０26-11-21T08:40||1",
            long.as_str(),
        ] {
            let why = JavaPresence::parse(name).unwrap_err();
            assert!(why.contains("is no client") && why.len() < 300, "{why}");
        }
    }

    proptest! {
        #[test]
        fn no_name_makes_it_panic(name in ".{0,60}", ip in "[0-9.|]{0,12}", start in "[0-9T:.-]{0,30}") {
            let _ = JavaPresence::parse(&name);
            let _ = JavaPresence::parse(&format!("{ip}||{name}||1||{start}||1"));
        }
    }
}
