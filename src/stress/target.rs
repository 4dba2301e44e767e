//! Where the load goes, and from which addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

/// What a viewer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RTMP.
    Rtmp,
    /// FLV over HTTP.
    Flv,
    /// Nothing: connects and takes what comes, for a sender that is only measured.
    Raw,
}

/// A parsed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// From the scheme.
    pub protocol: Protocol,
    /// `host:port`
    pub host: String,
    /// What the name resolves to, the first of it.
    pub address: SocketAddr,
    /// The first part of the path.
    pub app: String,
    /// The rest of the path, without `.flv`.
    pub name: String,
    /// With its question mark; mostly empty.
    pub query: String,
}

/// Why a URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It is none of ours.
    #[error("{0}: write rtmp://HOST[:PORT]/APP/STREAM or http://HOST[:PORT]/APP/STREAM.flv")]
    Form(String),
    /// A user or a password is in it; neither is shown.
    #[error(
        "a user and a password are in the URL, and stress logs in nowhere: leave them out, up to and with the @"
    )]
    Userinfo,
    /// It asks for TLS.
    #[error(
        "{0}:// asks for TLS, which stress does not speak: load the server's port without it, over rtmp:// or http://"
    )]
    Tls(String),
    /// What stands behind the host is no port.
    #[error("the port {0:?} of the URL is wrong: it is a number from 1 to 65535")]
    Port(String),
    /// The name does not resolve.
    #[error("{host}: {source}")]
    Resolve {
        /// `host:port`
        host: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It has no address.
    #[error("{0} has no address")]
    Nowhere(String),
    /// Load goes to loopback only.
    #[error(
        "{0} is not on this machine; load from here could take it down: say --allow-remote when it is yours"
    )]
    Remote(SocketAddr),
}

impl Target {
    /// Reads a URL and resolves its host. Only loopback is taken unless `remote`.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn new(url: &str, remote: bool) -> Result<Self, TargetError> {
        // What is behind a question mark may be a secret, and is not said again.
        let form = || TargetError::Form(url.split('?').next().unwrap_or_default().to_owned());
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        if has_userinfo(rest) {
            return Err(TargetError::Userinfo);
        }
        let (protocol, port) = match scheme {
            "rtmp" => (Protocol::Rtmp, 1935),
            "http" => (Protocol::Flv, 80),
            "raw" => (Protocol::Raw, 0),
            "rtmps" | "https" => return Err(TargetError::Tls(scheme.to_owned())),
            _ => return Err(form()),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = match port_of(authority).ok_or_else(form)? {
            Some(told) if told.parse::<u16>().is_ok_and(|port| port > 0) => authority.to_owned(),
            Some(told) => return Err(TargetError::Port(told.to_owned())),
            None => format!("{authority}:{port}"),
        };
        let (path, query) = path.find('?').map_or((path, ""), |at| path.split_at(at));
        let (app, name) = match path.split_once('/') {
            Some((app, name)) if !app.is_empty() && !name.is_empty() => (app, name),
            _ if protocol == Protocol::Raw => ("", ""),
            _ => return Err(form()),
        };
        let name = match protocol {
            Protocol::Flv => name.strip_suffix(".flv").ok_or_else(form)?,
            Protocol::Rtmp | Protocol::Raw => name,
        };
        let address = host
            .to_socket_addrs()
            .map_err(|source| TargetError::Resolve {
                host: host.clone(),
                source,
            })?
            .next()
            .ok_or_else(|| TargetError::Nowhere(host.clone()))?;
        if !remote && !address.ip().to_canonical().is_loopback() {
            return Err(TargetError::Remote(address));
        }
        Ok(Self {
            protocol,
            host,
            address,
            app: app.to_owned(),
            name: name.to_owned(),
            query: query.to_owned(),
        })
    }

    /// The name of stream `index` of `count`: the name itself when there is one.
    #[must_use]
    pub fn stream(&self, index: usize, count: usize) -> String {
        if count <= 1 {
            self.name.clone()
        } else {
            format!("{}-{}", self.name, index.saturating_add(1))
        }
    }
}

/// Whether a user stands before the host. A password may have a slash in it: then what is before the first slash
/// looks like a host with a port that is no number.
fn has_userinfo(rest: &str) -> bool {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let wrong_port = || !matches!(port_of(authority), Some(None)) && !ends_with_port(authority);
    authority.contains('@') || (rest.contains('@') && wrong_port())
}

fn ends_with_port(authority: &str) -> bool {
    matches!(port_of(authority), Some(Some(port)) if port.parse::<u32>().is_ok())
}

