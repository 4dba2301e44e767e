//! `/files`: what there is, and a page that plays one of them.

use std::fmt::Write as _;

use super::{Frame, Links, document, escape};
use crate::http::assets;
use crate::vod::{FileName, Listing};

/// The list.
pub(in crate::http) fn files(listing: &Listing, links: &Links) -> String {
    let mut body = String::from("<h1>Files</h1>\n");
    if listing.files.is_empty() {
        body.push_str("<p class=\"note\">There is no file that can be played.</p>\n");
    } else {
        body.push_str("<ul class=\"rows\">\n");
        for (name, bytes) in &listing.files {
            let (shown, path) = (escape(name.as_str()), path(name));
            let _ = write!(
                body,
                "<li><div class=\"what\"><div class=\"name\"><h2>{shown}</h2></div>\n\
                 <p class=\"dim small\">{}</p></div>\n<a class=\"quiet\" href=\"{path}?play\" \
                 aria-label=\"Play {shown}\">Play</a></li>\n",
                size(*bytes),
            );
        }
        body.push_str("</ul>\n");
    }
    if listing.more {
        body.push_str("<p class=\"note\">There are more files than are listed here.</p>\n");
    }
    let _ = writeln!(
        body,
        "<p><a href=\"{}\">What is live</a></p>",
        escape(&links.http("/"))
    );
    document("Files", Frame::Page, &body)
}

/// The page of one file.
pub(in crate::http) fn file(name: &FileName, bytes: u64, links: &Links) -> String {
    let (shown, path) = (escape(name.as_str()), path(name));
    let others = "Browsers do not play what is in this file; VLC, mpv and ffplay do.";
    let plain = name.is_for_browsers();
    let of = if plain {
        format!("preload=\"metadata\" src=\"{path}\"")
    } else {
        format!("data-playlist=\"{path}.m3u8\"")
    };
    let video = format!("<video controls playsinline {of} aria-label=\"Video {shown}\"></video>");
    let video = match (assets::site(), plain) {
        // The element puts the player's controls around the video; without the script it has its own.
        (Some(_), _) => {
            let script = "<noscript><p class=\"note\">Browsers play this file with JavaScript alone; VLC, mpv \
                and ffplay play it without.</p></noscript>\n";
            format!(
                "<crtmp-file>{video}</crtmp-file>\n\
                 <p class=\"note\" id=\"unplayable\" role=\"alert\" hidden>{others}</p>\n{}",
                if plain { "" } else { script }
            )
        }
        (None, true) => format!("{video}\n"),
        (None, false) => format!("<p class=\"note\">{others}</p>\n"),
    };
    let mut all = vec![
        ("HTTP", links.http(&path)),
        ("HLS", links.http(&format!("{path}.m3u8"))),
    ];
    // RTMP has no way to write every name in an address.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~-/".contains(&b);
    if name.as_str().bytes().all(plain) {
        let rtmp = format!("flvplayback/{}", name.asked_as());
        all.extend(links.rtmp(&rtmp).map(|url| ("RTMP", url)));
    }
    let row = |(kind, url): &(&str, String)| {
        let url = escape(url);
        format!("<dt>{kind}</dt><dd><a href=\"{url}\">{url}</a></dd>\n")
    };
    let body = format!(
        "<section class=\"stage\">\n{video}<div class=\"under\"><div class=\"grow\"><h1>{shown}</h1>\n\
         <p class=\"dim small\">{}</p></div>\n<a class=\"quiet\" href=\"/files\">All files</a></div>\n</section>\n\
         <details class=\"card\"><summary>Addresses for VLC, mpv, ffplay</summary>\n<dl>\n{}</dl>\n</details>\n",
        size(bytes),
        all.iter().map(row).collect::<String>()
    );
    document(name.as_str(), Frame::Player, &body)
}

/// Where a file is on this server: its name, with everything encoded that could mean something else.
fn path(name: &FileName) -> String {
    let mut out = String::from("/files/");
    for byte in name.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || b"._~-/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    let tenths = |unit: u64| {
        let all = bytes.saturating_mul(10).checked_div(unit).unwrap_or(0);
        (all / 10, all % 10)
    };
    let (unit, (whole, part)) = match bytes {
        0..1_000_000 => ("kB", tenths(1000)),
        1_000_000..1_000_000_000 => ("MB", tenths(1_000_000)),
        _ => ("GB", tenths(1_000_000_000)),
    };
    format!("{whole}.{part} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        FileName::exact(text).unwrap()
    }

    #[test]
    fn each_file_has_its_page() {
        let listing = Listing {
            files: vec![
                (name("sub/film.mp4"), 1_234_567),
                (name("<b> & 50%?#.flv"), 999),
            ],
            more: true,
        };
        let page = files(&listing, &Links::of_a_test());
        assert!(page.contains("href=\"/files/sub/film.mp4?play\""));
        assert!(page.contains("1.2 MB") && page.contains("0.9 kB"));
        assert!(page.contains("href=\"/files/%3Cb%3E%20%26%2050%25%3F%23.flv?play\""));
        assert!(!page.contains("<b> &") && page.contains("more files"));
        let none = Listing {
            files: vec![],
            more: false,
        };
        assert!(files(&none, &Links::of_a_test()).contains("no file"));
    }

    #[test]
    fn a_page_plays_what_a_browser_can() {
        let page = file(&name("sub/film.mp4"), 5_000_000_000, &Links::of_a_test());
        assert!(page.contains("<video controls") && page.contains("src=\"/files/sub/film.mp4\""));
        assert!(page.contains("rtmp://a.example/flvplayback/mp4:sub/film.mp4"));
        assert!(page.contains("5.0 GB"));
        let page = file(&name("film.flv"), 1, &Links::of_a_test());
        let by_script = page.contains("data-playlist=\"/files/film.flv.m3u8\"");
        assert!(by_script == assets::site().is_some() && page.contains("VLC, mpv and ffplay"));
        assert_eq!(
            page.contains("<crtmp-file><video"),
            assets::site().is_some()
        );
        assert!(page.contains("rtmp://a.example/flvplayback/film.flv"));
        let page = file(&name("two words.mp4"), 1, &Links::of_a_test());
        assert!(!page.contains("rtmp://"), "no address can say that");
    }
}
