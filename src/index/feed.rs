//! What of a file is due when: the pace of one play, on whatever clock the caller has.
//!
//! A play runs ahead of the player's clock by as much as the player wants to hold. It goes in surges: a
//! batch behind a batch until the player holds all of that, then a rest until it has played a part of
//! it. So a play costs a wake-up now and then, and not one for each frame.
//!
//! Files that are played one behind the other have one feed each. Behind the first, a file's times are shifted
//! so that they go on where those before them ended: what a player is told, and says, is on that timeline.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Index, Sample, Seek};
use crate::limits::{FILE_BATCH, MAX_FILE_AHEAD, MAX_FILE_BATCH, MAX_TIME_JUMP};
use crate::media::Kind;

/// The longest and the shortest rest between two surges.
const REST: Range<Duration> = Duration::from_millis(100)..Duration::from_secs(2);

/// The last sample of a file lasts this long at most, ms.
const LAST_SAMPLE: u64 = 1000;

/// What a play asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Where to begin, ms.
    pub start: u64,
    /// How long to play, ms; `None`: to the end.
    pub length: Option<u64>,
    /// Whether to begin at a key frame.
    pub seek: Seek,
    /// How far to run ahead, at least.
    pub ahead: Duration,
    /// What the player said that it holds.
    pub holds: Duration,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Send this.
    Batch(Batch),
    /// Nothing until then.
    At(Instant),
    /// Nothing until it is told something: it is paused.
    Paused,
    /// Nothing more: the end of the file, or of the length that was asked for.
    End,
}

/// What is sent at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// A play begins here, or goes on elsewhere: what the decoder must know goes in front.
    pub begins: bool,
    /// The samples by their positions; those of a medium that is switched off are to be left out.
    pub samples: Range<usize>,
    /// Audio is wanted.
    pub audio: bool,
    /// Video is wanted, from this position on.
    pub video: Option<usize>,
    /// What is added to the samples' times, ms, wrapping at 2^32.
    pub shift: u32,
}

impl Batch {
    /// Whether a sample of this range is to be sent.
    #[must_use]
    pub fn wants(&self, position: usize, sample: &Sample) -> bool {
        match sample.kind() {
            _ if sample.is_header() => true,
            Kind::Audio => self.audio,
            Kind::Video => self.video.is_some_and(|from| position >= from),
            Kind::Data | Kind::Notice => true,
        }
    }
}

/// One play of a file.
#[derive(Debug)]
pub struct Feed {
    index: Arc<Index>,
    seek: Seek,
    ahead: Duration,
    holds: Duration,
    length: Option<u64>,
    /// The position of the next sample.
    next: usize,
    /// Where it ends, ms.
    until: u64,
    /// The player's clock: this time of the file was, or will be, at that time of the world.
    clock: (i64, Instant),
    /// Paused when the player's clock was there, ms.
    paused: Option<i64>,
    /// From the times of the file to those that the player sees, ms.
    shift: i64,
    rests: Option<Instant>,
    begins: bool,
    audio: bool,
    video: Option<usize>,
    /// Milliseconds and bytes of the file that were given out.
    sent: (u64, u64),
}

impl Feed {
    /// A play that begins now.
    #[must_use]
    pub fn new(index: Arc<Index>, wanted: Wanted, now: Instant) -> Self {
        let mut feed = Self {
            index,
            seek: wanted.seek,
            ahead: wanted.ahead,
            holds: Duration::ZERO,
            length: wanted.length,
            next: 0,
            until: u64::MAX,
            clock: (0, now),
            paused: None,
            shift: 0,
            rests: None,
            begins: true,
            audio: true,
            video: Some(0),
            sent: (0, 0),
        };
        feed.set_holds(wanted.holds);
        feed.go(wanted.start, now);
        feed
    }

    /// The play of another file on the same timeline, which begins at `begins` there, ms: what the player
    /// switched off or paused stays so.
    #[must_use]
    pub fn of_another(&self, index: Arc<Index>, wanted: Wanted, begins: u64, now: Instant) -> Self {
        let mut other = Self::new(index, wanted, now);
        other.shift = signed(begins).saturating_sub(signed(other.time_of(other.next)));
        other.audio = self.audio;
        other.video = self.video.map(|_| 0);
        if self.paused.is_some() {
            other.pause(now);
        }
        other
    }

