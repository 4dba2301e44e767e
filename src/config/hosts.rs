//! Whether the certificate is for the host that players are told of this server.

use super::settings::{Lack, Role, Settings};
use crate::cluster::address::{can_give, sample, wants_ip, wildcard};
use crate::transport::Certificate;

impl Settings {
    /// Why browsers refuse this certificate where they are told to come; for a server that listens on
    /// HTTPS.
    #[must_use]
    pub fn refused_by_browsers(&self, certificate: &Certificate) -> Option<String> {
        let host = self.cluster.host.as_str();
        // A master's host is for its mirrors. Where something in front of this server speaks HTTPS, it
        // shows a certificate of its own.
        if self.role == Role::Master || self.cluster.https_port.is_some() {
            return None;
        }
        let names = certificate.names();
        if wants_ip(host) && names.iter().any(|name| can_give(host, name)) {
            return None;
        }
        if host.is_empty() {
            // A wildcard is for names that the master makes.
            let may_have_name = names.iter().any(|name| name.starts_with("*."));
            return (self.announces_itself() && !may_have_name).then(|| {
                format!(
                    "cluster.host is not set, so players are sent to this mirror's address unless its master gives it a name, and the certificate is for {}: browsers refuse it there; write the name of this mirror in cluster.host, or {FOR_ALL}",
                    certificate.hosts()
                )
            });
        }
        let at = sample(host)?;
        if certificate.is_for(&at) {
            return None;
        }
        let such_as = if wants_ip(host) { "hosts such as " } else { "" };
        let right = match wildcard(host) {
            Some((dashed, all)) if dashed == host => format!("get one for {all}"),
            Some((dashed, all)) => format!("write {dashed:?}, with a certificate for {all}"),
            None if wants_ip(host) => format!("write {FOR_ALL}"),
            None => format!("get one for {at}"),
        };
        Some(format!(
            "cluster.host = {host:?} sends players to {such_as}{at}, and the certificate is for {}: browsers refuse it; {right}, or write a host that it is for",
            certificate.hosts()
        ))
    }

    /// Whether a master lists it, with the address that it comes from. Nobody lists a standalone, or a
    /// mirror of a foreign master: they are found by the name that their viewers know.
    fn announces_itself(&self) -> bool {
        let awaited = matches!(self.lack, Some(Lack::SecretFile(_)));
        self.role.is_mirror() && (self.secret_file.is_some() || awaited)
    }
}

