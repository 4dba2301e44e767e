//! What `/metrics` says of pulls and pushes.

use super::*;

/// What a server has at its port of HTTP.
pub(crate) fn page(port: u16) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket
        .write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut page = String::new();
    socket.read_to_string(&mut page).unwrap();
    page
}

/// The values of a figure of the stream's `pull` or `push`, by the last of its labels.
pub(crate) fn of<'a>(
    page: &'a str,
    figure: &str,
    direction: &str,
    stream: &str,
) -> Vec<(&'a str, &'a str)> {
    let begin = format!("crtmpserver_remote_{figure}{{direction=\"{direction}\",");
    let stream = format!("stream=\"{stream}\",");
    let rows = page
        .lines()
        .filter(|row| row.starts_with(&begin) && row.contains(&stream));
    rows.map(|row| {
        let (labels, value) = row.rsplit_once("\"} ").unwrap();
        (labels.rsplit_once("=\"").unwrap().1, value)
    })
    .collect()
}

/// Each state is there once, and this one is 1.
fn assert_state(page: &str, stream: &str, state: &str) {
    let all = ["waiting", "connecting", "connected", "live", "retrying"];
    let right = all.map(|word| (word, if word == state { "1" } else { "0" }));
    assert_eq!(of(page, "state", "pull", stream), right, "{stream}");
}

/// Each of these pulls has the `state`, or the trouble of this `code` and no other one.
pub(crate) fn assert_told(page: &str, cases: &[(&str, &str, &str)]) {
    for (name, key, value) in cases {
        let stream = format!("live/{name}");
        let trouble = of(page, "trouble", "pull", &stream);
        if *key == "state" {
            assert_state(page, &stream, value);
            assert_eq!(trouble, [], "{stream}");
            continue;
        }
        let states = of(page, "state", "pull", &stream);
        let on: Vec<_> = states.iter().filter(|(_, on)| *on == "1").collect();
        let right = matches!(on[..], [("connecting" | "retrying", _)]);
        assert!(right, "{stream}: {states:?}");
        assert_eq!(trouble, [(*value, "1")], "{stream}");
    }
    // The words of other servers are for people.
    assert!(!page.contains("not you"), "{page}");
    assert!(!page.contains("keyword-77"), "{page}");
}
