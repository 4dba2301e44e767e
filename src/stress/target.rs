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
        let form = || TargetError::Form(url.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(form)?;
        let (protocol, port) = match scheme {
            "rtmp" => (Protocol::Rtmp, 1935),
            "http" => (Protocol::Flv, 80),
            "raw" => (Protocol::Raw, 0),
            _ => return Err(form()),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
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
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let host = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:{port}")
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
            "https://127.0.0.1/live/x.flv",
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
