use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::fake::JoinAct;
use super::*;
use crate::portal::join::{JoinError, Joined, join};

const TOKEN: &str = "zmsj1.k7q2m4xa.not-a-real-token";

/// Joins `fake` as the join line does, trusting `authority`.
async fn try_join(layout: &Layout, fake: &Fake, authority: &Authority) -> Result<Joined, JoinError> {
    let file = layout.prefix().with_extension("ca");
    std::fs::write(&file, authority.pem()).unwrap();
    join(layout, &fake.url, &file, format!("{TOKEN}\n").as_bytes(), waits()).await
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

#[tokio::test]
async fn a_host_joins_once_and_keeps_key_and_token_to_itself() {
    let (fake, (_keep, layout)) = (Fake::start().await, place());
    let joined = try_join(&layout, &fake, &fake.authority).await.unwrap();
    assert_eq!(joined, Joined::Now(HOST.parse().unwrap()));
    let membership = Membership::load(&layout).unwrap().unwrap();
    assert_eq!((membership.agent_url, membership.url), (fake.url.clone(), fake.url.clone()));
    assert_eq!(std::fs::read_to_string(layout.authority()).unwrap(), fake.authority.pem());
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(layout.pki()), mode(layout.pki().join("agent.key"))), (0o700, 0o600));
    assert!(!layout.enrolment().exists());
    for file in files_below(layout.prefix()) {
        assert!(!std::fs::read_to_string(&file).unwrap().contains(TOKEN), "{}", file.display());
    }
    {
        let book = fake.book();
        assert_eq!((book.joins.len(), book.joins[0].token.as_str()), (1, TOKEN));
        assert!(!book.joins[0].csr.contains("PRIVATE") && !book.joins[0].facts.hostname.is_empty());
        assert!(!format!("{:?}", book.joins[0]).contains(TOKEN));
    }
    let again = try_join(&layout, &fake, &fake.authority).await.unwrap();
    assert!(matches!(again, Joined::Before(host, until) if host.as_str() == HOST && until.contains('T')));
    assert_eq!(fake.book().joins.len(), 1, "the second time nobody is asked");
}

#[tokio::test]
async fn a_refused_token_is_told_in_words_and_another_one_works() {
    let (fake, (_keep, layout)) = (Fake::start().await, place());
    fake.tell(|book| book.join_acts.push_back(JoinAct::Refuse));
    let error = try_join(&layout, &fake, &fake.authority).await.unwrap_err();
    assert!(
        matches!(&error, JoinError::Refused(why) if why.contains("used up, expired or withdrawn; make a new join line")),
        "{error}"
    );
    assert!(Membership::load(&layout).unwrap().is_none());
    try_join(&layout, &fake, &fake.authority).await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_enrolment_and_key() {
    let (fake, (_keep, layout)) = (Fake::start().await, place());
    fake.tell(|book| book.join_acts.extend([JoinAct::LoseAnswer; 3]));
    {
        // Killed after the first try: the portal has signed, this host has not heard of it.
        let trying = try_join(&layout, &fake, &fake.authority);
        let seen = until("the portal saw a join", || (!fake.book().joins.is_empty()).then_some(()));
        tokio::select! {
            joined = trying => panic!("no answer came, but {joined:?}"),
            () = seen => {}
        }
    }
    try_join(&layout, &fake, &fake.authority).await.unwrap();
    let book = fake.book();
    assert!(book.joins.len() >= 4, "{}", book.joins.len());
    assert!(book.joins.iter().all(|join| join.enrolment == book.joins[0].enrolment));
    drop(book);
    // The certificate that was signed at the first try is for the key that is here now.
    assert!(Pki::new(&layout).look().unwrap().candidate.is_none());
}

#[tokio::test]
async fn a_forged_portal_gets_nothing_to_read() {
    let (forged, (_keep, layout)) = (Fake::start().await, place());
    let error = try_join(&layout, &forged, &Authority::new()).await.unwrap_err();
    assert!(matches!(&error, JoinError::Failed(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("another authority") && text.contains("nothing was sent") && text.contains("still secret"), "{text}");
    assert!(forged.book().joins.is_empty());
}

#[tokio::test]
async fn a_portal_that_is_away_is_tried_until_the_time_is_up() {
    let (_keep, layout) = place();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", closed.local_addr().unwrap());
    drop(closed);
    let file = layout.prefix().with_extension("ca");
    std::fs::write(&file, Authority::new().pem()).unwrap();
    let waits = Waits { join: Duration::from_millis(200), ..waits() };
    let error = join(&layout, &url, &file, TOKEN.as_bytes(), waits).await.unwrap_err().to_string();
    assert!(error.contains("cannot be reached") && error.contains("run the join line again"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_a_join_line_is_said_before_anybody_is_asked() {
    let (fake, (_keep, layout)) = (Fake::start().await, place());
    let file = layout.prefix().with_extension("ca");
    let none = join(&layout, &fake.url, &file, TOKEN.as_bytes(), waits()).await.unwrap_err();
    assert!(none.to_string().contains("is not there"), "{none}");
    std::fs::write(&file, "no certificate").unwrap();
    let empty = join(&layout, &fake.url, &file, TOKEN.as_bytes(), waits()).await.unwrap_err();
    assert!(matches!(&empty, JoinError::Failed(error) if format!("{error:#}").contains("no certificate in it")), "{empty}");
    std::fs::write(&file, fake.authority.pem()).unwrap();
    for url in ["http://127.0.0.1:1", "127.0.0.1:1", "https://127.0.0.1:1/path"] {
        let error = join(&layout, url, &file, TOKEN.as_bytes(), waits()).await.unwrap_err().to_string();
        assert!(error.contains("must be like https://"), "{error}");
    }
    for token in ["", "\n", "two words\n"] {
        let error = join(&layout, &fake.url, &file, token.as_bytes(), waits()).await.unwrap_err().to_string();
        assert!(error.contains("one line without blanks"), "{error}");
    }
    assert!(fake.book().joins.is_empty() && !layout.enrolment().exists());
}

#[tokio::test]
async fn a_host_whose_certificate_is_over_or_not_wanted_any_more_joins_anew_with_another_key() {
    let fake = Fake::start().await;
    let expired = Host::joined(&fake, -50, -43);
    let removed = Host::joined(&fake, 0, 7);
    crate::portal::contact::Contact { denied: true, ..Default::default() }.save(&removed.layout, &mut None).unwrap();
    for host in [&expired, &removed] {
        let before = host.identity();
        let joined = try_join(&host.layout, &fake, &fake.authority).await.unwrap();
        assert_eq!(joined, Joined::Now(HOST.parse().unwrap()));
        assert_ne!(host.identity().key, before.key);
        assert!(host.identity().until_ms > now_ms());
        assert!(matches!(try_join(&host.layout, &fake, &fake.authority).await, Ok(Joined::Before(..))));
    }
}

#[tokio::test]
async fn a_wrong_clock_is_named_as_what_may_be_wrong_with_a_certificate() {
    for (from, until, sentence) in [
        (-7, -1, "its certificate has expired, or this host's clock is ahead"),
        (1, 7, "its certificate is not valid yet: this host's clock is behind"),
    ] {
        let (fake, (_keep, layout)) = (Fake::certified(from, until).await, place());
        let error = try_join(&layout, &fake, &fake.authority).await.unwrap_err().to_string();
        assert!(error.contains(sentence) && error.contains("the token is still secret"), "{error}");
        assert!(fake.book().joins.is_empty(), "nothing was sent");
    }
}
