//! What of a file is due when: the pace of one play, on whatever clock the caller has.
//!
//! A play runs ahead of the player's clock by as much as the player wants to hold. It goes in surges: a
//! batch behind a batch until the player holds all of that, then a rest until it has played a part of
//! it. So a play costs a wake-up now and then, and not one for each frame.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Index, Sample, Seek};
use crate::limits::{FILE_BATCH, MAX_FILE_AHEAD, MAX_FILE_BATCH, MAX_TIME_JUMP};
use crate::media::Kind;

/// The longest and the shortest rest between two surges.
const REST: Range<Duration> = Duration::from_millis(100)..Duration::from_secs(2);

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
    /// The player's clock: this time of the file was at that time of the world.
    clock: (u64, Instant),
    /// Paused when the player's clock was there, ms.
    paused: Option<u64>,
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
            rests: None,
            begins: true,
            audio: true,
            video: Some(0),
            sent: (0, 0),
        };
        feed.set_holds(wanted.holds);
        feed.seek(wanted.start, now);
        feed
    }

    /// The index that it plays by.
    #[must_use]
    pub const fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Goes on elsewhere; where it does, ms. Beyond the end is at the end. What was given out before is
    /// of no use any more. A pause stays.
    pub fn seek(&mut self, time: u64, now: Instant) -> u64 {
        self.next = self.index.position(time, self.seek);
        let begins = self.time_of(self.next);
        // A length counts from where playing was to begin.
        self.until = self.length.map_or(u64::MAX, |length| {
            time.max(begins).saturating_add(length.max(1))
        });
        self.clock = (begins, now);
        self.paused = self.paused.map(|_| begins);
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

    /// Goes on: where it stopped, or at `time` where the player is beyond what it was given; whether it
    /// goes on elsewhere.
    pub fn resume(&mut self, time: u64, now: Instant) -> bool {
        let Some(clock) = self.paused.take() else {
            return false;
        };
        self.clock = (clock, now);
        self.rests = None;
        let elsewhere = time > self.time_of(self.next) && self.next < self.index.len();
        if elsewhere {
            self.seek(time, now);
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
        if self.next >= self.index.len() || self.time_of(self.next) >= self.until {
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
            });
        }
        let rest = (self.ahead / 4).clamp(REST.start, REST.end);
        // Sparse files: the next frame may be further away than that.
        let missing = self.time_of(begin).saturating_sub(self.horizon(now));
        let rest = rest.max(Duration::from_millis(missing));
        let until = now.checked_add(rest).unwrap_or(now);
        self.rests = Some(until);
        Due::At(until)
    }

    /// Everything was given out. Players take the end for a reason to go, and to seek back no more: it is
    /// told when as much is left to play as they said that they hold.
    fn end(&self, now: Instant) -> Due {
        let last = self.next.checked_sub(1).map_or(0, |at| self.time_of(at));
        let holds = u64::try_from(self.holds.as_millis()).unwrap_or(u64::MAX);
        let left = last.saturating_sub(self.player(now).saturating_add(holds));
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
                self.clock = (time, now);
            }
            if time > self.horizon(now) {
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

    /// The time of the player's clock, ms of the file.
    fn player(&self, now: Instant) -> u64 {
        let (time, at) = self.clock;
        let since = now.saturating_duration_since(at).as_millis();
        time.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// What is due by now, ms of the file.
    fn horizon(&self, now: Instant) -> u64 {
        let ahead = u64::try_from(self.ahead.as_millis()).unwrap_or(u64::MAX);
        self.player(now).saturating_add(ahead)
    }

    fn time_of(&self, position: usize) -> u64 {
        let sample = self.index.sample(position);
        sample.map_or(self.index.duration, |sample| sample.time().into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Found;
    use super::super::{Format, Sample};
    use super::*;

    /// A minute at 25 pictures a second, a key frame every second, 50 kB/s.
    fn film() -> Arc<Index> {
        let sample = |n: u64| {
            Sample::new(&Found {
                time: n * 40,
                offset: n * 2000,
                size: 2000,
                kind: Kind::Video,
                key: n.is_multiple_of(25),
                header: false,
                composition: 0,
            })
            .unwrap()
        };
        let samples = (0..1500).map(sample).collect();
        Arc::new(Index::new(Format::Mp4, samples, 60_000).unwrap())
    }

    fn feed(start: u64, length: Option<u64>, ahead: u64) -> (Feed, Instant) {
        let now = Instant::now();
        let wanted = Wanted {
            start,
            length,
            seek: Seek::Key,
            ahead: Duration::from_secs(ahead),
            holds: Duration::from_secs(ahead),
        };
        (Feed::new(film(), wanted, now), now)
    }

    /// Everything that is due, as positions, and what comes then.
    fn surge(feed: &mut Feed, now: Instant) -> (Range<usize>, Due) {
        let mut all: Option<Range<usize>> = None;
        loop {
            match feed.poll(now) {
                Due::Batch(batch) => {
                    let bytes = batch.samples.len() * 2000;
                    assert!(bytes <= FILE_BATCH && !batch.samples.is_empty());
                    let begin = all.as_ref().map_or(batch.samples.start, |all| {
                        assert_eq!(
                            all.end, batch.samples.start,
                            "nothing twice, nothing left out"
                        );
                        all.start
                    });
                    assert_eq!(
                        batch.begins,
                        all.is_none() && feed.sent.1 == bytes as u64 || batch.begins
                    );
                    all = Some(begin..batch.samples.end);
                }
                due => return (all.unwrap_or(0..0), due),
            }
        }
    }

    #[test]
    fn it_runs_ahead_by_what_the_player_holds() {
        let (mut feed, begun) = feed(0, None, 8);
        let (first, due) = surge(&mut feed, begun);
        assert_eq!(first, 0..201, "8 s at once, and the picture at 8 s");
        let rest = Duration::from_secs(2);
        assert_eq!(due, Due::At(begun + rest));
        let early = begun + rest - Duration::from_millis(1);
        assert_eq!(surge(&mut feed, early), (0..0, Due::At(begun + rest)));
        let (second, _) = surge(&mut feed, begun + rest);
        assert_eq!(second, 201..251, "what was played meanwhile");
        feed.set_holds(Duration::from_secs(3600));
        let (last, due) = surge(&mut feed, begun + rest);
        assert_eq!((last, due), (251..1500, Due::End), "all of it");
        assert_eq!(feed.totals(), (59.96, 3_000_000.0));
    }

    #[test]
    fn start_and_length_cut_out_a_part() {
        let (mut feed, now) = feed(10_500, Some(2000), 60);
        let (part, due) = surge(&mut feed, now);
        // From the key frame at 10 s to the last picture before 12.5 s.
        assert_eq!((part, due), (250..313, Due::End));
        let (mut feed, now) = self::feed(0, Some(0), 60);
        assert_eq!(surge(&mut feed, now), (0..1, Due::End), "a single picture");
        let (mut feed, now) = self::feed(100_000, None, 60);
        assert_eq!(
            surge(&mut feed, now).0,
            1475..1500,
            "beyond the end: its last key frame"
        );
    }

    #[test]
    fn the_end_is_told_when_the_player_is_near_it() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let wanted = Wanted {
            start: 55_000,
            length: None,
            seek: Seek::Key,
            ahead: 15 * second,
            holds: Duration::ZERO,
        };
        let mut feed = Feed::new(film(), wanted, now);
        let (part, due) = surge(&mut feed, now);
        let last = Duration::from_millis(4960);
        assert_eq!((part, due), (1375..1500, Due::At(now + last)));
        feed.pause(now + second);
        assert_eq!(feed.poll(now + 100 * second), Due::Paused);
        feed.resume(0, now + 100 * second);
        assert_eq!(
            feed.poll(now + 100 * second),
            Due::At(now + 99 * second + last)
        );
        feed.set_holds(3 * second);
        assert_eq!(
            feed.poll(now + 100 * second),
            Due::At(now + 96 * second + last)
        );
        assert_eq!(feed.poll(now + 101 * second), Due::End);
    }

    #[test]
    fn a_pause_loses_nothing_and_repeats_nothing() {
        let (mut feed, begun) = feed(0, None, 4);
        let (first, _) = surge(&mut feed, begun);
        feed.pause(begun + Duration::from_secs(1));
        let later = begun + Duration::from_secs(1000);
        assert_eq!(surge(&mut feed, later), (0..0, Due::Paused));
        assert!(!feed.resume(1000, later));
        let (second, _) = surge(&mut feed, later);
        assert_eq!(second, first.end..126, "the clock stood at 1 s");
        // A player that is further than what it was given skips there.
        feed.pause(later);
        assert!(feed.resume(30_000, later));
        assert_eq!(surge(&mut feed, later).0.start, 750);
        assert!(!feed.resume(1, later), "it does not pause");
    }

    #[test]
    fn a_seek_begins_anew_whenever_it_comes() {
        let (mut feed, now) = feed(0, None, 4);
        surge(&mut feed, now);
        assert_eq!(feed.seek(30_999, now), 30_000);
        let Due::Batch(batch) = feed.poll(now) else {
            panic!("nothing")
        };
        assert!(batch.begins && batch.samples.start == 750);
        // Behind the end, and in a pause, which stays.
        feed.seek(u64::MAX, now);
        surge(&mut feed, now);
        assert_eq!(feed.poll(now), Due::End);
        feed.pause(now);
        assert_eq!(feed.seek(0, now), 0);
        assert_eq!(feed.poll(now), Due::Paused);
        feed.resume(0, now);
        assert_eq!(surge(&mut feed, now).0.start, 0);
    }

    #[test]
    fn a_clock_that_jumps_does_not_stop_the_play() {
        let sample = |time: u64| {
            let found = Found {
                time,
                offset: 0,
                size: 10,
                kind: Kind::Audio,
                key: false,
                header: false,
                composition: 0,
            };
            Sample::new(&found).unwrap()
        };
        let samples = vec![
            sample(0),
            sample(40),
            sample(9_000_000),
            sample(9_000_040),
            sample(80),
        ];
        let index = Arc::new(Index::new(Format::Flv, samples, 9_000_080).unwrap());
        let now = Instant::now();
        let wanted = Wanted {
            start: 0,
            length: None,
            seek: Seek::Key,
            ahead: Duration::from_secs(1),
            holds: Duration::from_secs(1),
        };
        let mut feed = Feed::new(index, wanted, now);
        assert!(matches!(feed.poll(now), Due::Batch(batch) if batch.samples == (0..5)));
        assert_eq!(feed.poll(now), Due::End);
    }

    #[test]
    fn video_is_switched_on_with_a_key_frame() {
        let (mut feed, now) = feed(0, None, 4);
        feed.receive(Some(false), Some(false));
        let Due::Batch(batch) = feed.poll(now) else {
            panic!("nothing")
        };
        let sample = feed.index.sample(0).unwrap();
        assert!(!batch.wants(0, &sample) && !batch.audio);
        surge(&mut feed, now);
        feed.receive(None, Some(true));
        let Due::Batch(batch) = feed.poll(now + Duration::from_secs(3)) else {
            panic!("nothing")
        };
        assert_eq!(batch.samples.start, 101);
        let sample = feed.index.sample(125).unwrap();
        assert!(batch.wants(125, &sample) && !batch.wants(124, &sample));
    }
}