/// What stands behind the host's colon, if there is one; `None` when this is no host.
fn port_of(authority: &str) -> Option<Option<&str>> {
    let behind = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.1,
        None => authority
            .find(':')
            .map_or("", |at| authority.split_at(at).1),
    };
    if behind.is_empty() {
        return Some(None);
    }
    let port = behind.strip_prefix(':')?;
    // An IPv6 address stands in brackets.
    (!port.contains(':')).then_some(Some(port))
}

/// Source addresses that are used in turn: so many that the ports of each (some 28,000) last.
const SOURCES: usize = 200;

/// The address from which viewer `index` connects; `None` leaves it to the system.
pub(super) fn source(target: &SocketAddr, index: usize) -> Option<IpAddr> {
    if !matches!(target.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
        return None;
    }
    let place = u8::try_from(index.checked_rem(SOURCES)?).ok()?;
    Some(Ipv4Addr::new(127, 9, 9, place.saturating_add(1)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_understood() {
        let t = Target::new("rtmp://127.0.0.1/live/a/b?t=1", false).unwrap();
        assert_eq!((t.app.as_str(), t.name.as_str()), ("live", "a/b"));
        assert_eq!((t.address.port(), t.query.as_str()), (1935, "?t=1"));
        assert_eq!(t.stream(4, 1), "a/b");
        assert_eq!(t.stream(4, 9), "a/b-5");
        let t = Target::new("http://[::1]:8080/live/x.flv", false).unwrap();
        assert_eq!((t.protocol, t.name.as_str()), (Protocol::Flv, "x"));
        assert_eq!(t.address.port(), 8080);
        for bad in [
            "127.0.0.1/live/x",
            "rtmp://::1/live/x",
            "rtmp://127.0.0.1/live",
            "rtmp://127.0.0.1//x",
            "http://127.0.0.1/live/x",
        ] {
            assert!(
                matches!(Target::new(bad, false), Err(TargetError::Form(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret() {
        let said = |url: &str| Target::new(url, false).unwrap_err().to_string();
        for url in [
            "rtmp://ann:password@127.0.0.1/live/x",
            "rtmp://ann:pass/word@127.0.0.1/live/x",
            "ann:password@127.0.0.1/live/x",
            "https://password@127.0.0.1/live/x",
            "rtmps://ann:password@127.0.0.1:99999/live/x",
        ] {
            let text = said(url);
            assert!(text.contains("a user") && !text.contains("word@"), "{text}");
        }
        assert!(!said("rtmp://127.0.0.1/live?t=secret").contains("secret"));
        // In a stream's name it is a letter as any other.
        assert!(Target::new("rtmp://127.0.0.1:1935/live/x@y", false).is_ok());
        assert!(Target::new("rtmp://127.0.0.1/live/x@y", false).is_ok());
        for tls in ["rtmps://127.0.0.1/live/x", "https://127.0.0.1/live/x.flv"] {
            assert!(said(tls).contains("TLS"), "{tls}");
        }
        assert!(said("rtmp://127.0.0.1:99999/x").contains("the port"));
        for port in ["99999", "0", "", "x"] {
            let text = said(&format!("rtmp://127.0.0.1:{port}/x/y"));
            assert!(text.contains(&format!("the port {port:?}")), "{text}");
            assert!(said(&format!("rtmp://[::1]:{port}/x/y")).contains("the port"));
        }
    }

    #[test]
    fn only_loopback_is_loaded_unless_said() {
        for far in [
            "192.0.2.1",
            "0.0.0.0",
            "[2001:db8::1]",
            "[::ffff:192.0.2.1]",
        ] {
            let url = format!("rtmp://{far}/live/x");
            assert!(
                matches!(Target::new(&url, false), Err(TargetError::Remote(_))),
                "{far}"
            );
            assert!(Target::new(&url, true).is_ok());
        }
        for near in ["127.0.0.1", "127.3.2.1", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(
                Target::new(&format!("rtmp://{near}/live/x"), false).is_ok(),
                "{near}"
            );
        }
    }

    #[test]
    fn sources_are_many_and_on_loopback() {
        let target = "127.0.0.1:1".parse().unwrap();
        let all: std::collections::BTreeSet<_> =
            (0..1000).map(|i| source(&target, i).unwrap()).collect();
        assert_eq!(all.len(), SOURCES);
        assert!(all.iter().all(IpAddr::is_loopback));
        assert_eq!(source(&"[::1]:1".parse().unwrap(), 0), None);
    }
}
