//! The rows of the answers, from what the parts of the server know.

use std::time::Instant;

use super::model::{Mirror, Program, Remote, Stream, Viewer, Watching};
use crate::cluster;
use crate::net::{PublisherNow, ViewerNow, ViewerState, Watched};
use crate::relay::{self, State, StreamInfo, millis};
use crate::remote::{Origin, Row};
use crate::rtmp::mirror::host::Host;
use crate::system::wall_ms;

/// Both clocks at the same moment.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: Instant,
    pub(super) wall: u64,
}

impl Clock {
    pub(super) fn read() -> Self {
        Self {
            now: Instant::now(),
            wall: wall_ms(),
        }
    }

    pub(super) fn date(&self, at: Instant) -> u64 {
        let ago = self.now.saturating_duration_since(at);
        self.wall.saturating_sub(millis(ago))
    }
}

pub(super) fn program() -> Program {
    Program {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        publish: cfg!(feature = "publish"),
        pid: std::process::id(),
    }
}

pub(super) fn mirror(
    id: String,
    mirror: &cluster::Mirror,
    host: Option<&Host>,
    clock: Clock,
) -> Mirror {
    let load = host.map(|host| host.load);
    let urls = host.into_iter().flat_map(|host| host.urls.iter());
    Mirror {
        id,
        peer: mirror.peer.to_string(),
        since_ms: clock.date(mirror.since),
        link: "up".to_owned(),
        state: load.map(|load| load.state.as_str().to_owned()),
        urls: urls.map(str::to_owned).collect(),
        weight: load.map(|load| load.weight),
        viewers: load.map(|load| load.viewers),
        max_viewers: load.and_then(|load| load.max_viewers),
        kbit_per_second: load.map(|load| load.kbit),
        max_kbit_per_second: load.and_then(|load| load.max_kbit),
    }
}

pub(super) fn stream(
    info: &StreamInfo,
    fps: Option<f64>,
    publisher: Option<&PublisherNow>,
    clock: Clock,
) -> Stream {
    let live = info.state == State::Live;
    Stream {
        name: info.name.to_string(),
        state: if live { "live" } else { "waiting" }.to_owned(),
        since_ms: clock.date(info.since),
        waiting_since_ms: match info.state {
            State::Waiting { since } => Some(clock.date(since)),
            State::Live | State::Ended => None,
        },
        source: info.source.clone(),
        publisher_id: publisher.map(|p| p.id),
        peer: publisher.map(|p| p.peer.to_string()),
        // A pull has a name that no user can have.
        user: info.identity.clone().filter(|name| !name.starts_with(':')),
        encoder: publisher
            .filter(|p| !p.encoder.is_empty())
            .map(|p| p.encoder.to_string()),
        video: info.video.map(|c| c.to_string()),
        audio: info.audio.map(|c| c.to_string()),
        // One digit is what can be told from millisecond timestamps.
        fps: fps.filter(|_| live).map(|f| (f * 10.0).round() / 10.0),
        kbit_per_second: info.kbit_per_second,
        frames: info.frames,
        bytes: info.bytes,
        dropped: info.dropped,
        skipped: info.skipped,
        epochs: info.epochs,
        silent_ms: info
            .last_media
            .map(|at| millis(clock.now.saturating_duration_since(at))),
        viewers: Watching {
            rtmp: info.rtmp_viewers,
            flv: info.flv_viewers,
            hls: info.hls_viewers,
            mirror: info.mirror_viewers,
        },
    }
}

pub(super) fn remote(row: &Row, clock: Clock) -> Remote {
    let progress = &row.progress;
    let failure = progress.failure.as_ref();
    Remote {
        id: row.id,
        direction: row.spec.direction.as_str().to_owned(),
        stream: row.spec.local.to_string(),
        remote: row.spec.shown(),
        origin: match row.origin {
            Origin::File => "file",
            Origin::Runtime => "runtime",
            Origin::Each(_) => "each",
        }
        .to_owned(),
        of: match row.origin {
            Origin::Each(id) => Some(id),
            Origin::File | Origin::Runtime => None,
        },
        state: progress.phase.as_str().to_owned(),
        since_ms: clock.date(progress.since),
        code: failure.map(|f| f.code.to_owned()),
        error: failure.map(|f| f.text.clone()),
        error_ms: failure.map(|f| clock.date(f.at)),
        failures: progress.failures,
        connections: progress.connections,
        frames: progress.frames,
        bytes: progress.bytes,
        skipped: progress.skipped,
    }
}

pub(super) fn viewer(now: ViewerNow, clock: Clock) -> Viewer {
    Viewer {
        id: now.id,
        protocol: match (&now.what, now.watching) {
            (Watched::File(_), _) => "file",
            (_, relay::Protocol::Rtmp) => "rtmp",
            (_, relay::Protocol::Flv) => "http-flv",
            (_, relay::Protocol::Hls) => "hls",
            (_, relay::Protocol::Mirror) => "mirror",
        }
        .to_owned(),
        peer: now.peer.to_string(),
        stream: now.what.to_string(),
        since_ms: clock.date(now.since),
        state: match now.state {
            ViewerState::Playing => "playing",
            ViewerState::Waiting => "waiting",
            ViewerState::Paused => "paused",
            ViewerState::Slow => "slow",
        }
        .to_owned(),
        bytes: now.totals.bytes,
        kbit_per_second: None,
        frames: now.totals.frames,
        skipped: now.totals.skipped,
        lag_ms: now.lag_ms,
        lag_frames: now.lag_frames,
    }
}
