use super::*;
use crate::portal::contact::Contact;
use crate::portal::pki::signing_request;

fn shown_last(fake: &Fake) -> Option<Vec<u8>> {
    fake.book().syncs.last().map(|(_, shown)| shown.clone())
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_with_a_new_key_and_without_a_restart() {
    let fake = Fake::start().await;
    let mut host = Host::joined(&fake, -6, 1);
    let before = host.identity();
    host.start().await;
    until("another certificate in place", || (host.identity().key != before.key).then_some(())).await;
    until("a sync with it", || (shown_last(&fake)? == Fake::der(&host.identity().certificate)).then_some(())).await;
    assert!(host.held().candidate.is_none() && !host.layout.pki().join("next.key").exists());
    assert_eq!(fake.book().renewals.len(), 1);
}

#[tokio::test]
async fn a_kill_between_the_phases_leaves_a_pair_that_works() {
    let fake = Fake::start().await;
    let mut host = Host::joined(&fake, -6, 1);
    let before = host.identity();
    // The new certificate came, and then the agent was killed.
    let pki = Pki::new(&host.layout);
    let csr = signing_request(&pki.next_key().unwrap()).unwrap();
    let candidate = pki.propose(fake.authority.sign(&csr, (now_ms(), now_ms() + 7 * DAY_MS))).unwrap();
    assert_eq!(host.identity(), before);
    host.start().await;
    until("the candidate in place", || (host.identity() == candidate).then_some(())).await;
    let book = fake.book();
    assert!(book.renewals.is_empty() && book.syncs[0].1 == Fake::der(&candidate.certificate));
}

#[tokio::test]
async fn a_new_certificate_that_the_portal_does_not_take_gives_way_to_the_old_one() {
    let fake = Fake::start().await;
    let mut host = Host::joined(&fake, 0, 7);
    let before = host.identity();
    let pki = Pki::new(&host.layout);
    let csr = signing_request(&pki.next_key().unwrap()).unwrap();
    let candidate = pki.propose(fake.authority.sign(&csr, (now_ms(), now_ms() + 7 * DAY_MS))).unwrap();
    fake.tell(|book| book.unwanted.push(Fake::der(&candidate.certificate)));
    host.start().await;
    until("a sync with the old one", || (shown_last(&fake)? == Fake::der(&before.certificate)).then_some(())).await;
    assert_eq!((host.identity(), host.held().candidate), (before, None));
}

#[tokio::test]
async fn a_certificate_that_expired_while_the_host_was_off_is_renewed_with_the_same_key() {
    let fake = Fake::start().await;
    let mut host = Host::joined(&fake, -20, -13);
    let before = host.identity();
    host.start().await;
    until("a certificate that holds", || (host.identity().until_ms > now_ms()).then_some(())).await;
    assert_eq!(host.identity().key, before.key);
    until("a sync with it", || (shown_last(&fake)? == Fake::der(&host.identity().certificate)).then_some(())).await;
    until("no problem", || (Contact::load(&host.layout).answered_ms > 0).then_some(())).await;
}

#[tokio::test]
async fn a_certificate_that_expired_too_long_ago_says_what_to_do_and_a_join_is_noticed() {
    let fake = Fake::start().await;
    let mut host = Host::joined(&fake, -60, -53);
    host.start().await;
    until("the sentence", || Contact::load(&host.layout).problem.contains("make a join line").then_some(())).await;
    assert!(fake.book().renewals.is_empty());
    assert!(host.status().contains("EXPIRED since"), "{}", host.status());

    let file = host.layout.prefix().with_extension("ca");
    std::fs::write(&file, fake.authority.pem()).unwrap();
    let joined = crate::portal::join::join(&host.layout, &fake.url, &file, b"token\n".as_slice(), waits()).await;
    assert!(matches!(joined, Ok(crate::portal::join::Joined::Now(_))), "{joined:?}");
    until("an answer", || (Contact::load(&host.layout).answered_ms > 0).then_some(())).await;
    assert_eq!(shown_last(&fake).unwrap(), Fake::der(&host.identity().certificate));
}

#[tokio::test]
async fn a_host_that_was_removed_from_the_portal_is_told_and_goes_on() {
    let fake = Fake::start().await;
    let mut host = Host::joined(&fake, 0, 7);
    fake.tell(|book| book.unwanted.push(Fake::der(&host.identity().certificate)));
    host.start().await;
    until("the sentence", || Some(Contact::load(&host.layout)).filter(|contact| contact.denied)).await;
    assert!(
        host.status().contains("does not take this host: this certificate is not wanted; if the host was removed"),
        "{}",
        host.status()
    );
    assert!(host.session.as_ref().is_some_and(|session| !session.is_finished()));
}
