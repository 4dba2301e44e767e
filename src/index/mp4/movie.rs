//! `moov`: the tracks that are played, and their tables.

use super::super::sample::Sample;
use super::super::{IndexError, Track};
use super::boxes::{Boxes, child, full, wide};
use super::entry;
use super::tables::{Cursor, Found, Tables};
use crate::limits::{MAX_FILE_SAMPLES, MAX_FILE_TRACKS};
use crate::media::Kind;
use crate::wire::Reader;

/// Defaults of a track's fragments (`trex`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    pub(super) duration: u32,
    pub(super) size: u32,
    pub(super) flags: u32,
}

/// One track that is played.
#[derive(Debug)]
pub(super) struct Playing {
    pub(super) id: u32,
    pub(super) track: Track,
    pub(super) clock: Clock,
    pub(super) defaults: Defaults,
    /// Where its `stbl` is in the content of the `moov`.
    tables: std::ops::Range<usize>,
}

/// A track's time as milliseconds of the film.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// Ticks a second.
    scale: u64,
    /// What its edit list and the other tracks shift it by, ms.
    shift: i64,
}

impl Clock {
    /// Milliseconds, not before the beginning.
    pub(super) fn ms(self, ticks: i64) -> u64 {
        u64::try_from(self.signed(ticks)).unwrap_or(0)
    }

    fn signed(self, ticks: i64) -> i64 {
        scaled(ticks, self.scale).saturating_add(self.shift)
    }
}

/// Ticks as milliseconds, rounded down.
fn scaled(ticks: i64, scale: u64) -> i64 {
    let scale = i64::try_from(scale.max(1)).unwrap_or(i64::MAX);
    match ticks.checked_mul(1000) {
        Some(thousand) => thousand.div_euclid(scale),
        None => ticks.div_euclid(scale).saturating_mul(1000),
    }
}

/// What a `moov` says.
#[derive(Debug)]
pub(super) struct Movie {
    pub(super) video: Option<Playing>,
    pub(super) audio: Option<Playing>,
    fragmented: bool,
    /// When the last sample of its own tables ends, ms.
    pub(super) end: u64,
}

/// Reads the content of a `moov`: the first track of pictures and the first of sound that can be sent.
pub(super) fn read(content: &[u8]) -> Result<Movie, IndexError> {
    if child(content, b"cmov").is_some() {
        return Err(IndexError::Damaged(
            "its index is compressed, which nobody does any more",
        ));
    }
    let header = child(content, b"mvhd").ok_or(IndexError::Damaged("no mvhd"))?;
    let scale = timescale(header).ok_or(IndexError::Damaged("its time scale"))?;
    let mut movie = Movie {
        video: None,
        audio: None,
        fragmented: false,
        end: 0,
    };
    let tracks = Boxes::of(content).filter(|(kind, _)| kind == b"trak");
    for (_, trak) in tracks.take(MAX_FILE_TRACKS) {
        let Some(playing) = track(content, trak, scale)? else {
            continue;
        };
        let place = if playing.track.is_video() {
            &mut movie.video
        } else {
            &mut movie.audio
        };
        place.get_or_insert(playing);
    }
    if movie.video.is_none() && movie.audio.is_none() {
        return Err(IndexError::NothingToPlay);
    }
    if let Some(mvex) = child(content, b"mvex") {
        movie.fragmented = true;
        for (kind, content) in Boxes::of(mvex).take(MAX_FILE_TRACKS) {
            if kind == *b"trex" {
                movie.defaults(content);
            }
        }
    }
    movie.align(content);
    Ok(movie)
}

impl Movie {
    pub(super) const fn is_fragmented(&self) -> bool {
        self.fragmented
    }

