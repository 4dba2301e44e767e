//! Logging and metrics.

pub mod health;
pub mod metrics;

pub mod logging;
