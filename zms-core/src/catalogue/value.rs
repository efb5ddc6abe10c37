//! A typed text becomes a value.

use std::fmt;

use serde::{Deserialize, Deserializer};

use super::amount::{AmountError, Family, Unit};
use super::guard;
use super::problem::Fault;
use super::setting::{Scalar, Setting, ValueType};
use crate::names::shown;

/// Longest text that a person may type into one setting, in bytes.
const LONGEST: usize = 16 << 10;

/// A checked value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number, in the unit of its setting.
    Integer(i64),
    /// True or false.
    Boolean(bool),
    /// A choice, a text or a computed text.
    Text(String),
    /// Properties or environment.
    Pairs(Vec<(String, String)>),
    /// Options of the JVM.
    Words(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Boolean(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
            Self::Pairs(pairs) => pairs.iter().try_for_each(|(key, value)| writeln!(f, "{key}={value}")),
            Self::Words(words) => f.write_str(&words.join(" ")),
        }
    }
}

/// A set of characters, written like the inside of a regular expression's brackets: `A-Za-z0-9._-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chars {
    text: String,
    ranges: Vec<(char, char)>,
}

impl Chars {
    fn parse(text: &str) -> Result<Self, String> {
        let mut ranges = Vec::new();
        let mut rest: &[char] = &text.chars().collect::<Vec<_>>();
        while let Some((&first, after)) = rest.split_first() {
            let (last, after) = match after {
                ['-', last, after @ ..] => (*last, after),
                _ => (first, after),
            };
            if first > last {
                return Err(format!("\"{text}\" has the range {first}-{last}; write the smaller character first"));
            }
            ranges.push((first, last));
            rest = after;
        }
        let set = Self { text: text.to_owned(), ranges };
        match "{}\\\"'`$".chars().find(|c| set.allows(*c)).or_else(|| set.first_beyond_ascii()) {
            None if !set.ranges.is_empty() => Ok(set),
            None => Err("no characters are given; write for example \"A-Za-z0-9._-\"".to_owned()),
            Some(bad) => {
                Err(format!("\"{text}\" allows {bad:?}; a text may hold visible ASCII without quotes, $, \\ and braces"))
            }
        }
    }

    fn first_beyond_ascii(&self) -> Option<char> {
        self.ranges.iter().flat_map(|(first, last)| [*first, *last]).find(|c| !(' '..='~').contains(c))
    }

