//! What a listener speaks.

use std::net::SocketAddr;

use crate::config::{Listen, ListenSaid};
use crate::telemetry::metrics::Protocol;

/// One for each list of addresses in the configuration; "protocol stack" is the original's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// `listen.rtmp`
    Rtmp,
    /// `listen.http`
    Http,
    /// `listen.rtmps`
    Rtmps,
    /// `listen.https`
    Https,
}

impl Stack {
    /// Every one, in the order of tables.
    pub const ALL: [Self; 4] = [Self::Rtmp, Self::Http, Self::Rtmps, Self::Https];

    /// As the configuration, units and people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Http => "http",
            Self::Rtmps => "rtmps",
            Self::Https => "https",
        }
    }

    /// The key of its addresses.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Rtmp => "listen.rtmp",
            Self::Http => "listen.http",
            Self::Rtmps => "listen.rtmps",
            Self::Https => "listen.https",
        }
    }

    /// In the table at the start.
    #[must_use]
    pub const fn inbound(self) -> &'static str {
        match self {
            Self::Rtmp => "inboundRtmp",
            Self::Http => "inboundHttpFlv",
            Self::Rtmps => "inboundRtmps",
            Self::Https => "inboundHttpsFlv",
        }
    }

    /// What it counts as.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Rtmp | Self::Rtmps => Protocol::Rtmp,
            Self::Http | Self::Https => Protocol::Http,
        }
    }

    /// Whether TLS comes first.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Rtmps | Self::Https)
    }

    /// Its addresses.
    #[must_use]
    pub fn of(self, listen: &Listen) -> &[SocketAddr] {
        match self {
            Self::Rtmp => &listen.rtmp,
            Self::Http => &listen.http,
            Self::Rtmps => &listen.rtmps,
            Self::Https => &listen.https,
        }
    }

    /// Whether anybody named them.
    #[must_use]
    pub const fn is_said(self, said: ListenSaid) -> bool {
        match self {
            Self::Rtmp => said.rtmp,
            Self::Http => said.http,
            Self::Rtmps => said.rtmps,
            Self::Https => said.https,
        }
    }
}
