//! Publishers. Compiled out of a mirror.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::connection::Connection;
use super::events::Wanted;
use crate::auth::{Grant, HeldKey, Identity, KeyGrant, masked_refused};
use crate::bridge;
use crate::media::StreamName;
use crate::record::Handle;
use crate::relay::{Claim, Publisher, Wake};
use crate::rtmp::message;
use crate::rtmp::mirror::is_epoch;
use crate::rtmp::server::PublishKind;
use crate::rtmp::session::reason::CloseReason;
use crate::rtmp::status::code;
use crate::system::{random_number, wall_ms};
use crate::telemetry::logging::{Escaped, limited};
use crate::telemetry::repeats::repeated;

/// One message stream that publishes.
pub(super) struct Publishing {
    /// What it publishes by, when that is no login.
    key: Option<HeldKey>,
    pub(super) id: u32,
    pub(super) publisher: Publisher,
    /// Of the publisher's own wish.
    pub(super) recording: Option<Handle>,
    /// Payloads that could not be understood, and were dropped.
    malformed: u64,
}

impl Connection {
    pub(super) fn publish(&mut self, stream: u32, name: &str, kind: PublishKind) {
        let ip = self.peer.ip();
        if self.login.is_some() || self.identity.is_mirror() {
            // Its connect was let in with any application, to play.
            let why = "a mirror does not publish";
            tracing::warn!(peer = %self.peer, code = "mirror-publishes", "publish refused: {why}");
            return self
                .machine
                .reject_publish(stream, code::PUBLISH_BAD_NAME, why);
        }
        let app = self.app.clone().unwrap_or_default();
        let granted = self
            .server
            .policy
            .grant(&self.identity, (&app, name), ip, Instant::now());
        let (name, key) = match granted {
            Ok(Grant::Key { key, stream }) => (stream, Some(key)),
            Ok(Grant::Named) => match self.stream_name(name) {
                Ok(name) => (name, None),
                Err(error) => return self.refuse_name(stream, name, &error),
            },
            Err(refusal) => {
                self.log_refusal(Wanted::Publish(&self.shown_refused(name)), &refusal);
                return self
                    .machine
                    .reject_publish(stream, refusal.code, &refusal.description);
            }
        };
        let who = match &key {
            Some(key) => Some(format!("key:{}", key.label)),
            None => self.identity.user().map(str::to_owned),
        };
        let claim = Claim {
            identity: who.clone(),
            source: format!("rtmp {}", self.peer),
            displaced: self.bell.clone(),
            id: random_number(),
            epoch: None,
        };
        match self
            .server
            .hub
            .publish(&name, claim, Instant::now(), wall_ms())
        {
            Ok(publisher) => {
                let key = key.map(|key| self.hold(key, stream, &name));
                self.machine.accept_publish(stream);
                self.admitted.login_done();
                self.shard.metrics().publishers.inc();
                limited("publishing", Instant::now(), || {
                    tracing::info!(
                        stream = %name, peer = %self.peer,
                        user = %Escaped(who.as_deref().unwrap_or("-")), kind = kind.as_str(),
                        "publishing"
                    );
                });
                let agent = self.agent.as_deref().unwrap_or_default();
                self.registered.publishes(stream, &name, agent);
                let recording = self.begin_recording(stream, publisher.stream(), kind);
                self.publishing.push(Publishing {
                    id: stream,
                    publisher,
                    key,
                    recording,
                    malformed: 0,
                });
            }
            Err(error) => {
                let (why, what) = error.reason();
                let holder = self.server.hub.holder(&name, error, Instant::now());
                repeated(why, ip, Instant::now(), || {
                    tracing::warn!(
                        stream = %name, peer = %self.peer, code = why, holder = %Escaped(&holder),
                        "publish refused: {what}"
                    );
                });
                self.machine.reject_publish(
                    stream,
                    code::PUBLISH_BAD_NAME,
                    &format!("{name} is not available: {what}"),
                );
            }
        }
    }

    /// Keeps the key that this message stream publishes by; from here on its name is the public one.
    fn hold(&mut self, key: KeyGrant, stream: u32, name: &StreamName) -> HeldKey {
        if self.identity == Identity::Nobody {
            self.identity = Identity::Key(Arc::clone(&key.label));
        }
        self.machine.call_stream(stream, name.name());
        let bell = Arc::clone(&self.bell);
        let tell = Box::new(move || bell.wake());
        self.server.policy.hold(&key, tell)
    }

