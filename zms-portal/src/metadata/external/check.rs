//! Whether what was typed can be a ZooKeeper.

use std::net::IpAddr;

use zms_core::networks::Networks;

use super::{External, NewExternal};
use crate::authority::pasted;
use crate::error::{Error, Problem, Result};

/// Most servers of an ensemble.
const MOST: usize = 15;
/// Longest user and password, in characters.
const LONGEST_WORD: usize = 100;

/// The same without blanks; `known`: what is kept now, whose password an empty one means, at a place that hears it already.
pub(super) fn check(mut new: NewExternal, known: Option<&External>, networks: &Networks) -> Result<NewExternal> {
    let mut problems = Vec::new();
    let addresses: Vec<&str> = new.addresses.split([',', ' ', '\n', '\r']).map(str::trim).filter(|one| !one.is_empty()).collect();
    if new.addresses.contains('/') {
        problems.push(Problem::new("addresses", |m| m.metadata_no_chroot().to_owned()));
    } else if addresses.is_empty() || addresses.len() > MOST || !addresses.iter().all(|one| is_address(one)) {
        problems.push(Problem::new("addresses", |m| m.metadata_bad_addresses(MOST)));
    } else if let Some(outside) = addresses.iter().find(|one| ip(one).is_some_and(|ip| !networks.contain(ip))) {
        // A name is judged when it is dialled.
        let (outside, networks) = ((*outside).to_owned(), networks.to_string());
        problems.push(Problem::new("addresses", move |m| m.metadata_outside(&outside, &networks)));
    }
    new.addresses = addresses.join(",");
    match pasted(&new.authority) {
        Some(pem) => new.authority = pem + "\n",
        None if new.authority.trim().is_empty() => new.authority.clear(),
        None => problems.push(Problem::new("authority", |m| m.metadata_bad_authority().to_owned())),
    }
    new.user = new.user.trim().to_owned();
    let word = |text: &str| text.chars().count() <= LONGEST_WORD && !text.chars().any(char::is_control);
    if !new.user.is_empty() && new.authority.is_empty() {
        problems.push(Problem::new("user", |m| m.metadata_user_needs_tls().to_owned()));
    } else if !word(&new.user) || new.user.contains(':') {
        problems.push(Problem::new("user", |m| m.metadata_bad_user(LONGEST_WORD)));
    }
    let same = known.filter(|known| !new.user.is_empty() && new.password.is_empty() && known.user == new.user);
    if same.is_some_and(|known| !known.covers(&new)) {
        problems.push(Problem::new("password", |m| m.metadata_password_elsewhere().to_owned()));
    } else if !word(&new.password) || new.password.is_empty() != new.user.is_empty() && same.is_none() {
        problems.push(Problem::new("password", |m| m.metadata_bad_password().to_owned()));
    }
    if problems.is_empty() { Ok(new) } else { Err(Error::Invalid(problems)) }
}

/// `host:port`; an address of version 6 in brackets.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let plain =
        |host: &str| (1..=253).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bracketed.map_or_else(|| plain(host), |host| host.parse::<std::net::Ipv6Addr>().is_ok());
    host && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn ip(address: &str) -> Option<IpAddr> {
    address.rsplit_once(':')?.0.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(new: NewExternal, known: Option<&External>) -> Vec<String> {
        match check(new, known, &Networks::default()) {
            Ok(_) => Vec::new(),
            Err(Error::Invalid(problems)) => problems.into_iter().map(|problem| problem.field).collect(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_are_host_and_port_without_a_path() {
        let of = |addresses: &str| NewExternal { addresses: addresses.to_owned(), ..NewExternal::default() };
        for good in ["10.0.0.1:2181", "a-b.example:2181, c:2182\nd:1", "[fd00::1]:2181"] {
            assert!(fields(of(good), None).is_empty(), "{good}");
        }
        assert_eq!(check(of(" a:1 ,\r\nb:2"), None, &Networks::default()).unwrap().addresses, "a:1,b:2");
        let many = vec!["a:1"; MOST + 1].join(",");
        for bad in [
            "",
            " ",
            "a",
            "a:",
            "a:0",
            "a:70000",
            "a:+1",
            ":1",
            "a:1/chroot",
            "a b:1",
            "user@a:1",
            "[fd00::1:2181",
            "8.8.8.8:2181",
            "169.254.169.254:80",
            "[fe80::1]:2181",
            &many,
        ] {
            assert_eq!(fields(of(bad), None), ["addresses"], "{bad}");
        }
    }

    #[test]
    fn an_identity_needs_tls_and_a_password_unless_it_is_known() {
        let pem = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
        let of = |authority: &str, user: &str, password: &str| NewExternal {
            addresses: "a:1".to_owned(),
            authority: authority.to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
        };
        let known = External {
            addresses: "a:1".to_owned(),
            authority: format!("{}\n", pem.trim().replace("\r\n", "\n")),
            user: "zms".to_owned(),
            changed_by: "olga".to_owned(),
            changed_at: 1,
        };
        let none: [&str; 0] = [];
        assert_eq!(fields(of(&pem, "", ""), None), none);
        assert_eq!(fields(of(&pem, "zms", "secret"), None), none);
        assert_eq!(fields(of(&pem, "zms", ""), Some(&known)), none);
        assert_eq!(fields(of(&known.authority.replace('\n', "\r\n"), "zms", ""), Some(&known)), none, "as a form sends it");
        let two = External { addresses: "a:1,b:2".to_owned(), ..known.clone() };
        assert_eq!(fields(of(&pem, "zms", ""), Some(&two)), none, "fewer servers hear nothing new");
        let other_pem = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
        assert_eq!(fields(of(&other_pem, "zms", ""), Some(&known)), ["password"], "somebody else vouches for the servers");
        for addresses in ["b:1", "a:1,b:1", "a:2"] {
            let moved = NewExternal { addresses: addresses.to_owned(), ..of(&pem, "zms", "") };
            assert_eq!(fields(moved.clone(), Some(&known)), ["password"], "{addresses} never heard it");
            assert_eq!(fields(NewExternal { password: "secret".to_owned(), ..moved }, Some(&known)), none);
        }
        assert_eq!(fields(of(&pem, "zms", ""), None), ["password"]);
        assert_eq!(fields(of(&pem, "other", ""), Some(&known)), ["password"]);
        assert_eq!(fields(of(&pem, "", "secret"), None), ["password"]);
        assert_eq!(fields(of("", "zms", "secret"), None), ["user"]);
        assert_eq!(fields(of(&pem, "a:b", "secret"), None), ["user"]);
        assert_eq!(fields(of("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "", ""), None), ["authority"]);
        assert_eq!(fields(of("hello", "", ""), None), ["authority"]);
    }
}
