//! How many connections the limit of open files leaves room for.

use std::fmt;
use std::io;

use crate::config::Settings;
use crate::limits::{MIN_CONNECTIONS, RESERVED_DESCRIPTORS};
use crate::system;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Connections that the settings allow.
    wanted: usize,
    /// Descriptors that this process may have.
    descriptors: usize,
}

/// The limit of open files, and not `limits.max_connections`, bounds the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct Shortage(Room);

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Room {
            wanted,
            descriptors,
        } = self.0;
        let there = match self.0.connections() {
            0 => "no connection".to_owned(),
            n => format!("{n} connections"),
        };
        write!(
            f,
            "there is room for {there}, and limits.max_connections is {wanted}: the limit of open files is \
             {descriptors}, of which {RESERVED_DESCRIPTORS} are kept for files and control; raise it \
             (LimitNOFILE= of the service, ulimit -n in a shell) to {}",
            wanted.saturating_add(RESERVED_DESCRIPTORS)
        )
    }
}

impl Room {
    /// Raises the limit of this process as far as it needs and may.
    ///
    /// # Errors
    /// The system refuses to tell or to set it.
    pub(super) fn make(settings: &Settings) -> io::Result<Self> {
        let wanted = settings.limits.max_connections;
        let needed = wanted.saturating_add(RESERVED_DESCRIPTORS);
        let descriptors = system::raise_descriptor_limit(needed as u64)?;
        Ok(Self {
            wanted,
            descriptors: usize::try_from(descriptors).unwrap_or(usize::MAX),
        })
    }

    /// Connections that there are descriptors for.
    pub(super) const fn connections(self) -> usize {
        self.descriptors.saturating_sub(RESERVED_DESCRIPTORS)
    }

    /// What is to be said where it is less than was asked for.
    pub(super) fn shortage(self) -> Option<Shortage> {
        (self.connections() < self.wanted).then_some(Shortage(self))
    }

    /// Whether it is worth starting.
    ///
    /// # Errors
    /// It is not: nearly everybody would be refused.
    pub(super) fn suffices(self) -> Result<(), Shortage> {
        match self.shortage() {
            Some(shortage) if self.connections() < MIN_CONNECTIONS => Err(shortage),
            _ => Ok(()),
        }
    }
}

/// What a server with these settings would warn of, started as this process was.
#[must_use]
pub fn shortage(settings: &Settings) -> Option<Shortage> {
    Room::make(settings).ok()?.shortage()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(wanted: usize, descriptors: usize) -> Room {
        Room {
            wanted,
            descriptors,
        }
    }

    #[test]
    fn the_limit_of_open_files_is_told_when_it_wins() {
        assert_eq!(room(100, 228).shortage(), None);
        let short = room(16_384, 250);
        assert_eq!(short.connections(), 122);
        assert_eq!(
            short.shortage().unwrap().to_string(),
            "there is room for 122 connections, and limits.max_connections is 16384: the limit of open \
             files is 250, of which 128 are kept for files and control; raise it (LimitNOFILE= of the \
             service, ulimit -n in a shell) to 16512"
        );
        assert_eq!(short.suffices(), Ok(()));
    }

    #[test]
    fn too_few_are_an_error_unless_no_more_are_wanted() {
        let least = RESERVED_DESCRIPTORS + MIN_CONNECTIONS;
        assert_eq!(room(16_384, least).suffices(), Ok(()));
        assert!(room(16_384, least - 1).suffices().is_err());
        assert_eq!(room(3, RESERVED_DESCRIPTORS + 3).suffices(), Ok(()));
        let none = room(16_384, 100).suffices().unwrap_err().to_string();
        assert!(
            none.starts_with("there is room for no connection,"),
            "{none}"
        );
    }
}
