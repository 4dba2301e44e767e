//! AMF0 and AMF3, with limits of depth, count and size.
