//! Names by pattern.

/// Does a name fit? `*` is any characters, `?` is one. Takes no longer than the product of both lengths.
pub fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go on when a star has to take one character more.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(b'?') => (p, n) = (p + 1, n + 1),
            Some(byte) if *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    (p, n) = (after, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::glob;

    #[test]
    fn stars_and_question_marks_fit() {
        for (pattern, name, fits) in [
            ("orders*", "orders", true),
            ("orders*", "orders.v1", true),
            ("*.v?", "orders.v1", true),
            ("*.v?", "orders.v12", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("Orders", "orders", false),
        ] {
            assert_eq!(glob(pattern, name), fits, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_fits_itself_and_whatever_a_star_hides(name in "[a-z._-]{0,30}", from in 0_usize..30, to in 0_usize..30) {
            prop_assert!(glob(&name, &name));
            let (from, to) = (from.min(name.len()), to.min(name.len()));
            let pattern = format!("{}*{}", &name[..from], &name[to.max(from)..]);
            prop_assert!(glob(&pattern, &name), "{}", pattern);
        }
    }
}
