//! `moof`: the samples of a fragment (ISO/IEC 14496-12 section 8.8).

use super::super::IndexError;
use super::super::sample::Sample;
use super::boxes::{Boxes, child, full, wide};
use super::movie::{Defaults, Movie, Playing, place};
use super::tables::{Found, optional};
use crate::limits::{MAX_FILE_SAMPLES, MAX_FILE_TRACKS};
use crate::media::Kind;
use crate::wire::Reader;

/// `sample_is_non_sync_sample` of a sample's flags.
const NOT_SYNC: u32 = 0x1_0000;

/// Where a fragment is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// What the file's `moov` says.
    pub(super) movie: &'a Movie,
    /// The first byte of its `moof`.
    pub(super) begin: u64,
    /// Bytes of the file.
    pub(super) length: u64,
}

/// What goes from one fragment to the next.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// Where each track's time is, ticks: pictures, sound.
    times: [i64; 2],
    bytes: u64,
    end: u64,
}

/// One run, being read.
struct Run<'a> {
    kind: Kind,
    playing: &'a Playing,
    defaults: Defaults,
    time: i64,
    /// What offsets count from.
    base: u64,
    /// Where the next sample is.
    at: u64,
}

impl Fragments {
    /// When the last sample ends, ms.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Appends the samples of a `moof` of this content; whether the file ends before some of them.
    pub(super) fn read(
        &mut self,
        content: &[u8],
        place: Place<'_>,
        samples: &mut Vec<Sample>,
    ) -> Result<bool, IndexError> {
        let trafs = Boxes::of(content).filter(|(kind, _)| kind == b"traf");
        let mut behind = place.begin;
        let mut cut = false;
        for (_, traf) in trafs.take(MAX_FILE_TRACKS) {
            cut |= self
                .track(traf, place, &mut behind, samples)?
                .unwrap_or(false);
        }
        Ok(cut)
    }

    /// `None` where the fragment's head cannot be read: then it has no samples.
    fn track(
        &mut self,
        traf: &[u8],
        place: Place<'_>,
        behind: &mut u64,
        samples: &mut Vec<Sample>,
    ) -> Result<Option<bool>, IndexError> {
        let Some((id, base, defaults)) = child(traf, b"tfhd").and_then(head) else {
            return Ok(None);
        };
        let Some((kind, playing)) = place.movie.track(id) else {
            return Ok(None);
        };
        let default = |said: Option<u32>, otherwise: u32| said.unwrap_or(otherwise);
        let defaults = Defaults {
            duration: default(defaults.0, playing.defaults.duration),
            size: default(defaults.1, playing.defaults.size),
            flags: default(defaults.2, playing.defaults.flags),
        };
        let base = match base {
            Base::At(offset) => offset,
            Base::Fragment => place.begin,
            Base::Behind => *behind,
        };
        let said = child(traf, b"tfdt").and_then(decode_time);
        let [video, audio] = &mut self.times;
        let clock = if kind == Kind::Video { video } else { audio };
        let mut run = Run {
            kind,
            playing,
            defaults,
            time: said.unwrap_or(*clock),
            base,
            at: base,
        };
        let mut cut = false;
        for (_, trun) in Boxes::of(traf).filter(|(kind, _)| kind == b"trun") {
            cut |= run.read(trun, place, samples, &mut self.bytes)?;
        }
        *clock = run.time;
        *behind = run.at;
        self.end = self.end.max(playing.clock.ms(run.time));
        Ok(Some(cut))
    }
}

impl Run<'_> {
    fn read(
        &mut self,
        trun: &[u8],
        fragment: Place<'_>,
        samples: &mut Vec<Sample>,
        bytes: &mut u64,
    ) -> Result<bool, IndexError> {
        let damaged = IndexError::Damaged("a run of a fragment");
        let (_, flags, mut r) = full(trun).ok_or(damaged)?;
        let count = r.u32().map_err(|_| damaged)?;
        if flags & 1 != 0 {
            let offset = i32::from_be_bytes(r.array().map_err(|_| damaged)?);
            self.at = self.base.checked_add_signed(offset.into()).ok_or(damaged)?;
        }
        let mut first_flags = optional(&mut r, flags & 4 != 0).ok_or(damaged)?;
        for _ in 0..count {
            let row = self.row(&mut r, flags, first_flags.take());
            // Without a field of its own a sample uses up no byte, but its own: see below.
            let Some(found) = row else {
                return Err(damaged);
            };
            let end = found.offset.checked_add(found.size.into());
            if end.is_none_or(|end| end > fragment.length) {
                return Ok(true);
            }
            if samples.len() >= MAX_FILE_SAMPLES {
                return Err(IndexError::TooMuch("more than four million frames"));
            }
            // A sample without bytes counts as one, so that the file's length bounds their number.
            *bytes = bytes.saturating_add(found.size.max(1).into());
            if *bytes > fragment.length {
                return Err(IndexError::Damaged("its samples are larger than the file"));
            }
            if found.size > 0 {
                super::super::check_size(found.size.into())?;
                samples.push(place(self.kind, self.playing.clock, &found)?);
            }
        }
        Ok(false)
    }

    fn row(&mut self, r: &mut Reader<'_>, flags: u32, first_flags: Option<u32>) -> Option<Found> {
        let duration = optional(r, flags & 0x100 != 0)?.unwrap_or(self.defaults.duration);
        let size = optional(r, flags & 0x200 != 0)?.unwrap_or(self.defaults.size);
        let own = optional(r, flags & 0x400 != 0)?;
        let composition = optional(r, flags & 0x800 != 0)?.unwrap_or(0);
        let said = first_flags.or(own).unwrap_or(self.defaults.flags);
        let found = Found {
            time: self.time,
            duration: duration.into(),
            composition: composition.cast_signed().into(),
            offset: self.at,
            size,
            key: said & NOT_SYNC == 0,
        };
        self.time = self.time.saturating_add(duration.into());
        self.at = self.at.checked_add(size.into())?;
        Some(found)
    }
}

/// What offsets count from.
enum Base {
    At(u64),
    Fragment,
    /// The end of the track before, in the first of a fragment its `moof`.
    Behind,
}

/// Duration, size, flags.
type Said = (Option<u32>, Option<u32>, Option<u32>);

/// `tfhd`: the track, what offsets count from, the defaults that it says.
fn head(content: &[u8]) -> Option<(u32, Base, Said)> {
    let (_, flags, mut r) = full(content)?;
    let id = r.u32().ok()?;
    let base = if flags & 1 != 0 {
        Base::At(wide(&mut r, 1)?)
    } else if flags & 0x2_0000 != 0 {
        Base::Fragment
    } else {
        Base::Behind
    };
    optional(&mut r, flags & 2 != 0)?;
    let duration = optional(&mut r, flags & 8 != 0)?;
    let size = optional(&mut r, flags & 0x10 != 0)?;
    let said = optional(&mut r, flags & 0x20 != 0)?;
    Some((id, base, (duration, size, said)))
}

fn decode_time(content: &[u8]) -> Option<i64> {
    let (version, _, mut r) = full(content)?;
    i64::try_from(wide(&mut r, version)?).ok()
}
