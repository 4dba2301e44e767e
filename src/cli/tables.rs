//! What the server said, as tables for people: aligned, with units, and nothing in them that a peer
//! could use to write on the terminal.

use super::grid::{Left, Right, Table};
use super::remotes;
use crate::control::model::{
    Answer, Drain, Health, Kicked, Master, Mirror, Status, Stream, Viewer, Watching,
};
use crate::telemetry::logging::{Escaped, Sentence};
use crate::telemetry::words::count;

/// `crtmpserver status`.
pub(super) fn overview(answer: &Answer) -> Vec<String> {
    let mut lines = Vec::new();
    let (Some(status), Some(health)) = (&answer.status, &answer.health) else {
        return lines;
    };
    let program = answer.program.clone().unwrap_or_default();
    lines.push(format!(
        "crtmpserver {} ({}), pid {}, up {}: {}",
        Escaped(&program.version),
        Escaped(&status.role),
        program.pid,
        span(answer.uptime_ms),
        if health.healthy {
            "healthy"
        } else {
            "NOT HEALTHY"
        },
    ));
    lines.extend(
        health
            .troubles
            .iter()
            .chain(&health.notes)
            .map(|t| item("trouble", &sentence(t))),
    );
    let listeners: Vec<String> = status
        .listeners
        .iter()
        .map(|l| format!("{} {}", l.protocol, l.address))
        .collect();
    lines.push(item("listens on", &sentence(&listeners.join(", "))));
    if let Some(master) = &status.master {
        lines.push(item("master", &link(master, answer.at_ms)));
    }
    let rates = answer.rates.clone().unwrap_or_default();
    lines.push(item(
        "traffic",
        &format!(
            "in {} Mbit/s, out {} Mbit/s; {} in all",
            mbit(rates.in_kbit_per_second),
            mbit(rates.out_kbit_per_second),
            count(status.connections, "connection"),
        ),
    ));
    lines.push(item("viewers", &watching(status.viewers)));
    lines.extend(public(status, answer.at_ms).map(|what| item("takes", &what)));
    let streams = answer.streams.as_deref().unwrap_or_default();
    lines.push(String::new());
    lines.extend(self::streams(streams, answer.at_ms));
    let mirrors = answer.mirrors.as_deref().unwrap_or_default();
    if !mirrors.is_empty() {
        lines.push(String::new());
        lines.extend(self::mirrors(mirrors, answer.at_ms));
    }
    let remotes = answer.remotes.as_deref().unwrap_or_default();
    if !remotes.is_empty() {
        lines.push(String::new());
        lines.extend(remotes::table(remotes, answer.at_ms));
    }
    lines
}

fn item(name: &str, what: &str) -> String {
    format!("{name:<12}{what}")
}

fn watching(viewers: Watching) -> String {
    let hls = match viewers.hls {
        0 => String::new(),
        n => format!("{n} hls, "),
    };
    format!(
        "{} ({} rtmp, {} http-flv, {hls}{} mirror)",
        viewers.total(),
        viewers.rtmp,
        viewers.flv,
        viewers.mirror,
    )
}

/// Whether it takes viewers, when that is worth a line.
fn public(status: &Status, now: u64) -> Option<String> {
    if let Some(drain) = &status.drain {
        let left = span(drain.deadline_ms.saturating_sub(now));
        return Some(if drain.is_over() {
            "NO VIEWERS: it is drained, and nobody watches any more".to_owned()
        } else {
            format!(
                "NO VIEWERS: it is drained, {} have {left} to move",
                count(
                    usize::try_from(drain.viewers).unwrap_or(usize::MAX),
                    "viewer"
                ),
            )
        });
    }
    let mut bounds = Vec::new();
    bounds.extend(status.max_viewers.map(|most| format!("{most} viewers")));
    bounds.extend(
        status
            .max_kbit_per_second
            .map(|most| format!("{} Mbit/s", most / 1000)),
    );
    if bounds.is_empty() {
        return None;
    }
    let bounds = bounds.join(", ");
    Some(if status.state == "full" {
        format!("NO VIEWERS: it is full ({bounds})")
    } else {
        format!("up to {bounds}")
    })
}

