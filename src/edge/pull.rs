//! One stream's pull: connect, play, write what comes into the hub; for ever.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::backoff::ceiling;
use super::{Edge, Trouble, Wanted};
use crate::amf::Value;
use crate::bridge;
use crate::cluster::Link;
use crate::media::StreamName;
use crate::net::Shard;
use crate::relay::{Claim, EpochInfo, NoWake, Publisher, Segment};
use crate::rtmp::client::Event;
use crate::rtmp::command::data_values;
use crate::rtmp::message::kind;
use crate::rtmp::mirror::{EpochMark, is_epoch};
use crate::rtmp::status::{code, code_of};
use crate::rtmp_client::{Backoff, Complaint};
use crate::system::random_number;
use crate::system::wall_ms;
use crate::telemetry::logging::{Escaped, limited};

/// A failed pull that is made good within this time has no line.
const BRIEF: Duration = Duration::from_secs(1);
/// From dialling to the first answer.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps one stream pulled for as long as the master lists it.
pub(super) async fn keep(edge: Arc<Edge>, shard: Rc<Shard>, name: StreamName, wanted: Arc<Wanted>) {
    let mut stopping = std::pin::pin!(shard.stopping());
    let work = async {
        let mut backoff = Backoff::default();
        let mut complaint = Complaint::default();
        loop {
            if !wanted.listed.load(Ordering::Relaxed) && edge.retire(&name, &wanted) {
                return;
            }
            let mut pull = Pull {
                edge: &edge,
                name: &name,
                wanted: &wanted,
                publisher: None,
                mark: None,
                went_on: false,
                malformed: false,
                flows: false,
                away: None,
            };
            let failure = tokio::select! {
                failure = pull.run(&mut backoff, &mut complaint) => failure,
                () = wanted.dismissed.notified() => {
                    pull.over();
                    edge.foreign_link(&name, Ok(()));
                    continue;
                }
            };
            drop(pull);
            let now = Instant::now();
            if let Err(trouble) = failure {
                let text = trouble.to_string();
                edge.foreign_link(&name, Err(text.clone()));
                complaint.begin(now);
                // While the link is down it says so itself; and a pull that works again at once is
                // nobody's trouble.
                let quiet = edge.is_ours
                    && (matches!(edge.cluster.link(), Link::Down { .. })
                        || complaint.lasts(now) < BRIEF);
                if !quiet && complaint.is_new(&text, now) {
                    limited("pull-lost", Instant::now(), || {
                        tracing::warn!(
                            stream = %name, master = %edge.master, code = "pull-lost",
                            "the stream is not pulled, trying on: {}", Escaped(&text)
                        );
                    });
                }
            }
            let viewers = edge.hub.get(&name).map_or(0, |s| s.viewers().total());
            let ceiling = ceiling(complaint.lasts(now), viewers > 0);
            let delay = backoff.delay(ceiling, random_number());
            tokio::select! {
                () = sleep(delay) => {}
                () = wanted.changed.notified() => {}
                () = wanted.dismissed.notified() => {
                    edge.hub.end(&name);
                    edge.foreign_link(&name, Ok(()));
                }
            }
        }
    };
    let mut over = edge.over.subscribe();
    tokio::select! {
        () = work => {}
        () = &mut stopping => {}
        _ = over.wait_for(|over| *over) => {}
    }
}

struct Pull<'a> {
    edge: &'a Arc<Edge>,
    name: &'a StreamName,
    wanted: &'a Wanted,
    publisher: Option<Publisher>,
    /// What the master told last, on this connection.
    mark: Option<EpochInfo>,
    /// There was a publisher before, on this connection.
    went_on: bool,
    malformed: bool,
    /// Audio or video has come since the last wait.
    flows: bool,
    /// Since when the master has had no source.
    away: Option<Instant>,
}

impl Drop for Pull<'_> {
    /// Whatever ended it: the stream waits with its viewers.
    fn drop(&mut self) {
        if let Some(publisher) = self.publisher.take() {
            publisher.cut(Instant::now());
            self.edge.metrics.pulls.dec();
        }
    }
}

