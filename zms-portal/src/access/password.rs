//! Passwords: what they must be, and how they are kept.
//!
//! Argon2id with 19 MiB and two passes (the least that OWASP advises) in a pool of two, so that a flood of sign-ins takes 38 MiB and two
//! cores at most and waits for the rest. For a name that does not exist the same work is done on a hash of nobody, so that time tells
//! nothing.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, anyhow};
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::token::Token;
use crate::error::{Error, Problem, Result, Text};

/// Shortest password, in characters.
pub const SHORTEST: usize = 12;
/// Longest password, in characters.
pub const LONGEST: usize = 128;

/// Hashes at work at the same time.
static POOL: Semaphore = Semaphore::const_new(2);
/// Longest wait for a place in the pool.
const WAIT: Duration = Duration::from_secs(10);

/// The commonest passwords of 12 and more characters.
static COMMONEST: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("commonest.txt").lines().collect());
/// Whose password nobody knows.
static NOBODY: LazyLock<String> = LazyLock::new(|| make(Token::random().reveal()).expect("the parameters are constants"));

fn argon2() -> Argon2<'static> {
    let params = Params::new(19_456, 2, 1, None).expect("the parameters are constants within Argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn make(password: &str) -> anyhow::Result<String> {
    let hash: PasswordHash =
        argon2().hash_password(password.as_bytes()).map_err(|error| anyhow!("hashing a password: {error}"))?;
    Ok(hash.to_string())
}

/// The PHC string to keep.
///
/// # Errors
/// [`Error::Unavailable`] when the pool was full for ten seconds.
pub async fn hash(password: &str) -> Result<String> {
    let password = password.to_owned();
    in_pool(move || make(&password)).await
}

/// Is it the password of this PHC string? `None`, for a person who does not exist, takes as long and is always false.
///
/// # Errors
/// [`Error::Unavailable`] when the pool was full for ten seconds.
pub async fn verify(password: &str, kept: Option<&str>) -> Result<bool> {
    // Nobody's password is longer, and hashing a megabyte is work for nothing.
    let fits = password.chars().count() <= LONGEST;
    let (password, kept) = (if fits { password.to_owned() } else { String::new() }, kept.map(str::to_owned));
    let right = in_pool(move || {
        let text = kept.as_deref().unwrap_or(NOBODY.as_str());
        let hash = PasswordHash::new(text).map_err(|error| anyhow!("reading a kept password: {error}"))?;
        Ok(argon2().verify_password(password.as_bytes(), &hash).is_ok() && kept.is_some())
    });
    Ok(right.await? && fits)
}

async fn in_pool<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> Result<T> {
    let place = tokio::time::timeout(WAIT, POOL.acquire()).await;
    let place = place.map_err(|_| Error::Unavailable(Text::new(|m| m.access_busy().to_owned())))?;
    let place = place.context("the pool of password hashes was closed")?;
    // The place is held by the work itself: a request that is given up does not let a third one begin.
    let done = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(place);
        result
    });
    Ok(done.await.context("hashing a password")??)
}

/// What is wrong with `password` as the new one of `name`; `field` is its name in form and JSON.
pub fn problem(field: &str, password: &str, name: &str) -> Option<Problem> {
    let length = password.chars().count();
    if !(SHORTEST..=LONGEST).contains(&length) {
        return Some(Problem::new(field, |m| m.access_password_length(SHORTEST, LONGEST)));
    }
    let plain = password.to_lowercase();
    if !name.is_empty() && plain.replace(&name.to_lowercase(), "").is_empty() {
        return Some(Problem::new(field, |m| m.access_password_name().to_owned()));
    }
    let first = plain.chars().next();
    if COMMONEST.contains(plain.as_str()) || plain.chars().all(|c| Some(c) == first) {
        return Some(Problem::new(field, |m| m.access_password_common().to_owned()));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[tokio::test]
    async fn a_password_is_kept_as_argon2id_with_its_own_salt() {
        let (one, other) = (hash("correct horse battery").await.unwrap(), hash("correct horse battery").await.unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, other);
        assert!(verify("correct horse battery", Some(&one)).await.unwrap());
        assert!(!verify("correct horse batterz", Some(&one)).await.unwrap());
        assert!(!verify("", Some(&one)).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_no_password_and_costs_as_much_as_somebody() {
        assert!(!verify("", None).await.unwrap());
        assert!(!verify("correct horse battery", None).await.unwrap());
        assert!(NOBODY.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    #[tokio::test]
    async fn a_password_beyond_the_longest_is_wrong_without_being_hashed() {
        let empty = make("").unwrap();
        assert!(!verify(&"x".repeat(1 << 20), Some(&empty)).await.unwrap());
    }

    #[tokio::test]
    async fn never_more_than_two_hashes_are_at_work() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let all = (0..12).map(|_| {
            let (now, most) = (now.clone(), most.clone());
            in_pool(move || {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                make("correct horse battery")?;
                now.fetch_sub(1, SeqCst);
                Ok(())
            })
        });
        for result in futures::future::join_all(all).await {
            result.unwrap();
        }
        assert!(most.load(SeqCst) <= 2, "{} at once", most.load(SeqCst));
    }

    #[test]
    fn length_and_guessability_matter_and_composition_does_not() {
        for password in [
            "correct horse battery",
            "aaaaaaaaaaab",
            "密码密码密码密码密码密一",
            "            .",
            &"xy".repeat(64),
            "ada.and.her.mother",
        ] {
            assert!(problem("password", password, "ada").is_none(), "{password}");
        }
        for password in
            ["", "elevenchars", &"xy".repeat(65), "adaadaadaada", "ADAadaADAada", "Password1234", "123456789012", "zzzzzzzzzzzz"]
        {
            assert!(problem("password", password, "ada").is_some(), "{password}");
        }
        assert!(problem("password", "ada.lovelace", "ada.lovelace").is_some());
    }

    #[test]
    fn the_list_has_only_what_the_length_would_let_through() {
        for common in COMMONEST.iter() {
            assert!(common.chars().count() >= SHORTEST && common.to_lowercase() == **common, "{common}");
        }
        assert!(COMMONEST.len() >= 100);
    }
}
