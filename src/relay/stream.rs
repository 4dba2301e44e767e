//! One live programme: its log, its source, its tails.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::media::{Frame, Kind, Role, StreamName};

use super::hub::Changes;
use super::inner::Inner;
use super::stats::{Protocol, StreamInfo, Viewers, Viewing};
use super::{EpochInfo, HubConfig, State, Wake, lock};

/// A stream; the [`super::Hub`] makes it, and it outlives its publishers.
pub struct Stream {
    name: StreamName,
    inner: Mutex<Inner>,
    viewers: Viewers,
    pub(super) skipped: AtomicU64,
    pub(super) changes: Arc<Changes>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.name)
    }
}

impl Stream {
    pub(super) fn new(
        name: StreamName,
        config: &HubConfig,
        changes: Arc<Changes>,
        now: Instant,
    ) -> Self {
        Self {
            name,
            inner: Mutex::new(Inner::new(config, now)),
            viewers: Viewers::default(),
            skipped: AtomicU64::new(0),
            changes,
        }
    }

    /// `app/name`.
    #[must_use]
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Whether it has a source.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().state
    }

    /// The present epoch, with the ordinal of the next key frame; `None` before the first frame.
    #[must_use]
    pub fn epoch(&self) -> Option<EpochInfo> {
        self.lock().epoch_info()
    }

    /// Viewers by protocol.
    #[must_use]
    pub fn viewers(&self) -> &Viewers {
        &self.viewers
    }

    /// Counts one viewer for as long as the answer is kept.
    #[must_use]
    pub fn viewing(self: &Arc<Self>, protocol: Protocol) -> Viewing {
        Viewing::new(Arc::clone(self), protocol)
    }

    /// Its figures.
    #[must_use]
    pub fn info(&self, now: Instant) -> StreamInfo {
        let inner = self.lock();
        let stats = &inner.stats;
        StreamInfo {
            name: self.name.clone(),
            state: inner.state,
            since: inner.since,
            source: inner.source.clone(),
            identity: inner.identity.clone(),
            frames: stats.frames,
            bytes: stats.bytes,
            dropped: stats.dropped,
            repeated: stats.repeated,
            skipped: self.skipped.load(Ordering::Relaxed),
            kbit_per_second: stats.kbit_per_second(now),
            video: stats.video,
            audio: stats.audio,
            last_media: stats.last_media,
            epoch: inner.epoch_info(),
            epochs: inner.epochs,
            rtmp_viewers: self.viewers.count(Protocol::Rtmp),
            flv_viewers: self.viewers.count(Protocol::Flv),
            mirror_viewers: self.viewers.count(Protocol::Mirror),
            hls_viewers: self.viewers.count(Protocol::Hls),
        }
    }

    /// The newest header of each slot of the present epoch.
    #[must_use]
    pub fn headers(&self) -> Vec<Arc<Frame>> {
        let headers = Arc::clone(&self.lock().log.headers);
        headers.iter().map(|(_, frame)| Arc::clone(frame)).collect()
    }

    /// Time between the two newest key frames, ms; `None` before the second one.
    #[must_use]
    pub fn key_interval(&self) -> Option<u64> {
        let inner = self.lock();
        inner
            .log
            .join
            .as_ref()
            .map(|join| join.gop)
            .filter(|gop| *gop > 0)
    }

    /// Pictures a second over the last seconds of the log; `None` without enough of them.
    #[must_use]
    pub fn frame_rate(&self) -> Option<f64> {
        self.lock().log.frame_rate()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// The source went; the viewers stay. Nothing when `token` is not the publisher's any more.
    pub(super) fn release(&self, token: u64, clean: bool, now: Option<Instant>) {
        let tails = {
            let mut inner = self.lock();
            if inner.owner.as_ref().is_none_or(|o| o.token != token) {
                return;
            }
            inner.owner = None;
            inner.clean = clean;
            let since = now.unwrap_or(inner.seen);
            inner.state = State::Waiting { since };
            Arc::clone(&inner.tails)
        };
        wake_all(&tails);
        self.changes.bump();
    }

    /// Over for good, whoever publishes. The caller takes it out of the hub.
    pub(super) fn end(&self) {
        let (tails, owner) = {
            let mut inner = self.lock();
            inner.state = State::Ended;
            inner.notice = None;
            (Arc::clone(&inner.tails), inner.owner.take())
        };
        wake_all(&tails);
        if let Some(owner) = owner {
            owner.displaced.wake();
        }
    }

    /// Shows a notice to the viewers of a stream that waits.
    pub(super) fn notify(&self, payload: Bytes) {
        let tails = {
            let mut inner = self.lock();
            if !matches!(inner.state, State::Waiting { .. }) {
                return;
            }
            let time = inner.timeline.latest();
            inner.notices = inner.notices.saturating_add(1);
            inner.notice = Some(Arc::new(Frame::new(
                Kind::Notice,
                Role::Inter,
                time,
                payload,
            )));
            Arc::clone(&inner.tails)
        };
        wake_all(&tails);
    }
}

/// A tail that wants to be woken.
pub(super) struct Registration {
    waker: Arc<dyn Wake>,
    /// Woken and not yet refreshed.
    pending: AtomicBool,
    /// It looks again soon by itself: audio that may wait for the next picture does not wake it.
    rides: AtomicBool,
    /// When the first such audio came since the last look, in ns since `made` and one more; 0 for none.
    aboard: AtomicU64,
    made: Instant,
}

impl Registration {
    /// `made` is a time that no frame to come is before.
    pub(super) fn new(waker: Arc<dyn Wake>, made: Instant) -> Self {
        Self {
            waker,
            pending: AtomicBool::new(false),
            rides: AtomicBool::new(false),
            aboard: AtomicU64::new(0),
            made,
        }
    }

    /// To be called before the log is read: what is appended from now on wakes again.
    pub(super) fn clear(&self) {
        self.aboard.store(0, Ordering::Relaxed);
        self.rides.store(false, Ordering::Release);
        self.pending.store(false, Ordering::Release);
    }

    pub(super) fn doze(&self) {
        self.pending.store(true, Ordering::Release);
    }

    /// It looks again soon: audio that may wait need not wake it.
    pub(super) fn ride(&self) {
        self.rides.store(true, Ordering::Release);
    }

    /// When the first audio came that waits.
    pub(super) fn aboard(&self) -> Option<Instant> {
        let since = self.aboard.load(Ordering::Relaxed).checked_sub(1)?;
        self.made.checked_add(Duration::from_nanos(since))
    }

    fn wake_to_ride(&self, now: Instant) {
        if self.aboard.load(Ordering::Relaxed) == 0 {
            let since = now.saturating_duration_since(self.made).as_nanos();
            let since = u64::try_from(since).unwrap_or(u64::MAX);
            self.aboard
                .store(since.saturating_add(1), Ordering::Relaxed);
        }
        if !self.rides.load(Ordering::Acquire) && !self.rides.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }
}

pub(super) type Tails = Arc<Vec<Arc<Registration>>>;

pub(super) fn wake_all(tails: &Tails) {
    for tail in tails.iter() {
        tail.wake();
    }
}

/// For audio that may wait for the next picture.
pub(super) fn wake_to_ride(tails: &Tails, now: Instant) {
    for tail in tails.iter() {
        tail.wake_to_ride(now);
    }
}
