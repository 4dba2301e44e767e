//! What is wrong with the machine while the server serves all the same: it is told on `/healthz` and where
//! the log goes, and taken back when it is mended. A mirror's clock is compared with its master's where the
//! master's news arrive.

use std::path::Path;
use std::sync::Arc;

use tokio::time::sleep;

use crate::limits::DISK_EVERY;
use crate::system::{MEDIA, is_full};
use crate::telemetry::health::Health;
use crate::telemetry::logging::Escaped;

/// The keys of the notes.
const DISK: &str = "disk";
const MACHINE: &str = "machine";

/// What whoever made the machine has to say of it.
pub(super) fn tell(health: &Health, note: Option<String>) {
    if let Some(note) = note {
        tracing::warn!(code = "machine", "{}", Escaped(&note));
        health.note(MACHINE, Some(note));
    }
}

/// Looks after the disk for ever.
pub(super) async fn care(health: Arc<Health>) {
    loop {
        // A file system that hangs holds up this task alone.
        let looked = tokio::task::spawn_blocking(|| is_full(Path::new(MEDIA)));
        if let Ok(full) = looked.await {
            disk(&health, full);
        }
        sleep(DISK_EVERY).await;
    }
}

fn disk(health: &Health, full: bool) {
    let note =
        full.then(|| format!("there is no room left where {MEDIA} is; live streams need none"));
    let text = note.clone();
    if health.note(DISK, note) {
        match text {
            Some(text) => tracing::warn!(code = "disk-full", "{text}"),
            None => tracing::info!(
                code = "disk-has-room",
                "there is room again where {MEDIA} is"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_and_taken_back() {
        let health = Health::new();
        health.clear("start");
        disk(&health, true);
        disk(&health, true);
        tell(&health, Some("user-data cannot be read".into()));
        let notes = health.notes();
        assert!(
            notes[0].starts_with("disk: there is no room left"),
            "{notes:?}"
        );
        assert_eq!(notes[1], "machine: user-data cannot be read");
        assert!(health.troubles().is_empty(), "it serves");
        disk(&health, false);
        tell(&health, None);
        assert_eq!(health.notes().len(), 1);
    }
}
