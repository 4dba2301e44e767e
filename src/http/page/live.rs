//! The start page: what is live, and a player of the first stream.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Frame, Links, document, escape, player};
use crate::telemetry::words::count;

/// One row of the page.
#[derive(Debug, Clone)]
pub(in crate::http) struct Row {
    /// `app/name`.
    pub(in crate::http) name: String,
    /// How long its source has been waited for; `None` while it is live.
    pub(in crate::http) waiting: Option<Duration>,
    pub(in crate::http) viewers: usize,
    /// Servers that pull it from this one.
    pub(in crate::http) mirrors: usize,
    pub(in crate::http) kilobits: u64,
    /// As `FourCC`s, such as `avc1` and `mp4a`.
    pub(in crate::http) codecs: Vec<String>,
}

impl Row {
    /// Whether it is live, as a badge.
    pub(in crate::http) fn badge(&self) -> &'static str {
        match self.waiting {
            Some(_) => "<b class=\"wait\">waiting</b>",
            None => "<b class=\"live\">live</b>",
        }
    }

    /// What is worth knowing, in a line.
    pub(in crate::http) fn facts(&self) -> String {
        let mut facts = Vec::new();
        if let Some(waited) = self.waiting {
            facts.push(format!("no source for {} s", waited.as_secs()));
        }
        facts.extend(self.codecs.iter().map(|codec| escape(&codec_name(codec))));
        if self.waiting.is_none() {
            facts.push(rate(self.kilobits));
        }
        facts.push(count(self.viewers, "viewer"));
        if self.mirrors > 0 {
            facts.push(count(self.mirrors, "mirror"));
        }
        facts.join(" · ")
    }
}

/// The start page; `files` says that there is a list of files, too.
pub(in crate::http) fn start(
    rows: &[Row],
    links: &Links,
    troubles: &[String],
    files: bool,
) -> String {
    let mut body = String::from("<section class=\"stage\" id=\"stage\">\n");
    let first = rows.iter().find(|r| r.waiting.is_none()).or(rows.first());
    if let Some(row) = first {
        let name = escape(&row.name);
        let _ = write!(
            body,
            "{}<div class=\"under\"><p class=\"grow title\">{name}</p>\n{FACTS}\
             <a class=\"quiet\" href=\"/watch/{name}\">Share or embed</a></div>\n",
            player(&row.name)
        );
    }
    body.push_str("</section>\n<div id=\"rows\">\n<h1>Live now</h1>\n");
    if !troubles.is_empty() {
        body.push_str(
            "<p class=\"note trouble\" role=\"status\">This server is not ready; streams may be missing.</p>\n",
        );
    }
    if rows.is_empty() {
        let kept = if super::assets::site().is_some() {
            "This page shows a stream as soon as it begins."
        } else {
            "Reload this page once a stream has begun."
        };
        let _ = writeln!(body, "<p class=\"note\">Nothing is live. {kept}</p>");
    } else {
        body.push_str("<ul class=\"rows\">\n");
        for (n, row) in rows.iter().enumerate() {
            let name = escape(&row.name);
            let _ = write!(
                body,
                "<li><div class=\"what\"><div class=\"name\"><h2>{name}</h2>{}</div>\n\
                 <p class=\"dim small\">{}</p></div>\n<a class=\"quiet\" href=\"/watch/{name}\" \
                 aria-label=\"Watch {name}\">Watch</a>\n<details id=\"d{n}\"><summary>Addresses for VLC, mpv, \
                 ffplay</summary>\n{}</details></li>\n",
                row.badge(),
                row.facts(),
                links.list(&row.name)
            );
        }
        body.push_str("</ul>\n");
    }
    body.push_str("</div>\n");
    if files {
        body.push_str("<p><a href=\"/files\">Files</a></p>\n");
    }
    document("Live now", Frame::Player, &body)
}

/// Shows and hides the player's figures; of no use without the script, which makes it visible.
pub(super) const FACTS: &str =
    "<button class=\"quiet\" data-facts hidden aria-expanded=\"false\">Mirror and delay</button>\n";

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

#[cfg(test)]
mod tests {
    use super::*;

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
        let page = start(&[row("live/event")], &Links::of_a_test(), &[], false);
        assert!(page.contains("href=\"rtmp://a.example/live/event\""));
        assert!(page.contains("href=\"http://a.example:8080/live/event.flv\""));
        assert!(page.contains("href=\"/watch/live/event\""));
        assert!(page.contains(">live</b>"));
        assert!(page.contains("H.264 · AAC · 2.5 Mbit/s · 1 viewer<"));
        let other = Links {
            rtmp_port: Some(1936),
            ..Links::of_a_test()
        };
        let mut waiting = row("live/event");
        waiting.waiting = Some(Duration::from_secs(7));
        waiting.mirrors = 2;
        waiting.codecs = vec!["x<y".into()];
        let page = start(&[waiting], &other, &["master: gone".into()], false);
        assert!(page.contains("rtmp://a.example:1936/live/event"));
        assert!(page.contains("waiting</b>"));
        assert!(page.contains(">no source for 7 s · x&lt;y · 1 viewer · 2 mirrors<"));
        assert!(page.contains("not ready"));
        assert!(!page.contains("gone"), "troubles are for operators");
        assert!(start(&[], &Links::of_a_test(), &[], false).contains("Nothing is live"));
        for files in [false, true] {
            let page = start(&[], &Links::of_a_test(), &[], files);
            assert_eq!(page.contains("href=\"/files\""), files);
        }
    }

    #[test]
    fn the_player_has_the_first_that_is_live() {
        let mut waiting = row("live/a");
        waiting.waiting = Some(Duration::ZERO);
        let page = start(
            &[waiting.clone(), row("live/b")],
            &Links::of_a_test(),
            &[],
            false,
        );
        assert!(page.contains("Live video live/b"));
        assert!(!page.contains("Live video live/a"));
        assert!(start(&[waiting], &Links::of_a_test(), &[], false).contains("Live video live/a"));
        assert!(!start(&[], &Links::of_a_test(), &[], false).contains("Live video"));
    }

    #[test]
    fn nothing_breaks_out_of_the_page() {
        let page = start(
            &[row("<script>alert('1')</script>")],
            &Links::of_a_test(),
            &[],
            false,
        );
        assert!(!page.contains("<script>"));
    }
}
