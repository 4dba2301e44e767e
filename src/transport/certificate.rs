//! A certificate with its key, as files have it (PEM).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::verify_server_name;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::calendar::rfc3339;

/// Certificates in a chain; a server's has two or three.
const MAX_CHAIN: usize = 16;
/// A certificate that ends sooner than this is worth a warning.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a certificate and its key are of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The file is something else.
    #[error(
        "there is no certificate in it; it begins with -----BEGIN CERTIFICATE-----, the server's own before those that vouch for it"
    )]
    NoCertificate,
    /// The file of the key is something else.
    #[error("there is no private key in it; it begins with -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// PEM or DER that is broken, or more than a server's certificate is.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    /// A kind of key that TLS has no use for.
    #[error("the key cannot be used: {0}; write one for ECDSA (P-256) or RSA, without a password")]
    Unusable(String),
    /// They were not made for each other.
    #[error("the key does not fit the certificate; take both from the same order")]
    Mismatch,
}

impl CertificateError {
    /// Whether it is about the file of the key.
    #[must_use]
    pub const fn is_of_key(&self) -> bool {
        matches!(self, Self::NoKey | Self::Unusable(_))
    }
}

/// A certificate that fits its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// The hosts that it is for.
    names: Vec<String>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

impl Certificate {
    /// From the text of two files, which may be one.
    ///
    /// # Errors
    /// [`CertificateError`]. One whose time is over or has not begun is none; see
    /// [`Certificate::warning`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let unreadable =
            |what: &dyn std::fmt::Display| CertificateError::Unreadable(what.to_string());
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .take(MAX_CHAIN.saturating_add(1))
            .collect::<Result<_, _>>()
            .map_err(|e| unreadable(&e))?;
        if chain.len() > MAX_CHAIN {
            return Err(unreadable(&format!("more than {MAX_CHAIN} certificates")));
        }
        let first = chain.first().ok_or(CertificateError::NoCertificate)?;
        let own = x509_cert::Certificate::from_der(first).map_err(|e| unreadable(&e))?;
        let own = own.tbs_certificate();
        let validity = own.validity();
        let at = |time: x509_cert::time::Time| UNIX_EPOCH.checked_add(time.to_unix_duration());
        let (Some(not_before), Some(not_after)) = (at(validity.not_before), at(validity.not_after))
        else {
            return Err(unreadable(&"its dates are none"));
        };
        let names = own
            .get_extension::<SubjectAltName>()
            .map_err(|e| unreadable(&e))?
            .map(|(_, names)| names.0.iter().filter_map(name).collect())
            .unwrap_or_default();

        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| match e {
            pem::Error::NoItemsFound => CertificateError::NoKey,
            e => CertificateError::Unusable(e.to_string()),
        })?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key)
            .map_err(|e| CertificateError::Unusable(e.to_string()))?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            // Unknown: it cannot be told for this kind of key.
            Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(TlsError::InconsistentKeys(_)) => return Err(CertificateError::Mismatch),
            Err(e) => return Err(unreadable(&e)),
        }
        Ok(Self {
            key: Arc::new(key),
            names,
            not_before,
            not_after,
        })
    }

    /// Its hosts and its last day, for people.
    #[must_use]
    pub fn summary(&self) -> String {
        format!("for {}, until {}", self.hosts(), date(self.not_after))
    }

    /// Its hosts, for people.
    #[must_use]
    pub fn hosts(&self) -> String {
        if self.names.is_empty() {
            "no name".to_owned()
        } else {
            self.names.join(", ")
        }
    }

    /// The names and addresses of its hosts, as they are in it.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a client that was sent to this host, a name or an address, believes that it is there.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        let own = self.key.cert.first().map(ParsedCertificate::try_from);
        let (Some(Ok(own)), Ok(host)) = (own, ServerName::try_from(host)) else {
            return false;
        };
        verify_server_name(&own, &host).is_ok()
    }

    /// When it ends, Unix time in seconds.
    #[must_use]
    pub fn ends(&self) -> u64 {
        let since = self.not_after.duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }

    /// What is wrong with its dates at this time, or soon will be.
    #[must_use]
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let end = date(self.not_after);
        if now >= self.not_after {
            return Some(format!(
                "the certificate ended at {end}: players and encoders refuse it; renew it and reload"
            ));
        }
        if now < self.not_before {
            return Some(format!(
                "the certificate begins at {}, and it is {} here: players refuse it, or this machine's clock is wrong",
                date(self.not_before),
                date(now)
            ));
        }
        let left = self.not_after.duration_since(now).unwrap_or_default();
        (left < SOON)
            .then(|| format!("the certificate ends at {end}: renew it and reload before that"))
    }
}

fn date(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let v4 = <[u8; 4]>::try_from(octets).map(std::net::IpAddr::from);
            let v6 = <[u8; 16]>::try_from(octets).map(std::net::IpAddr::from);
            v4.or(v6).ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}
