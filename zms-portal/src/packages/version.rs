//! Order of versions as their publishers count: `4.10.0` after `4.9.2`, `1.6.7~rc0` before `1.6.7`.

use std::cmp::Ordering;

/// Compares numbers as numbers and everything else as text; `~` sorts before the end of a version.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left, right);
    loop {
        let (a, b) = (text(&mut left), text(&mut right));
        let order = rank(a).cmp(rank(b)).then_with(|| number(&mut left, &mut right));
        if order != Ordering::Equal || (left.is_empty() && right.is_empty()) {
            return order;
        }
    }
}

fn text<'a>(rest: &mut &'a str) -> &'a str {
    let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
    let (text, after) = rest.split_at(end);
    *rest = after;
    text
}

/// Each character's weight, with the end between `~` and all others.
fn rank(text: &str) -> impl Iterator<Item = i32> {
    let weight = |c: char| if c == '~' { -1 } else { c as i32 + 1 };
    text.chars().map(weight).chain(std::iter::once(0))
}

fn number(left: &mut &str, right: &mut &str) -> Ordering {
    let (a, b) = (digits(left), digits(right));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// The digits at the beginning, without leading zeros.
fn digits<'a>(rest: &mut &'a str) -> &'a str {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    digits.trim_start_matches('0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_ordered_as_their_publishers_count() {
        let ordered = ["1.6.7~rc0", "1.6.7", "1.6.7-1", "1.6.10", "3.9.5", "4.3.1", "4.10.0", "17.0.15", "17.0.15+6", "21"];
        for (place, left) in ordered.iter().enumerate() {
            for (other, right) in ordered.iter().enumerate() {
                assert_eq!(compare(left, right), place.cmp(&other), "{left} and {right}");
            }
        }
        assert_eq!(compare("1.01", "1.1"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn the_order_is_one(a in "[0-9.~a-c-]{0,8}", b in "[0-9.~a-c-]{0,8}", c in "[0-9.~a-c-]{0,8}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }
    }
}
