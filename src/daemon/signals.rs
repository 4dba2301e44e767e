//! The signals that end the daemon.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use super::EX_TEMPFAIL;

/// A future that is ready at the first SIGTERM or SIGINT; a second one ends the process at once.
///
/// # Errors
/// The system takes no handler.
pub fn stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping; a second signal ends at once");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!(code = "stop", "a second signal: ended at once");
            std::process::exit(i32::from(EX_TEMPFAIL));
        });
    })
}
