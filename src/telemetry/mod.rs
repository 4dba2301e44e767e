//! Logging and metrics.

pub mod health;
pub mod metrics;
pub mod repeats;
mod streams;

pub mod logging;
