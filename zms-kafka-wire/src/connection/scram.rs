//! SCRAM (RFC 5802) without channel binding, as Kafka speaks it.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::options::{Mechanism, Sasl};

/// A broker that asks for more wants to keep us busy; Kafka's own bound is 16384.
const MOST_ITERATIONS: u32 = 1_000_000;
/// Kafka's own bound; fewer would make a stolen exchange easy to guess from.
const LEAST_ITERATIONS: u32 = 4096;

pub(super) struct Scram {
    password: String,
    algorithms: Algorithms,
    nonce: String,
    /// `n=user,r=nonce`
    opening: String,
    /// What the broker must prove that it knows.
    expected: Vec<u8>,
}

struct Algorithms {
    hmac: hmac::Algorithm,
    digest: &'static digest::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

impl Scram {
    pub fn new(sasl: &Sasl) -> Result<Self, String> {
        let mut random = [0; 24];
        rand::fill(&mut random).map_err(|_| "no random numbers from the system".to_owned())?;
        Ok(Self::with_nonce(sasl, BASE64.encode(random)))
    }

    fn with_nonce(sasl: &Sasl, nonce: String) -> Self {
        let user = sasl.user.replace('=', "=3D").replace(',', "=2C");
        let algorithms = match sasl.mechanism {
            Mechanism::Plain | Mechanism::ScramSha256 => {
                Algorithms { hmac: hmac::HMAC_SHA256, digest: &digest::SHA256, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256 }
            }
            Mechanism::ScramSha512 => {
                Algorithms { hmac: hmac::HMAC_SHA512, digest: &digest::SHA512, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512 }
            }
        };
        let opening = format!("n={user},r={nonce}");
        Self { password: sasl.password.clone(), algorithms, nonce, opening, expected: Vec::new() }
    }

    /// The first message.
    pub fn first(&self) -> String {
        format!("n,,{}", self.opening)
    }

    /// Answers the broker's challenge.
    pub fn proof(&mut self, challenge: &[u8]) -> Result<String, String> {
        let challenge = std::str::from_utf8(challenge).map_err(|_| "SCRAM: the challenge is not text".to_owned())?;
        let field = |name: &str| {
            let found = challenge.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| format!("SCRAM: the challenge has no {name}="))
        };
        let nonce = field("r")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("SCRAM: the broker's nonce does not continue ours".to_owned());
        }
        let salt = BASE64.decode(field("s")?).map_err(|_| "SCRAM: the salt is not base64".to_owned())?;
        let iterations = field("i")?.parse().ok().filter(|count| (LEAST_ITERATIONS..=MOST_ITERATIONS).contains(count));
        let iterations = iterations.and_then(NonZeroU32::new).ok_or_else(|| {
            format!(
                "SCRAM: {LEAST_ITERATIONS} to {MOST_ITERATIONS} iterations are accepted, not {}",
                field("i").unwrap_or_default()
            )
        })?;
        let mut salted = vec![0; self.algorithms.digest.output_len()];
        pbkdf2::derive(self.algorithms.pbkdf2, iterations, &salt, self.password.as_bytes(), &mut salted);
        let client_key = self.mac(&salted, b"Client Key");
        let stored_key = digest::digest(self.algorithms.digest, &client_key);
        let closing = format!("c=biws,r={nonce}");
        let exchange = format!("{},{challenge},{closing}", self.opening);
        let signature = self.mac(stored_key.as_ref(), exchange.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, signature)| key ^ signature).collect();
        self.expected = self.mac(&self.mac(&salted, b"Server Key"), exchange.as_bytes());
        Ok(format!("{closing},p={}", BASE64.encode(proof)))
    }

    /// The broker knows the password too: it is no impostor.
    pub fn verify(&self, last: &[u8]) -> Result<(), String> {
        let signature = last.strip_prefix(b"v=").map(|last| last.split(|byte| *byte == b',').next().unwrap_or_default());
        let signature = signature.and_then(|text| BASE64.decode(text).ok()).unwrap_or_default();
        constant_time::verify_slices_are_equal(&signature, &self.expected)
            .map_err(|_| "SCRAM: the broker did not prove that it knows the password".to_owned())
    }

    fn mac(&self, key: &[u8], message: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.algorithms.hmac, key), message).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scram() -> Scram {
        let sasl = Sasl { mechanism: Mechanism::ScramSha256, user: "user".to_owned(), password: "pencil".to_owned() };
        Scram::with_nonce(&sasl, "rOprNGfwEbeRWgbNEkqO".to_owned())
    }

    /// The example of RFC 7677, section 3.
    const CHALLENGE: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    #[test]
    fn the_example_of_the_standard_comes_out() {
        let mut scram = scram();
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let proof = scram.proof(CHALLENGE).unwrap();
        assert!(proof.ends_with(",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), "{proof}");
        assert_eq!(scram.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
    }

    #[test]
    fn an_impostor_is_not_believed() {
        let mut scram = scram();
        scram.proof(CHALLENGE).unwrap();
        assert!(scram.verify(b"v=AAAA").is_err() && scram.verify(b"").is_err() && scram.verify(b"v=").is_err());
        for bad in
            ["r=other,s=W22Z,i=4096", "r=rOprNGfwEbeRWgbNEkqO1,s=W22Z,i=1", "r=rOprNGfwEbeRWgbNEkqO1,s=W22Z,i=4000000000", "x"]
        {
            assert!(scram.proof(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
