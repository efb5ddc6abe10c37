//! Authorities of others, as a person pastes them into a form.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Longest text, in bytes.
const LONGEST: usize = 256 << 10;

/// The text as it is kept, so that what is the same looks the same: a form sends its lines with CR LF, and blanks around it mean nothing. `None` if nobody can
/// be verified with it: there is no certificate, or one that cannot be read; and if there is a private key, which is nothing to be kept beside it.
pub fn pasted(text: &str) -> Option<String> {
    let text = text.trim().replace("\r\n", "\n");
    let mut roots = rustls::RootCertStore::empty();
    let mut add = |certificate: CertificateDer<'static>| roots.add(certificate).is_ok();
    let readable = CertificateDer::pem_slice_iter(text.as_bytes()).all(|read| read.is_ok_and(&mut add));
    (text.len() <= LONGEST && readable && !roots.is_empty() && !text.contains("PRIVATE KEY")).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_that_can_be_read_are_kept_and_always_in_the_same_way() {
        let made = rcgen::generate_simple_self_signed(Vec::new()).unwrap();
        let pem = made.cert.pem().trim().replace("\r\n", "\n");
        for same in [pem.clone(), format!("\n {pem}\n"), pem.replace('\n', "\r\n")] {
            assert_eq!(pasted(&same).as_ref(), Some(&pem));
        }
        let two = format!("{pem}\n{pem}");
        assert_eq!(pasted(&two), Some(two.clone()));
        for wrong in [
            String::new(),
            "my authority".to_owned(),
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----".to_owned(),
            format!("{pem}\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
            format!("{pem}\n{}", made.signing_key.serialize_pem()),
            pem.repeat(LONGEST / pem.len() + 1),
        ] {
            assert_eq!(pasted(&wrong), None, "{wrong:.80}");
        }
    }
}