/// `ctl drain`.
pub(super) fn drain(drain: Option<&Drain>, now: u64) -> Vec<String> {
    let Some(drain) = drain else {
        return Vec::new();
    };
    let left = span(drain.deadline_ms.saturating_sub(now));
    let viewers = usize::try_from(drain.viewers).unwrap_or(usize::MAX);
    let end = if drain.exit { "; then it ends" } else { "" };
    vec![if drain.is_over() {
        let ended = match drain.ended {
            0 => String::new(),
            ended => format!(
                ", {} had not moved in time and got no more",
                count(usize::try_from(ended).unwrap_or(usize::MAX), "viewer")
            ),
        };
        format!("drained: nobody watches here{ended}{end}")
    } else {
        format!(
            "new viewers go elsewhere, {} have {left} to move{end}",
            count(viewers, "viewer")
        )
    }]
}

fn link(master: &Master, now: u64) -> String {
    let since = master.since_ms.map(|at| span(now.saturating_sub(at)));
    let since = since.unwrap_or_default();
    let error = sentence(master.error.as_deref().unwrap_or_default());
    let what = match master.state.as_str() {
        "up" => format!("linked for {since}"),
        "down" => format!("NO LINK for {since}: {error}"),
        _ => "a foreign server; each stream is pulled by itself".to_owned(),
    };
    format!("{}, {what}", text(&master.url))
}

/// `ctl streams`.
pub(super) fn streams(streams: &[Stream], now: u64) -> Vec<String> {
    if streams.is_empty() {
        return vec!["no streams".to_owned()];
    }
    let mut table = Table::new(&[
        ("ID", Right),
        ("STREAM", Left),
        ("STATE", Left),
        ("FOR", Right),
        ("CODECS", Left),
        ("MBIT/S", Right),
        ("FPS", Right),
        ("DROPPED", Right),
        ("VIEWERS", Right),
    ]);
    for stream in streams {
        let since = stream.waiting_since_ms.unwrap_or(stream.since_ms);
        let codecs: Vec<String> = [&stream.video, &stream.audio]
            .into_iter()
            .flatten()
            .map(|c| text(c))
            .collect();
        let cells = vec![
            stream
                .publisher_id
                .map_or("-".to_owned(), |id| id.to_string()),
            text(&stream.name),
            text(&stream.state),
            span(now.saturating_sub(since)),
            if codecs.is_empty() {
                "-".to_owned()
            } else {
                codecs.join(" ")
            },
            mbit(Some(stream.kbit_per_second)),
            stream.fps.map_or("-".to_owned(), |fps| format!("{fps:.1}")),
            stream.dropped.to_string(),
            stream.viewers.total().to_string(),
        ];
        table.row(cells, Some(origin(stream)));
    }
    table.lines()
}

/// Where a stream comes from.
fn origin(stream: &Stream) -> String {
    let mut parts = vec![format!("from {}", text(&stream.source))];
    parts.extend(
        stream
            .user
            .as_ref()
            .map(|user| format!("user {}", text(user))),
    );
    parts.extend(stream.encoder.as_ref().map(|encoder| text(encoder)));
    if stream.epochs > 1 {
        parts.push(format!("epoch {}", stream.epochs));
    }
    parts.join(", ")
}

/// `ctl viewers`; without the stream's column when all are of one.
pub(super) fn viewers(viewers: &[Viewer], of_one: bool, now: u64) -> Vec<String> {
    if viewers.is_empty() {
        return vec!["no viewers".to_owned()];
    }
    let mut columns = vec![("ID", Right)];
    if !of_one {
        columns.push(("STREAM", Left));
    }
    columns.extend([
        ("VIA", Left),
        ("PEER", Left),
        ("FOR", Right),
        ("SENT", Right),
        ("MBIT/S", Right),
        ("LAG", Right),
        ("SKIPPED", Right),
        ("STATE", Left),
    ]);
    let mut table = Table::new(&columns);
    for viewer in viewers {
        let mut cells = vec![viewer.id.to_string()];
        if !of_one {
            cells.push(text(&viewer.stream));
        }
        cells.extend([
            text(&viewer.protocol),
            text(&viewer.peer),
            span(now.saturating_sub(viewer.since_ms)),
            size(viewer.bytes),
            mbit(viewer.kbit_per_second),
            lag(viewer.lag_ms),
            viewer.skipped.to_string(),
            text(&viewer.state),
        ]);
        table.row(cells, None);
    }
    table.lines()
}

