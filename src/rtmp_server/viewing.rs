//! Viewers: message streams that play, or wait for a stream to appear.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use super::connection::{Connection, End};
use crate::bridge::{self, OUT_CHUNK_SIZE};
use crate::cluster::Place;
use crate::media::{Rendition, StreamName};
use crate::net::{Announce, OutletEvent, Play, Playing, Wish};
use crate::relay::{Protocol, Stream};
use crate::rtmp::chunk::write_absolute;
use crate::rtmp::command::data;
use crate::rtmp::message::{Message, kind};
use crate::rtmp::mirror::{EPOCH, EpochMark, SegmentMark};
use crate::rtmp::session::reason::CloseReason;
use crate::rtmp::status::code;
use crate::telemetry::repeats::repeated;

/// One message stream that plays or waits.
pub(super) struct Viewing {
    id: u32,
    name: StreamName,
    asked: Instant,
    state: State,
    /// Its place among the viewers; pulls of other servers have none.
    place: Option<Place>,
}

enum State {
    /// Not there yet; refused after the time.
    Waits(Instant),
    /// The machine has said so; the frames begin behind its words.
    Accepted(Arc<Stream>),
    Plays(Playing),
}

impl Viewing {
    /// What it plays.
    pub(super) const fn name(&self) -> &StreamName {
        &self.name
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waits(until) => Some(until),
            State::Accepted(_) | State::Plays(_) => None,
        }
    }
}

impl Connection {
    /// `start` as the player sent it, in seconds: 0 or more wants a recording.
    pub(super) fn begin_play(&mut self, stream: u32, name: StreamName, start: f64) {
        self.viewing.retain(|v| v.id != stream);
        self.stop_file(stream);
        if start >= 0.0 {
            // There is no recording of that name; and a live stream has no beginning to go to.
            // Players that always send 0 mean "from where it is".
            tracing::debug!(stream = %name, peer = %self.peer, start, "play from a position: live instead");
        }
        // A player that waits has finished its login: a thousand of them may share one address.
        self.admitted.login_done();
        #[cfg(feature = "publish")]
        {
            self.agent = None;
        }
        let now = Instant::now();
        self.viewing.reserve_exact(1); // one is the rule; growing would begin with four
        self.viewing.push(Viewing {
            id: stream,
            name,
            asked: now,
            state: State::Waits(now.checked_add(self.server.viewers().wait).unwrap_or(now)),
            place: None,
        });
        self.hub_watch
            .get_or_insert_with(|| self.server.hub.watch(self.bell.clone()));
        self.look_at_viewing(now);
    }

    /// Something else is played in place of a stream that nobody publishes.
    pub(super) fn give_up_waiting(&mut self, stream: u32) {
        let waits = |v: &&Viewing| v.id == stream && matches!(v.state, State::Waits(_));
        if let Some(viewing) = self.viewing.iter().find(waits) {
            let name = viewing.name.to_string();
            let text = format!("Nobody publishes {name}.");
            self.machine
                .skip_play(stream, &name, code::PLAY_STREAM_NOT_FOUND, &text);
        }
    }

    pub(super) fn stop_play(&mut self, stream: u32) {
        self.viewing.retain(|v| v.id != stream);
    }

    pub(super) fn pause(&mut self, stream: u32, on: bool) {
        if let Some(State::Plays(playing)) = self.state_of(stream) {
            playing.set_paused(on);
        }
    }

    pub(super) fn receive(&mut self, stream: u32, video: Option<bool>, audio: Option<bool>) {
        if let Some(State::Plays(playing)) = self.state_of(stream) {
            if let Some(on) = audio {
                playing.set_audio(on);
            }
            if let Some(on) = video {
                playing.set_video(on);
            }
        }
    }

    /// The message streams that play.
    pub(super) fn playing(&self) -> Vec<u32> {
        let plays = |v: &&Viewing| matches!(v.state, State::Plays(_));
        let live = self.viewing.iter().filter(plays).map(|v| v.id);
        live.chain(self.files.playing()).collect()
    }

    fn state_of(&self, stream: u32) -> Option<&State> {
        let viewing = self.viewing.iter().find(|v| v.id == stream)?;
        Some(&viewing.state)
    }

