//! Start order and stop order, readable from top to bottom.

use crate::config::Settings;

/// Why the server could not start, or had to end; one line for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// Runs the server until it is told to stop.
///
/// # Errors
/// What the system refused: a port in use, no threads.
pub fn run(settings: Settings) -> Result<(), Failure> {
    let role = settings.role;
    Err(Failure(format!("a {role} cannot be run yet")))
}
