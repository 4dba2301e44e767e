//! RTSP 1.0 (RFC 2326): as encoders use it to publish (ANNOUNCE, SETUP, RECORD), and as cameras and other
//! servers are asked for what they have (DESCRIBE, SETUP, PLAY); media in RTP beside the requests or in
//! datagrams.
//!
//! [`Server`] is the machine of an encoder's connection, [`Client`] that of ours to another server: bytes
//! in; messages, questions and FLV tags out. Whether a stream may be published, and on which ports
//! datagrams come, is asked of the driver. Nothing is played to anybody over RTSP.

mod client;
mod control;
mod latm;
mod login;
mod message;
mod order;
mod reception;
mod rtp;
mod sdp;
mod server;
#[cfg(test)]
mod tests;
mod track;

pub use client::Client;
pub use message::RtspError;
pub use order::{Event, Failed, Order};
pub use reception::Figures;
pub use server::{Output, Server};
