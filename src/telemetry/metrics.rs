//! The figures of `/metrics`, kept while the server works and read by whoever asks.
//!
//! Everything is counted where it happens, with one atomic addition; what the hub knows anyway
//! (streams, their frames and bytes) is read from it when the page is made.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::recordings::RecordFigures;
use super::streams::Streams;
use crate::relay::{self, Hub};

/// The prefix of every name.
const PREFIX: &str = "crtmpserver";

/// Buckets of the join time, seconds: from "at once" to "a whole long GOP was waited for".
const JOIN_BUCKETS: [f64; 12] = [
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 4.0, 10.0,
];

/// One label and its value.
type Label = (&'static str, &'static str);

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RTMP, whoever it is: viewer, publisher or mirror.
    Rtmp,
    /// FLV over HTTP.
    Flv,
    /// Any other HTTP, and HTTP of which nothing is known yet.
    Http,
    /// FLV over a bare connection, from an encoder.
    LiveFlv,
    /// MPEG-TS from an encoder, over TCP or UDP.
    Ts,
    /// RTSP from an encoder, its media included.
    Rtsp,
}

impl Protocol {
    /// The label of the metrics and the field of the log.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Flv => "flv",
            Self::Http => "http",
            Self::LiveFlv => "liveflv",
            Self::Ts => "ts",
            Self::Rtsp => "rtsp",
        }
    }
}

/// What is counted for each protocol.
#[derive(Debug)]
pub struct Traffic {
    /// Bytes that peers sent.
    pub bytes_in: Counter,
    /// Bytes that peers' sockets took.
    pub bytes_out: Counter,
    /// Frames that went out whole, counted for each viewer.
    pub frames_out: Counter,
    /// Frames that late viewers were not given.
    pub frames_skipped: Counter,
    /// Viewers that began to play.
    pub joins: Counter,
    /// Viewers that play now.
    pub viewers: Gauge,
    /// From the request to the first byte of a key frame in the socket, seconds.
    pub join_seconds: Histogram,
    /// Connections that are open now.
    pub connections: Gauge,
    /// Connections that were accepted.
    pub accepted: Counter,
    protocol: Protocol,
    closes: Family<[Label; 2], Counter>,
}

impl Traffic {
    /// Counts the end of a connection; the sum over all reasons is the number of closings.
    pub fn closed(&self, reason: &'static str) {
        self.closes
            .get_or_create(&[("protocol", self.protocol.label()), ("reason", reason)])
            .inc();
    }

    /// How many connections ended for this reason.
    #[must_use]
    pub fn closes(&self, reason: &'static str) -> u64 {
        self.closes
            .get_or_create(&[("protocol", self.protocol.label()), ("reason", reason)])
            .get()
    }
}

/// What is counted of HLS beside the bytes of HTTP.
#[derive(Debug)]
pub struct HlsFigures {
    /// Viewers that read playlists now.
    viewers: Gauge,
    /// Viewers that began to.
    pub joins: Counter,
    /// Streams that are packaged now.
    pub streams: Gauge,
    /// Segments that were made.
    pub segments: Counter,
    /// Segments that could not be made.
    pub lost: Counter,
    /// Bytes of the segments that are kept now.
    pub bytes: Gauge,
}

/// All counters of the process. There is one, shared by everything that counts.
#[derive(Debug)]
pub struct Metrics {
    rtmp: Traffic,
    flv: Traffic,
    http: Traffic,
    liveflv: Traffic,
    ts: Traffic,
    rtsp: Traffic,
    /// What was wrong with what encoders sent as MPEG-TS or RTP, by kind.
    media_errors: Family<[Label; 2], Counter>,
    /// Connections that were refused before a byte was read, by reason.
    refused: Family<[Label; 1], Counter>,
    /// Viewers that were sent to another host, by reason.
    elsewhere: Family<[Label; 1], Counter>,
    /// Tasks that panicked; each cost one connection. Always 0 in a healthy server.
    pub panics: Counter,
    /// Errors of `accept` that were waited out.
    pub accept_errors: Counter,
    /// Logins (Adobe or mirror) that failed.
    pub logins_failed: Counter,
    /// Publishers that are connected now.
    pub publishers: Gauge,
    /// Mirrors whose control connection is up.
    pub mirrors: Gauge,
    /// Streams that servers pull from this one.
    mirror_viewers: Gauge,
    /// HLS.
    pub hls: HlsFigures,
    /// Recordings.
    pub recordings: RecordFigures,
    /// Plays of files, now.
    pub file_viewers: Gauge,
    /// Plays of files that began.
    pub file_joins: Counter,
    /// 1 while a mirror's control connection to its master is up.
    pub master_up: Gauge,
    /// Streams that a mirror pulls now.
    pub pulls: Gauge,
    /// Attempts to reach the master that failed.
    pub master_failures: Counter,
    shard_busy: OfShards,
    shard_merge: OfShards,
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(|_| ())
    }
}

