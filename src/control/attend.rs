//! A door with few places: who comes when all are taken is told so, and is gone.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::limits::ACCEPT_PAUSE;
use crate::telemetry::logging::limited;

/// Serves up to `most` clients at a time, until it is dropped, and they with it. `what` is the listener's
/// name in the log.
pub(super) async fn attend<S, F>(
    (what, most): (&str, usize),
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<S>>,
    refuse: impl Fn(S),
    client: impl Fn(S) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(most));
    let mut clients = JoinSet::new();
    loop {
        let accepted = poll_fn(&mut accept).await;
        while clients.try_join_next().is_some() {}
        match accepted {
            Ok(stream) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let served = client(stream);
                    clients.spawn(async move {
                        served.await;
                        drop(place);
                    });
                }
                Err(_full) => refuse(stream),
            },
            Err(error) => {
                limited("control-accept", Instant::now(), || {
                    tracing::warn!(
                        code = "control",
                        "accept on {what} failed, trying again: {error}"
                    );
                });
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
