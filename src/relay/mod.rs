//! Streams: one writer, a bounded log, many cursors.