/// `ctl mirrors`.
pub(super) fn mirrors(mirrors: &[Mirror], now: u64) -> Vec<String> {
    if mirrors.is_empty() {
        return vec!["no mirrors".to_owned()];
    }
    let mut table = Table::new(&[
        ("MIRROR", Left),
        ("PEER", Left),
        ("FOR", Right),
        ("LINK", Left),
        ("STATE", Left),
        ("VIEWERS", Right),
        ("MBIT/S", Right),
        ("WEIGHT", Right),
    ]);
    let of = |used: Option<String>, most: Option<String>| match (used, most) {
        (Some(used), Some(most)) => format!("{used} of {most}"),
        (used, _) => used.unwrap_or("-".to_owned()),
    };
    for mirror in mirrors {
        let figure = |n: Option<u32>| n.map(|n| n.to_string());
        let rate = |n: Option<u32>| n.map(|n| mbit(Some(n.into())));
        let cells = vec![
            text(&mirror.id),
            text(&mirror.peer),
            span(now.saturating_sub(mirror.since_ms)),
            text(&mirror.link),
            mirror.state.as_deref().map_or("-".to_owned(), text),
            of(figure(mirror.viewers), figure(mirror.max_viewers)),
            of(
                rate(mirror.kbit_per_second),
                rate(mirror.max_kbit_per_second),
            ),
            figure(mirror.weight.map(u32::from)).unwrap_or("-".to_owned()),
        ];
        let place = text(&mirror.urls.join(" "));
        table.row(cells, (!place.is_empty()).then(|| format!("at {place}")));
    }
    table.lines()
}

/// `ctl health`.
pub(super) fn health(health: &Health) -> Vec<String> {
    let fine = health.healthy.then(|| "healthy".to_owned());
    let wrong = health.troubles.iter().chain(&health.notes);
    fine.into_iter().chain(wrong.map(|t| sentence(t))).collect()
}

/// `ctl kick`.
pub(super) fn kicked(kicked: &Kicked) -> String {
    let what = |did: &str, streams: &[String]| {
        (!streams.is_empty()).then(|| format!(", which {did} {}", text(&streams.join(" "))))
    };
    format!(
        "ended connection {} from {}{}{}",
        kicked.id,
        text(&kicked.peer),
        what("published", &kicked.published).unwrap_or_default(),
        what("played", &kicked.played).unwrap_or_default(),
    )
}

/// Text that may come from a peer.
pub(super) fn text(text: &str) -> String {
    Escaped(text).to_string()
}

/// What the server says itself, and may have what a peer said in it.
pub(super) fn sentence(text: &str) -> String {
    Sentence(text).to_string()
}

/// `5s`, `12m5s`, `3h12m`, `4d3h`.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m{rest}s"),
        (0, ..) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

