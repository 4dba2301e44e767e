//! Logging and metrics.

pub mod health;
mod journal;
pub mod metrics;
pub mod recordings;
pub mod repeats;
mod streams;
pub mod words;

pub mod logging;
