//! Addresses that another server gives of its media and tracks.

use crate::limits::MAX_REMOTE_URL;

/// As it may stand in the first line of a request or in a field.
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic())
}

pub(super) fn is_url(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_REMOTE_URL && is_plain(text)
}

pub(super) fn is_absolute(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|s| s.eq_ignore_ascii_case("rtsp") || s.eq_ignore_ascii_case("rtsps"))
}

/// Where a `control` leads, as players understand it: behind the base, whatever the base's last part is.
/// `None`: it cannot be asked for.
pub(super) fn joined(base: &str, control: &str) -> Option<String> {
    let url = if matches!(control, "" | "*") {
        base.to_owned()
    } else if is_absolute(control) {
        control.to_owned()
    } else {
        let base = base.strip_suffix('/').unwrap_or(base);
        let control = control.strip_prefix('/').unwrap_or(control);
        format!("{base}/{control}")
    };
    is_url(&url).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_are_behind_their_base() {
        for (base, control, url) in [
            ("rtsp://h/a/", "trackID=1", "rtsp://h/a/trackID=1"),
            ("rtsp://h/a", "trackID=1", "rtsp://h/a/trackID=1"),
            ("rtsp://h/a/", "/x", "rtsp://h/a/x"),
            (
                "rtsp://h/a?c=1&s=0",
                "trackID=1",
                "rtsp://h/a?c=1&s=0/trackID=1",
            ),
            ("rtsp://h/a", "*", "rtsp://h/a"),
            ("rtsp://h/a", "", "rtsp://h/a"),
            ("rtsp://h/a", "RTSP://10.0.0.1/b", "RTSP://10.0.0.1/b"),
        ] {
            assert_eq!(joined(base, control).as_deref(), Some(url));
        }
        let long = "x".repeat(MAX_REMOTE_URL);
        for control in ["a b", "a\nb", "é", long.as_str()] {
            assert_eq!(joined("rtsp://h/a", control), None, "{control:?}");
        }
        assert!(is_absolute("rtsps://h") && !is_absolute("http://h") && !is_absolute("trackID=1"));
        assert!(!is_url("") && is_url("x") && !is_plain("a\tb"));
    }
}
