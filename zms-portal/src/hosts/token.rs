//! Join tokens: `zmsj1.<key id>.<secret>`. The key id (8 letters and digits) finds the row; of the secret (256 random bits) the
//! database has the SHA-256, which is enough for what cannot be guessed.

use anyhow::anyhow;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// What every token begins with; the number is the version of its form.
const PREFIX: &str = "zmsj1";
/// 32 letters and digits that nobody takes for another.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Letters of a key id.
const KEY_ID: usize = 8;
/// Letters of a secret.
const SECRET: usize = 43;

/// A token as the portal may know it. It has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Finds its row; no secret.
    pub key_id: String,
    /// SHA-256 of the secret, hexadecimal.
    pub secret_hash: String,
}

impl Token {
    /// A new one, and its text, which is shown once.
    pub fn random() -> anyhow::Result<(Self, String)> {
        let mut bytes = [0; KEY_ID + 32];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow!("the system gives no random bytes"))?;
        let (id, secret) = bytes.split_at(KEY_ID);
        let key_id: String = id.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        let secret = BASE64_URL_SAFE_NO_PAD.encode(secret);
        let text = format!("{PREFIX}.{key_id}.{secret}");
        Ok((Self { key_id, secret_hash: hash(&secret) }, text))
    }

    /// Reads a token; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (prefix, key_id, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let fits = parts.next().is_none()
            && prefix == PREFIX
            && key_id.len() == KEY_ID
            && key_id.bytes().all(|byte| ALPHABET.contains(&byte))
            && secret.len() == SECRET
            && BASE64_URL_SAFE_NO_PAD.decode(secret).is_ok();
        fits.then(|| Self { key_id: key_id.to_owned(), secret_hash: hash(secret) })
    }
}

fn hash(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_reads_back_and_shows_neither_secret_nor_hash_in_its_key_id() {
        let (token, text) = Token::random().unwrap();
        assert!(Token::parse(&text).is_some_and(|read| read == token));
        assert_eq!(text.len(), 5 + 1 + KEY_ID + 1 + SECRET);
        assert!(!text.contains(&token.secret_hash) && Token::random().unwrap().1 != text);
    }

    #[test]
    fn what_is_not_quite_a_token_is_none() {
        let (_, text) = Token::random().unwrap();
        for bad in [
            text[1..].to_owned(),
            format!("{text}.x"),
            format!("{text}\n"),
            text.replace("zmsj1", "zmsj2"),
            text[..text.len() - 1].to_owned(),
            text.replacen('.', "..", 1),
            format!("zmsj1.ABCDEFGH.{}", "A".repeat(43)),
        ] {
            assert!(Token::parse(&bad).is_none(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reading(text in ".{0,80}") {
            let _ = Token::parse(&text);
        }
    }
}