    /// The track of this number, and its kind.
    pub(super) fn track(&self, id: u32) -> Option<(Kind, &Playing)> {
        let of = |kind, playing: &'_ Option<Playing>| {
            playing.as_ref().filter(|p| p.id == id).map(|_| kind)
        };
        let kind = of(Kind::Video, &self.video).or_else(|| of(Kind::Audio, &self.audio))?;
        let playing = match kind {
            Kind::Video => self.video.as_ref(),
            _ => self.audio.as_ref(),
        };
        Some((kind, playing?))
    }

    fn defaults(&mut self, trex: &[u8]) {
        let read = || {
            let (_, _, mut r) = full(trex)?;
            let id = r.u32().ok()?;
            r.u32().ok()?;
            Some((
                id,
                Defaults {
                    duration: r.u32().ok()?,
                    size: r.u32().ok()?,
                    flags: r.u32().ok()?,
                },
            ))
        };
        let Some((id, defaults)) = read() else { return };
        for playing in [&mut self.video, &mut self.audio].into_iter().flatten() {
            if playing.id == id {
                playing.defaults = defaults;
            }
        }
    }

    /// Moves all tracks so that the earliest begins at 0: edit lists make decoding begin before that.
    fn align(&mut self, content: &[u8]) {
        let mut earliest = 0;
        for playing in [&self.video, &self.audio].into_iter().flatten() {
            // In fragments the first time is not known yet; it is 0 but for what was cut out.
            let first = content
                .get(playing.tables.clone())
                .and_then(Tables::read)
                .and_then(|tables| Cursor::new(tables).next())
                .map_or(0, |found| found.time);
            earliest = earliest.min(playing.clock.signed(first));
        }
        for playing in [&mut self.video, &mut self.audio].into_iter().flatten() {
            playing.clock.shift = playing.clock.shift.saturating_sub(earliest);
        }
    }

    /// Appends the samples of its tables in the order of their times; whether the file ends before some
    /// of them.
    pub(super) fn samples(
        &mut self,
        content: &[u8],
        length: u64,
        samples: &mut Vec<Sample>,
    ) -> Result<bool, IndexError> {
        let open = |kind, playing: &Option<Playing>| {
            let playing = playing.as_ref()?;
            let tables = Tables::read(content.get(playing.tables.clone())?)?;
            Some(Line::new(kind, playing.clock, tables, length))
        };
        let mut video = open(Kind::Video, &self.video);
        let mut audio = open(Kind::Audio, &self.audio);
        let counts = [&video, &audio].into_iter().flatten().map(Line::count);
        let count = counts.fold(0_usize, usize::saturating_add);
        // The counts are as large as tables that are really there.
        samples.reserve_exact(count.min(MAX_FILE_SAMPLES));
        let mut bytes = 0_u64;
        loop {
            let due = |line: &Option<Line<'_>>| line.as_ref().and_then(|line| line.due());
            let line = match (due(&video), due(&audio)) {
                (None, None) => break,
                (Some(v), Some(a)) if a < v => &mut audio,
                (Some(_), _) => &mut video,
                (None, _) => &mut audio,
            };
            let Some(sample) = line.as_mut().and_then(Line::take) else {
                continue; // a sample without bytes
            };
            let sample = sample?;
            super::super::check_size(sample.size() as u64)?;
            bytes = bytes.saturating_add(sample.size() as u64);
            if samples.len() >= MAX_FILE_SAMPLES {
                return Err(IndexError::TooMuch("more than four million frames"));
            }
            if bytes > length {
                return Err(IndexError::Damaged("its samples are larger than the file"));
            }
            samples.push(sample);
        }
        let lines = || [&video, &audio].into_iter().flatten();
        self.end = lines().map(|line| line.end).max().unwrap_or(0);
        Ok(lines().any(|line| line.cut))
    }
}

/// One track's samples, the next of them looked at.
struct Line<'a> {
    kind: Kind,
    clock: Clock,
    cursor: Cursor<'a>,
    next: Option<Found>,
    length: u64,
    /// When the last one ends, ms.
    end: u64,
    cut: bool,
}

impl<'a> Line<'a> {
    fn new(kind: Kind, clock: Clock, tables: Tables<'a>, length: u64) -> Self {
        let mut cursor = Cursor::new(tables);
        let next = cursor.next();
        Self {
            kind,
            clock,
            cursor,
            next,
            length,
            end: 0,
            cut: false,
        }
    }

    /// As many samples as it may have by bytes that are there.
    fn count(&self) -> usize {
        self.cursor.listed()
    }

    fn due(&self) -> Option<u64> {
        self.next.as_ref().map(|found| self.clock.ms(found.time))
    }

