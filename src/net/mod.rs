//! Shards, listeners, and the fan-out from a stream's log to its viewers' sockets.
