//! What a pull is told, what it gives, and how it fails.

use std::net::IpAddr;

use bytes::Bytes;

use super::message::RtspError;
use crate::flv::{ReaderLimits, Tag};

/// What is wanted of another server.
pub struct Order {
    /// `rtsp://HOST:PORT/PATH?QUERY`, without a login.
    pub url: String,
    /// User and password.
    pub login: Option<(String, String)>,
    /// The password may be shown to this server where it asks for it (Basic).
    pub plain: bool,
    /// Media shall come in datagrams, and not on the connection.
    pub datagrams: bool,
    /// What we call ourselves.
    pub agent: String,
    /// How large frames may be.
    pub limits: ReaderLimits,
    /// A random number, for digests.
    pub chance: u64,
}

/// What the machine gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes for the other server.
    Write(Bytes),
    /// Datagrams of this track are to come: to be answered by [`super::Client::ports`].
    Ports(usize),
    /// Where those of a track come from: another address than that of the connection if it says so, and the
    /// ports of RTP and RTCP.
    From {
        /// The track.
        track: usize,
        /// Another address.
        source: Option<IpAddr>,
        /// RTP and RTCP, when they were told.
        ports: Option<[u16; 2]>,
    },
    /// To be sent from the ports of a track to where its datagrams come from.
    Send {
        /// The track.
        track: usize,
        /// From and to the ports of RTCP.
        rtcp: bool,
        /// The datagram.
        bytes: Bytes,
    },
    /// The other server has agreed: media will come.
    Playing,
    /// A sequence header or a frame.
    Tag(Tag),
    /// Something that the other server has and that is not passed on.
    LeftOut(String),
    /// The media are there, as an address; nothing follows.
    Moved(String),
}

/// Why there are no media, or none any more. Nothing follows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// What the other server sends cannot be read.
    #[error("the other server: {0}")]
    Bytes(#[from] RtspError),
    /// It said no.
    #[error("the other server refused {method}: {status} {phrase}")]
    Refused {
        /// What was asked.
        method: &'static str,
        /// Its answer's number.
        status: u16,
        /// Its answer's words.
        phrase: String,
    },
    /// It wants a login, and there is none.
    #[error("the other server asks for a login; give user and password")]
    NoLogin,
    /// It does not take this one.
    #[error("the other server does not take this user and password")]
    Login,
    /// It wants a login in a way that is not known, or that would show the password to who is not trusted.
    #[error("the other server asks for a login in none of the ways that can be used here")]
    Scheme,
    /// Its description is none.
    #[error("the other server describes no media")]
    NoMedia,
    /// Nothing of what it has can be passed on.
    #[error("no track this server can take: {0}; taken are H.264, H.265, AAC, MP3 and Opus")]
    NoTrack(String),
    /// A track's address cannot be asked for.
    #[error("the other server gives a track an address that is none")]
    Control,
    /// It sends in another way than asked.
    #[error("the other server does not send over {}", instead(.0))]
    Transport(
        /// Datagrams were asked for.
        bool,
    ),
    /// It did not answer in time.
    #[error("the other server does not answer {0}")]
    Silent(
        /// What was asked.
        &'static str,
    ),
    /// It ended the session.
    #[error("the other server ended the session")]
    Over,
}

/// What to do about a way that is not to be had.
const fn instead(datagrams: &bool) -> &'static str {
    if *datagrams {
        "UDP; leave out transport"
    } else {
        "TCP; write transport = \"udp\""
    }
}
