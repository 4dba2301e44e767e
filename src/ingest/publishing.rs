//! One source's stream: claimed in the hub, fed with tags, given back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::auth::{KeyGrant, is_key, masked_refused};
use crate::bridge::{self, InspectError};
use crate::flv::{SCRIPT, Tag};
use crate::media::{NameError, StreamName};
use crate::relay::{Claim, Displaced, Hub, Publisher, Wake};
use crate::rtmp::mirror::is_epoch;
use crate::system::{random_number, wall_ms};
use crate::telemetry::logging::{Escaped, limited};
use crate::telemetry::metrics::{Metrics, Protocol};
use crate::telemetry::repeats::repeated;

/// Who publishes, for the log and for `status`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who {
    pub(super) protocol: Protocol,
    pub(super) peer: SocketAddr,
}

/// How a source ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It said so, as far as it can.
    Clean,
    /// It was cut off.
    Cut,
    /// Another one took its stream.
    Displaced,
    /// The server stops: not worth a line.
    Stopping,
}

/// A stream that is being published.
pub(super) struct Publishing {
    publisher: Publisher,
    who: Who,
    /// Payloads that could not be understood, and were dropped.
    malformed: u64,
    metrics: Arc<Metrics>,
}

impl Publishing {
    /// Takes the stream, by a stream key if it has one, or says in the log why not; the reason's code then.
    pub(super) fn begin(
        hub: &Arc<Hub>,
        metrics: &Arc<Metrics>,
        name: &StreamName,
        (who, key): (Who, Option<&KeyGrant>),
        displaced: Arc<dyn Wake>,
    ) -> Result<Self, &'static str> {
        let now = Instant::now();
        let protocol = who.protocol.label();
        let peer = who.peer;
        if is_key(name.name()) {
            // It would be shown to everybody.
            repeated("bad-name", peer.ip(), now, || {
                tracing::warn!(
                    %peer, protocol, code = "bad-name",
                    "publish refused: a stream key is no name, and is taken over RTMP and RTSP alone"
                );
            });
            return Err("bad-name");
        }
        let user = key.map(|key| format!("key:{}", key.label));
        let claim = Claim {
            identity: user.clone(),
            source: format!("{protocol} {peer}"),
            displaced,
            id: random_number(),
            epoch: None,
        };
        match hub.publish(name, claim, now, wall_ms()) {
            Ok(publisher) => {
                metrics.publishers.inc();
                limited("publishing", now, || {
                    tracing::info!(
                        stream = %name, %peer, protocol,
                        user = %Escaped(user.as_deref().unwrap_or("-")), "publishing"
                    );
                });
                Ok(Self {
                    publisher,
                    who,
                    malformed: 0,
                    metrics: Arc::clone(metrics),
                })
            }
            Err(error) => {
                let (code, what) = error.reason();
                let holder = hub.holder(name, error, now);
                repeated(code, peer.ip(), now, || {
                    tracing::warn!(
                        stream = %name, %peer, protocol, code, holder = %Escaped(&holder),
                        "publish refused: {what}"
                    );
                });
                Err(code)
            }
        }
    }

    /// Passes a tag on.
    ///
    /// # Errors
    /// Another publisher has the stream, or it was ended.
    pub(super) fn push(&mut self, tag: Tag, now: Instant) -> Result<(), Displaced> {
        if tag.kind == SCRIPT && is_epoch(&tag.payload) {
            return Ok(()); // only a master says so, of its own streams
        }
        match bridge::inspect(tag.kind, tag.timestamp, tag.payload) {
            Ok(parts) => self.publisher.push_shaped(parts, now, bridge::shape),
            // FLV has room for tags of tomorrow.
            Err(InspectError::NotMedia(_)) => Ok(()),
            Err(InspectError::Malformed(error)) => {
                self.malformed = self.malformed.saturating_add(1);
                if self.malformed == 1 {
                    limited("malformed-media", now, || {
                        tracing::warn!(
                            stream = %self.name(), peer = %self.who.peer,
                            protocol = self.who.protocol.label(), code = "malformed-media",
                            "a frame of the publisher cannot be understood and is dropped, \
                             further ones without a line: {error}"
                        );
                    });
                }
                Ok(())
            }
        }
    }

    pub(super) fn is_displaced(&self) -> bool {
        self.publisher.is_displaced()
    }

    pub(super) fn name(&self) -> &StreamName {
        self.publisher.stream().name()
    }

    /// Gives the stream back.
    pub(super) fn end(self, end: End) {
        let now = Instant::now();
        let (stream, peer) = (self.name().clone(), self.who.peer);
        let protocol = self.who.protocol.label();
        self.metrics.publishers.dec();
        match end {
            End::Clean => {
                limited("unpublished", now, || {
                    tracing::info!(%stream, %peer, protocol, "unpublished");
                });
                self.publisher.finish(now);
            }
            End::Cut => {
                limited("cut", now, || {
                    tracing::warn!(
                        %stream, %peer, protocol, code = "cut",
                        "the publisher was cut off; its viewers wait"
                    );
                });
                self.publisher.cut(now);
            }
            End::Displaced => {
                limited("displaced", now, || {
                    tracing::warn!(
                        %stream, %peer, protocol, code = "displaced",
                        "another publisher took over, or the stream was ended"
                    );
                });
            }
            End::Stopping => {}
        }
    }
}

/// Says that a source may not send.
pub(super) fn not_listed(who: Who, local: &dyn std::fmt::Display) {
    repeated("not-listed", who.peer.ip(), Instant::now(), || {
        tracing::warn!(
            peer = %who.peer, listener = %local, protocol = who.protocol.label(),
            code = "not-listed",
            "publish refused: this address may not publish here. To let it in, list its network \
             (networks of this listener)."
        );
    });
}

/// Says that a source has no name that can be used. `keys` says that names may be stream keys.
pub(super) fn bad_name(who: Who, (name, keys): (&str, bool), error: NameError) {
    let name = masked_refused(name, keys);
    repeated("bad-name", who.peer.ip(), Instant::now(), || {
        tracing::warn!(
            peer = %who.peer, protocol = who.protocol.label(), code = "bad-name",
            name = %Escaped(&name), "publish refused: {error}"
        );
    });
}

/// Says of what a source sends that some of it is not passed on.
pub(super) fn left_out(who: Who, what: &str) {
    repeated("left-out", who.peer.ip(), Instant::now(), || {
        tracing::warn!(
            peer = %who.peer, protocol = who.protocol.label(), code = "left-out",
            "{what} is not passed on: taken are H.264, H.265, AAC in ADTS, MP3 and Opus"
        );
    });
}
