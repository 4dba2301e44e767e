//! Pulls and pushes as a table.

use super::grid::{Left, Right, Table};
use super::tables::{sentence, size, span, text};
use crate::control::model::Remote;

/// `ctl remotes`, and the end of `status`.
pub(super) fn table(remotes: &[Remote], now: u64) -> Vec<String> {
    if remotes.is_empty() {
        return vec!["nothing is pulled or pushed".to_owned()];
    }
    let mut table = Table::new(&[
        ("ID", Right),
        ("WAY", Left),
        ("STREAM", Left),
        ("REMOTE", Left),
        ("STATE", Left),
        ("FOR", Right),
        ("CARRIED", Right),
        ("FAILED", Right),
    ]);
    for remote in remotes {
        let cells = vec![
            remote.id.to_string(),
            text(&remote.direction),
            text(&remote.stream),
            text(&remote.remote),
            text(&remote.state),
            span(now.saturating_sub(remote.since_ms)),
            size(remote.bytes),
            remote.failures.to_string(),
        ];
        // Of what went wrong once and is well now, the log tells.
        let well = remote.state == "live";
        let error = remote.error.as_deref().filter(|_| !well);
        let ago = |at: u64| format!("{} ago", span(now.saturating_sub(at)));
        let ago = remote.error_ms.map_or_else(String::new, ago);
        table.row(cells, error.map(|why| format!("{ago}: {}", sentence(why))));
    }
    table.lines()
}
