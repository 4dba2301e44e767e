//! RTMP 1.0 and Enhanced RTMP v2, free of I/O.
