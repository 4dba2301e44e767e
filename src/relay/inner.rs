//! What is under a stream's lock: the log, the clock, the source, and how a frame goes through them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::limits::{AUDIO_ONLY_AFTER, VIDEO_GONE_AFTER};
use crate::media::{Frame, FrameParts, Kind, Role};

use super::log::{Bounds, Entry, Epoch, Log};
use super::segments::Segments;
use super::stats::Stats;
use super::stream::Tails;
use super::timeline::Timeline;
use super::{Claim, EpochInfo, HubConfig, Segment, State, Wake, millis};

/// Audio this much later than the newest video does not wait for more, ms.
const ALONE_AFTER: u64 = 200;

/// The publisher that has the stream.
pub(super) struct Owner {
    pub(super) token: u64,
    pub(super) identity: Option<String>,
    /// Its last media, or when it came.
    pub(super) heard: Instant,
    pub(super) displaced: Arc<dyn Wake>,
}

/// An epoch that begins with the next frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    id: u64,
    given: Option<EpochInfo>,
    /// By a publisher that has not pushed yet, and so may repeat what another one did.
    resumes: bool,
    /// Nothing of the source was lost since the last frame.
    unbroken: bool,
}

/// What is under the lock.
pub(super) struct Inner {
    pub(super) log: Log,
    pub(super) timeline: Timeline,
    pub(super) owner: Option<Owner>,
    pub(super) state: State,
    /// The last publisher left by itself.
    pub(super) clean: bool,
    /// The latest time this stream heard of.
    pub(super) seen: Instant,
    pub(super) tails: Tails,
    pub(super) notices: u64,
    pub(super) notice: Option<Arc<Frame>>,
    /// Video came in the present epoch.
    pub(super) video: bool,
    tokens: u64,
    pub(super) since: Instant,
    pub(super) source: String,
    pub(super) identity: Option<String>,
    pub(super) stats: Stats,
    pending: Option<Pending>,
    epoch: Option<Arc<Epoch>>,
    pub(super) epochs: u64,
    given: Option<EpochInfo>,
    /// The epoch's wall-clock time comes from its media, no longer from a header.
    dated: bool,
    /// A key frame came since the epoch began or was resumed.
    open: bool,
    ordinal: u64,
    /// Time of the last key frame of the epoch.
    last_key: Option<u64>,
    /// Time of the epoch's first media.
    begun: Option<u64>,
    segments: Segments,
    /// The segment of the newest frame, as its entry shares it.
    segment: Arc<Segment>,
    /// See [`HubConfig::segment`], ms.
    target: u64,
    /// See [`EpochInfo::run`].
    run: u64,
    /// The next media tells whether a resumed epoch goes on without a gap.
    resumed: bool,
}

impl Inner {
    pub(super) fn new(config: &HubConfig, now: Instant) -> Self {
        let target = millis(config.segment);
        Self {
            log: Log::new(Bounds::from(config)),
            timeline: Timeline::default(),
            owner: None,
            state: State::Waiting { since: now },
            clean: false,
            seen: now,
            tails: Arc::default(),
            notices: 0,
            notice: None,
            video: false,
            tokens: 0,
            since: now,
            source: String::new(),
            identity: None,
            stats: Stats::new(now),
            pending: None,
            epoch: None,
            epochs: 0,
            given: None,
            dated: false,
            open: false,
            ordinal: 0,
            last_key: None,
            begun: None,
            segments: Segments::new(target),
            segment: Arc::default(),
            target,
            run: 0,
            resumed: false,
        }
    }

    /// Gives the stream to a publisher; the answer is its token and whom it displaced.
    pub(super) fn take(&mut self, claim: Claim, now: Instant) -> (u64, Option<Owner>) {
        self.tokens = self.tokens.saturating_add(1);
        self.seen = now;
        self.since = now;
        self.state = State::Live;
        self.notice = None;
        self.source = claim.source;
        self.identity.clone_from(&claim.identity);
        self.pending = Some(Pending {
            id: claim.epoch.map_or(claim.id, |e| e.id),
            given: claim.epoch,
            resumes: true,
            // A source of our own begins an epoch: there is nothing of it that could be lost.
            unbroken: claim.epoch.is_none(),
        });
        let owner = Owner {
            token: self.tokens,
            identity: claim.identity,
            heard: now,
            displaced: claim.displaced,
        };
        (self.tokens, self.owner.replace(owner))
    }

    /// The source's own source has a new epoch, or its key frames are counted anew.
    pub(super) fn announce(&mut self, info: EpochInfo) {
        let before = self.pending;
        self.pending = Some(Pending {
            id: info.id,
            given: Some(info),
            resumes: before.is_some_and(|p| p.resumes),
            unbroken: before.is_none_or(|p| p.unbroken),
        });
    }

