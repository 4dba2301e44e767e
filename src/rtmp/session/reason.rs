//! Why a connection was closed.

use std::fmt;

use crate::rtmp::chunk::ChunkError;
use crate::rtmp::command::CommandError;
use crate::rtmp::handshake::HandshakeError;

/// Why a machine ended its connection. [`CloseReason::code`] is for logs and metrics and never
/// changes its spelling; `Display` is a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer sent the command `close`.
    ByPeer,
    /// The handshake was no handshake.
    Handshake(HandshakeError),
    /// No complete handshake in time.
    HandshakeTimeout,
    /// No `connect` in time.
    ConnectTimeout,
    /// The server did not answer our `connect` in time.
    AnswerTimeout,
    /// Neither `play` nor `publish` in time.
    IdleTimeout,
    /// A publisher sent no media in time.
    PublisherSilent,
    /// The peer sent nothing and answered no ping.
    Silent,
    /// The chunk stream broke a rule or a limit.
    Chunk(ChunkError),
    /// A protocol control message of the wrong length.
    Control(u8),
    /// A command that cannot be read.
    Command(CommandError),
    /// An aggregate message whose parts do not fit.
    Aggregate,
    /// Something other than `connect` came first.
    BeforeConnect,
    /// Audio or video on a message stream that does not publish.
    NotPublishing,
    /// More bytes came than the machine said it wants.
    Overrun,
    /// More requests or other messages than any player or encoder has use for.
    Flood,
    /// `connect` was refused, with this status code.
    Rejected(String),
    /// The driver's decision: a stable code and a sentence.
    Driver(&'static str, String),
}

impl CloseReason {
    /// The stable, machine-readable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ByPeer => "closed-by-peer",
            Self::Handshake(_) => "bad-handshake",
            Self::HandshakeTimeout => "handshake-timeout",
            Self::ConnectTimeout => "connect-timeout",
            Self::AnswerTimeout => "answer-timeout",
            Self::IdleTimeout => "idle-timeout",
            Self::PublisherSilent => "publisher-silent",
            Self::Silent => "peer-silent",
            Self::Chunk(_) => "bad-chunk",
            Self::Control(_) => "bad-control-message",
            Self::Command(_) => "bad-command",
            Self::Aggregate => "bad-aggregate",
            Self::BeforeConnect => "before-connect",
            Self::NotPublishing => "media-without-publish",
            Self::Overrun => "input-overrun",
            Self::Flood => "flood",
            Self::Rejected(_) => "connect-rejected",
            Self::Driver(code, _) => code,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByPeer => f.write_str("the peer sent the command close"),
            Self::Handshake(error) => write!(f, "{error}"),
            Self::HandshakeTimeout => f.write_str("the handshake was not finished in time"),
            Self::ConnectTimeout => f.write_str("the peer did not send connect in time"),
            Self::AnswerTimeout => f.write_str("the server did not answer connect in time"),
            Self::IdleTimeout => f.write_str("the peer neither played nor published in time"),
            Self::PublisherSilent => f.write_str("the publisher sent no media in time"),
            Self::Silent => f.write_str("the peer sent nothing and did not answer a ping"),
            Self::Chunk(error) => write!(f, "{error}"),
            Self::Control(kind) => {
                write!(f, "a control message of type {kind} has the wrong length")
            }
            Self::Command(error) => write!(f, "{error}"),
            Self::Aggregate => f.write_str("the parts of an aggregate message do not fit into it"),
            Self::BeforeConnect => f.write_str("the peer sent something before connect"),
            Self::NotPublishing => {
                f.write_str("the peer sent media on a message stream that does not publish")
            }
            Self::Overrun => f.write_str("the peer sent too much while an answer was pending"),
            Self::Flood => f.write_str("the peer sent more than any player or encoder has to say"),
            Self::Rejected(code) => write!(f, "connect was refused with {code}"),
            Self::Driver(_, text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amf::AmfError;

    #[test]
    fn every_reason_has_its_own_code_and_a_sentence() {
        let reasons = [
            CloseReason::ByPeer,
            CloseReason::Handshake(HandshakeError::Version(0x47)),
            CloseReason::HandshakeTimeout,
            CloseReason::ConnectTimeout,
            CloseReason::AnswerTimeout,
            CloseReason::IdleTimeout,
            CloseReason::PublisherSilent,
            CloseReason::Silent,
            CloseReason::Chunk(ChunkError::TooManyChunkStreams),
            CloseReason::Control(5),
            CloseReason::Command(CommandError::Amf(AmfError::Short)),
            CloseReason::Aggregate,
            CloseReason::BeforeConnect,
            CloseReason::NotPublishing,
            CloseReason::Overrun,
            CloseReason::Flood,
            CloseReason::Rejected("NetConnection.Connect.Rejected".into()),
            CloseReason::Driver("too-slow", "took no byte for 20 s".into()),
        ];
        let mut codes: Vec<_> = reasons.iter().map(CloseReason::code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), reasons.len());
        let word = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(codes.iter().all(|code| code.chars().all(word)));
        assert!(reasons.iter().all(|reason| reason.to_string().len() > 10));
    }
}