    /// Is `c` one of them?
    pub fn allows(&self, c: char) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&c))
    }

    /// As it stands in the catalogue; in brackets it is the `pattern` of an HTML input.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<'de> Deserialize<'de> for Chars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl Setting {
    /// Reads what a person typed (without blanks around it); the fault says what would be right.
    pub fn read(&self, typed: &str) -> Result<Value, Fault> {
        let typed = typed.trim();
        if typed.len() > LONGEST {
            return Err(Fault::TooLong { max: LONGEST.to_string() });
        }
        match self.value_type {
            ValueType::Integer | ValueType::Bytes | ValueType::Duration => self.read_number(typed).map(Value::Integer),
            ValueType::Boolean => match typed {
                "true" => Ok(Value::Boolean(true)),
                "false" => Ok(Value::Boolean(false)),
                _ => Err(Fault::NotBoolean { value: shown(typed) }),
            },
            ValueType::Choice if self.choices.iter().any(|choice| choice == typed) => Ok(Value::Text(typed.to_owned())),
            ValueType::Choice => Err(Fault::NotChoice { value: shown(typed), choices: self.choices.join(", ") }),
            ValueType::Text => self.read_text(typed),
            ValueType::Properties => guard::properties(self, typed).map(Value::Pairs),
            ValueType::Environment => guard::environment(self, typed).map(Value::Pairs),
            ValueType::Jvm => guard::jvm_options(self, typed).map(Value::Words),
        }
    }

    /// What one counts, in bytes, in milliseconds or plainly.
    pub(super) fn factor(&self) -> i64 {
        self.amount_unit().map_or(1, |unit| unit.factor)
    }

    /// The unit of a size or duration; `None` for everything else, and for a unit that is not known.
    pub(super) fn amount_unit(&self) -> Option<Unit> {
        Unit::named(&self.unit, self.family()?)
    }

    pub(super) fn family(&self) -> Option<Family> {
        match self.value_type {
            ValueType::Bytes => Some(Family::Bytes),
            ValueType::Duration => Some(Family::Time),
            ValueType::Integer
            | ValueType::Boolean
            | ValueType::Choice
            | ValueType::Text
            | ValueType::Properties
            | ValueType::Environment
            | ValueType::Jvm => None,
        }
    }

    fn read_number(&self, typed: &str) -> Result<i64, Fault> {
        if let Some(unlimited) = self.unlimited
            && (typed.eq_ignore_ascii_case("unlimited") || typed == unlimited.to_string())
        {
            return Ok(unlimited);
        }
        let number = self.parse_number(typed)?;
        if let Some(min) = self.bound(&self.min).filter(|min| number < *min) {
            return Err(Fault::TooSmall { value: self.with_unit(number), min: self.with_unit(min) });
        }
        if let Some(max) = self.bound(&self.max).filter(|max| number > *max) {
            return Err(Fault::TooLarge { value: self.with_unit(number), max: self.with_unit(max) });
        }
        Ok(number)
    }

    /// A number without regard to its bounds.
    pub(super) fn parse_number(&self, typed: &str) -> Result<i64, Fault> {
        let Some(unit) = self.amount_unit() else {
            // `parse` takes a leading plus, which would be rendered otherwise than typed.
            let parsed = if typed.starts_with('+') { None } else { typed.parse().ok() };
            return parsed.ok_or_else(|| Fault::NotInteger { value: shown(typed) });
        };
        unit.read(typed).map_err(|error| match (error, unit.name) {
            (AmountError::NotWhole, name) => Fault::NotWhole { value: shown(typed), unit: name.to_owned() },
            (AmountError::NotAmount, name) if self.value_type == ValueType::Bytes => {
                Fault::NotBytes { value: shown(typed), unit: name.to_owned() }
            }
            (AmountError::NotAmount, name) => Fault::NotDuration { value: shown(typed), unit: name.to_owned() },
        })
    }

    /// A bound of the catalogue as a number.
    pub(super) fn bound(&self, bound: &Option<Scalar>) -> Option<i64> {
        self.parse_number(&bound.as_ref()?.to_string()).ok()
    }

    pub(super) fn with_unit(&self, number: i64) -> String {
        format!("{number} {}", self.unit).trim_end().to_owned()
    }

    fn read_text(&self, typed: &str) -> Result<Value, Fault> {
        let chars = self.chars.as_ref();
        if let Some(bad) = typed.chars().find(|c| !chars.is_some_and(|chars| chars.allows(*c))) {
            let allowed = chars.map_or(String::new(), |chars| chars.text.clone());
            return Err(Fault::BadCharacter { character: shown(&bad.to_string()), allowed });
        }
        let length = typed.len() as i64;
        if let Some(min) = number(&self.min).filter(|min| length < *min) {
            return Err(Fault::TooShort { min: min.to_string() });
        }
        if let Some(max) = number(&self.max).filter(|max| length > *max) {
            return Err(Fault::TooLong { max: max.to_string() });
        }
        if guard::names_code(typed) {
            return Err(Fault::NamesCode { text: shown(typed) });
        }
        Ok(Value::Text(typed.to_owned()))
    }
}

fn number(scalar: &Option<Scalar>) -> Option<i64> {
    match scalar {
        Some(Scalar::Integer(number)) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_characters_is_read_like_a_pattern() {
        let chars = Chars::parse("A-Za-z0-9._-").unwrap();
        for good in "AZaz09._-".chars() {
            assert!(chars.allows(good), "{good}");
        }
        for bad in "/ {}\\é\n".chars() {
            assert!(!chars.allows(bad), "{bad:?}");
        }
        for bad in ["", "z-a", "{", "a-~", " -~", "\n", "é", "$"] {
            assert!(Chars::parse(bad).is_err(), "{bad:?}");
        }
    }
}
