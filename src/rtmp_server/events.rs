//! The answers to the machine's questions.

use std::time::Instant;

use super::connection::Connection;
use super::mirrors::Login;
use crate::amf::Value;
use crate::auth::{self, Decision, Identity, Reason, Refusal, is_key, masked_app, masked_stream};
#[cfg(feature = "publish")]
use crate::limits::MAX_AGENT;
use crate::media::StreamName;
use crate::rtmp::mirror::host::HOSTS;
use crate::rtmp::mirror::{self, Hello};
use crate::rtmp::server::{ConnectRequest, Event};
use crate::rtmp::status::code;
use crate::telemetry::logging::Escaped;
use crate::telemetry::repeats::repeated;

/// What was refused.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// An application.
    Connect(&'a str),
    /// `APP/STREAM`
    Play(&'a str),
    /// `APP/STREAM`
    Publish(&'a str),
}

impl Wanted<'_> {
    /// What the peer is not told: how the operator lets it in.
    fn advice(self, reason: Reason) -> &'static str {
        match (self, reason) {
            (Self::Connect(app), Reason::UnknownApp) if is_key(app) => {
                " It has a stream key in it, which belongs into the encoder's field for the stream key."
            }
            (Self::Publish(_), Reason::NotListed) => {
                " To let it in, make a user (publish.users) or list its network (publish.networks)."
            }
            (_, Reason::NotListed) => " To let it in, list its network (play.networks).",
            (_, Reason::NoMirrors) => {
                " To serve mirrors, give this server the secret that they have (master.secret_file)."
            }
            (_, Reason::UnknownApp) => " `applications` and [aliases] name those that there are.",
            _ => "",
        }
    }

    /// What was to be done with what, for the log. Some encoders send as the application whatever stands
    /// in the address, and a key may be there by mistake.
    fn shown(self, keys: bool) -> (&'static str, String) {
        match self {
            Self::Connect(app) => ("connect", masked_app(app, keys)),
            Self::Play(stream) => ("play", stream.to_owned()),
            Self::Publish(stream) => ("publish", stream.to_owned()),
        }
    }
}