/// What gives every mirror a name, and one certificate to all.
const FOR_ALL: &str =
    "a template such as \"{ip-dashed}.m.example.org\", with a certificate for *.m.example.org";

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::tests::with_flags;

    fn file(name: &str) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
        PathBuf::from(folder).join(name).display().to_string()
    }

    /// What is said of the host with this certificate and these keys.
    fn said(certificate: &str, keys: &[(&str, &str)]) -> Vec<String> {
        let (pem, key) = (
            file(&format!("{certificate}.pem")),
            file(&format!("{certificate}.key")),
        );
        let mut all = vec![("tls.certificate", pem.as_str()), ("tls.key", key.as_str())];
        all.extend(keys);
        let (_, mut warnings) = with_flags(&all).unwrap();
        warnings.retain(|warning| warning.contains("cluster.host"));
        warnings
    }

    const HTTPS: (&str, &str) = ("listen.https", "[::]:8443");
    const MIRROR: [(&str, &str); 4] = [
        HTTPS,
        ("role", "mirror"),
        ("mirror.master", "rtmp://master.example.org"),
        ("mirror.secret_file", "/nowhere/secret"),
    ];

    fn of_mirror(certificate: &str, more: &[(&str, &str)]) -> Vec<String> {
        said(certificate, &[&MIRROR, more].concat())
    }

    fn with_host(certificate: &str, host: &str) -> Vec<String> {
        of_mirror(certificate, &[("cluster.host", host)])
    }

    #[test]
    fn a_host_of_the_certificate_is_not_worth_a_word() {
        for (certificate, host) in [
            ("server", "localhost"),
            ("server", "LOCALHOST"),
            ("server", "127.0.0.1"),
            // This mirror may have just that address.
            ("server", "{ip}"),
            ("other", "other.example.org"),
            ("wild", "mirror-1.m.example.org"),
            ("wild", "{ip-dashed}.m.example.org"),
            ("wild", "m{ip-dashed}.M.example.org"),
            // The same.
            ("wild", "{ip-dashed}.example.net"),
        ] {
            let warnings = with_host(certificate, host);
            assert!(warnings.is_empty(), "{host}: {warnings:?}");
        }
    }

    #[test]
    fn a_host_that_browsers_refuse_is_told_once_with_what_would_be_right() {
        for (certificate, host, warning) in [
            (
                "other",
                "mirror-1.example.org",
                "cluster.host = \"mirror-1.example.org\" sends players to mirror-1.example.org, and the certificate is for other.example.org: browsers refuse it; get one for mirror-1.example.org, or write a host that it is for",
            ),
            (
                "other",
                "{ip-dashed}.m.example.org",
                "cluster.host = \"{ip-dashed}.m.example.org\" sends players to hosts such as 192-0-2-1.m.example.org, and the certificate is for other.example.org: browsers refuse it; get one for *.m.example.org, or write a host that it is for",
            ),
        ] {
            assert_eq!(with_host(certificate, host), [warning]);
        }
        for (certificate, host, right) in [
            ("server", "127.0.0.2", "; get one for 127.0.0.2,"),
            ("wild", "2001:db8::5", "; get one for 2001:db8::5,"),
            ("wild", "m.example.org", "; get one for m.example.org,"),
            // A wildcard is for one label.
            (
                "wild",
                "a.{ip-dashed}.m.example.org",
                "to hosts such as a.192-0-2-1.m.example.org,",
            ),
            (
                "wild",
                "{ip}.m.example.org",
                "; write \"{ip-dashed}.m.example.org\", with a certificate for *.m.example.org,",
            ),
            ("wild", "{ip}", "; write a template such as"),
        ] {
            let warnings = with_host(certificate, host);
            assert!(
                matches!(warnings.as_slice(), [one] if one.contains(right)),
                "{host}: {warnings:?}"
            );
        }
    }

    #[test]
    fn a_mirror_without_a_host_is_found_by_its_address() {
        assert_eq!(
            of_mirror("other", &[]),
            [
                "cluster.host is not set, so players are sent to this mirror's address unless its master gives it a name, and the certificate is for other.example.org: browsers refuse it there; write the name of this mirror in cluster.host, or a template such as \"{ip-dashed}.m.example.org\", with a certificate for *.m.example.org"
            ]
        );
        // It has an address; and it is for names that the master may give.
        for certificate in ["server", "wild"] {
            assert!(of_mirror(certificate, &[]).is_empty(), "{certificate}");
        }
        // No master lists it.
        let foreign = [
            HTTPS,
            ("role", "mirror"),
            ("mirror.master", "rtmp://foreign.example.org"),
            ("mirror.streams", "live/a"),
            ("applications", "live"),
        ];
        assert!(said("other", &foreign).is_empty());
    }

    #[test]
    fn nothing_is_said_where_this_certificate_is_not_what_browsers_see() {
        let [_, mirror @ ..] = MIRROR;
        let host = ("cluster.host", "mirror-1.example.org");
        assert!(said("other", &[&mirror[..], &[host]].concat()).is_empty());
        let rtmps = [&mirror[..], &[host, ("listen.rtmps", "[::]:1936")]].concat();
        assert!(said("other", &rtmps).is_empty());
        let in_front = [host, ("cluster.https_port", "443")];
        assert!(of_mirror("other", &in_front).is_empty());
    }

    #[test]
    #[cfg(feature = "publish")]
    fn a_standalone_is_asked_for_what_it_says_and_a_master_for_nothing() {
        assert!(said("other", &[HTTPS]).is_empty());
        let host = ("cluster.host", "{ip-dashed}.m.example.org");
        assert_eq!(said("other", &[HTTPS, host]).len(), 1);
        let master = [HTTPS, host, ("role", "master"), ("play.networks", "any")];
        assert!(said("other", &master).is_empty());
    }
}
