//! Where another server is, as people write it: `rtmp://USER:PASSWORD@HOST:PORT/PATH?QUERY`, or `rtsp://`.
//!
//! What is shown of it (`Display`) has neither login nor query: both are secrets more often than not. Neither
//! has it what a camera takes as `user=NAME&password=WORD` in its path.
//! For the same reason no error repeats the text.

use std::fmt;
use std::str::FromStr;

use super::secret::Password;
use crate::limits::MAX_REMOTE_URL;

/// A server of RTMP, RTMPS, RTSP or RTSPS, and a path on it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// RTSP, and not RTMP.
    pub rtsp: bool,
    /// In TLS.
    pub tls: bool,
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    /// When it was not given, 1935, or 443 in TLS; of RTSP 554, or 322 in TLS.
    pub port: u16,
    /// Behind the first `/`, without it; may be empty.
    pub path: String,
    /// Behind the `?`, without it.
    pub query: Option<String>,
    /// In front of the `@`.
    pub login: Option<(String, Password)>,
}

impl Address {
    /// `host:port`, for dialling.
    #[must_use]
    pub fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// What of a path of RTSP tells a login.
    pub(super) fn secret_parts(&self) -> impl Iterator<Item = &str> {
        let parts = self.path.split('/').filter(|part| part.contains('='));
        parts.filter(|_| self.rtsp)
    }

    /// `rtmp://host:port`.
    #[must_use]
    pub fn server(&self) -> String {
        let scheme = match (self.rtsp, self.tls) {
            (false, false) => "rtmp",
            (false, true) => "rtmps",
            (true, false) => "rtsp",
            (true, true) => "rtsps",
        };
        format!("{scheme}://{}", self.place())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = self.path.clone();
        for secret in self.secret_parts() {
            path = path.replace(secret, "...");
        }
        write!(f, "{}/{path}", self.server())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_REMOTE_URL {
            return Err(format!("is longer than {MAX_REMOTE_URL} bytes"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("has a space or a control character".to_owned());
        }
        let mut known = SCHEMES.iter();
        let found = known.find_map(|(scheme, rtsp, tls, port)| {
            let rest = strip(text, scheme)?;
            Some((rest, *rtsp, *tls, *port))
        });
        let Some((rest, rtsp, tls, usual)) = found else {
            return Err("is no rtmp://, rtmps:// or rtsp:// address".to_owned());
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (path, None),
        };
        // A password may have an @ of its own.
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (host, port) = place_of(place)?;
        Ok(Self {
            rtsp,
            tls,
            host,
            port: port.unwrap_or(usual),
            path: path.to_owned(),
            query,
            login: login.map(|login| {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                (decoded(user), Password::new(decoded(password)))
            }),
        })
    }
}

/// Schemes: of RTSP, in TLS, and the usual port.
const SCHEMES: [(&str, bool, bool, u16); 4] = [
    ("rtmp://", false, false, 1935),
    ("rtmps://", false, true, 443),
    ("rtsp://", true, false, 554),
    ("rtsps://", true, true, 322),
];

/// Schemes are written in any case.
fn strip<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn place_of(place: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("lacks a ]")?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("has no IPv6 address in its brackets");
            }
            let port = match port {
                "" => None,
                port => Some(port.strip_prefix(':').ok_or("has no port behind its ]")?),
            };
            (host, port)
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let good = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || host.len() > 255 || !host.chars().all(good) {
        return Err("has no usable host");
    }
    let port = match port {
        None => None,
        Some(port) => {
            let port = port.parse::<u16>().ok().filter(|port| *port != 0);
            Some(port.ok_or("has no port from 1 to 65535")?)
        }
    };
    Ok((host.to_owned(), port))
}

/// `%40` is `@`; a `%` that begins no such thing is itself, as the original took it.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |b: u8| {
            char::from(b)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        let escaped = match (first, after) {
            (b'%', [high, low, behind @ ..]) => {
                let byte = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
                byte.map(|byte| (byte, behind))
            }
            _ => None,
        };
        let (byte, behind) = escaped.unwrap_or((*first, after));
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_taken_apart() {
        let a = parsed("rtmp://ann:se%40cret@Host.example:1936/live/sub/event?x=1&y=/");
        assert_eq!((a.tls, a.port), (false, 1936));
        assert_eq!(
            (a.host.as_str(), a.path.as_str()),
            ("Host.example", "live/sub/event")
        );
        assert_eq!(a.query.as_deref(), Some("x=1&y=/"));
        let (user, password) = a.login.clone().unwrap();
        assert_eq!((user.as_str(), password.reveal()), ("ann", "se@cret"));
        assert_eq!(a.to_string(), "rtmp://Host.example:1936/live/sub/event");
        let a = parsed("RTMPS://[::1]/live");
        assert_eq!(
            (a.tls, a.port, a.place().as_str()),
            (true, 443, "[::1]:443")
        );
        assert_eq!(parsed("rtmp://h").to_string(), "rtmp://h:1935/");
        let a = parsed("rtsp://admin:@10.0.0.9/h264/ch1?channel=1");
        assert_eq!(
            (a.rtsp, a.tls, a.to_string().as_str()),
            (true, false, "rtsp://10.0.0.9:554/h264/ch1")
        );
        let (user, password) = a.login.unwrap();
        assert_eq!((user.as_str(), password.reveal()), ("admin", ""));
        let a = parsed("rtsps://h/live/user=admin&password=hunter2&channel=1.sdp");
        assert_eq!((a.rtsp, a.tls, a.port), (true, true, 322));
        assert_eq!(a.to_string(), "rtsps://h:322/live/...");
        let (user, password) = parsed("rtmp://u:p@q%zz@h/a").login.unwrap();
        assert_eq!((user.as_str(), password.reveal()), ("u", "p@q%zz"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for bad in [
            "",
            "http://ann:hunter2@h/x",
            "rtmp://ann:hunter2@/x",
            "rtmp://ann:hunter2@h:0/x",
            "rtmp://ann:hunter2@h:70000/x",
            "rtmp://ann:hunter2@[::1/x",
            "rtmp://ann:hunter2@[zz]/x",
            "rtmp://ann:hunter2@[::1]9/x",
            "rtmp://ann:hunter2@h o/x",
            "rtmp://ann:hunter2@h/x\ny",
            "rtmp://ann:hunter2@hö/x",
        ] {
            let error = bad.parse::<Address>().unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let long = format!("rtmp://h/{}", "x".repeat(MAX_REMOTE_URL));
        assert!(long.parse::<Address>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_secret_is_shown(text in "(rt[ms]ps?://)?[a-z@:/?%\\[\\].0-9é]{0,40}") {
            if let Ok(address) = text.parse::<Address>() {
                let shown = format!("{address} {address:?}");
                prop_assert!(!shown.contains('?'));
                prop_assert!(address.port > 0);
                // What is shown leads to the same place.
                let again: Address = shown.split(' ').next().unwrap().parse().unwrap();
                prop_assert_eq!((again.place(), again.path), (address.place(), address.path));
            }
        }
    }
}
