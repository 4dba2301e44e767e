//! The recorder of a server: made with it, and ended after its last publisher.

use std::sync::Arc;

use super::parts::Parts;
use crate::config::Settings;
use crate::limits::RECORDING_END;
use crate::record::Recorder;

pub(super) fn recorder(settings: &Settings, parts: &Parts) -> Arc<Recorder> {
    Recorder::new(
        &parts.hub,
        parts.metrics.recordings.clone(),
        &parts.health,
        settings.record.clone(),
    )
}

/// Finishes the files; nothing is published any more.
pub(super) async fn end(recorder: &Arc<Recorder>) {
    let recorder = Arc::clone(recorder);
    let finished = tokio::task::spawn_blocking(move || recorder.finish(RECORDING_END)).await;
    let left = finished.unwrap_or_default();
    if left > 0 {
        tracing::warn!(
            left,
            code = "stop",
            "recordings did not end in time: what is written of them is whole"
        );
    }
}
