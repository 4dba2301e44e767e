//! The pages: HTML that tells what is live without any script, and a player where there is one.

#[cfg(feature = "publish")]
mod files;
mod links;
mod live;
mod watch;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

#[cfg(feature = "publish")]
pub(super) use self::files::{file, files};
pub(super) use self::links::{Links, host_of};
pub(super) use self::live::{Row, start};
pub(super) use self::watch::watch;
use super::assets;

const STYLE: &str = include_str!("../../../player/page/page.css");
/// A page without an icon of its own would be asked for `/favicon.ico`.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
%3Crect width='16' height='16' rx='4.5' fill='%23ff5a3a'/%3E%3Cpath d='M6 4.5v7l5.5-3.5z' fill='%23fff'/%3E%3C/svg%3E";

/// The policy that goes with every page: this one style and our own script. Media come from whichever
/// mirror there is; browsers ask for HLS as for data.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| policy("'none'"));
/// The same for a player that other pages may have in a frame: nothing can be done there but watch.
pub(super) static FRAMED: LazyLock<String> = LazyLock::new(|| policy("*"));

fn policy(ancestors: &str) -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let script = if assets::site().is_some() {
        "script-src 'self'; "
    } else {
        ""
    };
    format!(
        "default-src 'none'; {script}connect-src http: https:; media-src blob: http: https:; img-src data:; style-src 'sha256-{hash}'; \
         base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
    )
}

/// A page that says one thing.
pub(super) fn message(title: &str, sentence: &str) -> String {
    let body = format!(
        "<h1>{}</h1>\n<p>{}</p>\n<p><a href=\"/\">What is live</a></p>\n",
        escape(title),
        escape(sentence)
    );
    document(title, Frame::Page, &body)
}

/// What is around a page's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// A plain page.
    Page,
    /// One with a player, or whose list keeps itself: it has the script.
    Player,
    /// The player alone, to be put into another page.
    Embedded,
}

fn document(title: &str, frame: Frame, body: &str) -> String {
    let script = match (frame, assets::site()) {
        (Frame::Page, _) | (_, None) => String::new(),
        (_, Some(site)) => {
            let ahead = assets::preload().iter();
            let ahead =
                ahead.map(|name| format!("<link rel=\"modulepreload\" href=\"/player/{name}\">\n"));
            let ahead: String = ahead.collect();
            format!("<script type=\"module\" src=\"/player/{site}\"></script>\n{ahead}")
        }
    };
    let (class, top, foot) = if frame == Frame::Embedded {
        (" class=\"embed\"", "", String::new())
    } else {
        let licences = if assets::site().is_some() {
            " · <a href=\"/player/NOTICE.txt\">licences of the player</a>"
        } else {
            ""
        };
        (
            "",
            "<header class=\"top\"><a href=\"/\">crtmpserver</a></header>\n",
            format!(
                "<footer>crtmpserver {}{licences}</footer>\n",
                env!("CARGO_PKG_VERSION")
            ),
        )
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{} - crtmpserver</title>\n<link rel=\"icon\" href=\"{ICON}\">\n<style>{STYLE}</style>\n{script}\
         </head>\n<body{class}>\n{top}<main>\n{body}</main>\n{foot}</body>\n</html>\n",
        escape(title),
    )
}

/// The player of a stream; the browser's own where the program was built without npm.
fn player(name: &str) -> String {
    let name = escape(name);
    if assets::site().is_some() {
        format!(
            "<crtmp-player stream=\"{name}\" aria-label=\"Live video {name}\"></crtmp-player>\n\
             <noscript><p class=\"note\">The player needs JavaScript. Without it, open one of the addresses \
             below in VLC, mpv or ffplay.</p></noscript>\n"
        )
    } else {
        format!(
            "<video controls autoplay muted playsinline src=\"/{name}.m3u8\" aria-label=\"Live video {name}\"></video>\n\
             <p class=\"note\">This server was built without its player, so this is your browser's own: it needs \
             HLS, and stays with this one server.</p>\n"
        )
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_the_page() {
        assert!(message("a", "b\"<i>\u{1b}").contains("b&quot;&lt;i&gt;\u{fffd}"));
        assert!(!player("live/\"><script>").contains("<script"));
    }

    #[test]
    fn the_policy_allows_the_style_that_is_sent() {
        let page = message("a", "b");
        let style = page.split("<style>").nth(1).unwrap();
        let style = style.split("</style>").next().unwrap();
        let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
        assert!(POLICY.contains(&hash) && FRAMED.contains(&hash));
        assert!(POLICY.contains("frame-ancestors 'none'") && FRAMED.contains("frame-ancestors *"));
    }

    #[test]
    fn only_what_plays_has_the_script() {
        assert!(!message("a", "b").contains("<script"));
        let page = document("a", Frame::Player, "");
        assert_eq!(
            page.contains("<script type=\"module\" src=\"/player/site-"),
            assets::site().is_some()
        );
        assert_eq!(POLICY.contains("script-src"), assets::site().is_some());
    }
}
