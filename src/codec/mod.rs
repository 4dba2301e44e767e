//! What a relay must know of a payload: sequence header, key frame, codec, track; legacy and Enhanced RTMP.
