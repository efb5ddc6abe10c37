use std::fs;

use super::*;
use crate::portal::pki::{PkiError, signing_request};

/// A new pair, signed by an authority of its own.
fn sign(key: &str) -> String {
    Authority::new().sign(&signing_request(key).unwrap(), (now_ms(), now_ms() + DAY_MS))
}

/// A folder with a current pair and a new one beside it.
fn renewed() -> (tempfile::TempDir, Layout, Pki, Identity, Identity) {
    let (keep, layout) = place();
    let pki = Pki::new(&layout);
    pki.propose(sign(&pki.next_key().unwrap())).unwrap_or_else(|error| panic!("{error}"));
    pki.promote().unwrap();
    let current = pki.load().unwrap().current;
    let candidate = pki.propose(sign(&pki.next_key().unwrap())).unwrap();
    (keep, layout, pki, current, candidate)
}

#[test]
fn wherever_a_kill_strikes_one_pair_works_and_what_is_left_over_is_cleared_away() {
    type Kill = fn(&std::path::Path);
    // What is done to the folder, whether the new pair counts then, and whether it is still a candidate.
    let table: [(&str, Kill, bool, bool); 5] = [
        ("after the certificate came", |_| {}, false, true),
        ("before the certificate came", |folder| fs::remove_file(folder.join("next.crt")).unwrap(), false, false),
        ("between the two renames", |folder| fs::rename(folder.join("next.key"), folder.join("agent.key")).unwrap(), true, false),
        ("with the new key lost", |folder| fs::remove_file(folder.join("next.key")).unwrap(), false, false),
        ("with half a certificate", |folder| fs::write(folder.join("next.crt"), "-----BEGIN").unwrap(), false, false),
    ];
    for (when, kill, new_counts, is_candidate) in table {
        let (_keep, layout, pki, current, candidate) = renewed();
        kill(&layout.pki());
        for round in 0..2 {
            assert_eq!(pki.look().unwrap(), pki.load().unwrap(), "{when}, round {round}");
        }
        let held = pki.load().unwrap();
        assert_eq!(held.current, if new_counts { candidate.clone() } else { current }, "{when}");
        assert_eq!(held.candidate, is_candidate.then_some(candidate), "{when}");
        assert!(is_candidate || !layout.pki().join("next.crt").exists(), "{when}");
    }
}

#[test]
fn a_first_join_that_was_killed_before_its_last_step_is_ended() {
    let (_keep, layout) = place();
    let pki = Pki::new(&layout);
    assert!(matches!(pki.load(), Err(PkiError::Absent(_))));
    let first = pki.propose(sign(&pki.next_key().unwrap())).unwrap();
    assert_eq!(pki.load().unwrap().current, first);
    assert!(layout.pki().join("agent.key").exists() && !layout.pki().join("next.key").exists());
}

#[test]
fn a_certificate_for_another_key_or_none_at_all_is_refused() {
    let (_keep, layout) = place();
    let pki = Pki::new(&layout);
    let key = pki.next_key().unwrap();
    assert_eq!(pki.next_key().unwrap(), key, "the key of an earlier try is used again");
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    assert!(pki.propose(sign(&other)).unwrap_err().to_string().contains("another key"));
    assert!(matches!(pki.propose("garbage".into()), Err(PkiError::Certificate(_))));
    let identity = pki.propose(sign(&key)).unwrap();
    assert!(!format!("{identity:?}").contains("PRIVATE"));
}
