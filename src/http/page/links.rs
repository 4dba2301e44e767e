//! The addresses that pages show, made of the host that the visitor used.

use super::escape;

/// What the links are made of.
#[derive(Debug, Clone)]
pub(in crate::http) struct Links {
    /// The host the visitor used, without port.
    pub(in crate::http) host: String,
    /// The host with the port, as in the request.
    pub(in crate::http) authority: String,
    /// The visitor came over HTTPS.
    pub(in crate::http) secure: bool,
    /// Port of RTMP; `None` where RTMP is not served.
    pub(in crate::http) rtmp_port: Option<u16>,
}

impl Links {
    /// Of a stream over RTMP.
    pub(in crate::http) fn rtmp(&self, name: &str) -> Option<String> {
        let port = match self.rtmp_port? {
            1935 => String::new(),
            port => format!(":{port}"),
        };
        Some(format!("rtmp://{}{port}/{name}", self.host))
    }

    /// Of a path over HTTP.
    pub(in crate::http) fn http(&self, path: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.authority)
    }

    /// Every address of a stream, as a list for people with other players.
    pub(in crate::http) fn list(&self, name: &str) -> String {
        let mut all = vec![
            ("HTTP-FLV", self.http(&format!("/{name}.flv"))),
            ("HLS", self.http(&format!("/{name}.m3u8"))),
        ];
        all.extend(self.rtmp(name).map(|url| ("RTMP", url)));
        let row = |(kind, url): &(&str, String)| {
            let url = escape(url);
            format!("<dt>{kind}</dt><dd><a href=\"{url}\">{url}</a></dd>\n")
        };
        format!("<dl>\n{}</dl>\n", all.iter().map(row).collect::<String>())
    }
}

#[cfg(test)]
impl Links {
    /// Those of the tests.
    pub(super) fn of_a_test() -> Self {
        Self {
            host: "a.example".into(),
            authority: "a.example:8080".into(),
            secure: false,
            rtmp_port: Some(1935),
        }
    }
}

/// Splits a `Host` field into host and authority; `None` when it is not one that can be repeated in
/// a link. The host keeps the brackets of an IPv6 address.
pub(in crate::http) fn host_of(field: &str) -> Option<(String, String)> {
    let (host, port) = match field.strip_prefix('[') {
        Some(rest) => {
            let (ip, after) = rest.split_once(']')?;
            ip.parse::<std::net::Ipv6Addr>().ok()?;
            let port = match after {
                "" => None,
                after => Some(after.strip_prefix(':')?),
            };
            (format!("[{ip}]"), port)
        }
        None => match field.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (field.to_owned(), None),
        },
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let named = !host.is_empty() && host.len() <= 255 && host.bytes().all(plain);
    if !named && !host.starts_with('[') {
        return None;
    }
    let authority = match port {
        Some(port) => format!("{host}:{}", port.parse::<u16>().ok()?),
        None => host.clone(),
    };
    Some((host, authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_over_https_stays_there() {
        let links = Links {
            secure: true,
            ..Links::of_a_test()
        };
        let list = links.list("live/event");
        assert!(
            list.contains("href=\"https://a.example:8080/live/event.flv\""),
            "{list}"
        );
        assert!(!list.contains("http://"), "{list}");
    }

    #[test]
    fn only_a_host_becomes_a_link() {
        let of = |text| host_of(text).map(|(h, a)| format!("{h} {a}"));
        assert_eq!(of("a.example").as_deref(), Some("a.example a.example"));
        assert_eq!(of("1.2.3.4:80").as_deref(), Some("1.2.3.4 1.2.3.4:80"));
        assert_eq!(of("[::1]:8080").as_deref(), Some("[::1] [::1]:8080"));
        assert_eq!(of("[::1]").as_deref(), Some("[::1] [::1]"));
        for bad in [
            "", ":80", "a b", "a\"", "a<b", "[::1", "[x]", "[::1]x", "a:b", "a:70000", "a:1:2",
            "u@a",
        ] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }
}
