//! HTTP: FLV streams from the engine, pages by axum.
