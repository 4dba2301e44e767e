//! Drives [`crate::rtmp`] server machines over sockets.
