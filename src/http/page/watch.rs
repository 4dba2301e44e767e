//! `/watch/APP/STREAM`: one stream, and how to have it on another page.

use super::live::FACTS;
use super::{Frame, Links, Row, document, escape, player};
use crate::http::assets;

/// The page of a stream. `row` is there while it is known here; a player waits for one that is not.
/// `embedded` is the player alone, for a frame of another page.
pub(in crate::http) fn watch(
    name: &str,
    row: Option<&Row>,
    links: &Links,
    embedded: bool,
) -> String {
    if embedded {
        return document(name, Frame::Embedded, &player(name));
    }
    let shown = escape(name);
    let state = row.map_or_else(
        || "<b class=\"wait\">not live</b>".to_owned(),
        |row| {
            format!(
                "{} <span class=\"dim small\">{}</span>",
                row.badge(),
                row.facts()
            )
        },
    );
    let body = format!(
        "<section class=\"stage\">\n{}<div class=\"under\"><div class=\"grow\"><h1>{shown}</h1>\n<p id=\"rows\">{state}</p></div>\n{FACTS}\
         <a class=\"quiet\" href=\"/\">All streams</a></div>\n</section>\n{}\
         <details class=\"card\"><summary>Addresses for VLC, mpv, ffplay</summary>\n{}</details>\n",
        player(name),
        embed(name, links),
        links.list(name)
    );
    document(name, Frame::Player, &body)
}

/// The lines that put the player into another page.
fn embed(name: &str, links: &Links) -> String {
    let (frame, module) = (
        links.http(&format!("/watch/{name}?embed")),
        links.http("/player/player.js"),
    );
    let (list, here) = (links.http("/cluster.json"), links.http(""));
    let in_frame = format!(
        "<iframe src=\"{frame}\" width=\"640\" height=\"360\" style=\"border:0\"\n  allow=\"autoplay; fullscreen; \
         picture-in-picture\" allowfullscreen title=\"{name}\"></iframe>"
    );
    let in_page = format!(
        "<script type=\"module\" src=\"{module}\"></script>\n<crtmp-player stream=\"{name}\"\n  hosts=\"{list} {here}\"></crtmp-player>"
    );
    let copy = |id| format!("<button class=\"quiet\" data-copy=\"{id}\" hidden>Copy</button>\n");
    let block = |id, lead: &str, code: &str| {
        format!(
            "<p class=\"small\">{lead}</p>\n<pre id=\"{id}\" tabindex=\"0\">{}</pre>\n{}",
            code.lines().map(escape).collect::<Vec<_>>().join("\n"),
            copy(id)
        )
    };
    let mut out = String::from(
        "<details class=\"card\"><summary>Embed this stream in another page</summary>\n",
    );
    out.push_str(&block(
        "frame",
        "As a frame; any page can have it:",
        &in_frame,
    ));
    if assets::site().is_some() {
        let lead = "As an element, with options and events:";
        out.push_str(&block("module", lead, &in_page));
    }
    out.push_str("</details>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        Links {
            rtmp_port: None,
            ..Links::of_a_test()
        }
    }

    #[test]
    fn the_page_tells_how_to_embed_it() {
        let page = watch("live/event", None, &links(), false);
        assert!(
            page.contains(
                "&lt;iframe src=&quot;http://a.example:8080/watch/live/event?embed&quot;"
            )
        );
        assert!(page.contains("not live"));
        assert!(!page.contains('\u{fffd}'));
        assert_eq!(page.contains("/player/player.js"), assets::site().is_some());
        assert!(!page.contains("rtmp://"), "RTMP is not served");
    }

    #[test]
    fn embedded_it_is_the_player_alone() {
        let page = watch("live/event", None, &links(), true);
        assert!(page.contains("Live video live/event"));
        assert!(!page.contains("<h1>") && !page.contains("<footer>"));
    }
}
