//! The pure modules of crtmpserver, and the bodies of the fuzz targets.

// The targets name the modules as the program's own tests do.
extern crate self as crtmpserver;

#[path = "../src/amf/mod.rs"]
pub mod amf;
#[path = "../src/bridge/mod.rs"]
pub mod bridge;
#[path = "../src/calendar.rs"]
pub mod calendar;
#[path = "../src/codec/mod.rs"]
pub mod codec;
#[path = "control.rs"]
pub mod control;
#[path = "../src/elementary/mod.rs"]
pub mod elementary;
#[path = "../src/flv/mod.rs"]
pub mod flv;
#[path = "../src/hls/mod.rs"]
pub mod hls;
#[path = "../src/index/mod.rs"]
pub mod index;
#[path = "../src/limits.rs"]
pub mod limits;
#[path = "../src/lua/mod.rs"]
pub mod lua;
#[path = "../src/media.rs"]
pub mod media;
#[path = "../src/mp4/mod.rs"]
pub mod mp4;
#[path = "../src/original/mod.rs"]
pub mod original;
#[path = "../src/relay/mod.rs"]
pub mod relay;
#[path = "../src/rtmp/mod.rs"]
pub mod rtmp;
#[path = "../src/rtsp/mod.rs"]
pub mod rtsp;
#[path = "../src/ts/mod.rs"]
pub mod ts;
#[path = "../src/wire.rs"]
pub mod wire;

#[path = "targets/mod.rs"]
pub mod targets;
