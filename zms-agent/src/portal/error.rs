//! How a call to the portal fails: foreign errors become one of these kinds here and nowhere else.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answers, or not in time. It will pass.
    #[error("{url} cannot be reached: {why}")]
    Unreachable {
        /// Whom we asked.
        url: String,
        /// What came in the way.
        why: String,
    },
    /// Somebody else answers. Nothing was sent to it.
    #[error("{url} is not the portal that this host trusts ({why}); nothing was sent to it")]
    Stranger {
        /// Whom we asked.
        url: String,
        /// What is wrong with its certificate.
        why: String,
    },
    /// The portal does not take this certificate (or token).
    #[error("the portal does not take this host{}", tail(.0))]
    Denied(String),
    /// Another answer than the one hoped for.
    #[error("the portal answered {status}{}", tail(.why))]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it says.
        why: String,
        /// When to ask again, if it says so.
        again: Option<Duration>,
    },
    /// The answer is not what this version of the agent understands.
    #[error("the portal's answer is not understood: {0}")]
    Garbled(String),
}

fn tail(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

impl CallError {
    /// When the portal wants to be asked again.
    pub fn again(&self) -> Option<Duration> {
        match self {
            Self::Refused { again, .. } => *again,
            Self::Unreachable { .. } | Self::Stranger { .. } | Self::Denied(_) | Self::Garbled(_) => None,
        }
    }

    /// Sorts what the HTTP client says.
    pub(super) fn of(url: &str, error: &reqwest::Error) -> Self {
        let url = url.to_owned();
        match tls_error(error) {
            Some(rustls::Error::InvalidCertificate(why)) => return Self::Stranger { url, why: certificate(why) },
            Some(rustls::Error::AlertReceived(alert)) if about_our_certificate(*alert) => {
                return Self::Denied(format!("TLS alert {alert:?}"));
            }
            Some(_) | None => {}
        }
        if error.is_timeout() {
            return Self::Unreachable { url, why: "no answer in time".to_owned() };
        }
        if error.is_decode() {
            return Self::Garbled(innermost(error));
        }
        Self::Unreachable { url, why: innermost(error) }
    }
}

fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate comes from another authority".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name; use the address that the portal was set up with".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired, or this host's clock is ahead".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: this host's clock is behind".to_owned()
        }
        other => format!("its certificate: {other:?}"),
    }
}

fn about_our_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied
    )
}

/// The TLS error inside, however deep. An [`io::Error`] does not count what it carries among its sources.
fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    None
}

fn innermost(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = error.to_string();
        next = error.source();
    }
    text
}
