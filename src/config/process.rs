//! The tables `[log]` and `[server]`.

use super::build::{Build, SECONDS_0_TO_3600, set_span};
use super::file;
use super::settings::{LogFormat, Settings};
use crate::telemetry::logging;

impl Build<'_> {
    pub(super) fn process(
        &mut self,
        log: file::Log,
        server: file::Server,
        settings: &mut Settings,
    ) {
        if let Some(level) = log.level {
            match logging::check_filter(&level) {
                Ok(()) => settings.log.level = level,
                Err(message) => self.wrong("log.level", message),
            }
        }
        settings.log.format = log.format.unwrap_or(LogFormat::Auto);
        if let Some(threads) = server.threads {
            settings.server.threads = threads.0;
        }
        set_span(&mut settings.server.stop_grace, server.stop_grace);
        let grace = settings.server.stop_grace;
        self.in_range("server.stop_grace", grace, SECONDS_0_TO_3600);
        settings.server.state = server.state.map(|path| self.path(&path));
    }
}
