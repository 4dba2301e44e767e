//! HTTP: FLV from the engine; start page, health and metrics through hyper and axum.
