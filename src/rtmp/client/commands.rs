//! What a server's commands mean.

use super::{Asked, BUFFER_LENGTH_MS, Client, Event, Intent, Phase, Stream};
use crate::amf::Value;
use crate::rtmp::command::Command;
use crate::rtmp::message::kind;
use crate::rtmp::session::caps::Caps;
use crate::rtmp::session::reason::CloseReason;
use crate::rtmp::session::{text_field, user_control};
use crate::rtmp::status::{code, code_of, is_error};

impl Client {
    pub(super) fn command(&mut self, stream: u32, command: Command) {
        match command.name.as_str() {
            "_result" => self.answered(command, true),
            "_error" => self.answered(command, false),
            "onStatus" => {
                let info = command.args.into_iter().next().unwrap_or(command.object);
                self.status(stream, info);
            }
            "close" => self.link.close(CloseReason::ByPeer),
            // Nothing depends on these.
            "onBWDone" | "onFCPublish" | "onFCUnpublish" | "onFCSubscribe" | "onFCUnsubscribe" => {}
            // Bandwidth tests want any answer.
            "onBWCheck" | "_onbwcheck" | "_onbwdone" => {
                self.result(command.transaction, vec![Value::Null]);
            }
            _ => self.link.event(Event::Call {
                stream,
                name: command.name,
                transaction: command.transaction,
                object: command.object,
                args: command.args,
            }),
        }
    }

    fn answered(&mut self, command: Command, good: bool) {
        let same = |transaction: u32| f64::from(transaction) == command.transaction;
        let Some(at) = self.pending.iter().position(|p| same(p.transaction)) else {
            return; // releaseStream, FCPublish and their like, whose answers change nothing
        };
        let pending = self.pending.swap_remove(at);
        let transaction = pending.transaction;
        let info = || command.args.first().cloned().unwrap_or(Value::Null);
        match pending.what {
            Asked::Connect if good && !is_error(&info()) => self.connected(command.object, info()),
            Asked::Connect => self.rejected(&info()),
            Asked::Create(intent) if good => {
                self.created(transaction, intent, command.args.first());
            }
            Asked::Create(_) => self.link.event(Event::StreamFailed {
                ticket: transaction,
                code: code_of(&info()).to_owned(),
                description: description(&info()),
            }),
            Asked::Call if good => self.link.event(Event::Result {
                transaction,
                object: command.object,
                values: command.args,
            }),
            Asked::Call => {
                let info = info();
                self.link.event(Event::Error { transaction, info });
            }
        }
    }

    fn connected(&mut self, properties: Value, info: Value) {
        self.phase = Phase::Open;
        self.choose_phase();
        let window = self.config.window.to_be_bytes();
        self.link.write_control(kind::WINDOW_ACK, &window);
        self.link.announce_chunk_size(self.config.chunk_size);
        let caps = Caps::parse(&info);
        self.link.event(Event::Connected {
            properties,
            info,
            caps,
        });
    }

    fn rejected(&mut self, info: &Value) {
        let ex = info.get("ex").cloned();
        let redirect = ex.as_ref().and_then(|ex| text_field(ex, "redirect"));
        let code = code_of(info).to_owned();
        self.link.event(Event::Rejected {
            code: code.clone(),
            description: description(info),
            redirect,
            ex,
        });
        self.link.close(CloseReason::Rejected(code));
    }

    fn created(&mut self, ticket: u32, intent: Intent, id: Option<&Value>) {
        let id = id.and_then(Value::as_f64).and_then(stream_id);
        let Some(id) = id.filter(|id| self.streams.iter().all(|s| s.id != *id)) else {
            return self.link.event(Event::StreamFailed {
                ticket,
                code: String::new(),
                description: "the server gave no usable message stream".to_owned(),
            });
        };
        match &intent {
            Intent::Play { name, start } => {
                let name: Value = name.as_str().into();
                let start = *start;
                if self.config.subscribe {
                    self.ask("FCSubscribe", vec![name.clone()]);
                }
                self.order(id, "play", vec![name, start.into()]);
                self.set_buffer_length(id);
            }
            Intent::Publish { name, kind } => {
                let args = vec![name.as_str().into(), kind.as_str().into()];
                self.order(id, "publish", args);
            }
        }
        self.streams.push(Stream {
            id,
            intent,
            started: false,
        });
        self.choose_phase();
        self.link.event(Event::StreamReady { ticket, stream: id });
    }

    /// A command on a message stream; its answer is an `onStatus`.
    fn order(&mut self, stream: u32, name: &str, args: Vec<Value>) {
        let transaction = self.next_transaction();
        let command = Command::call(name, transaction.into(), args);
        self.link.write_command(stream, &command);
    }

    fn set_buffer_length(&mut self, stream: u32) {
        let [s0, s1, s2, s3] = stream.to_be_bytes();
        let [b0, b1, b2, b3] = BUFFER_LENGTH_MS.to_be_bytes();
        let [e0, e1] = user_control::SET_BUFFER_LENGTH.to_be_bytes();
        let body = [e0, e1, s0, s1, s2, s3, b0, b1, b2, b3];
        self.link.write_control(kind::USER_CONTROL, &body);
    }

    fn status(&mut self, stream: u32, info: Value) {
        let status = code_of(&info);
        if status == code::RECONNECT_REQUEST {
            return self.link.event(Event::ReconnectRequest {
                tc_url: text_field(&info, "tcUrl"),
                description: description(&info),
            });
        }
        // A server that is full may say so only when somebody plays.
        let rejects = matches!(self.phase, Phase::Connecting) || status == code::CONNECT_REJECTED;
        if rejects && is_error(&info) {
            return self.rejected(&info);
        }
        let place = self.attribute(stream);
        let Some(known) = place.and_then(|at| self.streams.get_mut(at)) else {
            return self.link.event(Event::Status { stream, info });
        };
        let stream = known.id;
        let plays = matches!(known.intent, Intent::Play { .. });
        let begins = status
            == if plays {
                code::PLAY_START
            } else {
                code::PUBLISH_START
            };
        // Some servers forget the level of this one.
        if is_error(&info) || status == code::PLAY_STREAM_NOT_FOUND {
            known.started = false;
            let code = status.to_owned();
            let description = description(&info);
            return self.link.event(if plays {
                Event::PlayFailed {
                    stream,
                    code,
                    description,
                }
            } else {
                Event::PublishFailed {
                    stream,
                    code,
                    description,
                }
            });
        }
        let ends = [
            code::PLAY_STOP,
            code::PLAY_UNPUBLISH_NOTIFY,
            code::UNPUBLISH_SUCCESS,
        ];
        if ends.contains(&status) {
            known.started = false;
        }
        if !begins || std::mem::replace(&mut known.started, true) {
            return self.link.event(Event::Status { stream, info });
        }
        self.link.event(if plays {
            Event::PlayStarted { stream }
        } else {
            Event::PublishStarted { stream }
        });
    }
}

fn description(info: &Value) -> String {
    text_field(info, "description").unwrap_or_default()
}

/// A message stream id out of a double.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked"
)]
fn stream_id(number: f64) -> Option<u32> {
    let usable = (1.0..=f64::from(u32::MAX)).contains(&number) && number.fract() == 0.0;
    usable.then_some(number as u32)
}