impl Pull<'_> {
    /// One connection's life. `Ok` when the master ended the stream.
    async fn run(
        &mut self,
        backoff: &mut Backoff,
        complaint: &mut Complaint,
    ) -> Result<(), Trouble> {
        let login = self.edge.connect(self.name.app());
        let (mut session, _) = match timeout(LOGIN_TIMEOUT, login).await {
            Ok(connected) => connected?,
            Err(_) => return Err(Trouble::Silent),
        };
        self.edge.foreign_link(self.name, Ok(()));
        session.machine().play(self.name.name(), -2.0);
        loop {
            match session.next().await? {
                Event::Media {
                    kind,
                    timestamp,
                    payload,
                    ..
                } => {
                    self.media(kind, timestamp, payload)?;
                    if !self.flows && kind != kind::DATA_AMF0 {
                        self.flows = true;
                        backoff.reset();
                        self.say_pulling(complaint);
                    }
                }
                Event::PlayFailed {
                    code, description, ..
                }
                | Event::StreamFailed {
                    code, description, ..
                } => return Err(Trouble::Play(format!("{description} ({code})"))),
                Event::Status { info, .. } if self.is_over(&info) => return Ok(()),
                Event::StreamEof { .. } if self.is_ours() => {
                    self.over();
                    return Ok(());
                }
                Event::Call { transaction, .. } => {
                    session.machine().result(transaction, Vec::new());
                }
                _ => {}
            }
        }
    }

    /// Whether the master is a crtmpserver.
    fn is_ours(&self) -> bool {
        self.edge.is_ours
    }

    /// Acts on a status object; true when the master says that the stream is over.
    fn is_over(&mut self, info: &Value) -> bool {
        match code_of(info) {
            // The master's own source is away: so is this server's, and its viewers hear so.
            bridge::WAITING => self.wait(),
            code::PLAY_UNPUBLISH_NOTIFY if !self.is_ours() => self.wait(),
            code::PLAY_UNPUBLISH_NOTIFY | code::PLAY_STOP if self.is_ours() => {
                self.over();
                return true;
            }
            _ => {}
        }
        false
    }

    fn say_pulling(&mut self, complaint: &mut Complaint) {
        let now = Instant::now();
        let source_away = self.away.take().map(|at| now.saturating_duration_since(at));
        let (stream, master) = (self.name, &self.edge.master);
        let away = complaint.over(now).or(source_away);
        limited("pulling", now, || match away {
            Some(away) => tracing::info!(
                %stream, %master, away_ms = away.as_millis(), "pulling again"
            ),
            None => tracing::info!(%stream, %master, "pulling"),
        });
    }

    fn wait(&mut self) {
        if let Some(publisher) = self.publisher.take() {
            self.flows = false;
            self.away = Some(Instant::now());
            limited("source-away", Instant::now(), || {
                tracing::info!(
                    stream = %self.name, master = %self.edge.master, code = "source-away",
                    "the master has no source, the viewers wait"
                );
            });
            publisher.cut(Instant::now());
            self.edge.metrics.pulls.dec();
        } else if self.is_ours() && self.edge.hub.get(self.name).is_none() {
            // It was away before this mirror came: whoever comes here waits, as everywhere else.
            let now = Instant::now();
            if let Ok(publisher) = self.publish(now) {
                self.away = Some(now);
                publisher.cut(now);
            }
        }
    }

    fn publish(&self, now: Instant) -> Result<Publisher, Trouble> {
        let claim = Claim {
            identity: None,
            source: format!("pull rtmp://{}/{}", self.edge.master, self.name),
            displaced: Arc::new(NoWake),
            id: random_number(),
            epoch: self.mark,
        };
        let published = self.edge.hub.publish(self.name, claim, now, wall_ms());
        published.map_err(|e| Trouble::Play(e.to_string()))
    }

    fn over(&mut self) {
        self.wanted.live.store(false, Ordering::Relaxed);
        if let Some(publisher) = self.publisher.take() {
            self.edge.metrics.pulls.dec();
            publisher.end();
        } else {
            self.edge.hub.end(self.name);
        }
    }

    fn media(&mut self, message: u8, timestamp: u32, payload: Bytes) -> Result<(), Trouble> {
        if message == kind::DATA_AMF0 && self.epoch(&payload) {
            return Ok(());
        }
        let parts = match bridge::inspect(message, timestamp, payload) {
            Ok(parts) => parts,
            Err(error) => {
                if !self.malformed {
                    self.malformed = true;
                    limited("malformed-media", Instant::now(), || {
                        tracing::warn!(
                            stream = %self.name, code = "malformed-media",
                            "a tag from the master cannot be understood and is dropped, \
                             further ones without a line: {error}"
                        );
                    });
                }
                return Ok(());
            }
        };
        let now = Instant::now();
        let publisher = match &mut self.publisher {
            Some(publisher) => publisher,
            None => {
                let mut publisher = self.publish(now)?;
                if std::mem::replace(&mut self.went_on, true) {
                    publisher.goes_on();
                }
                self.edge.metrics.pulls.inc();
                self.publisher.insert(publisher)
            }
        };
        publisher
            .push_shaped(parts, now, bridge::shape)
            .map_err(|e| Trouble::Play(e.to_string()))
    }

    /// Whether this was the master's word about an epoch.
    fn epoch(&mut self, payload: &[u8]) -> bool {
        if !is_epoch(payload) {
            return false;
        }
        if !self.is_ours() {
            return true; // a forgery; it goes no further
        }
        let Ok(values) = data_values(kind::DATA_AMF0, payload) else {
            return true;
        };
        let Some(mark) = values.get(1).and_then(EpochMark::from_value) else {
            return true;
        };
        let info = EpochInfo {
            id: mark.id,
            wall_ms: mark.wall_ms,
            ordinal: mark.ordinal,
            segment: mark.segment.map(|segment| Segment {
                number: segment.number,
                discontinuity: segment.discontinuity,
                begun: segment.begun,
                longest: segment.longest,
                target: segment.target,
            }),
            run: 0,
        };
        self.mark = Some(info);
        if let Some(publisher) = &mut self.publisher {
            // Displaced cannot be: a mirror takes no publishers. If it were, the next push tells.
            let _ = publisher.epoch(info);
        }
        true
    }
}
