//! System calls; the only place where `unsafe` may be.
