//! The driver's answers. One that fits no question is ignored, so a driver may answer late.

use bytes::Bytes;

use super::{Phase, Role, Server};
use crate::amf::{Fields, Value};
use crate::rtmp::chunk::ReaderPhase;
use crate::rtmp::command::Command;
use crate::rtmp::message::{Message, kind};
use crate::rtmp::session::reason::CloseReason;
use crate::rtmp::session::{csid, user_control};
use crate::rtmp::status::{self, Level, Subject, code};

/// Limit type of Set Peer Bandwidth: dynamic.
const DYNAMIC: u8 = 2;

impl Server {
    /// Accepts the pending `connect`; `extra` goes into its information object.
    pub fn accept_connect(&mut self, extra: Fields) {
        let Phase::Asked {
            transaction,
            encoding,
        } = self.phase
        else {
            return;
        };
        self.phase = Phase::Open;
        self.link.set_phase(ReaderPhase::Idle);
        let window = self.config.window.to_be_bytes();
        self.link.write_control(kind::WINDOW_ACK, &window);
        let [a, b, c, d] = window;
        let bandwidth = [a, b, c, d, DYNAMIC];
        self.link.write_control(kind::PEER_BANDWIDTH, &bandwidth);
        self.link.announce_chunk_size(self.config.chunk_size);
        self.link.write_user_control(user_control::STREAM_BEGIN, 0);
        let success =
            status::connect_success(transaction, encoding.into(), self.caps.declared, extra);
        self.link.write_command(0, &success);
        self.link.write_command(0, &status::on_bw_done());
    }

    /// Refuses the pending `connect` and closes: `_error`, the command `close`, the end. `code` is
    /// [`code::CONNECT_REJECTED`] or a sibling, `ex` the object that says more
    /// ([`status::redirect`]). In an Adobe login the description carries the challenge.
    pub fn reject_connect(&mut self, code: &str, description: &str, ex: Option<Value>) {
        let Phase::Asked { transaction, .. } = self.phase else {
            return;
        };
        let error = status::connect_rejected(transaction, code, description, ex);
        self.link.write_command(0, &error);
        self.link
            .write_command(0, &Command::notice("close", vec![]));
        self.link.close(CloseReason::Rejected(code.to_owned()));
    }

    /// Accepts a pending `publish`; media may come from now on. A mirror's binary has no such thing.
    #[cfg(any(feature = "publish", test))]
    pub fn accept_publish(&mut self, stream: u32) {
        if self.turn(stream, Role::PublishAsked, Role::Publishing) {
            self.settled = true;
            self.last_media = self.link.now;
            self.link.set_phase(ReaderPhase::Publishing);
            self.say(stream, |s| s.publish_start());
        }
    }

    /// Calls a message stream by another name in all that is said of it, until it publishes or plays
    /// anew: encoders log what they are told, and a stream key belongs into no log.
    #[cfg(any(feature = "publish", test))]
    pub fn call_stream(&mut self, stream: u32, name: &str) {
        if let Some(found) = self.stream(stream) {
            found.called = Some(name.into());
        }
    }

    /// Refuses a pending `publish`; the connection stays. `code` is mostly
    /// [`code::PUBLISH_BAD_NAME`].
    pub fn reject_publish(&mut self, stream: u32, code: &str, description: &str) {
        if self.turn(stream, Role::PublishAsked, Role::Idle) {
            // Some encoders send without waiting for the answer.
            self.expect_late_media();
            self.say(stream, |s| s.status(Level::Error, code, description));
        }
    }

    /// Tells a publisher, or who has just been one, of something beside its stream: its recording.
    #[cfg(any(feature = "publish", test))]
    pub fn tell_publisher(&mut self, stream: u32, level: Level, code: &str, description: &str) {
        // It may have taken its message stream away behind its last words.
        let gone = || status::on_status(status::info(level, code, description));
        let known = self
            .subject(stream)
            .map(|s| s.status(level, code, description));
        let command = known.unwrap_or_else(gone);
        self.link.write_command(stream, &command);
    }

