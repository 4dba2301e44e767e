//! The start page: what is live, with links. Plain HTML that needs no script.

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// One row of the page.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// `app/name`.
    pub(super) name: String,
    /// How long its source has been waited for; `None` while it is live.
    pub(super) waiting: Option<Duration>,
    pub(super) viewers: usize,
    pub(super) kilobits: u64,
    /// Codecs for people, such as `avc1 mp4a`.
    pub(super) codecs: String,
}

/// What the links are made of.
#[derive(Debug, Clone)]
pub(super) struct Links {
    /// The host the visitor used, without port.
    pub(super) host: String,
    /// The host with the port, as in the request.
    pub(super) authority: String,
    /// Port of RTMP; `None` where RTMP is not served.
    pub(super) rtmp_port: Option<u16>,
}

const STYLE: &str = "\
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}\
body{max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}\
ul{list-style:none;padding:0}\
li{border:1px solid #8886;border-radius:.5rem;padding:.75rem 1rem;margin:.75rem 0}\
h2{font-size:1.1rem;margin:0;overflow-wrap:anywhere}\
p{margin:.25rem 0}\
a{overflow-wrap:anywhere}\
.wait{font-weight:600}\
footer{margin-top:2rem;font-size:.875rem}";

/// The policy that goes with every page: this one style, nothing else from anywhere.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
});

/// The start page.
pub(super) fn start(rows: &[Row], links: &Links, troubles: &[String]) -> String {
    let mut body = String::from("<h1>Live now</h1>\n");
    if !troubles.is_empty() {
        body.push_str("<p class=\"wait\" role=\"status\">This server is not ready.</p>\n");
    }
    if rows.is_empty() {
        body.push_str("<p>Nothing is live. Reload this page once a stream has begun.</p>\n");
    } else {
        body.push_str("<ul>\n");
        for row in rows {
            let _ = stream(&mut body, row, links);
        }
        body.push_str("</ul>\n<p>Open a link in VLC, mpv or ffplay.</p>\n");
    }
    document("Live now", &body)
}

fn stream(out: &mut String, row: &Row, links: &Links) -> std::fmt::Result {
    let name = escape(&row.name);
    write!(out, "<li><h2>{name}</h2>\n<p>")?;
    match row.waiting {
        Some(waited) => write!(
            out,
            "<span class=\"wait\">waits for its source</span> since {} s",
            waited.as_secs()
        )?,
        None => out.write_str("live")?,
    }
    let people = if row.viewers == 1 {
        "viewer"
    } else {
        "viewers"
    };
    write!(out, ", {} {people}", row.viewers)?;
    if row.waiting.is_none() {
        write!(out, ", {} kbit/s", row.kilobits)?;
    }
    if !row.codecs.is_empty() {
        write!(out, ", {}", escape(&row.codecs))?;
    }
    out.write_str("</p>\n")?;
    if let Some(port) = links.rtmp_port {
        let host = escape(&links.host);
        let port = if port == 1935 {
            String::new()
        } else {
            format!(":{port}")
        };
        let url = format!("rtmp://{host}{port}/{name}");
        writeln!(out, "<p><a href=\"{url}\">{url}</a></p>")?;
    }
    let url = format!("http://{}/{name}.flv", escape(&links.authority));
    writeln!(out, "<p><a href=\"{url}\">{url}</a></p></li>")
}

/// A page that says one thing.
pub(super) fn message(title: &str, sentence: &str) -> String {
    let body = format!(
        "<h1>{}</h1>\n<p>{}</p>\n<p><a href=\"/\">What is live</a></p>\n",
        escape(title),
        escape(sentence)
    );
    document(title, &body)
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{} - crtmpserver</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n\
         <footer>crtmpserver {}</footer>\n</body>\n</html>\n",
        escape(title),
        env!("CARGO_PKG_VERSION")
    )
}

/// Text for HTML content and quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Splits a `Host` field into host and authority; `None` when it is not one that can be repeated in
/// a link. The host keeps the brackets of an IPv6 address.
pub(super) fn host_of(field: &str) -> Option<(String, String)> {
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

    fn links() -> Links {
        Links {
            host: "a.example".into(),
            authority: "a.example:8080".into(),
            rtmp_port: Some(1935),
        }
    }

    fn row(name: &str) -> Row {
        Row {
            name: name.into(),
            waiting: None,
            viewers: 1,
            kilobits: 2500,
            codecs: "avc1 mp4a".into(),
        }
    }

    #[test]
    fn each_stream_has_its_links() {
        let page = start(&[row("live/event")], &links(), &[]);
        assert!(page.contains("href=\"rtmp://a.example/live/event\""));
        assert!(page.contains("href=\"http://a.example:8080/live/event.flv\""));
        assert!(page.contains("live, 1 viewer, 2500 kbit/s, avc1 mp4a"));
        let other = Links {
            rtmp_port: Some(1936),
            ..links()
        };
        let mut waiting = row("live/event");
        waiting.waiting = Some(Duration::from_secs(7));
        let page = start(&[waiting], &other, &["master: gone".into()]);
        assert!(page.contains("rtmp://a.example:1936/live/event"));
        assert!(page.contains("waits for its source</span> since 7 s"));
        assert!(page.contains("not ready"));
        assert!(!page.contains("gone"), "troubles are for operators");
        assert!(start(&[], &links(), &[]).contains("Nothing is live"));
    }

    #[test]
    fn nothing_breaks_out_of_the_page() {
        let page = start(&[row("<script>alert('1')</script>")], &links(), &[]);
        assert!(!page.contains("<script"));
        assert!(message("a", "b\"<i>\u{1b}").contains("b&quot;&lt;i&gt;\u{fffd}"));
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

    #[test]
    fn the_policy_allows_the_style_that_is_sent() {
        let page = message("a", "b");
        let style = page.split("<style>").nth(1).unwrap();
        let style = style.split("</style>").next().unwrap();
        let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
        assert!(POLICY.contains(&hash));
    }
}
