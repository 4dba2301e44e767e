//! What a client's commands do.

use super::{ConnectRequest, Event, Phase, PublishKind, Role, Server, Stream};
use crate::amf::Value;
use crate::limits::{MAX_MESSAGE_STREAMS, MAX_QUERY};
use crate::rtmp::command::Command;
use crate::rtmp::session::caps::Caps;
use crate::rtmp::session::reason::CloseReason;
use crate::rtmp::session::{split_query, text_field};
use crate::rtmp::status::{self, Level, Subject, code};

/// What the first argument of `publish` and `play` asks for.
enum Wanted {
    Name(String, Option<String>),
    Stop,
    Bad(&'static str),
}

impl Wanted {
    fn read(command: &Command) -> Self {
        match command.args.first() {
            Some(Value::Boolean(false) | Value::Null | Value::Undefined) => Self::Stop,
            Some(Value::String(text)) => {
                let (name, query) = split_query(text);
                if query.as_ref().is_some_and(|q| q.len() > MAX_QUERY) {
                    Self::Bad("The query behind the stream's name is too long")
                } else {
                    Self::Name(name.trim().to_owned(), query)
                }
            }
            _ => Self::Bad("The stream's name is missing or is not text"),
        }
    }
}

impl Server {
    pub(super) fn command(&mut self, stream: u32, command: Command) {
        match self.phase {
            Phase::Open => {}
            _ if command.name == "connect" => return self.connect(command),
            _ => {
                self.fail(&command);
                return self.link.close(CloseReason::BeforeConnect);
            }
        }
        match command.name.as_str() {
            "connect" | "play2" => self.fail(&command),
            "close" => self.closed_by_peer(),
            "createStream" => self.create_stream(&command),
            "deleteStream" => self.delete_stream(&command),
            "closeStream" => self.stop(stream),
            "publish" => self.publish(stream, &command),
            "play" => self.play(stream, &command),
            "releaseStream" => self.done(&command, Value::Undefined),
            "FCPublish" => self.fc(&command, status::on_fc_publish),
            "FCUnpublish" => self.fc_unpublish(&command),
            "FCSubscribe" => self.fc(&command, status::on_fc_subscribe),
            "getStreamLength" => self.stream_length(&command),
            "_checkbw" | "checkBandwidth" => self.done(&command, Value::Undefined),
            "receiveAudio" | "receiveVideo" => self.receive(stream, &command),
            "pause" | "pauseRaw" => self.pause(stream, &command),
            "seek" => self.seek(stream, &command),
            // Answers to our own calls and notices; we make none that need one.
            "_result" | "_error" | "onStatus" => {}
            _ => self.link.event(Event::Call {
                stream,
                name: command.name,
                transaction: command.transaction,
                object: command.object,
                args: command.args,
            }),
        }
    }

    fn connect(&mut self, command: Command) {
        let object = command.object;
        let (app, query) = split_query(object.get("app").and_then(Value::as_str).unwrap_or(""));
        let wants_amf3 = object.get("objectEncoding").and_then(Value::as_f64) == Some(3.0);
        let encoding = if wants_amf3 { 3 } else { 0 };
        self.caps = Caps::parse(&object);
        let swf_url = text_field(&object, "swfUrl");
        self.flash = swf_url.as_ref().is_some_and(|url| !url.is_empty());
        self.deadline = self.link.now + self.config.limits.idle_timeout;
        self.phase = Phase::Asked {
            transaction: command.transaction,
            encoding,
        };
        self.link.event(Event::Connect(Box::new(ConnectRequest {
            app: app.trim_matches('/').to_owned(),
            query,
            tc_url: text_field(&object, "tcUrl"),
            flash_ver: text_field(&object, "flashVer"),
            swf_url,
            page_url: text_field(&object, "pageUrl"),
            object_encoding: encoding,
            connect_type: text_field(&object, "type"),
            caps: self.caps.clone(),
            object,
            arguments: command.args,
        })));
    }