impl Connection {
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Connect(request) => self.connect(&request),
            Event::Publish {
                stream, name, kind, ..
            } => self.publish(stream, &name, kind),
            Event::Unpublish { stream } => self.unpublish(stream),
            Event::Media {
                stream,
                kind,
                timestamp,
                payload,
            } => self.media(stream, kind, timestamp, payload),
            Event::Play {
                stream,
                name,
                start,
                duration,
                ..
            } => self.play(stream, &name, start, duration),
            Event::PlayNext {
                stream,
                name,
                start,
                duration,
                ..
            } => {
                if !self.queue_file(stream, &name, (start, duration)) {
                    // What is live has no end to wait for.
                    self.give_up_waiting(stream);
                    self.machine.play_instead(stream, &name);
                    self.play(stream, &name, start, duration);
                }
            }
            Event::StopPlay { stream } => {
                self.stop_play(stream);
                self.stop_file(stream);
            }
            Event::Pause {
                stream,
                on,
                position_ms,
            } => {
                self.pause(stream, on);
                self.pause_file(stream, on, position_ms);
            }
            // A live stream has one position: now. The machine has answered.
            Event::Seek {
                stream,
                position_ms,
            } => self.seek_file(stream, position_ms),
            Event::Buffer { ms } => self.set_buffer(ms),
            Event::StreamLength { transaction, name } => self.file_length(transaction, &name),
            Event::Receive {
                stream,
                video,
                audio,
            } => {
                self.receive(stream, video, audio);
                self.receive_file(stream, video, audio);
            }
            Event::Call {
                name,
                transaction,
                args,
                ..
            } => self.call(&name, transaction, &args),
        }
    }

    fn connect(&mut self, request: &ConnectRequest) {
        let now = Instant::now();
        let hello = Hello::find(&request.object);
        let decision = self.server.policy.on_connect(
            &auth::Connect {
                app: &request.app,
                query: request.query.as_deref(),
                flash_ver: request.flash_ver.as_deref().unwrap_or_default(),
                connect_type: request.connect_type.as_deref(),
                claims_mirror: hello.is_some(),
                peer: self.peer.ip(),
            },
            now,
        );
        match decision {
            // On a mirror nobody comes for anything but to watch, or to pull.
            Decision::Accept { app, .. }
                if hello.is_none() && self.server.only_viewers() && self.is_full(&app) => {}
            Decision::Accept { app, identity } => {
                self.app = Some(app);
                #[cfg(feature = "publish")]
                {
                    let agent = request.flash_ver.as_deref();
                    self.agent = agent.map(|text| text.chars().take(MAX_AGENT).collect());
                }
                self.identity = identity;
                let mut extra = Vec::new();
                if let Some(hello) = hello
                    && self.server.policy.has_secret()
                {
                    match Login::begin(hello, self.server.cluster.path()) {
                        Ok((login, welcome)) => {
                            self.login = Some(Box::new(login));
                            extra.push((mirror::FIELD.to_owned(), welcome.to_value()));
                        }
                        Err(error) => {
                            tracing::error!(%error, code = "no-random", "the system gives no random bytes; mirror not served");
                        }
                    }
                }
                self.machine.accept_connect(extra);
            }
            Decision::Reject(refusal) => {
                self.log_refusal(Wanted::Connect(&request.app), &refusal);
                self.machine
                    .reject_connect(refusal.code, &refusal.description, None);
            }
        }
    }

    /// The name as a key of the hub, or the reason why it is none.
    pub(super) fn stream_name(&self, name: &str) -> Result<StreamName, String> {
        let app: &str = self.app.as_deref().unwrap_or_default();
        StreamName::new(app, name).map_err(|error| error.to_string())
    }

    fn play(&mut self, stream: u32, name: &str, start: f64, duration: f64) {
        // Players of the Flash era name the container of a live stream, too.
        let bare = ["flv:", "mp4:"]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .unwrap_or(name);
        if is_key(name) {
            // Whoever tries the two fields of an encoder in a player; nobody else is to read it.
            repeated("key-played", self.peer.ip(), Instant::now(), || {
                tracing::info!(
                    peer = %self.peer, code = "key-played",
                    "play refused: a stream key publishes, it does not play"
                );
            });
            let text = "A stream key publishes. To play, use the public name of the stream.";
            return self
                .machine
                .reject_play(stream, code::PLAY_STREAM_NOT_FOUND, text);
        }
        let live = self.stream_name(bare);
        let may_be_file = self.may_be_file(name, start);
        let known = match live {
            Ok(name) => Some(name),
            Err(_) if may_be_file => None,
            Err(error) => {
                repeated("bad-name", self.peer.ip(), Instant::now(), || {
                    tracing::info!(
                        peer = %self.peer, code = "bad-name", name = %Escaped(name),
                        "play refused: {error}"
                    );
                });
                return self
                    .machine
                    .reject_play(stream, code::PLAY_STREAM_NOT_FOUND, &error);
            }
        };
        let allowed = self.server.policy.may_play(&self.identity, self.peer.ip());
        if let Err(refusal) = allowed {
            self.log_refusal(Wanted::Play(&self.shown(name)), &refusal);
            return self
                .machine
                .reject_play(stream, refusal.code, &refusal.description);
        }
        if !self.identity.is_mirror()
            && let Err(refused) = self.leave_reserve()
        {
            return self.turn_away(stream, &refused);
        }
        // What is live counts, unless a recording is asked for.
        let live = |known: &StreamName| self.server.hub.get(known).is_some();
        match known {
            Some(known) if !may_be_file || (start < 0.0 && live(&known)) => {
                self.begin_play(stream, known, start);
            }
            known => self.open_file(stream, name, known, (start, duration)),
        }
    }

    fn call(&mut self, name: &str, transaction: f64, args: &[Value]) {
        match name {
            mirror::PROVE if self.login.is_some() => self.prove(transaction, args),
            mirror::WATCH if self.identity.is_mirror() => self.watch(transaction),
            HOSTS if self.control.is_some() => self.hosts(args),
            _ => self.machine.unknown_call(transaction, name),
        }
    }

    pub(super) fn log_refusal(&self, wanted: Wanted<'_>, refusal: &Refusal) {
        let code = refusal.reason.as_str();
        if refusal.reason == Reason::NoKey && self.server.policy.has_keys() {
            return; // the policy has logged it
        }
        let (what, of) = wanted.shown(self.server.policy.has_keys());
        let of = Escaped(&of);
        if refusal.reason.is_login_step() {
            tracing::debug!(peer = %self.peer, code, "{what} {of}: a step of the login");
            return;
        }
        let stream = (what != "connect").then(|| tracing::field::display(&of));
        let advice = wanted.advice(refusal.reason);
        repeated(code, self.peer.ip(), Instant::now(), || {
            tracing::warn!(
                stream, peer = %self.peer, code, "{what} {of} refused: {}{advice}",
                Escaped(&refusal.description)
            );
        });
    }

    /// `APP/STREAM`, or what comes nearest to it, for the log.
    pub(super) fn shown(&self, name: &str) -> String {
        let app = self.app.as_deref().unwrap_or_default();
        format!("{app}/{name}")
    }

    /// The same of a publish that was refused: its name may be a mistyped stream key, here or, on a
    /// mirror, of the master.
    pub(super) fn shown_refused(&self, name: &str) -> String {
        let app = self.app.as_deref().unwrap_or_default();
        masked_stream(app, name, self.server.policy.has_keys())
    }

    /// Whoever was unknown until now has shown who it is.
    pub(super) fn now_is(&mut self, identity: Identity) {
        self.identity = identity;
        self.admitted.login_done();
    }

    #[cfg(not(feature = "publish"))]
    fn publish(&mut self, stream: u32, name: &str, _: crate::rtmp::server::PublishKind) {
        let refused = self
            .server
            .policy
            .may_publish(&self.identity, self.peer.ip());
        if let Err(refusal) = refused {
            self.log_refusal(Wanted::Publish(&self.shown_refused(name)), &refusal);
            self.machine
                .reject_publish(stream, refusal.code, &refusal.description);
        }
    }

    #[cfg(not(feature = "publish"))]
    fn unpublish(&mut self, _: u32) {}

    #[cfg(not(feature = "publish"))]
    fn media(&mut self, _: u32, _: u8, _: u32, _: bytes::Bytes) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_address_is_not_shown_and_its_place_is_said() {
        for (app, shown) in [
            ("live/sk_w4hbabcdefgh", "live/(a name of 15 characters)"),
            ("sk_w4hbabcdefgh", "(a name of 15 characters)"),
        ] {
            let wanted = Wanted::Connect(app);
            for keys in [false, true] {
                assert_eq!(wanted.shown(keys), ("connect", shown.to_owned()));
            }
            let advice = wanted.advice(Reason::UnknownApp);
            assert!(advice.ends_with("the encoder's field for the stream key."));
        }
        let wanted = Wanted::Connect("life");
        assert_eq!(wanted.shown(true), ("connect", "life".to_owned()));
        assert!(wanted.advice(Reason::UnknownApp).contains("[aliases]"));
    }
}
