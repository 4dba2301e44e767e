//! The signals that end the daemon.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use super::EX_TEMPFAIL;

/// From now on a file that may not grow any more (`LimitFSIZE=`) is an error of who writes it, and not the
/// end of the process.
///
/// # Errors
/// The system takes no handler.
pub(super) fn outlive_file_size() -> io::Result<()> {
    let kind = SignalKind::from_raw(nix::sys::signal::Signal::SIGXFSZ as i32);
    // The handler stays when what it returned is gone.
    signal(kind).map(drop)
}

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