    /// `_error`, unless the peer wants no answer.
    fn fail(&mut self, command: &Command) {
        if command.transaction != 0.0 {
            let error = status::call_failed(command.transaction, &command.name);
            self.link.write_command(0, &error);
        }
    }

    /// `_result` with one value, unless the peer wants no answer.
    fn done(&mut self, command: &Command, value: Value) {
        if command.transaction != 0.0 {
            let result = status::result(command.transaction, Value::Null, vec![value]);
            self.link.write_command(0, &result);
        }
    }

    fn closed_by_peer(&mut self) {
        let ids: Vec<u32> = self.streams.iter().map(|s| s.id).collect();
        for id in ids {
            self.stop(id);
        }
        self.link.close(CloseReason::ByPeer);
    }

    fn create_stream(&mut self, command: &Command) {
        let limit = u32::try_from(MAX_MESSAGE_STREAMS).unwrap_or(u32::MAX);
        let free = (1..=limit).find(|id| self.streams.iter().all(|s| s.id != *id));
        let Some(id) = free else {
            let text = format!("No more than {MAX_MESSAGE_STREAMS} streams on one connection");
            let info = status::info(Level::Error, code::CALL_FAILED, &text);
            let error = status::error(command.transaction, info);
            return self.link.write_command(0, &error);
        };
        self.streams.reserve_exact(1); // one is the rule; growing would begin with four
        self.streams.push(Stream {
            id,
            role: Role::Idle,
            name: String::new(),
            called: None,
            reset: true,
            recorded: false,
        });
        self.done(command, id.into());
    }

    fn delete_stream(&mut self, command: &Command) {
        let Some(wanted) = command.number(0) else {
            return;
        };
        let found = self.streams.iter().find(|s| f64::from(s.id) == wanted);
        if let Some(id) = found.map(|s| s.id) {
            self.stop(id);
            self.streams.retain(|s| s.id != id);
        }
    }

    fn publish(&mut self, id: u32, command: &Command) {
        let (name, query) = match Wanted::read(command) {
            Wanted::Name(name, query) => (name, query),
            Wanted::Stop => return self.stop(id),
            Wanted::Bad(why) => return self.refuse(id, "", code::PUBLISH_BAD_NAME, why),
        };
        self.stop(id);
        let Some(stream) = self.stream(id) else {
            let why = "publish came on a message stream that createStream did not give";
            return self.refuse(id, &name, code::PUBLISH_BAD_NAME, why);
        };
        stream.role = Role::PublishAsked;
        stream.name.clone_from(&name);
        stream.called = None;
        self.link.event(Event::Publish {
            stream: id,
            name,
            query,
            kind: PublishKind::parse(command.text(1)),
        });
    }

    fn play(&mut self, id: u32, command: &Command) {
        let (name, query) = match Wanted::read(command) {
            Wanted::Name(name, query) => (name, query),
            Wanted::Stop => return self.stop(id),
            Wanted::Bad(why) => return self.refuse(id, "", code::PLAY_FAILED, why),
        };
        // A boolean or a number: 0 and 2 go on with the list, all others begin a new one. (2 and 3 want all
        // data messages of a file at once as well, which nobody here does.)
        let reset = match command.args.get(3) {
            Some(Value::Boolean(reset)) => *reset,
            Some(Value::Number(reset)) => *reset != 0.0 && *reset != 2.0,
            _ => true,
        };
        let start = command.number(1).unwrap_or(-2.0);
        let duration = command.number(2).unwrap_or(-1.0);
        let follows = |s: &Stream| match s.role {
            Role::PlayAsked => true,
            Role::Playing => s.recorded,
            Role::Idle | Role::PublishAsked | Role::Publishing => false,
        };
        if !reset && self.streams.iter().any(|s| s.id == id && follows(s)) {
            return self.link.event(Event::PlayNext {
                stream: id,
                name,
                query,
                start,
                duration,
            });
        }
        self.stop(id);
        let Some(stream) = self.stream(id) else {
            let why = "play came on a message stream that createStream did not give";
            return self.refuse(id, &name, code::PLAY_FAILED, why);
        };
        stream.role = Role::PlayAsked;
        stream.name.clone_from(&name);
        stream.called = None;
        stream.reset = reset;
        self.link.event(Event::Play {
            stream: id,
            name,
            query,
            start,
            duration,
            reset,
        });
    }

