//! One connection's life of a push: a reader of the stream's log whose socket is another server's.
//!
//! Nothing waits here for a target but its cursor: what it has not taken stays in the log, and one that
//! is too far behind goes on at the newest key frame, like any viewer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::board::Phase;
use super::keep::Attempt;
use super::trouble::Trouble;
use crate::bridge;
use crate::codec;
use crate::limits::{MAX_REMOTE_UNSENT, REMOTE_ANSWER, REMOTE_LINGER};
use crate::media::{Frame, Kind};
use crate::relay::{Cursor, JoinMode, State, Stream, Tail, Wake};
use crate::rtmp::client::Event;
use crate::rtmp::session::caps::Caps;
use crate::rtmp::session::reason::CloseReason;
use crate::rtmp_client::Session;

/// A target that is behind is looked at again after this: nothing tells when it has taken something.
const AGAIN: Duration = Duration::from_millis(20);
/// Beside what is due, a push looks at its clock this often.
const LOOK: Duration = Duration::from_secs(1);

/// How a connection ended.
pub(super) enum End {
    /// The stream went: the push waits for it.
    Away,
    /// Something went wrong.
    Trouble(Trouble),
}

/// See the module.
pub(super) struct Push<'a> {
    attempt: &'a Attempt<'a>,
    tail: Tail,
    cursor: Cursor,
    bell: Arc<Notify>,
    /// The target understands tracks and prefixes.
    extended: bool,
    /// The time of the stream that is 0 there.
    base: Option<u64>,
    skipped: u64,
    /// Since when the stream has no source.
    away: Option<Instant>,
    /// What the target's system had taken, and when that was more than before.
    taken: (u64, Instant),
}

impl<'a> Push<'a> {
    pub(super) fn new(attempt: &'a Attempt<'a>, stream: Arc<Stream>, caps: &Caps) -> Self {
        let bell = Arc::<Notify>::default();
        let tail = Tail::new(stream, Arc::clone(&bell) as Arc<dyn Wake>);
        // It comes with its stream: what a source before left there is not for the target.
        let mode = match tail.is_between() {
            true => JoinMode::Keyframe,
            false => JoinMode::default(),
        };
        let cursor = tail.join(mode, Instant::now());
        Self {
            attempt,
            tail,
            cursor,
            bell,
            extended: caps.multitrack() && caps.modex(),
            base: None,
            skipped: 0,
            away: None,
            taken: (0, Instant::now()),
        }
    }

    /// Publishes, until something ends it.
    pub(super) async fn run(mut self, session: &mut Session, patience: Duration) -> End {
        match self.agree(session).await {
            Ok(stream) => self.carry(session, stream, patience).await,
            Err(trouble) => End::Trouble(trouble),
        }
    }

    async fn agree(&self, session: &mut Session) -> Result<u32, Trouble> {
        let spec = &self.attempt.job.spec;
        let there = spec.name.as_deref().unwrap_or_default();
        session.machine().publish(there, spec.kind);
        let agreed = async {
            loop {
                let event = session.next().await?;
                if let Some(trouble) = Trouble::of(&event) {
                    return Err(trouble);
                }
                match event {
                    Event::PublishStarted { stream } => return Ok(stream),
                    Event::Call { transaction, .. } => {
                        session.machine().result(transaction, Vec::new());
                    }
                    _ => {}
                }
            }
        };
        timeout(REMOTE_ANSWER, agreed)
            .await
            .unwrap_or(Err(Trouble::Silent(REMOTE_ANSWER)))
    }

    async fn carry(&mut self, session: &mut Session, stream: u32, patience: Duration) -> End {
        self.attempt.job.enter(Phase::Connected);
        self.taken = (session.sent(), Instant::now());
        loop {
            self.tail.refresh();
            let behind = self.pump(session, stream);
            if self.is_over() {
                farewell(session, "the stream has ended").await;
                return End::Away;
            }
            if let Some(trouble) = self.stalled(session, patience) {
                return End::Trouble(trouble);
            }
            let rest = if behind { AGAIN } else { LOOK };
            let event = tokio::select! {
                event = session.next() => event,
                () = self.bell.notified() => continue,
                () = sleep(rest) => continue,
            };
            let event = match event {
                Ok(event) => event,
                Err(ended) => return End::Trouble(ended.into()),
            };
            if let Some(trouble) = Trouble::of(&event) {
                return End::Trouble(trouble);
            }
            if let Event::Call { transaction, .. } = event {
                session.machine().result(transaction, Vec::new());
            }
        }
    }

    /// Hands over what there is, as far as the target takes it; whether more is left.
    fn pump(&mut self, session: &mut Session, stream: u32) -> bool {
        let (mut frames, mut bytes) = (0_u64, 0_u64);
        let mut full = false;
        while self.tail.settle(&mut self.cursor) {
            full = session.unsent() >= MAX_REMOTE_UNSENT;
            if full {
                break;
            }
            if self.base.is_none() {
                let times = self.tail.upcoming(&self.cursor).map(|frame| frame.time);
                self.base = times.min();
            }
            let Some(frame) = self.tail.upcoming(&self.cursor).next().map(Arc::clone) else {
                break;
            };
            self.cursor.advance();
            if let Some(payload) = self.payload(&frame) {
                let time = frame.time.saturating_sub(self.base.unwrap_or_default());
                let kind = bridge::message_kind(frame.kind);
                let machine = session.machine();
                if machine.send_media(stream, kind, bridge::wire_time(time), &payload) {
                    frames = frames.saturating_add(1);
                    bytes = bytes.saturating_add(payload.len() as u64);
                }
            }
        }
        let skipped = self.cursor.skipped();
        let more = skipped.saturating_sub(std::mem::replace(&mut self.skipped, skipped));
        if frames > 0 || more > 0 {
            self.attempt.job.carried(frames, bytes, more);
        }
        if frames > 0 {
            self.attempt.flows();
        }
        full
    }

    /// What of a frame is for this target.
    fn payload(&self, frame: &Frame) -> Option<Bytes> {
        match frame.kind {
            Kind::Notice => None,
            Kind::Data => Some(frame.payload.clone()),
            _ if self.extended || !frame.extended => Some(frame.payload.clone()),
            kind => codec::unwrap_plain(kind, &frame.payload),
        }
    }

    /// The stream is over, or its source has been away for too long to keep the target waiting.
    fn is_over(&mut self) -> bool {
        match self.tail.state() {
            State::Live => {
                self.away = None;
                false
            }
            State::Waiting { .. } => {
                let since = self.away.get_or_insert_with(Instant::now);
                since.elapsed() >= REMOTE_LINGER
            }
            State::Ended => true,
        }
    }

    /// The target takes nothing of what there is for it.
    fn stalled(&mut self, session: &Session, patience: Duration) -> Option<Trouble> {
        let (sent, since) = self.taken;
        if session.sent() != sent || session.unsent() == 0 {
            self.taken = (session.sent(), Instant::now());
            return None;
        }
        (since.elapsed() >= patience).then_some(Trouble::Stalled(patience))
    }
}

/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Ends the streams of a connection as an encoder does, as far as the other server listens.
pub(super) async fn farewell(session: &mut Session, why: &str) {
    let reason = CloseReason::Driver("over", why.to_owned());
    session.machine().close(reason);
    let _ = timeout(LAST_WORDS, async { while session.next().await.is_ok() {} }).await;
}
