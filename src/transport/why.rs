//! What went wrong with TLS, for the operator.

use std::io::{self, ErrorKind};

use rustls::{AlertDescription, CertificateError, Error as Tls};

/// In words.
#[must_use]
pub fn explain(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|e| e.downcast_ref::<Tls>());
    match tls {
        _ if error.kind() == ErrorKind::TimedOut => {
            "the other side did not come to an end in time".to_owned()
        }
        Some(Tls::InvalidMessage(_)) => {
            "the other side does not speak TLS; plain RTMP and HTTP have ports of their own".to_owned()
        }
        Some(Tls::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired),
        )) => format!(
            "the other side does not believe the certificate ({alert:?}); is it made for the name that was asked for, is its chain whole, is it in time?"
        ),
        Some(Tls::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "its certificate comes from an authority that is not known here; name the file of that one, or use another certificate".to_owned()
        }
        Some(Tls::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "its certificate has expired, or the clock of this machine is wrong".to_owned(),
        Some(error) => error.to_string(),
        None => error.to_string(),
    }
}

/// Whether the other side just left.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}
