//! The start page: what is live, with links. Plain HTML that needs no script.

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::telemetry::words::count;

/// One row of the page.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// `app/name`.
    pub(super) name: String,
    /// How long its source has been waited for; `None` while it is live.
    pub(super) waiting: Option<Duration>,
    pub(super) viewers: usize,
    /// Servers that pull it from this one.
    pub(super) mirrors: usize,
    pub(super) kilobits: u64,
    /// As `FourCC`s, such as `avc1` and `mp4a`.
    pub(super) codecs: Vec<String>,
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
:root{color-scheme:light dark;--page:#f4f6f8;--card:#fff;--ink:#16202a;--dim:#526170;--line:#d5dce3;\
--link:#0b5cad;--live:#0a7a3e;--wait:#9a5b00;font:16px/1.5 system-ui,sans-serif}\
@media(prefers-color-scheme:dark){:root{--page:#10161c;--card:#18212a;--ink:#e8eef4;--dim:#9fb0c0;\
--line:#2c3945;--link:#7db8f5;--live:#4cc983;--wait:#f0b357}}\
*{box-sizing:border-box}\
body{max-width:46rem;margin:0 auto;padding:2rem 1rem;background:var(--page);color:var(--ink)}\
h1{font-size:1.6rem;margin:0 0 1rem}\
ul{list-style:none;padding:0;margin:0}\
li,.note{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:1rem 1.25rem;\
margin:0 0 1rem}\
h2{font-size:1.2rem;margin:0;overflow-wrap:anywhere;display:flex;gap:.75rem;align-items:center;\
flex-wrap:wrap}\
b{font-size:.8rem;font-weight:600;color:var(--live);border:1px solid;border-radius:1rem;padding:0 .6rem}\
b.wait{color:var(--wait)}\
p{margin:.25rem 0}\
.dim{color:var(--dim)}\
.wait{color:var(--wait);font-weight:600}\
dl{display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem;margin:.75rem 0 0}\
dt{color:var(--dim)}\
dd{margin:0;overflow-wrap:anywhere}\
a{color:var(--link)}\
footer{margin-top:2rem;font-size:.875rem;color:var(--dim)}";

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
        body.push_str(
            "<p class=\"note wait\" role=\"status\">This server is not ready; streams may be missing.</p>\n",
        );
    }
    if rows.is_empty() {
        body.push_str(
            "<p class=\"note\">Nothing is live. Reload this page once a stream has begun.</p>\n",
        );
    } else {
        body.push_str("<ul>\n");
        for row in rows {
            let _ = stream(&mut body, row, links);
        }
        body.push_str(
            "</ul>\n<p class=\"dim\">Open an address in VLC (Media, Open Network Stream), mpv or ffplay.</p>\n",
        );
    }
    document("Live now", &body)
}

fn stream(out: &mut String, row: &Row, links: &Links) -> std::fmt::Result {
    let name = escape(&row.name);
    write!(out, "<li><h2>{name} ")?;
    let mut facts = Vec::new();
    match row.waiting {
        Some(waited) => {
            out.write_str("<b class=\"wait\">waiting</b>")?;
            facts.push(format!("no source for {} s", waited.as_secs()));
        }
        None => out.write_str("<b>live</b>")?,
    }
    facts.extend(row.codecs.iter().map(|codec| escape(&codec_name(codec))));
    if row.waiting.is_none() {
        facts.push(rate(row.kilobits));
    }
    facts.push(count(row.viewers, "viewer"));
    if row.mirrors > 0 {
        facts.push(count(row.mirrors, "mirror"));
    }
    writeln!(
        out,
        "</h2>\n<p class=\"dim\">{}</p>\n<dl>",
        facts.join(" · ")
    )?;
    if let Some(port) = links.rtmp_port {
        let host = escape(&links.host);
        let port = if port == 1935 {
            String::new()
        } else {
            format!(":{port}")
        };
        let url = format!("rtmp://{host}{port}/{name}");
        writeln!(out, "<dt>RTMP</dt><dd><a href=\"{url}\">{url}</a></dd>")?;
    }
    let url = format!("http://{}/{name}.flv", escape(&links.authority));
    writeln!(
        out,
        "<dt>HTTP-FLV</dt><dd><a href=\"{url}\">{url}</a></dd>\n</dl></li>"
    )
}

/// A bit rate for people.
fn rate(kilobits: u64) -> String {
    if kilobits < 1000 {
        return format!("{kilobits} kbit/s");
    }
    let tenths = kilobits.saturating_add(50) / 100;
    format!("{}.{} Mbit/s", tenths / 10, tenths % 10)
}

/// What people call the codec of a `FourCC`.
fn codec_name(four: &str) -> String {
    match four {
        "avc1" => "H.264",
        "hvc1" | "hev1" => "HEVC",
        "av01" => "AV1",
        "vp08" => "VP8",
        "vp09" => "VP9",
        "mp4a" => "AAC",
        ".mp3" => "MP3",
        "Opus" => "Opus",
        "fLaC" => "FLAC",
        "ac-3" => "AC-3",
        "ec-3" => "E-AC-3",
        other => other,
    }
    .to_owned()
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
            mirrors: 0,
            kilobits: 2460,
            codecs: vec!["avc1".into(), "mp4a".into()],
        }
    }

    #[test]
    fn each_stream_has_its_links() {
        let page = start(&[row("live/event")], &links(), &[]);
        assert!(page.contains("href=\"rtmp://a.example/live/event\""));
        assert!(page.contains("href=\"http://a.example:8080/live/event.flv\""));
        assert!(page.contains("<b>live</b>"));
        assert!(page.contains("H.264 · AAC · 2.5 Mbit/s · 1 viewer<"));
        let other = Links {
            rtmp_port: Some(1936),
            ..links()
        };
        let mut waiting = row("live/event");
        waiting.waiting = Some(Duration::from_secs(7));
        waiting.mirrors = 2;
        waiting.codecs = vec!["x<y".into()];
        let page = start(&[waiting], &other, &["master: gone".into()]);
        assert!(page.contains("rtmp://a.example:1936/live/event"));
        assert!(page.contains("waiting</b>"));
        assert!(page.contains(">no source for 7 s · x&lt;y · 1 viewer · 2 mirrors<"));
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