    /// Starts what waits and can start, refuses what waited too long.
    pub(super) fn look_at_viewing(&mut self, now: Instant) {
        let waits = |v: &Viewing| matches!(v.state, State::Waits(_));
        if !self.viewing.iter().any(waits) {
            self.hub_watch = None;
            return;
        }
        let all = std::mem::take(&mut self.viewing);
        self.viewing.reserve_exact(all.len());
        for mut viewing in all {
            let State::Waits(until) = viewing.state else {
                self.viewing.push(viewing);
                continue;
            };
            let (id, name) = (viewing.id, viewing.name.clone());
            if let Some(stream) = self.server.hub.get(&name) {
                match self.place(&stream, now) {
                    Ok(place) => viewing.place = place,
                    Err(refused) => {
                        self.send_elsewhere(id, &refused);
                        continue;
                    }
                }
                self.machine.accept_play(id);
                tracing::debug!(stream = %name, peer = %self.peer, "playing");
                viewing.state = State::Accepted(stream);
                self.viewing.push(viewing);
            } else if now >= until {
                repeated("no-stream", self.peer.ip(), now, || {
                    tracing::info!(
                        stream = %name, peer = %self.peer, code = "no-stream",
                        "play refused: nobody publishes this stream{}",
                        if self.plays_files() { ", and no file in files.folders has its name" } else { "" }
                    );
                });
                let files = match self.server.cluster.role() {
                    "standalone" if self.plays_files() => {
                        " There is no file of that name either.".to_owned()
                    }
                    "standalone" => " Files are off here.".to_owned(),
                    role => format!(" A {role} plays no files; a standalone does."),
                };
                let text = format!("Nobody publishes {name}.{files}");
                self.machine
                    .reject_play(id, code::PLAY_STREAM_NOT_FOUND, &text);
            } else {
                self.viewing.push(viewing);
            }
        }
    }

    /// Begins to send to those whom the machine has told. To be called when everything that it wrote
    /// is queued.
    pub(super) fn play_accepted(&mut self) {
        let is_mirror = self.identity.is_mirror();
        let caps = self.machine.caps();
        let full = is_mirror || (caps.multitrack() && caps.modex());
        for viewing in &mut self.viewing {
            let State::Accepted(stream) = &viewing.state else {
                continue;
            };
            let play = Play {
                form: if full {
                    Rendition::Rtmp
                } else {
                    Rendition::RtmpPlain
                },
                message_stream: viewing.id,
                join: self.server.viewers().join,
                watching: if is_mirror {
                    Protocol::Mirror
                } else {
                    Protocol::Rtmp
                },
                asked: viewing.asked,
                announce: is_mirror.then(|| announce_epochs(viewing.id)),
            };
            // It fails only when the connection is over: the machine allows no more streams than
            // the outlet does.
            if let Ok(playing) = self.outlet.play(stream, play) {
                viewing.state = State::Plays(playing);
            }
        }
    }

    /// What the fan-out tells.
    pub(super) fn outlet_event(&mut self, event: OutletEvent) -> Option<End> {
        match event {
            OutletEvent::Ended { message_stream: id } => {
                self.viewing.retain(|v| v.id != id);
                self.machine.end_play(id);
                None
            }
            OutletEvent::Wished(wish) => {
                match wish {
                    Wish::Kick => self.kicked(),
                    Wish::Move => self.please_move(),
                    Wish::Leave => self.please_leave(),
                }
                None
            }
            // `drain`, which follows, does what is to be done.
            OutletEvent::Room | OutletEvent::Sent => None,
            OutletEvent::Closed(ending) => Some(End::Outlet(ending)),
        }
    }

    /// An operator wants it to go. What it wrote to the peer goes out first.
    fn kicked(&mut self) {
        self.say_goodbye();
        #[cfg(feature = "publish")]
        self.kick_publishing();
        self.machine.close(CloseReason::Driver(
            "kicked",
            "an operator ended the connection".to_owned(),
        ));
    }

    /// The server stops: viewers hear that their streams end. Mirrors do not: to them the streams
    /// are cut, and they keep their own viewers until this server is back.
    pub(super) fn say_goodbye(&mut self) {
        if self.identity.is_mirror() {
            return;
        }
        for viewing in std::mem::take(&mut self.viewing) {
            if !matches!(viewing.state, State::Waits(_)) {
                self.machine.end_play(viewing.id);
            }
        }
        self.end_files();
    }

    /// The bell rang or a time came: looks at everything that may have changed.
    pub(super) fn look(&mut self, now: Instant) {
        #[cfg(feature = "publish")]
        {
            self.check_displaced();
            self.check_revoked();
            self.tell_recordings();
        }
        self.look_at_viewing(now);
        self.announce(now);
        self.tell_hosts(now);
    }
}

/// What a pulling server is told ahead of the frames of an epoch.
fn announce_epochs(stream: u32) -> Announce {
    Box::new(move |info| {
        let mark = EpochMark {
            id: info.id,
            wall_ms: info.wall_ms,
            ordinal: info.ordinal,
            segment: info.segment.map(|segment| SegmentMark {
                number: segment.number,
                discontinuity: segment.discontinuity,
                begun: segment.begun,
                longest: segment.longest,
                target: segment.target,
            }),
        };
        let mut out = BytesMut::new();
        let message = Message {
            chunk_stream: bridge::chunk_stream::DATA,
            kind: kind::DATA_AMF0,
            timestamp: 0,
            stream,
            payload: data(&[EPOCH.into(), mark.to_value()]),
        };
        write_absolute(&mut out, OUT_CHUNK_SIZE, &message);
        out.freeze()
    })
}
