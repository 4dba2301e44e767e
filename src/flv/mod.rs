//! FLV: file header, tags, reader and writer (Adobe FLV 10.1, annex E).