    /// The play of the file that follows this one: it begins where this one ends, and when the player is
    /// there.
    #[must_use]
    pub fn followed_by(&self, index: Arc<Index>, wanted: Wanted, now: Instant) -> Self {
        let mut next = self.of_another(index, wanted, self.ends(), now);
        let first = signed(next.time_of(next.next));
        let clock = self.paused.unwrap_or_else(|| self.player(now));
        let left = signed(self.behind()).saturating_sub(clock).max(0);
        let clock = first.saturating_sub(left);
        next.clock = (clock, now);
        next.paused = next.paused.map(|_| clock);
        next
    }

    /// Where what was given out ends, ms of the player's time.
    #[must_use]
    pub fn ends(&self) -> u64 {
        self.shown(self.behind())
    }

    /// Whether everything was given out, of the file or of the length that was asked for.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.next >= self.index.len() || self.time_of(self.next) >= self.until
    }

    /// Whether it pauses.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// The index that it plays by.
    #[must_use]
    pub const fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Goes on elsewhere; where it does, ms of the player's time. Beyond the end is at the end. What was
    /// given out before is of no use any more. A pause stays.
    pub fn seek(&mut self, time: u64, now: Instant) -> u64 {
        let begins = self.go(self.of_file(time), now);
        self.shown(begins)
    }

    /// The same in times of the file.
    fn go(&mut self, time: u64, now: Instant) -> u64 {
        self.next = self.index.position(time, self.seek);
        let begins = self.time_of(self.next);
        // A length counts from where playing was to begin.
        self.until = self.length.map_or(u64::MAX, |length| {
            time.max(begins).saturating_add(length.max(1))
        });
        self.clock = (signed(begins), now);
        self.paused = self.paused.map(|_| signed(begins));
        self.rests = None;
        self.begins = true;
        self.video = self.video.map(|_| 0);
        begins
    }

    /// The player wants to hold so much. Less than before changes nothing: what it wanted once, it has
    /// room for.
    pub fn set_holds(&mut self, holds: Duration) {
        if holds > self.holds {
            self.holds = holds;
            self.ahead = self.ahead.max(holds.min(MAX_FILE_AHEAD));
            self.rests = None;
        }
    }

    /// Stops the player's clock, and what is given out, until [`Feed::resume`].
    pub fn pause(&mut self, now: Instant) {
        let clock = self.player(now);
        self.paused.get_or_insert(clock);
    }

    /// Goes on: where it stopped, or at `time` (of the player) where that is beyond what it was given;
    /// whether it goes on elsewhere.
    pub fn resume(&mut self, time: u64, now: Instant) -> bool {
        let Some(clock) = self.paused.take() else {
            return false;
        };
        self.clock = (clock, now);
        self.rests = None;
        let time = self.of_file(time);
        let elsewhere = time > self.time_of(self.next) && self.next < self.index.len();
        if elsewhere {
            self.go(time, now);
        }
        elsewhere
    }

    /// Switches a medium on or off. Video that is switched on again begins with the next key frame.
    pub fn receive(&mut self, audio: Option<bool>, video: Option<bool>) {
        self.audio = audio.unwrap_or(self.audio);
        match video {
            Some(true) if self.video.is_none() => {
                self.video = Some(self.index.key_from(self.next));
            }
            Some(false) => self.video = None,
            _ => {}
        }
    }

    /// Seconds and bytes that were given out, for the end of a play.
    #[must_use]
    pub fn totals(&self) -> (f64, f64) {
        let number = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        let (ms, bytes) = self.sent;
        (number(ms) / 1000.0, number(bytes))
    }

    /// What is to be done.
    pub fn poll(&mut self, now: Instant) -> Due {
        if self.paused.is_some() {
            return Due::Paused;
        }
        if self.is_spent() {
            return self.end(now);
        }
        if let Some(until) = self.rests {
            if now < until {
                return Due::At(until);
            }
            self.rests = None;
        }
        let begin = self.next;
        let bytes = self.take(now);
        if self.next > begin {
            let begins = std::mem::take(&mut self.begins);
            self.sent.1 = self.sent.1.saturating_add(bytes);
            return Due::Batch(Batch {
                begins,
                samples: begin..self.next,
                audio: self.audio,
                video: self.video,
                shift: u32::try_from(self.shift.rem_euclid(1 << 32)).unwrap_or_default(),
            });
        }
        let rest = (self.ahead / 4).clamp(REST.start, REST.end);
        // Sparse files: the next frame may be further away than that.
        let missing = signed(self.time_of(begin)).saturating_sub(self.horizon(now));
        let missing = u64::try_from(missing).unwrap_or_default();
        let rest = rest.max(Duration::from_millis(missing));
        let until = now.checked_add(rest).unwrap_or(now);
        self.rests = Some(until);
        Due::At(until)
    }

    /// Everything was given out. Players take the end for a reason to go, and to seek back no more: it is
    /// told when as much is left to play as they said that they hold.
    fn end(&self, now: Instant) -> Due {
        let last = self.next.checked_sub(1).map_or(0, |at| self.time_of(at));
        let played = self.player(now).saturating_add(millis(self.holds));
        let left = u64::try_from(signed(last).saturating_sub(played)).unwrap_or_default();
        match now.checked_add(Duration::from_millis(left)) {
            Some(until) if left > 0 => Due::At(until),
            _ => Due::End,
        }
    }

    /// Steps over the samples of a batch; their bytes.
    fn take(&mut self, now: Instant) -> u64 {
        let begin = self.next;
        let mut bytes = 0_usize;
        while let Some(sample) = self.index.sample(self.next) {
            let time = u64::from(sample.time());
            let count = self.next.saturating_sub(begin);
            if count > 0 && (bytes.saturating_add(sample.size()) > FILE_BATCH) {
                break;
            }
            if count >= MAX_FILE_BATCH || time >= self.until {
                break;
            }
            if (count > 0 || !self.begins) && self.is_jump(time) {
                // The clock of the file jumps: the player's with it.
                self.clock = (signed(time), now);
            }
            if signed(time) > self.horizon(now) {
                break;
            }
            bytes = bytes.saturating_add(sample.size());
            if let Some(step) = self.step(time) {
                self.sent.0 = self.sent.0.saturating_add(step);
            }
            self.next = self.next.saturating_add(1);
        }
        bytes as u64
    }

    /// Whether the sample at the next position is far from the one before it.
    fn is_jump(&self, time: u64) -> bool {
        let before = self.next.checked_sub(1).map(|at| self.time_of(at));
        before.is_some_and(|before| before.abs_diff(time) > MAX_TIME_JUMP)
    }

    /// From the sample before the next one to it, ms.
    fn step(&self, time: u64) -> Option<u64> {
        let before = self.time_of(self.next.checked_sub(1)?);
        time.checked_sub(before)
            .filter(|step| *step <= MAX_TIME_JUMP)
    }

    /// The time of the player's clock, ms of the file; before its first while the player is in what came
    /// before it.
    fn player(&self, now: Instant) -> i64 {
        let (time, at) = self.clock;
        time.saturating_add(millis(now.saturating_duration_since(at)))
    }

    /// What is due by now, ms of the file.
    fn horizon(&self, now: Instant) -> i64 {
        self.player(now).saturating_add(millis(self.ahead))
    }

    /// Where what follows may begin, ms of the file.
    fn behind(&self) -> u64 {
        if self.next < self.index.len() && self.is_spent() {
            return self.until;
        }
        let last = self.next.checked_sub(1).map_or(0, |at| self.time_of(at));
        // How long the last sample lasts, unless the file tells tales.
        let until = self.index.duration;
        let believed = last.saturating_add(1)..=last.saturating_add(LAST_SAMPLE);
        if believed.contains(&until) {
            until
        } else {
            last.saturating_add(1)
        }
    }

    /// A time of the file as the player sees it.
    fn shown(&self, time: u64) -> u64 {
        u64::try_from(signed(time).saturating_add(self.shift)).unwrap_or_default()
    }

    /// A time that the player sees as one of the file.
    fn of_file(&self, time: u64) -> u64 {
        u64::try_from(signed(time).saturating_sub(self.shift)).unwrap_or_default()
    }

    fn time_of(&self, position: usize) -> u64 {
        let sample = self.index.sample(position);
        sample.map_or(self.index.duration, |sample| sample.time().into())
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
