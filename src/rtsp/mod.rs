//! RTSP 1.0 (RFC 2326) as encoders use it to publish: ANNOUNCE, SETUP, RECORD, and media in RTP beside
//! the requests or in datagrams.
//!
//! [`Server`] is the machine of one connection: bytes in, answers, questions and FLV tags out. Whether a
//! stream may be published, and on which ports its datagrams come, is asked of the driver. Nothing is
//! played over RTSP.

mod message;
mod rtp;
mod sdp;
mod server;
#[cfg(test)]
mod tests;
mod track;

pub use message::RtspError;
pub use server::{Figures, Output, Server};
