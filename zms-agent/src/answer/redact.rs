//! Takes out of a log line what looks like a secret. A help, not a guarantee: servers should not log secrets, and some do.

/// What the name of a secret holds, in lower case.
const NAMES: [&str; 9] = ["password", "passwd", "passphrase", "secret", "token", "credential", "apikey", "api_key", "api-key"];
/// Header names after which the rest of the line is a secret.
const HEADERS: [&str; 2] = ["authorization", "cookie"];
/// What stands instead.
const HIDDEN: &str = "***";

/// Longest rest of a name (`.more` of `password.more`), in bytes.
const REST: usize = 64;

/// What was found in a line, and how far the secret reaches that may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// The name of a secret: its value.
    Name,
    /// The name of a header: the rest of the line.
    Header,
    /// The beginning of an address: the password in it.
    Address,
}

/// The line with values of secrets replaced.
pub fn redact(line: &str) -> String {
    // Same length as the line, so that positions carry over.
    let lower = line.to_ascii_lowercase();
    let ends = |texts: &'static [&'static str], mark| {
        let lower = &lower;
        texts.iter().flat_map(move |text| lower.match_indices(text).map(move |(at, _)| (at + text.len(), mark)))
    };
    let mut marks: Vec<(usize, Mark)> =
        ends(&NAMES, Mark::Name).chain(ends(&HEADERS, Mark::Header)).chain(ends(&["://"], Mark::Address)).collect();
    marks.sort_unstable();
    let mut out = String::with_capacity(line.len());
    let mut at = 0;
    for (end, mark) in marks {
        // What lies within a hidden value is hidden; so no byte is looked at more than a few times, whatever a log holds.
        if end < at {
            continue;
        }
        let secret = match mark {
            Mark::Name => value(&lower, end),
            Mark::Header => assigned(&lower, end).map(|from| (from, lower.trim_end_matches(['\r', '\n']).len())),
            Mark::Address => userinfo(&lower, end),
        };
        if let Some((from, to)) = secret.filter(|(from, to)| at <= *from && from < to) {
            out.push_str(&line[at..from]);
            out.push_str(HIDDEN);
            at = to;
        }
    }
    out.push_str(&line[at..]);
    out
}

/// The value that follows a name ending at `end`: `="…"`, `: …`, `=…`.
fn value(lower: &str, end: usize) -> Option<(usize, usize)> {
    let from = assigned(lower, end)?;
    let rest = &lower[from..];
    let quoted = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    Some(match quoted {
        Some(quote) => (from + 1, rest[1..].find(quote).map_or(lower.len(), |n| from + 1 + n)),
        None => (from, rest.find(|c: char| c.is_whitespace() || ",;&)]}\"'".contains(c)).map_or(lower.len(), |n| from + n)),
    })
}

/// Where the value begins, if what ends at `end` is a name that something is assigned to: `name.more"  = `.
fn assigned(lower: &str, end: usize) -> Option<usize> {
    let rest = &lower[end..];
    let more = rest.bytes().take(REST).take_while(|b| b.is_ascii_alphanumeric() || b"._-".contains(b)).count();
    let rest = &rest[more..];
    let rest = rest.trim_start_matches(['"', '\'']).trim_start_matches([' ', '\t']);
    let rest = rest.strip_prefix("=>").or_else(|| rest.strip_prefix(['=', ':']))?.trim_start_matches([' ', '\t']);
    (!rest.is_empty()).then(|| lower.len() - rest.len())
}

/// The password of `user:password@host`, which begins at `begin`.
fn userinfo(lower: &str, begin: usize) -> Option<(usize, usize)> {
    let length = lower[begin..].find(|c: char| c.is_whitespace() || "/?#\"'".contains(c)).unwrap_or(lower.len() - begin);
    let authority = &lower[begin..begin + length];
    let sign = authority.rfind('@')?;
    let colon = authority[..sign].find(':')?;
    Some((begin + colon + 1, begin + sign))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_of_secrets_are_hidden_and_the_rest_of_the_line_stays() {
        for (line, expected) in [
            ("password=abc next", "password=*** next"),
            ("ssl.keystore.password = abc", "ssl.keystore.password = ***"),
            (r#"login required username="a" password="b c";"#, r#"login required username="a" password="***";"#),
            (r#"{"user":"a","Password":"b","n":1}"#, r#"{"user":"a","Password":"***","n":1}"#),
            ("client_secret: 'x y' z", "client_secret: '***' z"),
            ("token => abc, b", "token => ***, b"),
            ("GET /query?u=a&passwd=b&q=c", "GET /query?u=a&passwd=***&q=c"),
            ("Authorization: Basic YTpi", "Authorization: ***"),
            ("dial https://me:pw@host:1/x and go", "dial https://me:***@host:1/x and go"),
            ("password=a password=b", "password=*** password=***"),
            ("the password was wrong", "the password was wrong"),
            ("Tokenizer: started", "Tokenizer: ***"),
            ("nothing here: https://host:9092/", "nothing here: https://host:9092/"),
            ("password=", "password="),
        ] {
            assert_eq!(redact(line), expected, "{line}");
        }
    }

    #[test]
    fn a_line_made_to_keep_us_busy_does_not() {
        for part in ["password=a ", "token", "token=", "://a:b@", "password=\"", "authorization: "] {
            let line = part.repeat((256 << 10) / part.len());
            let began = std::time::Instant::now();
            redact(&line);
            assert!(began.elapsed() < std::time::Duration::from_secs(5), "{part}: {:?}", began.elapsed());
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd_and_no_plain_value_survives(before in ".{0,20}", value in "[a-z0-9]{6,12}", after in "( .{0,20})?") {
            let line = format!("{before}password={value}{after}");
            let hidden = redact(&line);
            prop_assert!(!hidden.contains(&format!("password={value}")), "{hidden}");
        }
    }
}
