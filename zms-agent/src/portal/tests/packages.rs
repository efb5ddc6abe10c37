use sha2::Digest;
use zms_core::package::PackageRef;

use super::*;
use crate::fetch::{Source, fetch, hex, present};
use crate::portal::connection::Connection;
use crate::portal::link::Link;
use crate::secrets::Secrets;

/// A host that has joined, its link, and a package of these bytes that the portal has.
fn stocked(fake: &Fake, bytes: &[u8]) -> (Host, Source, PackageRef) {
    let host = Host::joined(fake, 0, 7);
    let connection = Connection::new(&fake.url, &fake.authority.pem(), Some(&host.identity()), waits()).unwrap();
    fake.tell(|book| book.archive = bytes.to_vec());
    let package = PackageRef {
        name: "thing".parse().unwrap(),
        version: "1".parse().unwrap(),
        sha512: hex(&sha2::Sha512::digest(bytes)).parse().unwrap(),
        size: bytes.len() as u64,
    };
    (host, Source::Portal(Link::new(connection)), package)
}

fn pattern() -> Vec<u8> {
    (0..1_000_000_u32).map(|n| (n / 7) as u8).collect()
}

#[tokio::test]
async fn a_transfer_that_was_cut_goes_on_where_it_stopped() {
    let fake = Fake::start().await;
    let bytes = pattern();
    let (host, source, package) = stocked(&fake, &bytes);
    for ignore_range in [false, true] {
        fake.tell(|book| {
            (book.cut_after, book.ignore_range) = (Some(300_001), ignore_range);
            book.ranges.clear();
        });
        let error = fetch(&host.layout, &source, &package).await.unwrap_err().to_string();
        assert!(error.contains("thing 1: receiving"), "{error}");
        assert!(!present(&host.layout, &package));
        fetch(&host.layout, &source, &package).await.unwrap();
        let archive = host.layout.archive(&package.sha512);
        assert!(std::fs::read(&archive).unwrap() == bytes, "range ignored: {ignore_range}");
        assert_eq!(fake.book().ranges, [None, Some("bytes=300001-".to_owned())]);
        std::fs::remove_file(archive).unwrap();
    }
}

#[tokio::test]
async fn a_part_that_was_whole_when_the_agent_was_killed_is_put_in_place_without_asking() {
    let fake = Fake::start().await;
    let (host, source, package) = stocked(&fake, &pattern());
    std::fs::create_dir_all(host.layout.archives()).unwrap();
    std::fs::write(host.layout.archives().join(format!(".part-{}", package.sha512)), pattern()).unwrap();
    fetch(&host.layout, &source, &package).await.unwrap();
    assert!(present(&host.layout, &package) && fake.book().ranges.is_empty());
}

#[tokio::test]
async fn what_the_portal_does_not_have_or_has_wrong_is_told() {
    let fake = Fake::start().await;
    let (host, source, package) = stocked(&fake, b"the right bytes");
    fake.tell(|book| book.archive = b"the wrong bytes".to_vec());
    let error = fetch(&host.layout, &source, &package).await.unwrap_err().to_string();
    assert!(error.contains("deleted and will be fetched again"), "{error}");
    fake.tell(|book| book.archive.clear());
    let error = fetch(&host.layout, &source, &package).await.unwrap_err().to_string();
    assert!(error.contains("thing 1") && error.contains(&fake.url) && error.contains("build or import it"), "{error}");
}

#[tokio::test]
async fn secrets_come_by_reference_and_a_missing_one_is_named() {
    let fake = Fake::start().await;
    let (_host, source, _) = stocked(&fake, b"x");
    fake.tell(|book| drop(book.secrets.insert("service/a b@3".into(), "hush".into())));
    assert_eq!(source.secret("service/a b@3").await.unwrap(), "hush");
    let mut spec = crate::instance::tests::sleeper("s-1");
    spec.body.files = vec![zms_core::host::ConfigFile { name: "a".into(), body: "{secret:gone}".into(), private: true }];
    let error = Secrets::fetch(&source, &spec).await.unwrap_err();
    assert!(error.contains("secret gone") && error.contains("404"), "{error}");
}
