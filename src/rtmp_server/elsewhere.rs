//! Viewers that are sent to another host: because this one is full, or because it is about to go.

use std::sync::Arc;
use std::time::Instant;

use super::RtmpServer;
use super::connection::Connection;
use crate::amf::Value;
use crate::bridge::moving;
use crate::cluster::{Place, Refusal, Refused, Sibling};
use crate::relay::Stream;
use crate::rtmp::session::reason::CloseReason;
use crate::rtmp::status::{self, Level, code};
use crate::telemetry::repeats::repeated;

impl RtmpServer {
    /// Whether everybody who is no other server comes to watch.
    pub(super) fn only_viewers(&self) -> bool {
        self.cluster.role() == "mirror"
    }
}

/// Where to go instead, for a player that connects to an application there.
fn tc_url(sibling: Option<&Sibling>, app: &str) -> Option<String> {
    Some(format!("{}/{app}", sibling?.base))
}

impl Connection {
    /// Whether a viewer of this application is turned away; then it has been.
    pub(super) fn is_full(&mut self, app: &str) -> bool {
        let room = self.leave_reserve();
        let Err(refused) = room.and_then(|()| self.server.cluster.would_admit(self.via)) else {
            return false;
        };
        self.note(&refused);
        let url = tc_url(refused.sibling.as_ref(), app);
        let ex = url.as_deref().map(status::redirect);
        self.machine
            .reject_connect(code::CONNECT_REJECTED, &sentence(&refused), ex);
        true
    }

    /// Whether this connection may become a viewer's: those of the reserve are for whoever does not watch.
    /// It is asked before anything waits, as the reserve is small.
    pub(super) fn leave_reserve(&self) -> Result<(), Refused> {
        self.admitted.may_watch().map_err(|_| Refused {
            why: Refusal::Full,
            sibling: self.server.cluster.sibling(self.via),
        })
    }

    /// Refuses a play on a connection of the reserve, and ends that: players that stay and wait would have
    /// the reserve among themselves.
    pub(super) fn turn_away(&mut self, stream: u32, refused: &Refused) {
        self.send_elsewhere(stream, refused);
        #[cfg(feature = "publish")]
        if !self.publishing.is_empty() {
            return; // an encoder that looks at itself
        }
        self.machine
            .close(CloseReason::Driver(refused.why.code(), refused.to_string()));
    }

    /// A place among the viewers, for whoever is one.
    pub(super) fn place(
        &self,
        stream: &Arc<Stream>,
        now: Instant,
    ) -> Result<Option<Place>, Refused> {
        if self.identity.is_mirror() {
            return Ok(None);
        }
        let kbit = stream.info(now).kbit_per_second;
        self.server.cluster.admit(kbit, self.via).map(Some)
    }

    /// Refuses a play: first as a rejected connection with its redirect, as players know it, then as the
    /// play that it is.
    pub(super) fn send_elsewhere(&mut self, stream: u32, refused: &Refused) {
        self.note(refused);
        let text = sentence(refused);
        let app = self.app.clone().unwrap_or_default();
        let mut info = status::info(Level::Error, code::CONNECT_REJECTED, &text);
        if let (Some(url), Value::Object(fields)) =
            (tc_url(refused.sibling.as_ref(), &app), &mut info)
        {
            fields.push(("ex".to_owned(), status::redirect(&url)));
            // Enhanced RTMP has a word for it, which counts at any time.
            self.machine.request_reconnect(Some(&url), &text);
        }
        self.machine.send_command(0, &status::on_status(info));
        self.machine.reject_play(stream, code::PLAY_FAILED, &text);
    }

    fn note(&self, refused: &Refused) {
        let code = refused.why.code();
        // Full of connections, and not of viewers or traffic.
        let bound = match self.admitted.may_watch() {
            Err(full) => format!(
                "; viewers have all connections that they may ({})",
                full.bound()
            ),
            Ok(()) => String::new(),
        };
        self.shard.metrics().sent_elsewhere(code);
        repeated(code, self.peer.ip(), Instant::now(), || {
            tracing::info!(
                peer = %self.peer, code,
                sibling = refused.sibling.as_ref().map_or("none", |host| &host.id),
                "a viewer is sent elsewhere: {refused}{bound}"
            );
        });
    }

    /// An operator drains the server: the viewer should go, in its own time.
    pub(super) fn please_move(&mut self) {
        let cluster = Arc::clone(&self.server.cluster);
        let sibling = cluster.sibling(self.via);
        let left = cluster.draining().map(|drain| drain.left(Instant::now()));
        let app = self.app.clone().unwrap_or_default();
        let url = tc_url(sibling.as_ref(), &app);
        // Enhanced RTMP has a word for it; the others get one that they may know from us.
        self.machine
            .request_reconnect(url.as_deref(), "This server is about to go.");
        let base = sibling.map(|sibling| sibling.base);
        for stream in self.playing() {
            let notice = status::on_status(moving(base.as_deref(), left));
            self.machine.send_command(stream, &notice);
        }
    }

    /// The time of the drain is over.
    pub(super) fn please_leave(&mut self) {
        self.say_goodbye();
        self.machine.close(CloseReason::Driver(
            "drained",
            "an operator has drained the server".to_owned(),
        ));
    }
}

fn sentence(refused: &Refused) -> String {
    match &refused.sibling {
        Some(_) => format!("{refused}; another one takes viewers"),
        None => format!("{refused}, and no other one takes viewers just now"),
    }
}
