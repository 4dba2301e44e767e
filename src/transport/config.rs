//! Both ends of TLS: what a server shows, and what a client believes.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;

use super::{Certificate, Socket};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What is shown to those who come now.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

/// The server's end. Clones show the same certificate, also after [`Acceptor::renew`].
#[derive(Debug, Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
}

impl Acceptor {
    /// Shows this certificate.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new(certificate: &Certificate) -> io::Result<Self> {
        let current = Arc::new(Current(RwLock::new(Arc::clone(&certificate.key))));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as _);
        // Whoever comes back is spared the signature, which is what a handshake costs most.
        config.ticketer = ring::Ticketer::new().map_err(io::Error::other)?;
        config.send_tls13_tickets = 1;
        Ok(Self {
            config: Arc::new(config),
            current,
        })
    }

    /// The same for clients that ask for a protocol, such as `http/1.1`.
    #[must_use]
    pub fn speaking(&self, protocol: &str) -> Self {
        let mut config = (*self.config).clone();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Self {
            config: Arc::new(config),
            current: Arc::clone(&self.current),
        }
    }

    /// Shows this certificate to those who come from now on; whether it is another one.
    pub fn renew(&self, certificate: &Certificate) -> bool {
        let mut current = self
            .current
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let is_another = current.cert != certificate.key.cert;
        *current = Arc::clone(&certificate.key);
        is_another
    }

    /// Waits until the client of a fresh connection has made TLS of it.
    ///
    /// # Errors
    /// What it sends is no TLS, or none that both speak; or the connection broke.
    pub async fn accept(&self, socket: Socket) -> io::Result<Socket> {
        Socket::accept(socket.tcp, Arc::clone(&self.config)).await
    }
}

/// Why there is nobody to believe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaError {
    /// The file is something else.
    #[error("there is no certificate in it; it begins with -----BEGIN CERTIFICATE-----")]
    None,
    /// One of them is broken.
    #[error("a certificate in it cannot be read: {0}")]
    Unreadable(String),
    /// The system's list is empty.
    #[error("this system knows no authorities; install ca-certificates, or name a file of them")]
    System,
}

/// The client's end: whom it believes.
#[derive(Debug, Clone)]
pub struct Connector(Arc<ClientConfig>);

impl PartialEq for Connector {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Connector {
    /// Believes whom these certificates (PEM) vouch for, or the system's when there are none.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn new(authorities: Option<&[u8]>) -> Result<Self, CaError> {
        let mut roots = RootCertStore::empty();
        if let Some(pem) = authorities {
            let unreadable = |e: &dyn std::fmt::Display| CaError::Unreadable(e.to_string());
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|e| unreadable(&e))?;
                roots.add(certificate).map_err(|e| unreadable(&e))?;
            }
            if roots.is_empty() {
                return Err(CaError::None);
            }
        } else {
            // What cannot be read of them is not believed.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(CaError::System);
            }
        }
        let unreadable = |e: String| CaError::Unreadable(e);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|e| unreadable(e.to_string()))?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| unreadable(e.to_string()))?
            .with_webpki_verifier(verifier)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Makes TLS of a connection to this host, a name or an address.
    ///
    /// # Errors
    /// The host is no name, its certificate is not good for it, or the connection broke.
    pub async fn connect(&self, tcp: TcpStream, host: &str) -> io::Result<Socket> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Socket::connect(tcp, Arc::clone(&self.0), name).await
    }
}