impl Metrics {
    /// All counters at zero, and the streams of a hub beside them.
    #[must_use]
    pub fn of(hub: &Arc<Hub>) -> Self {
        Self::with(hub, Vec::new())
    }

    /// The same, and what these collect.
    #[must_use]
    pub fn with(hub: &Arc<Hub>, more: Vec<Box<dyn Collector>>) -> Self {
        Self::new(|registry| {
            registry.register_collector(Box::new(Streams(Arc::clone(hub))));
            for collector in more {
                registry.register_collector(collector);
            }
        })
    }

    /// All counters at zero. `more` registers collectors (the hub's) beside them.
    #[must_use]
    fn new(more: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register(
            "build",
            "The running program",
            Info::new([
                ("version", env!("CARGO_PKG_VERSION")),
                (
                    "publish",
                    if cfg!(feature = "publish") {
                        "yes"
                    } else {
                        "no"
                    },
                ),
            ]),
        );
        let families = Families::register(&mut registry);
        let refused = family(
            &mut registry,
            "connections_refused",
            "Connections refused before a byte was read",
        );
        let media_errors = family(
            &mut registry,
            "media_errors",
            "Damage in what encoders sent as MPEG-TS or RTP",
        );
        let elsewhere = family(
            &mut registry,
            "viewers_refused",
            "Viewers that were sent to another host",
        );
        let shard_busy = of_shards(
            &mut registry,
            "shard_busy",
            "Part of its time that a shard works",
        );
        let shard_merge = of_shards(
            &mut registry,
            "shard_merge_seconds",
            "How long a shard lets frames collect before it writes them",
        );
        let mut counter = |name: &str, help: &str| counter(&mut registry, name, help);
        let panics = counter("panics", "Connections lost to a defect of the server");
        let accept_errors = counter("accept_errors", "Errors of accept that were waited out");
        let logins_failed = counter("logins_failed", "Logins that failed");
        let master_failures = counter(
            "master_failures",
            "Attempts to reach the master that failed",
        );
        let hls_segments = counter("hls_segments", "Segments that were made");
        let hls_lost = counter("hls_segments_lost", "Segments that could not be made");
        let mut gauge = |name: &str, help: &str| gauge(&mut registry, name, help);
        let publishers = gauge("publishers", "Publishers that are connected");
        let mirrors = gauge("mirrors", "Mirrors that are connected");
        let master_up = gauge("master_up", "Whether the link to the master is up");
        let pulls = gauge("pulls", "Streams that are pulled from the master");
        let hls_streams = gauge("hls_streams", "Streams that are packaged for HLS");
        let hls_bytes = gauge("hls_bytes", "Bytes of the segments that are kept");
        let recordings = RecordFigures::register(&mut registry);
        more(&mut registry);
        Self {
            recordings,
            rtmp: families.traffic(Protocol::Rtmp),
            flv: families.traffic(Protocol::Flv),
            http: families.traffic(Protocol::Http),
            liveflv: families.traffic(Protocol::LiveFlv),
            ts: families.traffic(Protocol::Ts),
            rtsp: families.traffic(Protocol::Rtsp),
            media_errors,
            refused,
            elsewhere,
            panics,
            accept_errors,
            logins_failed,
            publishers,
            mirrors,
            mirror_viewers: families.viewers_of("mirror"),
            file_viewers: families.viewers_of("file"),
            file_joins: families.joins_of("file"),
            hls: HlsFigures {
                viewers: families.viewers_of("hls"),
                joins: families.joins_of("hls"),
                streams: hls_streams,
                segments: hls_segments,
                lost: hls_lost,
                bytes: hls_bytes,
            },
            master_up,
            pulls,
            master_failures,
            shard_busy,
            shard_merge,
            registry,
        }
    }