    /// The publisher that has not pushed yet is the one before on the same connection.
    pub(super) fn goes_on(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.unbroken = true;
        }
    }

    pub(super) fn epoch_info(&self) -> Option<EpochInfo> {
        self.epoch.as_ref().map(|e| EpochInfo {
            id: e.id,
            wall_ms: e.wall_ms,
            ordinal: self.ordinal,
            segment: Some(self.segments.now()),
            run: self.run,
        })
    }

    /// Whether there is media of the publisher that has the stream, or had it last.
    pub(super) fn is_begun(&self) -> bool {
        let epoch = self.epoch.as_ref().map(|e| e.id);
        let announced = |p: Pending| p.resumes || Some(p.id) != epoch;
        !self.pending.is_some_and(announced) && !self.timeline.is_fresh()
    }

    /// Whether the epoch is taken for one without video.
    pub(super) fn audio_only(&self) -> bool {
        let begun = self.begun.unwrap_or(u64::MAX);
        !self.video && self.timeline.latest().saturating_sub(begun) >= AUDIO_ONLY_AFTER
    }

    /// Whether viewers may join without a key frame: there is no video, or none any more.
    pub(super) fn is_sound(&self) -> bool {
        let gone = |video: u64| {
            let silence = self.timeline.latest().saturating_sub(video);
            self.video && silence >= VIDEO_GONE_AFTER
        };
        self.audio_only() || self.timeline.floor(Kind::Video).is_some_and(gone)
    }

    /// Time for a video header at the end: no video that follows is earlier.
    pub(super) fn video_floor(&self) -> u64 {
        let latest = self.timeline.latest();
        let seen = self.timeline.floor(Kind::Video).filter(|_| self.video);
        seen.map_or(latest, |video| video.min(latest))
    }

    /// Whether audio at `time` has no video about it, there being none or none at present.
    pub(super) fn is_alone(&self, time: u64) -> bool {
        let seen = self.timeline.floor(Kind::Video).filter(|_| self.video);
        seen.is_none_or(|video| time > video.saturating_add(ALONE_AFTER))
    }

    /// Appends a frame of the publisher. The answer is whether an epoch began or got its date.
    pub(super) fn push(
        &mut self,
        parts: FrameParts,
        now: Instant,
        wall_ms: u64,
        shape: fn(Frame) -> Frame,
    ) -> bool {
        self.seen = now;
        self.stats.count(&parts, now);
        if matches!(parts.kind, Kind::Audio | Kind::Video)
            && let Some(owner) = &mut self.owner
        {
            owner.heard = now;
        }
        let mut began = self.begin();
        let wire = parts.timestamp;
        let (kind, role) = (parts.kind, parts.role);
        let key = kind == Kind::Video && role == Role::Key;
        self.video |= kind == Kind::Video;
        let ordinal = self.ordinal;
        if key {
            self.open = true;
            self.ordinal = self.ordinal.saturating_add(1);
        }
        let media = matches!(kind, Kind::Audio | Kind::Video) && !role.is_header();
        if media && kind == Kind::Video && !self.open {
            self.stats.dropped = self.stats.dropped.saturating_add(1);
            return began;
        }
        let placed = self.time(&parts, media, now);
        if media && std::mem::take(&mut self.resumed) && placed.is_some() {
            self.run = self.run.saturating_add(1); // what comes is new, so something is missing
        }
        let Some(time) = placed else {
            self.stats.repeated = self.stats.repeated.saturating_add(1);
            if let Some(given) = self.given.filter(|_| media) {
                let place = self.is_place(kind, key);
                let date = date_of(given.wall_ms, wire, wall_ms);
                self.segments.step(date, place);
            }
            return began;
        };
        let dated = self.dated;
        let epoch = self.date(wire, time, media, wall_ms);
        began |= dated != self.dated;
        let date = match self.given {
            Some(given) if media => date_of(given.wall_ms, wire, wall_ms),
            _ => epoch.wall_ms.saturating_add(time),
        };
        let begins = media && self.begins_segment(date, kind, key);
        let gop = if key {
            let before = self.last_key.replace(time);
            before.map_or(0, |before| time.saturating_sub(before))
        } else {
            0
        };
        let audio = self.audio_floor(time);
        let entry = Entry {
            frame: Arc::new(shape(parts.into_frame(time))),
            epoch,
            ordinal,
            date,
            segment: Arc::clone(&self.segment),
            begins,
            run: self.run,
        };
        self.log.append(entry, audio, gop);
        began
    }

    /// Whether a segment may begin with such media.
    fn is_place(&self, kind: Kind, key: bool) -> bool {
        let audio = || {
            let settled = self.segments.now().begun.is_some() || self.audio_only();
            kind == Kind::Audio && !self.video && self.ordinal == 0 && settled
        };
        key || audio()
    }

    fn begins_segment(&mut self, date: u64, kind: Kind, key: bool) -> bool {
        let place = self.is_place(kind, key);
        let begins = self.segments.step(date, place);
        let now = self.segments.now();
        if *self.segment != now {
            self.segment = Arc::new(now);
        }
        begins
    }

    /// Time for an audio header at `time`: no audio that follows is earlier.
    pub(super) fn audio_floor(&self, time: u64) -> u64 {
        self.timeline.audio_header(time)
    }

    fn time(&mut self, parts: &FrameParts, media: bool, now: Instant) -> Option<u64> {
        if media {
            let time = self.timeline.media(parts.kind, parts.timestamp, now)?;
            self.begun.get_or_insert(time);
            return Some(time);
        }
        if let Role::Header(slot) = parts.role
            && self.timeline.is_resuming()
            && self.log.headers.has(slot, &parts.payload)
        {
            return None;
        }
        let header = parts.role.is_header();
        self.timeline
            .other(parts.kind, parts.timestamp, header, now)
    }

    /// Begins or resumes the epoch that was announced.
    fn begin(&mut self) -> bool {
        let Some(pending) = self.pending.take() else {
            return false;
        };
        let same =
            pending.given.is_some() && self.epoch.as_ref().is_some_and(|e| e.id == pending.id);
        if same && pending.resumes && pending.unbroken {
            return false; // it goes on where it was
        }
        let before = std::mem::replace(&mut self.given, pending.given);
        let ordinal = std::mem::replace(
            &mut self.ordinal,
            pending.given.map_or(0, |given| given.ordinal),
        );
        self.dated = false;
        self.resumed = same && pending.resumes;
        if same && !pending.resumes {
            // The source jumped, or moved its timeline without losing a frame.
            let moved = before.map(|b| b.wall_ms) != self.given.map(|g| g.wall_ms);
            if !moved || ordinal != self.ordinal {
                self.run = self.run.saturating_add(1);
            }
        }
        let told = self.given.and_then(|given| given.segment);
        // An epoch follows the one before if nothing of it came yet but what belongs to no segment.
        let last = self.segments.now().number;
        let follows = told.is_some_and(|s| s.begun.is_none() && s.number == last);
        let broken = pending.resumes && !pending.unbroken;
        if !same && self.given.is_some() && (broken || !follows) {
            self.run = self.run.saturating_add(1);
        }
        if same {
            if let Some(told) = told {
                self.segments.tell(told);
            }
            if pending.resumes {
                self.timeline.resume();
                self.open = false;
            }
            return false;
        }
        self.segments.begin_epoch(self.target);
        if let Some(told) = told {
            self.segments.tell(told);
        }
        self.segment = Arc::new(self.segments.now());
        self.epoch = Some(Arc::new(Epoch {
            id: pending.id,
            wall_ms: 0,
        }));
        self.epochs = self.epochs.saturating_add(1);
        self.timeline.begin_epoch();
        self.log.begin_epoch();
        self.video = false;
        self.open = false;
        self.last_key = None;
        self.begun = None;
        true
    }

    /// The epoch as of this frame. Its wall-clock time is that of its first media; headers before
    /// it get the best guess there is.
    fn date(&mut self, wire: u32, time: u64, media: bool, wall_ms: u64) -> Arc<Epoch> {
        let id = self.epoch.as_ref().map_or(0, |e| e.id);
        if !self.dated || self.epoch.is_none() {
            self.dated = media;
            let now = match self.given {
                None => wall_ms,
                Some(given) => date_of(given.wall_ms, wire, wall_ms),
            };
            let wall_ms = now.saturating_sub(time);
            if self.epoch.as_ref().is_none_or(|e| e.wall_ms != wall_ms) {
                self.epoch = Some(Arc::new(Epoch { id, wall_ms }));
            }
        }
        self.epoch
            .get_or_insert_with(|| Arc::new(Epoch { id, wall_ms: 0 }))
            .clone()
    }

    /// How long it has waited, and whether that is long enough to end it.
    pub(super) fn waited(&mut self, config: &HubConfig, now: Instant) -> Option<(Duration, bool)> {
        self.seen = now;
        self.log.set_bounds(Bounds::from(config));
        self.target = millis(config.segment);
        let State::Waiting { since } = self.state else {
            return None;
        };
        let waited = now.saturating_duration_since(since);
        let grace = if self.clean {
            Some(config.clean_grace)
        } else {
            config.grace
        };
        Some((waited, grace.is_some_and(|grace| waited >= grace)))
    }
}

/// Date of a frame whose wire time is the low 32 bits of its time since `wall_ms`: of all the turns
/// of the wire's clock the one nearest to the clock on the wall.
fn date_of(wall_ms: u64, wire: u32, now: u64) -> u64 {
    const TURN: i128 = 1 << 32;
    let date = i128::from(wall_ms) + i128::from(wire);
    let turns = (i128::from(now) - date + TURN / 2).div_euclid(TURN).max(0);
    u64::try_from(date + turns * TURN).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_survives_the_turns_of_the_wire_clock() {
        let wall = 1_800_000_000_000;
        for time in [0, 5, u64::from(u32::MAX), 1 << 32, (5 << 32) + 77] {
            let wire = u32::try_from(time & 0xffff_ffff).unwrap();
            for skew in [-60_000, 0, 60_000] {
                let now = (wall + time).checked_add_signed(skew).unwrap();
                assert_eq!(date_of(wall, wire, now), wall + time, "{time} {skew}");
            }
        }
        assert_eq!(date_of(u64::MAX, u32::MAX, 0), u64::MAX);
    }
}