    /// Ends a publisher's stream on our wish; the connection stays. The level is an error unless
    /// `code` is [`code::UNPUBLISH_SUCCESS`].
    pub fn end_publish(&mut self, stream: u32, code: &str, description: &str) {
        if self.turn(stream, Role::Publishing, Role::Idle) {
            self.expect_late_media();
            let level = if code == code::UNPUBLISH_SUCCESS {
                Level::Status
            } else {
                Level::Error
            };
            self.say(stream, |s| s.status(level, code, description));
        }
    }

    /// Accepts a pending `play`: the bytes of this must be sent before the first media.
    pub fn accept_play(&mut self, stream: u32) {
        if !self.turn(stream, Role::PlayAsked, Role::Playing) {
            return;
        }
        self.settled = true;
        self.link
            .write_user_control(user_control::STREAM_BEGIN, stream);
        if self.stream(stream).is_some_and(|s| s.reset) {
            self.say(stream, |s| s.play_reset());
        }
        self.say(stream, |s| s.play_start());
        // It tells Flash what its scripts may read; others take it for a track of subtitles.
        if self.flash {
            self.send_data(stream, status::sample_access(false, false));
        }
    }

    /// Accepts a pending `play` of a recording; what [`Server::accept_play`] says of the order holds.
    pub fn accept_recorded(&mut self, stream: u32) {
        let asked = self.stream(stream).filter(|s| s.role == Role::PlayAsked);
        if let Some(found) = asked {
            found.recorded = true;
            self.link
                .write_user_control(user_control::STREAM_IS_RECORDED, stream);
            self.accept_play(stream);
        }
    }

    /// Answers a seek in a recording: it goes on at `position_ms`.
    pub fn seeked(&mut self, stream: u32, position_ms: u64) {
        if self.plays_recorded(stream) {
            self.link
                .write_user_control(user_control::STREAM_IS_RECORDED, stream);
            self.link
                .write_user_control(user_control::STREAM_BEGIN, stream);
            self.say(stream, |s| s.seek_notify(position_ms));
            self.say(stream, |s| s.play_start());
        }
    }

    /// Tells a viewer that a recording was played to its end: so many seconds and bytes. It may seek back.
    pub fn complete_play(&mut self, stream: u32, seconds: f64, bytes: f64) {
        if self.plays_recorded(stream) {
            self.send_data(stream, status::play_complete(seconds, bytes));
            self.say(stream, |s| s.play_stop());
            self.link
                .write_user_control(user_control::STREAM_EOF, stream);
        }
    }

    /// Tells a viewer that its list goes on with the recording `name`: so many seconds and bytes of the
    /// one before it were played; `None` when its end was told.
    pub fn switch_play(&mut self, stream: u32, name: &str, played: Option<(f64, f64)>) {
        if !self.plays_recorded(stream) {
            return;
        }
        if let Some((seconds, bytes)) = played {
            self.send_data(stream, status::play_switch(seconds, bytes));
        }
        self.rename_play(stream, name);
        self.link
            .write_user_control(user_control::STREAM_IS_RECORDED, stream);
        self.link
            .write_user_control(user_control::STREAM_BEGIN, stream);
        self.say(stream, |s| s.play_start());
    }

    /// Tells a viewer that a part of its list is not played; what plays goes on.
    pub fn skip_play(&mut self, stream: u32, name: &str, code: &str, description: &str) {
        let role = self.stream(stream).map(|s| s.role);
        if matches!(role, Some(Role::PlayAsked | Role::Playing)) {
            self.refuse(stream, name, code, description);
        }
    }

    /// Another play takes the place of what plays, or of a `play` that awaits its answer: it awaits it now.
    pub fn play_instead(&mut self, stream: u32, name: &str) {
        if self.plays_recorded(stream) {
            self.turn(stream, Role::Playing, Role::PlayAsked);
        }
        if let Some(found) = self.stream(stream) {
            found.recorded = false;
        }
        self.rename_play(stream, name);
    }

    /// What a message stream plays is called so from now on in what is said of it.
    pub fn rename_play(&mut self, stream: u32, name: &str) {
        if let Some(found) = self.stream(stream) {
            name.clone_into(&mut found.name);
            found.called = None;
        }
    }

