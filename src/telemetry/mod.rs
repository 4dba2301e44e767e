//! Logging and metrics.

pub mod health;
pub mod metrics;
mod streams;

pub mod logging;
