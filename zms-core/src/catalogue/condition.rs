//! `when`: one comparison, for example `members > 1` or `role == controller`.

use serde::{Deserialize, Deserializer};

use super::value::Value;

/// One comparison of a variable with a literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The variable.
    pub left: String,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with, in the variable's unit.
    pub right: String,
}

/// How two values are compared. Texts and booleans know only the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no condition; write for example \"members > 1\" or \"role == controller\"");
        let [left, operator, right] = text.split_whitespace().collect::<Vec<_>>()[..] else { return Err(wrong()) };
        let operator = match operator {
            "==" => Operator::Equal,
            "!=" => Operator::Unequal,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            _ => return Err(wrong()),
        };
        Ok(Self { left: left.to_owned(), operator, right: right.to_owned() })
    }

    /// Does it hold for a variable that is `left`? A comparison that makes no sense does not hold.
    pub(super) fn holds(&self, left: &Value) -> bool {
        if let (Value::Integer(left), Ok(right)) = (left, self.right.parse::<i64>()) {
            return match self.operator {
                Operator::Equal => *left == right,
                Operator::Unequal => *left != right,
                Operator::Less => *left < right,
                Operator::LessOrEqual => *left <= right,
                Operator::Greater => *left > right,
                Operator::GreaterOrEqual => *left >= right,
            };
        }
        match self.operator {
            Operator::Equal => left.to_string() == self.right,
            Operator::Unequal => left.to_string() != self.right,
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => false,
        }
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_compare_numbers_as_numbers_and_texts_as_texts() {
        let cases = [
            ("a > 1", Value::Integer(3), true),
            ("a > 1", Value::Integer(1), false),
            ("a <= 512", Value::Integer(512), true),
            ("a >= 10", Value::Integer(9), false),
            ("a != 3", Value::Integer(3), false),
            ("a == controller", Value::Text("controller".to_owned()), true),
            ("a != controller", Value::Text("controller".to_owned()), false),
            ("a == true", Value::Boolean(true), true),
            ("a < b", Value::Text("a".to_owned()), false),
        ];
        for (text, left, expected) in cases {
            assert_eq!(Condition::parse(text).unwrap().holds(&left), expected, "{text} {left:?}");
        }
        for bad in ["", "a", "a >", "a = 1", "a > 1 and", "a>1"] {
            assert!(Condition::parse(bad).is_err(), "{bad}");
        }
    }
}