    /// The next sample; `None` when it has no bytes, or is not in the file: then there is no further.
    fn take(&mut self) -> Option<Result<Sample, IndexError>> {
        let found = self.next.take()?;
        let end = found.offset.checked_add(found.size.into());
        if end.is_none_or(|end| end > self.length) {
            self.cut = true;
            return None;
        }
        self.next = self.cursor.next();
        if found.size == 0 {
            return None;
        }
        let next = found.time.saturating_add(found.duration);
        self.end = self.end.max(self.clock.ms(next));
        Some(place(self.kind, self.clock, &found))
    }
}

/// A sample on the film's clock.
pub(super) fn place(kind: Kind, clock: Clock, found: &Found) -> Result<Sample, IndexError> {
    let time = clock.ms(found.time);
    let shown = clock.signed(found.time.saturating_add(found.composition));
    let decoded = clock.signed(found.time);
    let sample = Sample::new(&super::super::sample::Found {
        time,
        offset: found.offset,
        size: found.size.into(),
        kind,
        key: kind == Kind::Video && found.key,
        header: false,
        composition: shown.saturating_sub(decoded),
    });
    sample.ok_or(IndexError::TooMuch("media beyond 49 days or 1 TiB"))
}

/// The time scale of a `mvhd` or `mdhd` box.
fn timescale(header: &[u8]) -> Option<u64> {
    let (version, _, mut r) = full(header)?;
    wide(&mut r, version)?;
    wide(&mut r, version)?;
    let scale = r.u32().ok()?;
    (scale > 0).then_some(scale.into())
}

/// A track, when it can be sent.
fn track(moov: &[u8], trak: &[u8], film_scale: u64) -> Result<Option<Playing>, IndexError> {
    let parts = || {
        let (version, _, mut r) = full(child(trak, b"tkhd")?)?;
        wide(&mut r, version)?;
        wide(&mut r, version)?;
        let id = r.u32().ok()?;
        let media = child(trak, b"mdia")?;
        let scale = timescale(child(media, b"mdhd")?)?;
        let mut handler = Reader::new(child(media, b"hdlr")?);
        handler.take(8).ok()?;
        let handler: [u8; 4] = handler.array().ok()?;
        let tables = child(child(media, b"minf")?, b"stbl")?;
        Some((id, scale, handler, tables))
    };
    let Some((id, scale, handler, tables)) = parts() else {
        return Ok(None);
    };
    if !matches!(&handler, b"vide" | b"soun") {
        return Ok(None);
    }
    let Some(track) = child(tables, b"stsd")
        .map(entry::read)
        .transpose()?
        .flatten()
    else {
        return Ok(None);
    };
    if track.is_video() != (handler == *b"vide") {
        return Ok(None);
    }
    let list = child(trak, b"edts").and_then(|edts| child(edts, b"elst"));
    let shift = list.and_then(|list| edit(list, scale, film_scale));
    let begin = (tables.as_ptr().addr()).saturating_sub(moov.as_ptr().addr());
    Ok(Some(Playing {
        id,
        track,
        clock: Clock {
            scale,
            shift: shift.unwrap_or(0),
        },
        defaults: Defaults::default(),
        tables: begin..begin.saturating_add(tables.len()),
    }))
}

/// What an edit list shifts a track by, ms: an empty edit delays it, and the first real one says which
/// of its times is shown first. Further ones (cuts inside a track) are not looked at.
fn edit(elst: &[u8], scale: u64, film_scale: u64) -> Option<i64> {
    let (version, _, mut r) = full(elst)?;
    let count = r.u32().ok()?;
    let mut delay = 0_i64;
    for _ in 0..count.min(8) {
        let duration = wide(&mut r, version)?;
        let start = if version == 0 {
            i64::from(i32::from_be_bytes(r.array().ok()?))
        } else {
            i64::from_be_bytes(r.array().ok()?)
        };
        r.u32().ok()?;
        if start >= 0 {
            return Some(delay.saturating_sub(scaled(start, scale)));
        }
        let empty = i64::try_from(duration).ok()?;
        delay = delay.saturating_add(scaled(empty, film_scale));
    }
    Some(delay)
}
