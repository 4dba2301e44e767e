//! Ending a run before its time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{SignalKind, signal};

/// A wish to end, with the signal that told it.
#[derive(Debug, Default)]
pub struct Stop(AtomicU8);

impl Stop {
    /// Ends the run; the report is of what there is by then.
    pub fn request(&self, signal: u8) {
        self.0.store(signal, Ordering::Relaxed);
    }

    /// The signal, once there was one.
    #[must_use]
    pub fn signal(&self) -> Option<u8> {
        let signal = self.0.load(Ordering::Relaxed);
        (signal > 0).then_some(signal)
    }

    /// Is requested by SIGINT or SIGTERM; a second one ends the process at once.
    ///
    /// # Errors
    /// The system gives no thread, or takes no handler.
    pub fn on_signals() -> io::Result<Arc<Self>> {
        let stop = Arc::new(Self::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            )
        };
        let shared = Arc::clone(&stop);
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    loop {
                        let number = tokio::select! {
                            _ = interrupt.recv() => nix::libc::SIGINT,
                            _ = terminate.recv() => nix::libc::SIGTERM,
                        };
                        if shared.signal().is_some() {
                            std::process::exit(number.saturating_add(128));
                        }
                        shared.request(u8::try_from(number).unwrap_or(u8::MAX));
                    }
                });
            })?;
        Ok(stop)
    }
}
