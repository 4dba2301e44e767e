//! `[tls]`: the certificate that RTMPS and HTTPS show, and whom a mirror believes.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::build::Build;
use super::file;
use super::settings::Settings;
use crate::auth::{FileError, read_private};
use crate::transport::{Certificate, Connector};

/// Files of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The certificate and those that vouch for it
    pub certificate: Option<PathBuf>,
    /// Its key; `None`: in the same file
    pub key: Option<PathBuf>,
}

impl Build<'_> {
    pub(super) fn tls(&mut self, file: file::Tls, settings: &mut Settings) {
        settings.tls = Tls {
            certificate: file.certificate.map(|path| self.path(&path)),
            key: file.key.map(|path| self.path(&path)),
        };
        let has_certificate = settings.tls.certificate.is_some();
        for (key, listens) in [
            ("listen.rtmps", !settings.listen.rtmps.is_empty()),
            ("listen.https", !settings.listen.https.is_empty()),
        ] {
            if listens && !has_certificate {
                self.wrong(
                    key,
                    "needs a certificate; name its file with tls.certificate, and that of its key with tls.key",
                );
            }
        }
        if settings.tls.key.is_some() && !has_certificate {
            self.wrong(
                "tls.key",
                "needs its certificate; name the file with tls.certificate",
            );
        }
    }

    /// Looks into the files.
    pub(super) fn inspect_tls(&mut self, settings: &Settings, warnings: &mut Vec<String>) {
        match settings.certificate() {
            Ok(None) => {}
            Ok(Some((certificate, others))) => {
                warnings.extend(others);
                warnings.extend(certificate.warning(SystemTime::now()));
                if !settings.listen.https.is_empty() {
                    warnings.extend(settings.refused_by_browsers(&certificate));
                }
            }
            Err((key, error)) => self.wrong(key, error.to_string()),
        }
        if let Err((key, error)) = settings.connector() {
            self.wrong(key, error.to_string());
        }
    }
}

/// What is wrong, and the key that names the file.
pub type Wrong = (&'static str, FileError);

impl Settings {
    /// Reads the certificate, and gives a warning when others may read the key.
    ///
    /// # Errors
    /// A file cannot be read, or the two do not fit.
    pub fn certificate(&self) -> Result<Option<(Certificate, Option<String>)>, Wrong> {
        let Some(path) = &self.tls.certificate else {
            return Ok(None);
        };
        let key_path = self.tls.key.as_ref().unwrap_or(path);
        let key_name = if self.tls.key.is_some() {
            "tls.key"
        } else {
            "tls.certificate"
        };
        let chain = read_private(path).map_err(|e| ("tls.certificate", e))?;
        let key = read_private(key_path).map_err(|e| (key_name, e))?;
        let certificate = Certificate::from_pem(chain.text.as_bytes(), key.text.as_bytes());
        let certificate = certificate.map_err(|error| {
            let (name, path): (_, &Path) = if error.is_of_key() {
                (key_name, key_path)
            } else {
                ("tls.certificate", path)
            };
            (name, FileError::new(path, error.to_string()))
        })?;
        Ok(Some((certificate, key.warning)))
    }

    /// Whom a link to the master believes; `None` where that is not in TLS.
    ///
    /// # Errors
    /// The file of authorities cannot be read, or the system has none.
    pub fn connector(&self) -> Result<Option<Connector>, Wrong> {
        let Some(mirror) = self.mirror.as_ref().filter(|m| m.master.tls) else {
            return Ok(None);
        };
        let key = "mirror.ca_file";
        let made = match &mirror.ca_file {
            Some(path) => {
                let pem = read_private(path).map_err(|e| (key, e))?;
                Connector::new(Some(pem.text.as_bytes()))
                    .map_err(|e| (key, FileError::new(path, e.to_string())))?
            }
            None => Connector::new(None).map_err(|e| {
                (
                    "mirror.master",
                    FileError::new(Path::new("/etc/ssl/certs"), e.to_string()),
                )
            })?,
        };
        Ok(Some(made))
    }
}
