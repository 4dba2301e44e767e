//! crtmpserver: a live-streaming appliance.
//!
//! One encoder publishes to a *master*, any number of *mirrors* pull from it and re-broadcast, any
//! number of viewers watch on the mirrors. This page is the map of the code; `docs/architecture.md`
//! has the reasons. `tests/architecture.rs` fails when a module uses what its layer may not.
//!
//! ```text
//! cli -> daemon -> { rtmp_server  ingest  http  edge  remote } -> net, vod, record -> bridge, relay -> media
//!                                                                bridge -> rtmp, flv, mp4, hls, amf, codec -> wire
//! ```
//!
//! **Formats and protocol** (pure: bytes in, values out; the time is an argument):
//! [`wire`] checked readers, [`calendar`] dates, [`amf`] AMF0 and AMF3, [`codec`] what a relay must know of a payload,
//! [`flv`] tags, [`mp4`] fragments, [`hls`] playlists, [`index`] media files, [`elementary`], [`ts`] and [`rtsp`]
//! what encoders send that speak no RTMP, [`rtmp`] handshake, chunks, commands and the client and server machines,
//! `lua` programs with next to nothing to them, `original` what the original's configuration comes to,
//! [`limits`] every bound a peer can meet, with its reason.
//!
//! **Relay** (no protocol, no sockets): [`media`] the frame, [`relay`] the bounded log of a stream,
//! its epochs, and the cursors that viewers are.
//!
//! **Bridge**: [`bridge`] turns messages into frames, and frames into wire bytes, once for all viewers.
//!
//! **Drivers** (tokio, sockets, timers): [`transport`] plain and TLS, [`net`] shards, listeners and the fan-out,
//! `vod` files, [`record`] recordings, [`rtmp_server`], `ingest` the other ways in,
//! [`rtmp_client`], [`http`], [`edge`] the mirror's pulls, [`remote`] pulls and pushes of any server, [`cluster`] what one server knows of the
//! others, [`auth`] who may publish and play, [`control`] the socket of `status` and `ctl`.
//!
//! **Process**: `script` files in Lua, [`config`], [`system`], [`telemetry`], [`daemon`], [`cli`], [`demo`], and [`stress`], a
//! client that is many viewers and publishers.

pub mod amf;
pub mod auth;
pub mod bridge;
pub mod calendar;
pub mod cli;
pub mod cluster;
pub mod codec;
pub mod config;
pub mod control;
pub mod daemon;
#[cfg(feature = "publish")]
pub mod demo;
pub mod edge;
pub mod elementary;
pub mod flv;
pub mod hls;
pub mod http;
pub mod index;
#[cfg(feature = "publish")]
pub mod ingest;
pub mod limits;
#[cfg(feature = "publish")]
pub mod lua;
pub mod media;
pub mod mp4;
pub mod net;
#[cfg(feature = "publish")]
pub mod original;
pub mod record;
pub mod relay;
pub mod remote;
pub mod rtmp;
pub mod rtmp_client;
pub mod rtmp_server;
pub mod rtsp;
#[cfg(feature = "publish")]
pub mod script;
pub mod stress;
pub mod system;
pub mod telemetry;
pub mod transport;
pub mod ts;
#[cfg(feature = "publish")]
pub mod vod;
pub mod wire;
