//! Why nothing more is sent on a connection, for the log and the metrics.

/// Why the sending side of a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The socket was closed or reset by the peer.
    Gone,
    /// The peer accepted no byte for [`crate::limits::Limits::send_timeout`], or not the rest of a frame.
    TooSlow,
    /// The peer made us answer more than it reads.
    Overflow,
    /// A defect of the server.
    Defect,
}

impl Ending {
    /// The label of the metrics and the field of the log.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Gone => "peer-gone",
            Self::TooSlow => "too-slow",
            Self::Overflow => "control-overflow",
            Self::Defect => "defect",
        }
    }

    /// Whether an operator should see it: peers that go are no news.
    #[must_use]
    pub const fn is_notable(self) -> bool {
        !matches!(self, Self::Gone)
    }

    /// What it means, and what to do about it.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Gone => "the peer is gone",
            Self::TooSlow => {
                "took nothing, or no whole frame, for limits.send_timeout: it stalls, or its network is too slow; a lower bit rate helps many"
            }
            Self::Overflow => {
                "it asks for more answers than it reads; that is no player or encoder as they should be"
            }
            Self::Defect => {
                "a defect of the server ended it; please report it with the lines about a panic before this one"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::logging::Escaped;

    #[test]
    fn a_line_of_the_log_has_all_of_what_it_means() {
        for ending in [
            Ending::Gone,
            Ending::TooSlow,
            Ending::Overflow,
            Ending::Defect,
        ] {
            let meaning = ending.meaning();
            assert_eq!(Escaped(meaning).to_string(), meaning);
        }
        assert!(Ending::TooSlow.meaning().contains("limits.send_timeout"));
    }
}
