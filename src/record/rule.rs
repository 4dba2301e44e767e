//! What is recorded, and how.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::name::{NamePattern, StreamPattern};
use super::trouble::Trouble;
use crate::bridge::recording::Format;
use crate::limits::RECORDING_FREE;
use crate::media::StreamName;
use crate::system::Folder;

/// What the configuration says of recordings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordConfig {
    /// Streams that are recorded whatever their publisher says.
    pub streams: Vec<StreamPattern>,
    /// Whether a publisher may ask for a recording.
    pub publishers: bool,
    /// Whether a publisher that asks for a new file replaces the one that is there.
    pub replace: bool,
    /// Where files are made.
    pub folder: PathBuf,
    /// What files are.
    pub format: Format,
    /// What files of the rule are called.
    pub name: NamePattern,
    /// How long a file of the rule gets; `None` is as long as the stream.
    pub length: Option<Duration>,
    /// How large a file of the rule gets, bytes.
    pub size: Option<u64>,
    /// What must be left on the disk, bytes.
    pub min_free: u64,
}

impl RecordConfig {
    /// Nothing is recorded; files would be in this folder.
    #[must_use]
    pub fn nothing(folder: PathBuf) -> Self {
        Self {
            streams: Vec::new(),
            publishers: false,
            replace: false,
            folder,
            format: Format::Flv,
            name: NamePattern::default(),
            length: None,
            size: None,
            min_free: RECORDING_FREE,
        }
    }

    /// Whether the rule means this stream.
    #[must_use]
    pub fn means(&self, stream: &StreamName) -> bool {
        self.streams.iter().any(|pattern| pattern.matches(stream))
    }

    /// Whether anything is recorded without an operator's word.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.publishers || !self.streams.is_empty()
    }

    /// What stands in the way of every file, where any is wanted: better told now than when the event begins.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        if !self.is_used() {
            return None;
        }
        let may = Folder::open(&self.folder).and_then(|folder| folder.may_make());
        may.err().map(|error| Trouble::at(&self.folder, error))
    }

    /// Tells the operator of it. Of a folder that is missing the configuration's own warning tells.
    pub(super) fn look_at_folder(&self) {
        let trouble = self.trouble().filter(|_| self.folder.is_dir());
        if let Some(trouble) = trouble {
            tracing::warn!(
                code = trouble.code(),
                "nothing can be recorded until this is mended: {trouble}"
            );
        }
    }

    /// What the rule wants of a stream.
    pub(super) fn of_rule(&self) -> Plan {
        Plan {
            folder: self.folder.clone(),
            format: self.format,
            name: self.name.clone(),
            length: self.length,
            size: self.size,
            min_free: self.min_free,
            begin: Begin::New,
        }
    }

    /// What a publisher gets: a file of the stream's own name.
    pub(super) fn of_publisher(&self, append: bool) -> Plan {
        Plan {
            name: NamePattern::of_publishers(),
            length: None,
            size: None,
            begin: match append {
                true => Begin::Append,
                false => Begin::InPlace {
                    keep: !self.replace,
                },
            },
            ..self.of_rule()
        }
    }

    /// What an operator wants.
    pub(super) fn of_operator(&self, wish: &Wish) -> Plan {
        Plan {
            format: wish.format.unwrap_or(self.format),
            name: wish.name.clone().unwrap_or_else(|| self.name.clone()),
            length: wish.length.or(self.length),
            size: wish.size.or(self.size),
            ..self.of_rule()
        }
    }
}

/// What an operator says of a recording; what is not said is as in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The container.
    pub format: Option<Format>,
    /// What files are called.
    pub name: Option<NamePattern>,
    /// How long a file gets.
    pub length: Option<Duration>,
    /// How large a file gets, bytes.
    pub size: Option<u64>,
}

/// How the first file of a recording begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// Under a name that is free.
    New,
    /// Under just this name: what has it is kept under a number, or goes.
    InPlace { keep: bool },
    /// Behind what is there.
    Append,
}

/// How one recording is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) folder: PathBuf,
    pub(super) format: Format,
    pub(super) name: NamePattern,
    pub(super) length: Option<Duration>,
    pub(super) size: Option<u64>,
    pub(super) min_free: u64,
    pub(super) begin: Begin,
}

impl Plan {
    /// Whether a file that was begun by the other plan is no longer right.
    pub(super) fn wants_another_file(self: &Arc<Self>, before: &Arc<Self>) -> bool {
        !Arc::ptr_eq(self, before)
            && (&self.folder, self.format, &self.name)
                != (&before.folder, before.format, &before.name)
    }
}