    /// Ends the play of a recording that cannot go on.
    pub fn fail_play(&mut self, stream: u32, description: &str) {
        if self.turn(stream, Role::Playing, Role::Idle) {
            self.say(stream, |s| s.play_failed(description));
            self.say(stream, |s| s.play_stop());
            self.link
                .write_user_control(user_control::STREAM_EOF, stream);
        }
    }

    fn plays_recorded(&mut self, id: u32) -> bool {
        let stream = self.stream(id);
        stream.is_some_and(|s| s.recorded && s.role == Role::Playing)
    }

    /// Refuses a pending `play`; the connection stays. `code` is mostly
    /// [`code::PLAY_STREAM_NOT_FOUND`] or [`code::PLAY_FAILED`].
    pub fn reject_play(&mut self, stream: u32, code: &str, description: &str) {
        if self.turn(stream, Role::PlayAsked, Role::Idle) {
            self.say(stream, |s| s.status(Level::Error, code, description));
        }
    }

    /// Tells a viewer that its stream has ended.
    pub fn end_play(&mut self, stream: u32) {
        if self.turn(stream, Role::Playing, Role::Idle) {
            self.say(stream, |s| s.play_unpublish_notify());
            self.say(stream, |s| s.play_stop());
            self.link
                .write_user_control(user_control::STREAM_EOF, stream);
        }
    }

    /// Answers a call well; transaction 0 wants no answer and gets none.
    pub fn result(&mut self, transaction: f64, values: Vec<Value>) {
        if transaction != 0.0 {
            let result = status::result(transaction, Value::Null, values);
            self.link.write_command(0, &result);
        }
    }

    /// Answers a call with a failure; `info` is a status object ([`status::info`]).
    pub fn error(&mut self, transaction: f64, info: Value) {
        if transaction != 0.0 {
            self.link
                .write_command(0, &status::error(transaction, info));
        }
    }

    /// The answer to a call that nobody here knows: `NetConnection.Call.Failed`.
    pub fn unknown_call(&mut self, transaction: f64, name: &str) {
        if transaction != 0.0 {
            self.link
                .write_command(0, &status::call_failed(transaction, name));
        }
    }

    /// Calls the client, without wanting an answer.
    pub fn call(&mut self, name: &str, args: Vec<Value>) {
        self.link.write_command(0, &Command::notice(name, args));
    }

    /// Sends any command on a message stream, such as an `onStatus` of [`status`].
    pub fn send_command(&mut self, stream: u32, command: &Command) {
        self.link.write_command(stream, command);
    }

    /// Sends a data message (AMF0 values) with time 0, ahead of the shared media.
    pub fn send_data(&mut self, stream: u32, payload: Bytes) {
        self.link.write(&Message {
            chunk_stream: csid::COMMAND,
            kind: kind::DATA_AMF0,
            timestamp: 0,
            stream,
            payload,
        });
    }

    /// Asks the client to connect anew, elsewhere if `tc_url` says so. False, and nothing is sent,
    /// when it did not declare that it understands. The connection serves on until the client goes.
    pub fn request_reconnect(&mut self, tc_url: Option<&str>, description: &str) -> bool {
        let understands = self.caps.reconnect();
        if understands {
            let request = status::reconnect_request(tc_url, description);
            self.link.write_command(0, &request);
        }
        understands
    }

    /// Lets the connection live without playing or publishing: a mirror's control connection.
    pub fn allow_idle(&mut self) {
        self.settled = true;
    }

    /// Ends the connection: what was written goes out first.
    pub fn close(&mut self, reason: CloseReason) {
        self.link.close(reason);
    }

    /// Moves a message stream from one role to another, if it has the first.
    fn turn(&mut self, id: u32, from: Role, to: Role) -> bool {
        match self.stream(id) {
            Some(stream) if stream.role == from => {
                stream.role = to;
                true
            }
            _ => false,
        }
    }

    fn say(&mut self, id: u32, status: impl FnOnce(Subject<'_>) -> Command) {
        if let Some(command) = self.subject(id).map(status) {
            self.link.write_command(id, &command);
        }
    }
}
