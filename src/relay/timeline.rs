//! From wire timestamps (u32, wrapping, of one source) to the stream's timeline (u64, never back).
//!
//! Each of audio and video has a clock: the last source time and the shift to the timeline. Wire
//! times of the first epoch pass through unchanged. A frame whose clock would put it more than
//! [`MAX_TIME_JUMP`] away from where the stream is follows the other kind's clock when that fits
//! (it jumped a moment earlier), and else starts a new one at the stream's present time. Data and
//! headers never move a clock: encoders stamp them carelessly.

use std::time::Instant;

use crate::limits::MAX_TIME_JUMP;
use crate::media::Kind;

use super::millis;

/// What a rebased clock leaves after the frame before it, at least, ms.
const MIN_GAP: u64 = 10;
/// How far back a resumed epoch may begin: what a master's log can repeat, and some more, ms.
const RESUME_BACK: u64 = 30_000;

/// One source clock.
#[derive(Debug, Clone, Copy)]
struct Clock {
    /// Source time of its last frame; negative when it jittered back over its own start.
    source: i64,
    /// Timeline time less source time.
    shift: i64,
}

impl Clock {
    /// Source and timeline time of `wire`, read as the nearest to the clock's last time.
    fn read(self, wire: u32) -> Option<(i64, u64)> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the wire's time is the low 32 bits"
        )]
        #[expect(
            clippy::cast_sign_loss,
            reason = "two's complement is what wrapping wants"
        )]
        let low = self.source as u32;
        let step = wire.wrapping_sub(low).cast_signed();
        let source = self.source.checked_add(i64::from(step))?;
        let time = source.checked_add(self.shift)?;
        Some((source, u64::try_from(time).ok()?))
    }
}

/// Maps one stream's timestamps through all its epochs.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Highest time of any media, and when it was pushed.
    latest: Option<(u64, Instant)>,
    clocks: [Option<Clock>; 2],
    /// The clock used last, through epochs.
    recent: Option<Clock>,
    /// Last times by kind: audio, video, data.
    floors: [Option<u64>; 3],
    /// No media of the present epoch yet.
    fresh: bool,
    /// By kind: the source repeats what the stream may have already.
    resuming: [bool; 3],
}

impl Timeline {
    /// The next media is of another epoch.
    pub(super) fn begin_epoch(&mut self) {
        self.clocks = [None, None];
        self.fresh = true;
        self.resuming = [false; 3];
    }

    /// The next media is of the present epoch, and may repeat some of it.
    pub(super) fn resume(&mut self) {
        self.resuming = [true; 3];
    }

    /// Whether no media that is new came since [`Timeline::resume`].
    pub(super) fn is_resuming(&self) -> bool {
        let [audio, video, _] = self.resuming;
        audio && video
    }

    /// Whether no media of the present epoch came.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// When the newest media came.
    pub(super) fn came(&self) -> Option<Instant> {
        self.latest.map(|(_, at)| at)
    }

    /// The highest time of any frame; 0 before the first.
    pub(super) fn latest(&self) -> u64 {
        self.latest
            .map_or_else(|| self.floor_of_all(), |(time, _)| time)
    }

    /// Time of the last frame of a kind.
    pub(super) fn floor(&self, kind: Kind) -> Option<u64> {
        self.floors.get(index(kind)).copied().flatten()
    }

    /// Where a frame goes that is audio or video and not a header. `None`: the stream has it already
    /// (only after [`Timeline::resume`]).
    pub(super) fn media(&mut self, kind: Kind, wire: u32, now: Instant) -> Option<u64> {
        let (clock, time) = self.place(kind, wire, now);
        if self.repeats(kind) && self.floor(kind).is_some_and(|floor| time <= floor) {
            return None;
        }
        self.went_on(kind);
        let oldest = self
            .latest
            .map_or(0, |(latest, _)| latest.saturating_sub(MAX_TIME_JUMP));
        let time = time.max(oldest).max(self.floor(kind).unwrap_or(0));
        self.fresh = false;
        self.recent = Some(clock);
        if let Some(slot) = self.clocks.get_mut(index(kind)) {
            *slot = Some(clock);
        }
        self.set_floor(kind, time);
        self.latest = Some((
            self.latest.map_or(time, |(latest, _)| latest.max(time)),
            now,
        ));
        Some(time)
    }

