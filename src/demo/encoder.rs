//! The demo's encoder: the built-in programme in a loop, sent as a real encoder would, with an
//! Adobe login.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use crate::flv;
use crate::limits::Limits;
use crate::rtmp::adobe;
use crate::rtmp::client::{ClientConfig, Event};
use crate::rtmp::handshake::ClientMode;
use crate::rtmp::server::PublishKind;
use crate::rtmp::session::reason::CloseReason;
use crate::rtmp_client::{Ended, Session};
use crate::system::random;

/// What is sent; `make-programme.sh` made it.
const PROGRAMME: &[u8] = include_bytes!("programme.flv");
/// Length of one round, ms: 200 video frames and 375 audio frames, both exactly.
const ROUND: u32 = 8000;
/// The pause before the encoder tries again, as OBS and others do.
const RETRY: Duration = Duration::from_secs(1);
/// An Adobe login takes three connections.
const LOGIN_STEPS: usize = 3;
/// Unsent bytes above which frames are dropped up to the next key frame; some seconds of them.
const MAX_UNSENT: usize = 512 * 1024;

/// Where to publish, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// `host:port`
    pub(super) address: String,
    /// Application.
    pub(super) app: String,
    /// Stream.
    pub(super) name: String,
    /// User.
    pub(super) user: String,
    /// Password.
    pub(super) password: String,
}

/// One tag of the programme.
struct Piece {
    kind: u8,
    at: u32,
    payload: Bytes,
    /// Sent in the first round only: metadata and sequence headers.
    once: bool,
}

/// Why the encoder stopped.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Ended(#[from] Ended),
    #[error("the server refused: {0}")]
    Refused(String),
    #[error("the built-in programme is damaged")]
    Programme,
}

/// Publishes until it is told to stop; connects again whenever it was cut off.
pub(super) async fn run(target: Target, mut stop: watch::Receiver<bool>) {
    while let Err(failure) = publish(&target, &mut stop).await {
        tracing::warn!(code = "encoder", "demo encoder: {failure}; trying again");
        tokio::select! {
            () = sleep(RETRY) => {}
            () = told(&mut stop) => return,
        }
    }
}

/// Ready once `stop` is true; its sender going away means the same.
pub(super) async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn programme() -> Result<Vec<Piece>, Failure> {
    let mut input = PROGRAMME;
    let mut reader = flv::Reader::new(flv::ReaderLimits::default());
    let mut pieces = Vec::new();
    while let Some(tag) = reader.feed(&mut input).map_err(|_| Failure::Programme)? {
        // Second byte 0 behind AVC (0x17) or AAC (0xaf): a sequence header.
        let head = tag.payload.get(..2).unwrap_or_default();
        pieces.push(Piece {
            once: tag.kind == flv::SCRIPT || matches!(head, [0x17 | 0xaf, 0]),
            kind: tag.kind,
            at: tag.timestamp,
            payload: tag.payload,
        });
    }
    if pieces.iter().all(|p| p.once) {
        return Err(Failure::Programme);
    }
    Ok(pieces)
}

/// Connects, logging in when asked.
async fn connect(target: &Target) -> Result<Session, Failure> {
    let mut query = String::new();
    for _ in 0..LOGIN_STEPS {
        let config = ClientConfig {
            limits: Limits::default(),
            app: format!("{}{query}", target.app),
            tc_url: format!("rtmp://{}/{}{query}", target.address, target.app),
            flash_ver: "FMLE/3.0 (compatible; crtmpserver demo)".to_owned(),
            swf_url: None,
            page_url: None,
            extra: Vec::new(),
            encoder: true,
            relay: false,
            subscribe: false,
            chunk_size: 4096,
            window: 2_500_000,
            handshake: ClientMode::Digest,
            random: random().map_err(Ended::from)?,
        };
        let mut session = Session::dial(&target.address, config).await?;
        loop {
            match session.next().await? {
                Event::Connected { .. } => return Ok(session),
                Event::Rejected { description, .. } => {
                    let nonce: [u8; 8] = random().map_err(Ended::from)?;
                    let nonce = format!("{:016x}", u64::from_be_bytes(nonce));
                    let (user, password) = (&target.user, &target.password);
                    let Some(next) = adobe::answer(user, password, &description, &nonce) else {
                        return Err(Failure::Refused(description));
                    };
                    query = format!("?{}", next.trim_start_matches('?'));
                    break;
                }
                _ => {}
            }
        }
    }
    Err(Failure::Refused("the login has no end".into()))
}

/// One connection's life; `Ok` when it was told to stop, and has unpublished.
async fn publish(target: &Target, stop: &mut watch::Receiver<bool>) -> Result<(), Failure> {
    let pieces = programme()?;
    let mut session = connect(target).await?;
    session.machine().publish(&target.name, PublishKind::Live);
    let stream = loop {
        match session.next().await? {
            Event::PublishStarted { stream } => break stream,
            Event::PublishFailed { description, .. } | Event::StreamFailed { description, .. } => {
                return Err(Failure::Refused(description));
            }
            _ => {}
        }
    };
    tracing::info!(stream = %target.name, "demo encoder: publishing");
    let start = Instant::now();
    let mut round = 0u32;
    let mut skipping = false;
    loop {
        for piece in pieces.iter().filter(|p| round == 0 || !p.once) {
            let time = round.wrapping_mul(ROUND).wrapping_add(piece.at);
            let due = Duration::from_millis(
                u64::from(round)
                    .saturating_mul(u64::from(ROUND))
                    .saturating_add(u64::from(piece.at)),
            );
            let due = start.checked_add(due).unwrap_or_else(Instant::now);
            loop {
                tokio::select! {
                    biased;
                    event = session.next() => if let Event::PublishFailed { description, .. } = event? {
                        return Err(Failure::Refused(description));
                    },
                    () = told(stop) => {
                        let why = CloseReason::Driver("stopping", "the demo ends".into());
                        session.machine().close(why);
                        while session.next().await.is_ok() {}
                        return Ok(());
                    }
                    () = sleep_until(due.into()) => break,
                }
            }
            let key = piece.kind == flv::VIDEO && piece.payload.first() == Some(&0x17);
            skipping = (skipping && !key) || session.unsent() > MAX_UNSENT;
            if !skipping {
                let machine = session.machine();
                machine.send_media(stream, piece.kind, time, &piece.payload);
            }
        }
        round = round.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programme_is_whole_and_loops_without_a_seam() {
        assert!(PROGRAMME.len() <= 500 * 1024);
        let pieces = programme().unwrap();
        let count = |kind| pieces.iter().filter(|p| p.kind == kind && !p.once).count();
        assert_eq!(count(flv::VIDEO), 200);
        assert_eq!(count(flv::AUDIO), 375);
        assert_eq!(pieces.iter().filter(|p| p.once).count(), 3);
        assert!(pieces.iter().all(|p| p.at < ROUND));
        let first = pieces.iter().find(|p| p.kind == flv::VIDEO && !p.once);
        assert_eq!(first.map(|p| p.payload[0]), Some(0x17), "a key frame");
    }
}
