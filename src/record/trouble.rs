//! Why a recording cannot go on, in words for who can do something about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::system::how_to_open;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Less than the floor is left.
    #[error("the disk has less than {} MiB left (record.min_free)", .0 >> 20)]
    Full(u64),
    /// The system refuses.
    #[error("{}: {error}{hint}", folder.display())]
    System {
        /// Where.
        folder: PathBuf,
        error: io::Error,
        /// What to type.
        hint: String,
    },
    /// The container cannot have it.
    #[error("{0}; record it as FLV (record.format)")]
    Unsupported(String),
}

impl Trouble {
    /// Of a file in this folder.
    pub(super) fn at(folder: &Path, error: io::Error) -> Self {
        Self::System {
            folder: folder.to_owned(),
            hint: how_to_write(folder, &error),
            error,
        }
    }

    /// The field `code` of the log, and the label of the metrics.
    pub(super) fn code(&self) -> &'static str {
        let full = [
            io::ErrorKind::StorageFull,
            io::ErrorKind::QuotaExceeded,
            io::ErrorKind::FileTooLarge,
        ];
        match self {
            Self::Full(_) => "recording-disk-full",
            Self::System { error, .. } if full.contains(&error.kind()) => "recording-disk-full",
            Self::System { error, .. } if error.kind() == io::ErrorKind::ResourceBusy => {
                "recording-busy"
            }
            Self::System { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                "recording-folder-missing"
            }
            Self::System { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                "recording-denied"
            }
            Self::System { .. } => "recording-failed",
            Self::Unsupported(_) => "recording-unsupported",
        }
    }
}

/// Behind an error, what lets this process write there.
fn how_to_write(folder: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "; the folder, or the file in it, is not there (record.folder)".to_owned()
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; a service of systemd writes where its unit says ReadWritePaths=".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            let hint = how_to_open(folder, error);
            let folder = folder.display();
            match hint.is_empty() {
                true => hint,
                false => format!("; the server's user must be able to write to {folder}"),
            }
        }
        _ => String::new(),
    }
}
