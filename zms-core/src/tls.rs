//! What became of a TLS handshake with a broker, in words that say what would be right.

use std::io::{Error, ErrorKind};

use rustls::{CertificateError as Wrong, Error as Tls};

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handshake {
    /// Something to repair: it will not be another time.
    Denied(String),
    /// It may be a broker that restarts.
    Passing(String),
}

/// Reads what a TLS stream said when its handshake failed.
pub fn failed(error: &Error) -> Handshake {
    let denied = |why: String| Handshake::Denied(format!("TLS: {why}"));
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        Some(Tls::InvalidCertificate(Wrong::NotValidForName | Wrong::NotValidForNameContext { .. })) => {
            denied(format!("the certificate is for other names than the one that was dialled: {error}"))
        }
        // A bad signature: one of them has the name of the authority that made it, and another key.
        Some(Tls::InvalidCertificate(Wrong::UnknownIssuer | Wrong::BadSignature)) => {
            denied(format!("none of the trusted authorities made the certificate: {error}"))
        }
        Some(Tls::InvalidMessage(_)) => denied(format!("this port answers something else than TLS: {error}")),
        Some(_) => denied(error.to_string()),
        // So does a plain listener, which takes the first bytes of TLS for a length.
        None if error.kind() == ErrorKind::UnexpectedEof => {
            Handshake::Passing(format!("TLS: hung up during the handshake, as a port without TLS does: {error}"))
        }
        None => Handshake::Passing(format!("TLS: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_has_to_repair_is_told_from_what_passes() {
        let tls = |error: Tls| Error::new(ErrorKind::InvalidData, error);
        for (error, sentence) in [
            (tls(Tls::InvalidCertificate(Wrong::NotValidForName)), "for other names"),
            (tls(Tls::InvalidCertificate(Wrong::UnknownIssuer)), "none of the trusted authorities"),
            (tls(Tls::InvalidCertificate(Wrong::BadSignature)), "none of the trusted authorities"),
            (tls(Tls::InvalidMessage(rustls::InvalidMessage::InvalidContentType)), "something else than TLS"),
            (tls(Tls::AlertReceived(rustls::AlertDescription::CertificateRequired)), "CertificateRequired"),
        ] {
            assert!(matches!(failed(&error), Handshake::Denied(why) if why.contains(sentence)), "{error:?}");
        }
        for (error, sentence) in [
            (Error::from(ErrorKind::UnexpectedEof), "as a port without TLS does"),
            (Error::from(ErrorKind::ConnectionReset), "connection reset"),
        ] {
            assert!(matches!(failed(&error), Handshake::Passing(why) if why.contains(sentence)), "{error:?}");
        }
    }
}