/// `812 B`, `1.2 MB`.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut figure = bytes as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB", "PB"] {
        // What would be rounded up to four digits has the next unit.
        if figure < 999.5 {
            break;
        }
        figure /= 1000.0;
        unit = next;
    }
    let digits = usize::from(figure < 9.95);
    format!("{figure:.digits$} {unit}")
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mbit(kbit: Option<u64>) -> String {
    kbit.map_or("-".to_owned(), |n| format!("{:.2}", n as f64 / 1000.0))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn lag(ms: u64) -> String {
    if ms < 1000 {
        format!("{ms} ms")
    } else {
        format!("{:.1} s", ms as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::model::{Listener, Program, Rates, Status};

    fn stream() -> Stream {
        Stream {
            name: "live/event".into(),
            state: "live".into(),
            since_ms: 1000,
            source: "rtmp 203.0.113.7:51234".into(),
            publisher_id: Some(3),
            user: Some("ann".into()),
            encoder: Some("obs\u{1b}[2J\n".into()),
            video: Some("avc1".into()),
            audio: Some("mp4a".into()),
            fps: Some(25.0),
            kbit_per_second: 2512,
            epochs: 2,
            ..Stream::default()
        }
    }

    #[test]
    fn figures_are_for_people() {
        let shown = [
            0,
            59_999,
            60_000,
            3_599_000,
            3_600_000,
            86_400_000,
            1_000_000_000,
        ]
        .map(span);
        assert_eq!(
            shown,
            ["0s", "59s", "1m0s", "59m59s", "1h0m", "1d0h", "11d13h"]
        );
        let shown = [0, 999, 1000, 9_940, 9_960, 999_600, 1_234_567_890].map(size);
        assert_eq!(
            shown,
            [
                "0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "1.0 MB", "1.2 GB"
            ]
        );
        assert!(size(u64::MAX).ends_with(" PB"));
        assert_eq!(mbit(Some(2512)), "2.51");
        assert_eq!(mbit(None), "-");
        assert_eq!([lag(999), lag(1250)], ["999 ms", "1.2 s"]);
    }

    #[test]
    fn what_is_to_be_done_is_not_cut_off() {
        let trouble = format!("master: {} and reload", "x".repeat(300));
        let sick = Health {
            troubles: vec![trouble.clone(), "\x1b[2J".repeat(1000)],
            ..Health::default()
        };
        let lines = health(&sick);
        assert_eq!(lines[0], trouble);
        assert!(lines[1].len() < 2000 && !lines[1].contains('\x1b'));
    }

    #[test]
    fn columns_are_aligned_and_peers_cannot_write_on_the_terminal() {
        let other = Stream {
            name: "live/x".into(),
            state: "waiting".into(),
            waiting_since_ms: Some(60_500),
            source: "pull rtmp://m:1935/live/x".into(),
            ..Stream::default()
        };
        let lines = streams(&[stream(), other], 61_500);
        assert_eq!(
            lines,
            [
                "ID  STREAM      STATE    FOR  CODECS     MBIT/S   FPS  DROPPED  VIEWERS",
                " 3  live/event  live     1m0s  avc1 mp4a    2.51  25.0        0        0",
                "    from rtmp 203.0.113.7:51234, user ann, obs\\x1b[2J\\x0a, epoch 2",
                " -  live/x      waiting    1s  -            0.00     -        0        0",
                "    from pull rtmp://m:1935/live/x",
            ]
            .map(|line| line.replace("STATE    FOR ", "STATE     FOR "))
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn viewers_fit_a_terminal() {
        let viewer = Viewer {
            id: 1234,
            protocol: "http-flv".into(),
            peer: "203.0.113.77:51234".into(),
            stream: "live/event".into(),
            since_ms: 0,
            state: "playing".into(),
            bytes: 123_456_789,
            kbit_per_second: Some(2512),
            frames: 9,
            skipped: 12,
            lag_ms: 40,
            lag_frames: 1,
        };
        let lines = viewers(std::slice::from_ref(&viewer), true, 43_200_000);
        assert_eq!(
            lines,
            [
                "  ID  VIA       PEER                  FOR    SENT  MBIT/S    LAG  SKIPPED  STATE",
                "1234  http-flv  203.0.113.77:51234  12h0m  123 MB    2.51  40 ms       12  playing",
            ]
        );
        assert!(viewers(&[viewer], false, 0)[0].contains("STREAM"));
        assert_eq!(viewers(&[], true, 0), ["no viewers"]);
    }

    #[test]
    fn what_is_wrong_comes_first() {
        let answer = Answer {
            at_ms: 10_000,
            uptime_ms: 9_000,
            program: Some(Program {
                version: "2".into(),
                publish: false,
                pid: 7,
            }),
            health: Some(Health {
                troubles: vec!["master: connection refused".into()],
                ..Health::default()
            }),
            rates: Some(Rates {
                in_kbit_per_second: Some(10),
                out_kbit_per_second: None,
            }),
            status: Some(Status {
                role: "mirror".into(),
                listeners: vec![Listener {
                    protocol: "rtmp".into(),
                    address: "[::]:1935".into(),
                }],
                master: Some(Master {
                    url: "rtmp://m:1935".into(),
                    state: "down".into(),
                    since_ms: Some(4_000),
                    error: Some("connection refused".into()),
                }),
                connections: 1,
                ..Status::default()
            }),
            ..Answer::default()
        };
        assert_eq!(
            overview(&answer),
            [
                "crtmpserver 2 (mirror), pid 7, up 9s: NOT HEALTHY",
                "trouble     master: connection refused",
                "listens on  rtmp [::]:1935",
                "master      rtmp://m:1935, NO LINK for 6s: connection refused",
                "traffic     in 0.01 Mbit/s, out - Mbit/s; 1 connection in all",
                "viewers     0 (0 rtmp, 0 http-flv, 0 mirror)",
                "",
                "no streams",
            ]
        );
    }
}
