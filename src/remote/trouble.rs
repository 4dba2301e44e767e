//! Why a pull or a push is not there, in words for the operator and with a stable code.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::address::Address;
use crate::rtmp::client::Event;
use crate::rtmp_client::Ended;
#[cfg(feature = "publish")]
use crate::rtsp::Failed;

/// Why a connection did not come about, or ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{}{}", .0, hint(.0))]
    Ended(#[from] Ended),
    #[error("the other server refused: {description} ({code})")]
    Refused { code: String, description: String },
    #[error("the other server does not take this user and password")]
    Login,
    #[error("the other server wants a login; give user and password")]
    NoLogin,
    /// No failure yet: it is somewhere else.
    #[error("the other server sends elsewhere, to {0}")]
    Moved(Box<Address>),
    #[error("the other server sent elsewhere too often")]
    TooFar,
    #[error("the other server sends elsewhere, to an address that is of no use here")]
    BadRedirect,
    #[error("the other server did not agree within {} s", .0.as_secs())]
    Silent(Duration),
    #[cfg(feature = "publish")]
    #[error("the other server has agreed, and sends no media for {} s", .0.as_secs())]
    NoMedia(Duration),
    #[cfg(feature = "publish")]
    #[error("{0}")]
    Rtsp(#[from] Failed),
    #[error("the other server has taken nothing for {} s", .0.as_secs())]
    Stalled(Duration),
    #[error("the stream here was taken over or ended")]
    Displaced,
    #[error("the stream here has another source; it waits until that goes")]
    Taken,
    #[cfg(feature = "publish")]
    #[error("no room for the stream here (limits.max_streams)")]
    Full,
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: String },
}

impl Trouble {
    /// Stable, for programs.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Ended(Ended::Dial { .. }) => "remote-unreachable",
            Self::Ended(Ended::Tls { .. }) => "remote-tls",
            Self::Ended(_) => "remote-lost",
            Self::Refused { .. } => "remote-refused",
            Self::Login | Self::NoLogin => "remote-login",
            Self::Moved(_) | Self::TooFar | Self::BadRedirect => "remote-moved",
            Self::Silent(_) | Self::Stalled(_) => "remote-silent",
            #[cfg(feature = "publish")]
            Self::NoMedia(_) => "remote-silent",
            #[cfg(feature = "publish")]
            Self::Rtsp(failed) => match failed {
                Failed::NoLogin | Failed::Login | Failed::Scheme => "remote-login",
                Failed::Refused { .. } | Failed::Control | Failed::Transport(_) => "remote-refused",
                Failed::NoMedia | Failed::NoTrack(_) => "remote-media",
                Failed::Silent(_) => "remote-silent",
                Failed::Bytes(_) | Failed::Over => "remote-lost",
            },
            Self::Displaced | Self::Taken => "remote-name-taken",
            #[cfg(feature = "publish")]
            Self::Full => "remote-full",
            Self::File { .. } => "remote-file",
        }
    }

    /// What an event says that is of no stream in particular; `None` when it is no trouble.
    pub(super) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::PlayFailed {
                code, description, ..
            }
            | Event::PublishFailed {
                code, description, ..
            }
            | Event::StreamFailed {
                code, description, ..
            } => Some(Self::Refused {
                code: code.clone(),
                description: description.clone(),
            }),
            Event::Rejected {
                code,
                description,
                redirect,
                ..
            } => Some(match redirect {
                Some(to) => to
                    .parse()
                    .map_or(Self::BadRedirect, |to| Self::Moved(Box::new(to))),
                None => Self::Refused {
                    code: code.clone(),
                    description: description.clone(),
                },
            }),
            Event::ReconnectRequest { tc_url, .. } => {
                let to = tc_url.as_deref().and_then(|to| to.parse().ok());
                to.map(|to| Self::Moved(Box::new(to)))
            }
            _ => None,
        }
    }
}

/// What to do about a connection that this process may not open.
fn hint(ended: &Ended) -> &'static str {
    let Ended::Dial { source, .. } = ended else {
        return "";
    };
    let unsupported = nix::errno::Errno::EAFNOSUPPORT as i32;
    if source.raw_os_error() == Some(unsupported)
        || source.kind() == io::ErrorKind::PermissionDenied
    {
        "; this service may open no connections, as with the profile for masters: pull and push elsewhere, or take the profile away"
    } else {
        ""
    }
}