    /// Where a header or data frame goes. `None`: the stream has this data frame already (only after
    /// [`Timeline::resume`]).
    pub(super) fn other(
        &mut self,
        kind: Kind,
        wire: u32,
        header: bool,
        now: Instant,
    ) -> Option<u64> {
        let time = match self.latest {
            None => u64::from(wire),
            Some((latest, _)) if self.fresh => self
                .follows(wire, now)
                .map_or_else(|| latest.saturating_add(self.gap(now)), |(_, time)| time),
            Some((latest, _)) => self
                .fitting(kind, wire, now)
                .map_or(latest, |(_, time)| time),
        };
        let floor = self.floor(kind).unwrap_or(0);
        if self.repeats(kind) && !header && time <= floor {
            return None;
        }
        if !header {
            self.went_on(kind);
        }
        let time = time.max(floor);
        self.set_floor(kind, time);
        Some(time)
    }

    /// Time for an audio header in front of a frame at `time`: no audio that follows is earlier.
    pub(super) fn audio_header(&self, time: u64) -> u64 {
        let least = time.saturating_sub(MAX_TIME_JUMP);
        self.floor(Kind::Audio)
            .map_or(time, |floor| floor.max(least))
    }

    fn place(&self, kind: Kind, wire: u32, now: Instant) -> (Clock, u64) {
        let Some((latest, _)) = self.latest else {
            // The first media of the stream: as it comes, unless the headers before it were stamped
            // with something else altogether.
            let least = self.floor_of_all();
            let wire64 = u64::from(wire);
            let time = if least > wire64.saturating_add(MAX_TIME_JUMP) {
                least
            } else {
                wire64
            };
            return started(wire, time);
        };
        let known = if self.fresh {
            self.follows(wire, now)
        } else {
            self.fitting(kind, wire, now)
        };
        known.unwrap_or_else(|| started(wire, latest.saturating_add(self.gap(now))))
    }

    /// The new epoch goes on with the clock of the one before: a pull over its master's epochs, or
    /// an encoder whose clock runs through.
    fn follows(&self, wire: u32, now: Instant) -> Option<(Clock, u64)> {
        let (latest, _) = self.latest?;
        let clock = self.recent?;
        let (source, time) = clock.read(wire)?;
        let until = latest
            .saturating_add(self.since_latest(now))
            .saturating_add(MAX_TIME_JUMP);
        (time > latest && time <= until).then_some((Clock { source, ..clock }, time))
    }

    /// The kind's own clock or the other's, whichever puts the frame where the stream is.
    fn fitting(&self, kind: Kind, wire: u32, now: Instant) -> Option<(Clock, u64)> {
        let (latest, _) = self.latest?;
        let back = if self.repeats(kind) {
            RESUME_BACK
        } else {
            MAX_TIME_JUMP
        };
        let from = latest.saturating_sub(back);
        let until = latest
            .saturating_add(self.since_latest(now))
            .saturating_add(MAX_TIME_JUMP);
        let own = self.clocks.get(index(kind)).copied().flatten();
        let [audio, video] = self.clocks;
        [own, audio, video].into_iter().flatten().find_map(|clock| {
            let (source, time) = clock.read(wire)?;
            (from..=until)
                .contains(&time)
                .then_some((Clock { source, ..clock }, time))
        })
    }

    fn repeats(&self, kind: Kind) -> bool {
        self.resuming.get(index(kind)).copied().unwrap_or_default()
    }

    /// The order is that of the first run: after one frame of a kind that is new, all are.
    fn went_on(&mut self, kind: Kind) {
        if let Some(repeats) = self.resuming.get_mut(index(kind)) {
            *repeats = false;
        }
    }

    fn since_latest(&self, now: Instant) -> u64 {
        self.latest
            .map_or(0, |(_, at)| millis(now.saturating_duration_since(at)))
    }

    /// The timeline goes on with the wall clock, so that a viewer is as far behind after the gap as
    /// it was before.
    fn gap(&self, now: Instant) -> u64 {
        self.since_latest(now).max(MIN_GAP)
    }

    fn floor_of_all(&self) -> u64 {
        self.floors.iter().flatten().copied().max().unwrap_or(0)
    }

    fn set_floor(&mut self, kind: Kind, time: u64) {
        if let Some(floor) = self.floors.get_mut(index(kind)) {
            *floor = Some(time);
        }
    }
}

const fn index(kind: Kind) -> usize {
    match kind {
        Kind::Audio => 0,
        Kind::Video => 1,
        Kind::Data | Kind::Notice => 2,
    }
}

fn started(wire: u32, time: u64) -> (Clock, u64) {
    let source = i64::from(wire);
    let shift = i64::try_from(time)
        .unwrap_or(i64::MAX)
        .saturating_sub(source);
    (Clock { source, shift }, time)
}