    /// The counters of one protocol.
    #[must_use]
    pub const fn traffic(&self, protocol: Protocol) -> &Traffic {
        match protocol {
            Protocol::Rtmp => &self.rtmp,
            Protocol::Flv => &self.flv,
            Protocol::Http => &self.http,
            Protocol::LiveFlv => &self.liveflv,
            Protocol::Ts => &self.ts,
            Protocol::Rtsp => &self.rtsp,
        }
    }

    /// Counts damage in what an encoder sent.
    pub fn media_errors(&self, protocol: Protocol, kind: &'static str, count: u64) {
        if count > 0 {
            let labels = [("protocol", protocol.label()), ("kind", kind)];
            self.media_errors.get_or_create(&labels).inc_by(count);
        }
    }

    /// Bytes that came in, over all protocols.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.sum(|traffic| traffic.bytes_in.get())
    }

    /// Bytes that went out, over all protocols.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.sum(|traffic| traffic.bytes_out.get())
    }

    fn sum(&self, of: fn(&Traffic) -> u64) -> u64 {
        let ways = [&self.liveflv, &self.ts, &self.rtsp];
        let all = [&self.rtmp, &self.flv, &self.http].into_iter().chain(ways);
        all.map(of).fold(0, u64::saturating_add)
    }

    /// Notes how busy a shard was, and how long it lets frames collect.
    pub fn shard(&self, index: usize, busy: f64, merge: Duration) {
        let label = || [("shard", index.to_string())];
        self.shard_busy.get_or_create(&label()).set(busy);
        self.shard_merge
            .get_or_create(&label())
            .set(merge.as_secs_f64());
    }

    /// The viewers of one kind. A mirror's pull is one of the kind `mirror`, so that the viewers of all
    /// servers can be added up.
    #[must_use]
    pub const fn viewers(&self, watching: relay::Protocol) -> &Gauge {
        match watching {
            relay::Protocol::Rtmp => &self.rtmp.viewers,
            relay::Protocol::Flv => &self.flv.viewers,
            relay::Protocol::Mirror => &self.mirror_viewers,
            relay::Protocol::Hls => &self.hls.viewers,
        }
    }

    /// Counts a connection that was refused at accept.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a viewer that was sent to another host.
    pub fn sent_elsewhere(&self, reason: &'static str) {
        self.elsewhere.get_or_create(&[("reason", reason)]).inc();
    }

    /// How many connections were refused at accept for this reason.
    #[must_use]
    pub fn refusals(&self, reason: &'static str) -> u64 {
        self.refused.get_or_create(&[("reason", reason)]).get()
    }

    /// The page that Prometheus reads, in the `OpenMetrics` text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut page = String::new();
        // Writing to a `String` does not fail.
        let _ = encode(&mut page, &self.registry);
        page
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// A figure of each shard.
type OfShards = Family<[(&'static str, String); 1], Gauge<f64, AtomicU64>>;

fn of_shards(registry: &mut Registry, name: &str, help: &str) -> OfShards {
    let family = OfShards::default();
    registry.register(name, help, family.clone());
    family
}

/// Counters with these labels; each is there from its first time on.
fn family<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> Family<[Label; N], Counter>
where
    [Label; N]: EncodeLabelSet + Clone + std::fmt::Debug + Eq + std::hash::Hash + Send + Sync,
{
    let family = Family::default();
    registry.register(name, help, family.clone());
    family
}

/// The families that exist once for each protocol.
struct Families {
    counters: [Family<[Label; 1], Counter>; 6],
    gauges: [Family<[Label; 1], Gauge>; 2],
    joins: Family<[Label; 1], Histogram, fn() -> Histogram>,
    closes: Family<[Label; 2], Counter>,
}

impl Families {
    fn register(registry: &mut Registry) -> Self {
        let mut counter = |name: &str, help: &str| {
            let family = Family::<[Label; 1], Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        let counters = [
            counter("bytes_in", "Bytes received"),
            counter("bytes_out", "Bytes that sockets took"),
            counter("frames_out", "Frames sent, counted for each viewer"),
            counter("frames_skipped", "Frames that late viewers were not given"),
            counter("joins", "Viewers that began to play"),
            counter("connections_accepted", "Connections accepted"),
        ];
        let mut gauge = |name: &str, help: &str| {
            let family = Family::<[Label; 1], Gauge>::default();
            registry.register(name, help, family.clone());
            family
        };
        let gauges = [
            gauge("viewers", "Viewers that play"),
            gauge("connections", "Connections that are open"),
        ];
        let joins: Family<[Label; 1], Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(JOIN_BUCKETS));
        registry.register(
            "join_seconds",
            "From the request of a viewer to the first byte of a key frame",
            joins.clone(),
        );
        let closes = Family::default();
        registry.register("closes", "Connections closed, by reason", closes.clone());
        Self {
            counters,
            gauges,
            joins,
            closes,
        }
    }

    fn viewers_of(&self, label: &'static str) -> Gauge {
        let [viewers, _] = &self.gauges;
        viewers.get_or_create(&[("protocol", label)]).clone()
    }

    fn joins_of(&self, label: &'static str) -> Counter {
        let [_, _, _, _, joins, _] = &self.counters;
        joins.get_or_create(&[("protocol", label)]).clone()
    }

    fn traffic(&self, protocol: Protocol) -> Traffic {
        let label = [("protocol", protocol.label())];
        let [
            bytes_in,
            bytes_out,
            frames_out,
            frames_skipped,
            joins,
            accepted,
        ] = self
            .counters
            .each_ref()
            .map(|f| f.get_or_create(&label).clone());
        let [viewers, connections] = self
            .gauges
            .each_ref()
            .map(|f| f.get_or_create(&label).clone());
        let mut traffic = Traffic {
            bytes_in,
            bytes_out,
            frames_out,
            frames_skipped,
            joins,
            viewers,
            join_seconds: self.joins.get_or_create(&label).clone(),
            connections,
            accepted,
            protocol,
            closes: self.closes.clone(),
        };
        self.leave_out(&mut traffic, &label);
        traffic
    }

    /// Takes off the page what could only ever be 0: viewers of pages, and connections that were
    /// accepted as FLV (they were accepted as HTTP).
    fn leave_out(&self, traffic: &mut Traffic, label: &[Label; 1]) {
        let [_, _, frames_out, frames_skipped, joins, accepted] = &self.counters;
        let [viewers, connections] = &self.gauges;
        match traffic.protocol {
            Protocol::Rtmp => {}
            Protocol::Flv => {
                traffic.accepted = Counter::default();
                traffic.connections = Gauge::default();
                accepted.remove(label);
                connections.remove(label);
            }
            Protocol::Http | Protocol::LiveFlv | Protocol::Ts | Protocol::Rtsp => {
                traffic.frames_out = Counter::default();
                traffic.frames_skipped = Counter::default();
                traffic.joins = Counter::default();
                traffic.viewers = Gauge::default();
                traffic.join_seconds = Histogram::new(JOIN_BUCKETS);
                for family in [frames_out, frames_skipped, joins] {
                    family.remove(label);
                }
                viewers.remove(label);
                self.joins.remove(label);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_tells_what_was_counted() {
        let metrics = Metrics::default();
        let flv = metrics.traffic(Protocol::Flv);
        flv.bytes_out.inc_by(7);
        flv.join_seconds.observe(0.003);
        flv.closed("too-slow");
        metrics.refused("full");
        metrics.traffic(Protocol::Rtmp).viewers.set(3);
        metrics.viewers(relay::Protocol::Mirror).inc();
        let page = metrics.render();
        for line in [
            "crtmpserver_bytes_out_total{protocol=\"flv\"} 7",
            "crtmpserver_closes_total{protocol=\"flv\",reason=\"too-slow\"} 1",
            "crtmpserver_connections_refused_total{reason=\"full\"} 1",
            "crtmpserver_viewers{protocol=\"rtmp\"} 3",
            "crtmpserver_viewers{protocol=\"mirror\"} 1",
            "crtmpserver_join_seconds_bucket{le=\"0.005\",protocol=\"flv\"} 1",
            "crtmpserver_join_seconds_bucket{le=\"0.002\",protocol=\"flv\"} 0",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
        assert!(page.contains(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")));
        assert!(page.ends_with("# EOF\n"));
        for line in [
            "crtmpserver_viewers{protocol=\"http\"}",
            "crtmpserver_join_seconds_count{protocol=\"http\"}",
            "crtmpserver_frames_out_total{protocol=\"http\"}",
            "crtmpserver_connections{protocol=\"flv\"}",
        ] {
            assert!(!page.contains(line), "{line} would always be 0");
        }
        assert_eq!(flv.closes("too-slow"), 1);
        assert_eq!(metrics.refusals("full"), 1);
    }
}