    fn refuse_name(&mut self, stream: u32, name: &str, error: &str) {
        repeated("bad-name", self.peer.ip(), Instant::now(), || {
            let name = masked_refused(name, self.server.policy.has_keys());
            tracing::warn!(
                peer = %self.peer, code = "bad-name", name = %Escaped(&name),
                "publish refused: {error}; OBS sends its stream key as the name"
            );
        });
        self.machine
            .reject_publish(stream, code::PUBLISH_BAD_NAME, error);
    }

    /// The bell rang: perhaps a key was revoked.
    pub(super) fn check_revoked(&mut self) {
        let revoked = |p: &Publishing| p.key.as_ref().is_some_and(HeldKey::is_revoked);
        while let Some(at) = self.publishing.iter().position(revoked) {
            let gone = self.take_publishing(at);
            HeldKey::log_revoked(gone.publisher.stream().name(), self.peer);
            let why = "The stream key is not good any more.";
            self.machine
                .end_publish(gone.id, code::PUBLISH_BAD_NAME, why);
            gone.publisher.finish(Instant::now());
            self.machine.close(CloseReason::Driver(
                "key-revoked",
                "its stream key was revoked".to_owned(),
            ));
        }
    }

    fn take_publishing(&mut self, at: usize) -> Publishing {
        let gone = self.publishing.swap_remove(at);
        self.registered.unpublishes(gone.id);
        self.shard.metrics().publishers.dec();
        gone
    }

    /// An operator ends what it publishes; its streams wait for another publisher.
    pub(super) fn kick_publishing(&mut self) {
        while !self.publishing.is_empty() {
            let gone = self.take_publishing(0);
            let why = "An operator ended the stream.";
            self.machine
                .end_publish(gone.id, code::PUBLISH_BAD_NAME, why);
            gone.publisher.finish(Instant::now());
            self.end_recording(gone.id, gone.recording);
        }
    }

    pub(super) fn unpublish(&mut self, stream: u32) {
        if let Some(at) = self.publishing.iter().position(|p| p.id == stream) {
            let gone = self.take_publishing(at);
            limited("unpublished", Instant::now(), || {
                tracing::info!(
                    stream = %gone.publisher.stream().name(), peer = %self.peer, "unpublished"
                );
            });
            gone.publisher.finish(Instant::now());
            self.end_recording(stream, gone.recording);
        }
    }

    pub(super) fn media(&mut self, stream: u32, kind: u8, timestamp: u32, payload: Bytes) {
        let Some(at) = self.publishing.iter().position(|p| p.id == stream) else {
            return;
        };
        let Some(publishing) = self.publishing.get_mut(at) else {
            return;
        };
        if kind == message::kind::DATA_AMF0 && is_epoch(&payload) {
            return; // only a master says so, of its own streams
        }
        let parts = match bridge::inspect(kind, timestamp, payload) {
            Ok(parts) => parts,
            Err(error) => {
                publishing.malformed = publishing.malformed.saturating_add(1);
                if publishing.malformed == 1 {
                    limited("malformed-media", Instant::now(), || {
                        tracing::warn!(
                            stream = %publishing.publisher.stream().name(), peer = %self.peer,
                            code = "malformed-media",
                            "a tag of the publisher cannot be understood and is dropped, \
                             further ones without a line: {error}"
                        );
                    });
                }
                return;
            }
        };
        if publishing
            .publisher
            .push_shaped(parts, self.heard, bridge::shape)
            .is_err()
        {
            self.displaced(at);
        }
    }

    /// The bell rang: perhaps another publisher took over.
    pub(super) fn check_displaced(&mut self) {
        while let Some(at) = self
            .publishing
            .iter()
            .position(|p| p.publisher.is_displaced())
        {
            self.displaced(at);
        }
    }

    fn displaced(&mut self, at: usize) {
        let gone = self.take_publishing(at);
        limited("displaced", Instant::now(), || {
            tracing::warn!(
                stream = %gone.publisher.stream().name(), peer = %self.peer, code = "displaced",
                "another publisher with the same credentials took over"
            );
        });
        self.machine.end_publish(
            gone.id,
            code::PUBLISH_BAD_NAME,
            "Another publisher with the same credentials took over.",
        );
        self.machine.close(CloseReason::Driver(
            "displaced",
            "another publisher took over".into(),
        ));
    }

    /// The connection is over; what it published was cut. It needs no line when the server stops.
    pub(super) fn drop_publishing(&mut self, stopping: bool) {
        for gone in self.publishing.drain(..) {
            self.shard.metrics().publishers.dec();
            if stopping {
                continue;
            }
            limited("cut", Instant::now(), || {
                tracing::warn!(
                    stream = %gone.publisher.stream().name(), peer = %self.peer, code = "cut",
                    "the publisher was cut off; its viewers wait"
                );
            });
        }
    }
}
