//! Without publishing there is one role, the mirror, and that has no files.

use std::iter::Empty;
use std::time::Instant;

use super::connection::Connection;
use crate::media::StreamName;

/// None.
#[derive(Default)]
pub(super) struct Files(());

impl Files {
    pub(super) const fn playing(&self) -> Empty<u32> {
        std::iter::empty()
    }
}

impl Connection {
    pub(super) const fn plays_files(&self) -> bool {
        false
    }

    pub(super) const fn may_be_file(&self, _: &str, _: f64) -> bool {
        false
    }

    /// Only where there may be files.
    pub(super) fn open_file(
        &mut self,
        stream: u32,
        _: &str,
        live: Option<StreamName>,
        (start, _): (f64, f64),
    ) {
        if let Some(live) = live {
            self.begin_play(stream, live, start);
        }
    }

    pub(super) const fn queue_file(&mut self, _: u32, _: &str, _: (f64, f64)) -> bool {
        false
    }

    pub(super) const fn pause_file(&mut self, _: u32, _: bool, _: f64) {}

    pub(super) const fn seek_file(&mut self, _: u32, _: f64) {}

    pub(super) const fn receive_file(&mut self, _: u32, _: Option<bool>, _: Option<bool>) {}

    pub(super) const fn stop_file(&mut self, _: u32) {}

    pub(super) const fn end_files(&mut self) {}

    pub(super) const fn set_buffer(&mut self, _: u32) {}

    pub(super) fn file_length(&mut self, transaction: f64, _: &str) {
        self.machine.result(transaction, vec![0.0.into()]);
    }

    pub(super) const fn drive_files(&mut self) -> bool {
        false
    }

    pub(super) const fn files_deadline(&self) -> Option<Instant> {
        None
    }

    pub(super) const fn files_progress(&mut self, _: Instant) {}

    pub(super) const fn has_patient_files(&self, _: Instant) -> bool {
        false
    }
}