    pub(super) fn refuse(&mut self, id: u32, name: &str, code: &str, description: &str) {
        let subject = Subject {
            name,
            client: self.config.client,
        };
        let status = subject.status(Level::Error, code, description);
        self.link.write_command(id, &status);
    }

    /// Commands from before RTMP was published: they announce by name what a stream will do.
    fn fc(&mut self, command: &Command, notice: fn(&str) -> Command) {
        let (name, _) = split_query(command.text(0).unwrap_or_default());
        self.done(command, Value::Undefined);
        self.link.write_command(0, &notice(&name));
    }

    fn fc_unpublish(&mut self, command: &Command) {
        let (name, _) = split_query(command.text(0).unwrap_or_default());
        self.fc(command, status::on_fc_unpublish);
        let mut streams = self.streams.iter();
        let found = streams.find(|s| s.role == Role::Publishing && s.name == name);
        if let Some(id) = found.map(|s| s.id) {
            self.stop(id);
        }
    }

    fn plays(&self, id: u32) -> bool {
        let mut streams = self.streams.iter();
        streams.any(|s| s.id == id && s.role == Role::Playing)
    }

    fn stream_length(&mut self, command: &Command) {
        let (name, _) = split_query(command.text(0).unwrap_or_default());
        if command.transaction != 0.0 {
            self.link.event(Event::StreamLength {
                transaction: command.transaction,
                name: name.trim().to_owned(),
            });
        }
    }

    fn receive(&mut self, id: u32, command: &Command) {
        self.done(command, Value::Undefined);
        let on = command.truth(0);
        if !self.plays(id) || on.is_none() {
            return;
        }
        let is_video = command.name == "receiveVideo";
        self.link.event(Event::Receive {
            stream: id,
            video: on.filter(|_| is_video),
            audio: on.filter(|_| !is_video),
        });
    }

    fn pause(&mut self, id: u32, command: &Command) {
        let Some(subject) = self.subject(id).filter(|_| self.plays(id)) else {
            return self.fail(command);
        };
        let on = command.truth(0).unwrap_or(true);
        let status = subject.pause_notify(on);
        self.link.write_command(id, &status);
        self.link.event(Event::Pause {
            stream: id,
            on,
            position_ms: command.number(1).unwrap_or(0.0),
        });
    }

    /// Answered at once for what is live: ffmpeg shows nothing more until it hears that a seek was done.
    fn seek(&mut self, id: u32, command: &Command) {
        let Some(subject) = self.subject(id).filter(|_| self.plays(id)) else {
            return self.fail(command);
        };
        let position_ms = command.number(0).unwrap_or(0.0);
        let recorded = |s: &Stream| s.id == id && s.recorded;
        if self.streams.iter().any(recorded) {
            return self.link.event(Event::Seek {
                stream: id,
                position_ms,
            });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "only shown to people, and a cast from a float saturates"
        )]
        let shown = position_ms as u64;
        let status = subject.seek_notify(shown);
        self.link.write_command(id, &status);
        self.link.event(Event::Seek {
            stream: id,
            position_ms,
        });
    }

    pub(super) fn subject(&self, id: u32) -> Option<Subject<'_>> {
        let stream = self.streams.iter().find(|s| s.id == id)?;
        Some(Subject {
            name: stream.called.as_deref().unwrap_or(&stream.name),
            client: self.config.client,
        })
    }
}
