//! Random secrets, shown or sent once: sessions, invitations, set-up codes. The database keeps a hash only; they have so many bits that it
//! needs no salt, and that comparing it tells nothing.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Bytes of a token: 256 bits.
const BYTES: usize = 32;
/// Crockford's base 32: no letter looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Letters of a code: 128 bits at five bits a letter.
const LETTERS: u32 = 26;

/// A secret that a browser carries. It has no `Debug`, so that it gets into no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new one.
    pub fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(random::<BYTES>()))
    }

    /// What somebody sent; `None` if it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == BYTES).then(|| Self(text.to_owned()))
    }

    /// The secret itself, to be sent or shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the database keeps.
    pub fn hash(&self) -> String {
        sha256(self.0.as_bytes())
    }
}

/// 128 random bits that a person can type, in groups of four letters.
pub fn new_code() -> String {
    let bits = u128::from_be_bytes(random::<16>());
    let letter = |n: u32| ALPHABET[usize::try_from(bits >> (5 * n) & 31).expect("it is below 32")];
    let mut code = String::new();
    for n in 0..LETTERS {
        if n > 0 && n % 4 == 0 {
            code.push('-');
        }
        code.push(char::from(letter(n)));
    }
    code
}

/// What the database keeps of a code, however it was typed: small letters, other dashes and blanks, O for 0, I or L for 1.
pub fn code_hash(typed: &str) -> String {
    let plain: String = typed
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            letter => letter,
        })
        .collect();
    sha256(plain.as_bytes())
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the operating system has random numbers from early boot on");
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_256_bits_and_is_never_the_same() {
        let (one, other) = (Token::random(), Token::random());
        assert_eq!(one.reveal().len(), 43);
        assert!(one != other && one.hash() != other.hash());
        assert!(Token::parse(one.reveal()).is_some_and(|read| read.hash() == one.hash()));
        assert!(!one.hash().contains(one.reveal()));
    }

    #[test]
    fn what_cannot_be_a_token_is_not_looked_up() {
        for text in ["", "abc", "a b", &"A".repeat(42), &"A".repeat(44), &"=".repeat(43), "' or 1=1 --"] {
            assert!(Token::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_code_survives_being_typed_by_a_person() {
        let code = new_code();
        assert_eq!(code.len(), 26 + 6, "{code}");
        assert!(code.bytes().all(|byte| byte == b'-' || ALPHABET.contains(&byte)), "{code}");
        let typed = code.to_lowercase().replace('-', " \u{2013}").replace('0', "o").replace('1', "l");
        assert_eq!(code_hash(&typed), code_hash(&code));
        assert_ne!(code_hash(&new_code()), code_hash(&code));
    }
}
