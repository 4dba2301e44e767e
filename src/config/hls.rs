//! The table `[hls]`.

use super::build::{Build, set, set_span};
use super::file;
use super::settings::{Hls, Role, Settings};
use crate::limits::{MAX_HLS_WINDOW, MIN_HLS_WINDOW};

impl Build<'_> {
    pub(super) fn hls(&mut self, file: &file::Hls, settings: &mut Settings) {
        let Hls {
            enabled,
            segment,
            window,
        } = &mut settings.hls;
        set(enabled, file.enabled);
        set_span(segment, file.segment);
        set(window, file.window);
        // Shorter ones and the numbers of a master without memory would catch up with each other.
        self.in_range("hls.segment", settings.hls.segment, 1..=10);
        let window = settings.hls.window;
        if !(MIN_HLS_WINDOW..=MAX_HLS_WINDOW).contains(&window) {
            self.wrong(
                "hls.window",
                format!("{window} is not from {MIN_HLS_WINDOW} to {MAX_HLS_WINDOW}"),
            );
        }
        let foreign = settings
            .mirror
            .as_ref()
            .is_some_and(|m| !m.streams.is_empty());
        if settings.role == Role::Mirror && !foreign && self.says("hls.segment") {
            self.wrong(
                "hls.segment",
                "has no meaning on a mirror: its master says where segments begin, so that all mirrors have the same; set it there",
            );
        }
    }
}
