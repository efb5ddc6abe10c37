use std::collections::BTreeMap;

use zms_core::series::Number;

/// A point as InfluxDB reads it from a line.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Name of its measurement.
    pub measurement: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its fields.
    pub fields: BTreeMap<String, Number>,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

/// Reads one line by InfluxDB's rules, and refuses what versions of it read differently.
pub fn parse(line: &str) -> Result<Written, String> {
    if line.is_empty() || line.starts_with('#') {
        return Err("an empty line or a comment vanishes".to_owned());
    }
    if line.chars().any(|c| c == '\r' || c == '\n') {
        return Err("a line end".to_owned());
    }
    let (key, rest) = cut(line, ' ').ok_or("no fields")?;
    let (fields, time) = rest.split_once(' ').ok_or("no time")?;
    let mut parts = split(key, ',').into_iter();
    let measurement = unescaped(parts.next().unwrap_or_default());
    let mut tags = BTreeMap::new();
    for part in parts {
        let (name, value) = cut(part, '=').ok_or("a tag without a value")?;
        if name.is_empty() || value.is_empty() || measurement.is_empty() || name == "time" {
            return Err(format!("an empty name or value, or a name that is taken: {part}"));
        }
        if cut(value, '=').is_some() || value.ends_with('\\') {
            return Err(format!("not escaped: {part}"));
        }
        if tags.insert(unescaped(name), unescaped(value)).is_some() {
            return Err(format!("a tag twice: {part}"));
        }
    }
    let fields = fields.split(',').map(field).collect::<Result<_, _>>()?;
    Ok(Written { measurement, tags, fields, at_ms: whole(time)? })
}

fn field(text: &str) -> Result<(String, Number), String> {
    let (name, value) = text.split_once('=').ok_or("a field without a value")?;
    if name.is_empty() || name == "time" {
        return Err(format!("a field without a name, or with one that is taken: {text}"));
    }
    let number = match value.strip_suffix('i') {
        Some(digits) => Number::Whole(whole(digits)?),
        None if value.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => {
            let number: f64 = value.parse().map_err(|_| format!("no number: {text}"))?;
            if number.is_infinite() {
                return Err(format!("too large: {text}"));
            }
            Number::Broken(number)
        }
        None => return Err(format!("no number: {text}")),
    };
    Ok((name.to_owned(), number))
}

fn whole(text: &str) -> Result<i64, String> {
    if text.starts_with('+') {
        return Err(format!("no whole number: {text}"));
    }
    text.parse().map_err(|_| format!("no whole number: {text}"))
}

/// Places of a separator that no backslash stands before; what stands before the backslash does not matter to InfluxDB.
fn places(text: &str, separator: char) -> impl Iterator<Item = usize> {
    text.match_indices(separator).map(|(at, _)| at).filter(move |at| !text[..*at].ends_with('\\'))
}

fn cut(text: &str, separator: char) -> Option<(&str, &str)> {
    places(text, separator).next().map(|at| (&text[..at], &text[at + 1..]))
}

fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for at in places(text, separator) {
        parts.push(&text[start..at]);
        start = at + 1;
    }
    parts.push(&text[start..]);
    parts
}

fn unescaped(text: &str) -> String {
    text.replace("\\,", ",").replace("\\ ", " ").replace("\\=", "=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_influxdb_does_not_read_is_refused() {
        for wrong in [
            "",
            "#a v=1 1",
            "a v=1",
            "a 1",
            "a  1",
            "a,t v=1 1",
            "a,t= v=1 1",
            "a,t=b,t=c v=1 1",
            "a,t=b=c v=1 1",
            "a,t=b\\ v=1 1",
            "a v= 1",
            "a =1 1",
            "a v=1,=2 1",
            "a v=1, 1",
            "a v=NaN 1",
            "a v=inf 1",
            "a v=1e400 1",
            "a v=1u 1",
            "a v=1.5i 1",
            "a v=t 1",
            "a v=9223372036854775808i 1",
            "a v=1 x",
            "a v=1 1 ",
            "a v=1 1\r",
            "a,time=b v=1 1",
            "a time=1 1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn escapes_are_undone() {
        let point = parse(r#"m,t=a\ b\,c\=d\e"'主,u=x v=-1.5e3,w=-7i -5"#).unwrap();
        assert_eq!(point.tags, BTreeMap::from([("t".into(), r#"a b,c=d\e"'主"#.into()), ("u".into(), "x".into())]));
        assert_eq!(point.fields, BTreeMap::from([("v".into(), Number::Broken(-1500.0)), ("w".into(), Number::Whole(-7))]));
        assert_eq!((point.measurement.as_str(), point.at_ms), ("m", -5));
    }
}
