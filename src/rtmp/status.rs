//! Status objects as Flash-era clients, librtmp, ffmpeg, GStreamer and OBS expect them.
