//! One connection's life of a pull: what comes goes into the hub.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use super::board::{Phase, Row};
use super::keep::Attempt;
use super::trouble::Trouble;
use crate::amf::Value;
use crate::bridge;
use crate::limits::REMOTE_ANSWER;
use crate::media::StreamName;
use crate::relay::{Claim, PublishError, Publisher};
use crate::rtmp::client::Event;
use crate::rtmp::message::kind;
use crate::rtmp::mirror::is_epoch;
use crate::rtmp::status::{code, code_of};
use crate::rtmp_client::Session;
use crate::system::{random_number, wall_ms};
use crate::telemetry::logging::limited;

/// Beside what is due, a pull looks at its clock this often.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Pull<'a> {
    attempt: &'a Attempt<'a>,
    name: &'a StreamName,
    publisher: Option<Publisher>,
    displaced: Arc<Notify>,
    /// There was a publisher before, on this connection.
    went_on: bool,
    malformed: bool,
    /// The last media, or when the connection came about.
    heard: Instant,
    /// The source said that it has none.
    away: bool,
}

impl<'a> Pull<'a> {
    pub(super) fn new(attempt: &'a Attempt<'a>, name: &'a StreamName) -> Self {
        Self {
            attempt,
            name,
            publisher: None,
            displaced: Arc::default(),
            went_on: false,
            malformed: false,
            heard: Instant::now(),
            away: false,
        }
    }

    /// Plays, until something ends it.
    pub(super) async fn run(mut self, session: &mut Session, patience: Duration) -> Trouble {
        let there = self.attempt.job.spec.name.as_deref().unwrap_or_default();
        session.machine().play(there, -2.0);
        let agreed = timeout(REMOTE_ANSWER, async {
            loop {
                let event = session.next().await?;
                let ready = matches!(event, Event::StreamReady { .. });
                if let Some(trouble) = Trouble::of(&event) {
                    return Err(trouble);
                }
                if ready {
                    return Ok(());
                }
            }
        });
        match agreed.await {
            Ok(Ok(())) => {}
            Ok(Err(trouble)) => return trouble,
            Err(_) => return Trouble::Silent(REMOTE_ANSWER),
        }
        self.attempt.job.enter(Phase::Connected);
        loop {
            let look = Instant::now().checked_add(LOOK);
            let look = look.unwrap_or_else(Instant::now);
            let displaced = self.displaced();
            let event = tokio::select! {
                event = session.next() => event,
                () = displaced.notified() => return Trouble::Displaced,
                () = sleep_until(look.into()) => {
                    if self.is_silent(patience) {
                        return Trouble::NoMedia(patience);
                    }
                    continue;
                }
            };
            let done = match event {
                Ok(event) => self.event(event, session),
                Err(ended) => Err(ended.into()),
            };
            if let Err(trouble) = done {
                return trouble;
            }
        }
    }

    fn event(&mut self, event: Event, session: &mut Session) -> Result<(), Trouble> {
        if let Some(trouble) = Trouble::of(&event) {
            return Err(trouble);
        }
        match event {
            Event::Media {
                kind,
                timestamp,
                payload,
                ..
            } => return self.media(kind, timestamp, payload),
            Event::Status { info, .. } => self.status(&info),
            Event::StreamEof { .. } => self.wait(),
            Event::Call { transaction, .. } => session.machine().result(transaction, Vec::new()),
            _ => {}
        }
        Ok(())
    }

    fn status(&mut self, info: &Value) {
        let ends = [
            bridge::WAITING,
            code::PLAY_UNPUBLISH_NOTIFY,
            code::PLAY_STOP,
        ];
        if ends.contains(&code_of(info)) {
            self.wait();
        }
    }

    /// The source has no media now: the viewers here hear so, and an encoder may take the name.
    fn wait(&mut self) {
        self.away = true;
        if let Some(publisher) = self.publisher.take() {
            publisher.cut(Instant::now());
            self.attempt.job.enter(Phase::Connected);
            limited("remote-away", Instant::now(), || {
                tracing::info!(
                    stream = %self.name, remote = %self.attempt.job.spec.shown(), code = "remote-away",
                    "the source of a pull has no media, the viewers wait"
                );
            });
        }
    }

    /// Notified when another publisher has the stream, or it was ended.
    pub(super) fn displaced(&self) -> Arc<Notify> {
        Arc::clone(&self.displaced)
    }

    /// Whether media should have come; a source that is away may be so for ever.
    pub(super) fn is_silent(&self, patience: Duration) -> bool {
        self.heard.elapsed() >= patience && !self.away
    }

    /// Takes a message of this kind, which is that of an FLV tag.
    pub(super) fn media(
        &mut self,
        message: u8,
        timestamp: u32,
        payload: Bytes,
    ) -> Result<(), Trouble> {
        if message == kind::DATA_AMF0 && is_epoch(&payload) {
            return Ok(()); // it is for mirrors
        }
        let bytes = payload.len() as u64;
        let parts = match bridge::inspect(message, timestamp, payload) {
            Ok(parts) => parts,
            Err(error) => {
                if !std::mem::replace(&mut self.malformed, true) {
                    limited("malformed-media", Instant::now(), || {
                        tracing::warn!(
                            stream = %self.name, code = "malformed-media",
                            "a tag from the source of a pull cannot be understood and is dropped, \
                             further ones without a line: {error}"
                        );
                    });
                }
                return Ok(());
            }
        };
        let now = Instant::now();
        let media = message != kind::DATA_AMF0;
        if self.publisher.is_none() {
            // Metadata alone may come from a source that has no media: it takes no name.
            if !media && self.away {
                return Ok(());
            }
            self.publisher = Some(self.publish(now)?);
        }
        let Some(publisher) = &mut self.publisher else {
            return Ok(());
        };
        let pushed = publisher.push_shaped(parts, now, bridge::shape);
        pushed.map_err(|_| Trouble::Displaced)?;
        if media {
            self.heard = now;
            self.away = false;
            self.attempt.flows();
        }
        self.attempt.job.carried(1, bytes, 0);
        Ok(())
    }

    fn publish(&mut self, now: Instant) -> Result<Publisher, Trouble> {
        let job = self.attempt.job;
        let claim = Claim {
            identity: Some(Row::identity(job.id)),
            source: format!("pull {}", job.spec.shown()),
            displaced: Arc::clone(&self.displaced) as _,
            id: random_number(),
            epoch: None,
        };
        let published = self
            .attempt
            .context
            .hub
            .publish(self.name, claim, now, wall_ms());
        let mut publisher = published.map_err(|error| match error {
            PublishError::Busy => Trouble::Taken,
            PublishError::TooManyStreams => Trouble::Full,
        })?;
        if std::mem::replace(&mut self.went_on, true) {
            publisher.goes_on();
        }
        Ok(publisher)
    }
}
