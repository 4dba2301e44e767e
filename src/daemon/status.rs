//! The one line that `systemctl status` shows: role, streams, viewers, what goes out, the link to the
//! master, and whatever keeps the server from being healthy.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use super::parts::Parts;
use crate::cluster::{Cluster, Link};
use crate::config::Role;
use crate::edge::MASTER;
use crate::relay::{self, Hub, State};
use crate::rtmp::mirror::host::HostState;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::words::count;

/// What the line is made of.
pub(super) struct Status {
    role: Role,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    cluster: Arc<Cluster>,
    health: Arc<Health>,
    /// Bytes that had gone out, and when.
    sent: (u64, Instant),
}

impl Status {
    pub(super) fn new(role: Role, parts: &Parts) -> Self {
        Self {
            role,
            sent: (parts.metrics.bytes_out(), Instant::now()),
            hub: Arc::clone(&parts.hub),
            metrics: Arc::clone(&parts.metrics),
            cluster: Arc::clone(&parts.cluster),
            health: Arc::clone(&parts.health),
        }
    }

    /// The line as of now; what goes out is counted from the last call.
    pub(super) fn line(&mut self, now: Instant) -> String {
        let streams = self.hub.streams();
        let live = streams.iter().filter(|s| s.state() == State::Live).count();
        let waiting = streams.len().saturating_sub(live);
        let viewers = [
            relay::Protocol::Rtmp,
            relay::Protocol::Flv,
            relay::Protocol::Hls,
        ]
        .iter()
        .map(|of| self.metrics.viewers(*of).get())
        .sum::<i64>();
        let mut line = format!("{}: {} live", self.role, count(live, "stream"));
        // Writing to a String cannot fail.
        if waiting > 0 {
            let _ = write!(line, ", {waiting} waiting");
        }
        let mirrors = self.cluster.mirrors().len();
        if mirrors > 0 || self.role == Role::Master {
            let _ = write!(line, ", {}", count(mirrors, "mirror"));
        }
        let viewers = count(usize::try_from(viewers).unwrap_or(0), "viewer");
        let _ = write!(line, ", {viewers}, {}", self.rate(now));
        // The trouble that the link itself tells.
        let mut told = None;
        if let Some(master) = self.cluster.master() {
            let link = self.cluster.link();
            if link != Link::None {
                told = Some(format!("{MASTER}: "));
            }
            match link {
                Link::Up { .. } => {
                    let _ = write!(line, ", linked to {master}");
                }
                Link::Down { error, .. } => {
                    let _ = write!(line, ", no link to {master}: {error}");
                }
                Link::None => {
                    let _ = write!(line, ", pulls from {master}");
                }
            }
        }
        if self.cluster.load().state == HostState::Full {
            line.push_str(", full");
        }
        for trouble in self.health.troubles() {
            if !told.as_ref().is_some_and(|told| trouble.starts_with(told)) {
                let _ = write!(line, "; {trouble}");
            }
        }
        for note in self.health.notes() {
            let _ = write!(line, "; {note}");
        }
        line
    }

    fn rate(&mut self, now: Instant) -> String {
        let (bytes, since) = self.sent;
        let sent = self.metrics.bytes_out();
        self.sent = (sent, now);
        let seconds = now.saturating_duration_since(since).as_secs_f64().max(0.1);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let mbit = sent.saturating_sub(bytes) as f64 * 8.0 / seconds / 1e6;
        if mbit < 100.0 {
            format!("{mbit:.1} Mbit/s out")
        } else {
            format!("{mbit:.0} Mbit/s out")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::StreamName;
    use crate::relay::Claim;
    use crate::telemetry::metrics::Protocol;

    fn status(role: Role) -> Status {
        let status = Status::new(role, &Parts::alone());
        status.health.clear("start");
        status
    }

    fn mirror(link: Option<&str>) -> Status {
        let status = status(Role::Mirror);
        let master = Some("rtmp://m.example:1935".to_owned());
        status.cluster.set_master(master, link, Instant::now());
        status
    }

    #[test]
    fn a_master_tells_streams_mirrors_viewers_and_what_goes_out() {
        let mut status = status(Role::Master);
        let begun = status.sent.1;
        assert_eq!(
            status.line(begun + Duration::from_secs(1)),
            "master: 0 streams live, 0 mirrors, 0 viewers, 0.0 Mbit/s out"
        );
        let claim = Claim::of_a_test(1);
        let name = StreamName::new("live", "x").unwrap();
        let publisher = status.hub.publish(&name, claim, begun, 0).unwrap();
        status.metrics.viewers(relay::Protocol::Flv).set(1);
        status
            .metrics
            .traffic(Protocol::Rtmp)
            .bytes_out
            .inc_by(500_000);
        status
            .metrics
            .traffic(Protocol::Flv)
            .bytes_out
            .inc_by(500_000);
        assert_eq!(
            status.line(begun + Duration::from_secs(3)),
            "master: 1 stream live, 0 mirrors, 1 viewer, 4.0 Mbit/s out"
        );
        drop(publisher);
        status
            .metrics
            .traffic(Protocol::Rtmp)
            .bytes_out
            .inc_by(1 << 30);
        let line = status.line(begun + Duration::from_secs(4));
        assert!(line.contains("0 streams live, 1 waiting, "), "{line}");
        assert!(line.ends_with(", 8590 Mbit/s out"), "{line}");
    }

    #[test]
    fn a_mirror_tells_of_its_master_once() {
        let mut status = mirror(Some("not tried yet"));
        let now = Instant::now();
        status.health.trouble("master", "connection refused");
        status.cluster.link_down(now, "connection refused");
        let line = status.line(now);
        assert!(
            line.ends_with("Mbit/s out, no link to rtmp://m.example:1935: connection refused"),
            "{line}"
        );
        status.cluster.link_up(now);
        status.health.clear("master");
        status.health.trouble("threads", "no progress of shard-1");
        let line = status.line(now);
        assert!(
            line.ends_with("linked to rtmp://m.example:1935; threads: no progress of shard-1"),
            "{line}"
        );
    }

    #[test]
    fn a_mirror_that_has_no_master_says_what_it_lacks() {
        let mut status = status(Role::Mirror);
        let now = Instant::now();
        status.cluster.set_master(None, Some("no master"), now);
        status
            .health
            .trouble("master", "this mirror has no master yet");
        let line = status.line(now);
        assert!(
            line.ends_with("Mbit/s out; master: this mirror has no master yet"),
            "{line}"
        );
    }

    #[test]
    fn a_mirror_of_a_foreign_master_tells_which_stream_fails() {
        let mut status = mirror(None);
        status
            .health
            .trouble("master", "live/x: connection refused");
        let line = status.line(Instant::now());
        assert!(
            line.ends_with("pulls from rtmp://m.example:1935; master: live/x: connection refused"),
            "{line}"
        );
    }
}
