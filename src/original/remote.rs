//! Streams of other servers, and streams to them: `externalStreams` and `targetServers`.

use super::Item;
use super::rules::{EXTERNAL_STREAM, TARGET_SERVER};
use super::writer::{Scope, Writer};
use crate::lua::{Table, Value};

/// `externalStreams`
pub(super) fn pulls(writer: &mut Writer<'_>, value: &Value, at: &str, scope: &Scope) {
    for (place, table) in writer.each(value, at) {
        pull(writer, table, &place, scope);
    }
}

fn pull(writer: &mut Writer<'_>, table: &Table, at: &str, scope: &Scope) {
    let Some(uri) = uri(writer, table, ("uri", at), &["rtmp", "rtmps", "rtsp"]) else {
        return;
    };
    let Some(name) = table.text("localStreamName") else {
        return writer.without(at, "has no localStreamName: left out");
    };
    let stream = format!("{}/{name}", scope.application);
    let is_rtsp = uri.starts_with("rtsp:");
    // The original took a password as it was written.
    let uri = if is_rtsp {
        uri.replace(' ', "%20")
    } else {
        uri
    };
    let mut row = vec![("stream", Item::Text(stream)), ("uri", Item::Text(uri))];
    // They say nothing over RTSP, there as here.
    row.extend(texts(table).filter(|_| !is_rtsp));
    if writer.row("pull", row, at) {
        writer.walk(table, EXTERNAL_STREAM, at, scope);
    }
}

/// `targetServers`
pub(super) fn pushes(writer: &mut Writer<'_>, value: &Value, at: &str, scope: &Scope) {
    for (place, table) in writer.each(value, at) {
        push(writer, table, &place, scope);
    }
}

fn push(writer: &mut Writer<'_>, table: &Table, at: &str, scope: &Scope) {
    let Some(uri) = uri(writer, table, ("targetUri", at), &["rtmp", "rtmps"]) else {
        return;
    };
    let app = &scope.application;
    let target = table.text("targetStreamName");
    let mut row = Vec::new();
    match table.text("localStreamName") {
        // The original took the whole path for the application there.
        Some(name) => row.extend([
            ("stream", Item::Text(format!("{app}/{name}"))),
            ("target", Item::Text(target.unwrap_or(name).to_owned())),
        ]),
        None => {
            if target.is_some() {
                let text =
                    "is one name for many streams: each keeps its own (localStreamName names one)";
                writer.without(&format!("{at}.targetStreamName"), text);
            }
            row.push(("stream", Item::Text(format!("{app}/*"))));
        }
    }
    row.insert(1, ("uri", Item::Text(uri)));
    match table.text("targetStreamType") {
        None | Some("live") => {}
        Some(kind @ ("record" | "append")) => row.push(("type", Item::Text(kind.to_owned()))),
        Some(_) => writer.without(
            &format!("{at}.targetStreamType"),
            "is none of live, record and append: live",
        ),
    }
    row.extend(texts(table));
    if writer.row("push", row, at) {
        writer.walk(table, TARGET_SERVER, at, scope);
    }
}

/// The address, when it is one that is spoken here. It may have a password, which nothing tells.
fn uri(
    writer: &mut Writer<'_>,
    table: &Table,
    (key, at): (&str, &str),
    known: &[&str],
) -> Option<String> {
    let Some(uri) = table.text(key) else {
        writer.without(at, format!("has no {key}: left out"));
        return None;
    };
    let scheme = uri.split(':').next().unwrap_or_default();
    match scheme {
        scheme if known.contains(&scheme) => return Some(uri.to_owned()),
        "rtmpe" | "rtmpt" | "rtmpte" => {
            writer.without(
                at,
                format!("{scheme}:// is not spoken: write rtmp:// or rtmps://"),
            );
        }
        _ => {
            let known = known.join(":// or ");
            writer.without(at, format!("is not {known}://: left out"));
        }
    }
    None
}

/// What both say of themselves to the other server.
fn texts(table: &Table) -> impl Iterator<Item = (&'static str, Item)> {
    const KEYS: [(&str, &str); 4] = [
        ("tcUrl", "tc_url"),
        ("pageUrl", "page_url"),
        ("swfUrl", "swf_url"),
        ("emulateUserAgent", "flash_ver"),
    ];
    KEYS.into_iter().filter_map(|(theirs, ours)| {
        let text = table.text(theirs).filter(|text| !text.is_empty())?;
        Some((ours, Item::Text(text.to_owned())))
    })
}
