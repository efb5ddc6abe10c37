//! A rendered file. Its secrets may not be at hand: the agent was started again and the portal is away. Whether a file on disk is
//! right can then still be told by everything around them, so that nothing has to be written and nothing stops.

/// See the module. Never shown: it may hold secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Content {
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Secret { reference: String, value: Option<String> },
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({} pieces)", self.pieces.len())
    }
}

impl Content {
    /// A text without secrets.
    pub fn plain(text: String) -> Self {
        Self { pieces: vec![Piece::Text(text)] }
    }

    /// Adds text.
    pub fn push(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            Some(Piece::Secret { .. }) | None => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    /// Adds a secret, or the gap where it belongs.
    pub fn push_secret(&mut self, reference: &str, value: Option<&str>) {
        self.pieces.push(Piece::Secret { reference: reference.to_owned(), value: value.map(str::to_owned) });
    }

    /// Is there a secret in it, at hand or not?
    pub fn has_secrets(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Secret { .. }))
    }

    /// What to write; the error is the reference of a secret that is not at hand.
    pub fn bytes(&self) -> Result<Vec<u8>, &str> {
        let mut bytes = Vec::new();
        for piece in &self.pieces {
            bytes.extend_from_slice(piece.known()?.as_bytes());
        }
        Ok(bytes)
    }

    /// Are these bytes this content, as far as it is known?
    pub fn same_as(&self, found: &[u8]) -> bool {
        // Texts with gaps between them: the first must begin the file, the last must end it, the others follow in order.
        let mut texts = vec![String::new()];
        for piece in &self.pieces {
            match piece.known() {
                Ok(text) => texts.last_mut().expect("it begins with one").push_str(text),
                Err(_) => texts.push(String::new()),
            }
        }
        let last = texts.pop().expect("it begins with one");
        let Some((first, between)) = texts.split_first() else { return found == last.as_bytes() };
        let Some(rest) = found.strip_prefix(first.as_bytes()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_bytes()) else { return false };
        for text in between {
            let at =
                if text.is_empty() { Some(0) } else { rest.windows(text.len()).position(|window| window == text.as_bytes()) };
            let Some(at) = at else { return false };
            rest = &rest[at + text.len()..];
        }
        true
    }
}

impl Piece {
    fn known(&self) -> Result<&str, &str> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Secret { value: Some(value), .. } => Ok(value),
            Self::Secret { reference, value: None } => Err(reference),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `?` stands for a secret that is not at hand.
    fn content(template: &str) -> Content {
        let mut content = Content::default();
        for (n, text) in template.split('?').enumerate() {
            if n > 0 {
                content.push_secret("s", None);
            }
            content.push(text);
        }
        content
    }

    #[test]
    fn a_file_is_judged_by_what_is_known_of_it() {
        for (template, found, same) in [
            ("a=1", "a=1", true),
            ("a=1", "a=2", false),
            ("a=?;", "a=x;", true),
            ("a=?;", "a=;", true),
            ("a=?;", "b=x;", false),
            ("a=?;", "a=x", false),
            ("a=?;b=?;", "a=x;b=y;", true),
            ("a=?;b=?;", "a=x;c=y;", false),
            ("a=?;b=?;", "a=;b=;", true),
            ("a=?;b=?;", "a=;b=", false),
            ("??", "anything", true),
            ("aba?aba", "ababa", false),
        ] {
            assert_eq!(content(template).same_as(found.as_bytes()), same, "{template} {found}");
        }
        assert_eq!(content("a=?").bytes(), Err("s"));
        assert_eq!(content("a=1").bytes(), Ok(b"a=1".to_vec()));
    }
}
