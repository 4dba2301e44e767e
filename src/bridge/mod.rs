//! Messages to frames, frames to wire bytes: the only place where a format meets [`crate::media`].
