//! Command messages (RTMP 1.0 section 7).
