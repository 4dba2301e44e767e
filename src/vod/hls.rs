//! HLS of files: where its segments begin, and what is in one. Made when somebody asks, from the index and
//! the file, and the same whenever it is.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::batch::Pieces;
use super::library::Opened;
use crate::bridge::{self, NoSegment, Packager};
use crate::hls::{self, Init, Name};
use crate::index::{Index, Sample};
use crate::limits::{FILE_SEGMENT, MAX_FILE_SEGMENTS, MAX_SEGMENT_BYTES};
use crate::media::{Frame, Kind};
use crate::relay::{Logged, Segment};

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The playlist; the text is what stands before the names of its files.
    Playlist(String),
    /// One of its files.
    Fixed(Name),
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPiece {
    /// The file has none of this name; it may have changed since its playlist was read.
    #[error("there is no such segment")]
    NotFound,
    /// Its media has no form in HLS.
    #[error("this file cannot be played as HLS: {0}")]
    Unsupported(String),
    /// Too much that was made waits to be sent.
    #[error("too many segments of files are sent at once")]
    Busy,
    /// It cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(std::io::ErrorKind),
}

/// What was made of a file. It counts against [`crate::limits::MAX_MADE_BYTES`] for as long as it lives.
#[derive(Debug)]
pub struct Made {
    /// What is left of it.
    pub bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl Made {
    pub(super) fn of(bytes: Bytes, room: Arc<Semaphore>) -> Result<Self, NoPiece> {
        let kib = u32::try_from(bytes.len().div_ceil(1024)).unwrap_or(u32::MAX);
        let room = room.try_acquire_many_owned(kib);
        let room = room.map_err(|_| NoPiece::Busy)?;
        Ok(Self { bytes, _room: room })
    }
}

impl From<NoSegment> for NoPiece {
    fn from(why: NoSegment) -> Self {
        Self::Unsupported(why.to_string())
    }
}

impl From<std::io::Error> for NoPiece {
    fn from(why: std::io::Error) -> Self {
        Self::Unreadable(why.kind())
    }
}

/// Where a segment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    /// The position of its first sample.
    at: usize,
    /// When that is, ms.
    time: u64,
}

/// Makes what is asked for.
pub(super) fn make(opened: &Opened, wanted: &Piece) -> Result<Bytes, NoPiece> {
    let epoch = epoch(opened);
    match wanted {
        Piece::Playlist(before) => playlist(opened, epoch, before),
        Piece::Fixed(Name::Segment { epoch: of, number }) if *of == epoch => {
            segment(opened, epoch, *number).map(|segment| segment.bytes)
        }
        Piece::Fixed(name @ Name::Init { epoch: of, .. }) if *of == epoch => {
            let mut inits = inits(opened, epoch, &cuts(&opened.index));
            let found = inits.find(|init| !matches!(init, Ok(init) if init.name != *name));
            found
                .unwrap_or(Err(NoPiece::NotFound))
                .map(|init| init.bytes.clone())
        }
        Piece::Fixed(_) => Err(NoPiece::NotFound),
    }
}

/// What tells the files of one state of a file from those of another.
fn epoch(opened: &Opened) -> u64 {
    let since = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).ok();
    let modified = opened.modified.and_then(since).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(opened.length.to_be_bytes());
    hash.update(modified.as_nanos().to_be_bytes());
    let hash = hash.finalize();
    hash.first_chunk()
        .map_or(0, |head| u64::from_be_bytes(*head))
}

/// A segment begins with a picture that can be begun with; where there are no pictures, anywhere.
fn cuts(index: &Index) -> Vec<Cut> {
    let most = u64::try_from(MAX_FILE_SEGMENTS).unwrap_or(u64::MAX);
    let shortest = u64::try_from(FILE_SEGMENT.as_millis()).unwrap_or(u64::MAX);
    let least = shortest.max(index.duration.div_ceil(most));
    let time = |at: usize| {
        index
            .sample(at)
            .map_or(0, |sample| u64::from(sample.time()))
    };
    let mut cuts = vec![Cut {
        at: 0,
        time: time(0),
    }];
    let has_pictures = index.keys() > 0;
    let mut at = 0;
    while at < index.len() && cuts.len() < MAX_FILE_SEGMENTS {
        at = at.saturating_add(1);
        if has_pictures {
            at = index.key_from(at);
        }
        let begun = cuts.last().map_or(0, |cut| cut.time);
        if at < index.len() && time(at).saturating_sub(begun) >= least {
            cuts.push(Cut { at, time: time(at) });
        }
    }
    cuts
}

/// The first sample of a kind from a position on that is media.
fn first_of(index: &Index, from: usize, kind: Kind) -> Option<usize> {
    let mut all = (from..index.len()).take(4096);
    all.find(|at| {
        index
            .sample(*at)
            .is_some_and(|sample| sample.kind() == kind && !sample.is_header())
    })
}

/// The headers that hold for what follows a position.
fn headers(opened: &Opened, from: usize) -> Result<Vec<Frame>, NoPiece> {
    let index = &opened.index;
    let mut frames: Vec<Frame> = index
        .configurations()
        .filter_map(|(kind, payload)| frame(kind, 0, payload))
        .collect();
    let mut wanted: Vec<Sample> = Vec::new();
    for kind in [Kind::Video, Kind::Audio] {
        let Some(first) = first_of(index, from, kind) else {
            continue;
        };
        let of = |at: &usize| index.sample(*at).filter(|sample| sample.kind() == kind);
        wanted.extend(index.headers_at(first).iter().filter_map(of));
    }
    let pieces = Pieces::read(&opened.file, wanted.iter())?;
    for sample in &wanted {
        let body = pieces.of(sample).unwrap_or_default();
        frames.extend(frame(sample.kind(), 0, Bytes::copy_from_slice(body)));
    }
    Ok(frames)
}

fn frame(kind: Kind, time: u64, payload: Bytes) -> Option<Frame> {
    let kind = bridge::message_kind(kind);
    let parts = bridge::inspect(kind, 0, payload).ok()?;
    Some(parts.into_frame(time))
}

/// The initialization segments of a file, one for each segment: mostly the same.
fn inits<'a>(
    opened: &'a Opened,
    epoch: u64,
    cuts: &[Cut],
) -> impl Iterator<Item = Result<Arc<Init>, NoPiece>> + 'a {
    let index = &opened.index;
    let mut before: Option<(Vec<usize>, Arc<Init>)> = None;
    let starts: Vec<usize> = cuts.iter().map(|cut| cut.at).collect();
    starts.into_iter().map(move |at| {
        let pictures = (index.keys() > 0).then(|| first_of(index, at, Kind::Video));
        let first = pictures.flatten().unwrap_or(at);
        let held = index.headers_at(first);
        if let Some((same, init)) = &before
            && *same == held
        {
            return Ok(Arc::clone(init));
        }
        let init = bridge::init(&headers(opened, at)?, epoch)?;
        before = Some((held, Arc::clone(&init)));
        Ok(init)
    })
}

fn playlist(opened: &Opened, epoch: u64, before: &str) -> Result<Bytes, NoPiece> {
    let index = &opened.index;
    let cuts = cuts(index);
    let ends = cuts.iter().skip(1).map(|cut| cut.time);
    let ends = ends.chain(std::iter::once(index.duration));
    let lengths: Vec<u64> = cuts
        .iter()
        .zip(ends)
        .map(|(cut, end)| end.saturating_sub(cut.time).max(1))
        .collect();
    let longest = lengths.iter().max().copied().unwrap_or(1);
    let mut out = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n",
        longest.div_ceil(1000).max(1)
    );
    let mut named = None;
    for ((number, length), init) in (0_u64..).zip(&lengths).zip(inits(opened, epoch, &cuts)) {
        let init = init?.name;
        if named.is_some_and(|named| named != init) {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if named != Some(init) {
            let _ = writeln!(out, "#EXT-X-MAP:URI=\"{before}{init}\"");
            named = Some(init);
        }
        let name = Name::Segment { epoch, number };
        let _ = write!(
            out,
            "#EXTINF:{}.{:03},\n{before}{name}\n",
            length / 1000,
            length % 1000
        );
    }
    out.push_str("#EXT-X-ENDLIST\n");
    Ok(out.into())
}

fn segment(opened: &Opened, epoch: u64, number: u64) -> Result<hls::Segment, NoPiece> {
    let index = &opened.index;
    let cuts = cuts(index);
    let place = usize::try_from(number).map_err(|_| NoPiece::NotFound)?;
    let cut = *cuts.get(place).ok_or(NoPiece::NotFound)?;
    let next = cuts.get(place.saturating_add(1)).copied();
    let to = next.map_or(index.len(), |next| next.at);
    let media = |at: usize| {
        let sample = index.sample(at)?;
        (sample.kind() != Kind::Data && !sample.is_header()).then_some(sample)
    };
    let samples: Vec<Sample> = (cut.at..to).filter_map(media).collect();
    let bytes: usize = samples.iter().map(Sample::size).sum();
    if bytes > MAX_SEGMENT_BYTES {
        return Err(NoSegment::TooLarge.into());
    }
    let mut packager = Packager::default();
    for header in headers(opened, cut.at)? {
        packager.header(&header);
    }
    let pieces = Pieces::read(&opened.file, samples.iter())?;
    let part = Segment {
        number,
        discontinuity: 0,
        begun: Some(cut.time),
        longest: 0,
        target: 0,
    };
    let mut last = None;
    for sample in &samples {
        let body = pieces
            .of(sample)
            .ok_or(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))?;
        let head = index.head(*sample);
        let mut payload = BytesMut::with_capacity(head.bytes().len().saturating_add(body.len()));
        payload.extend_from_slice(head.bytes());
        payload.extend_from_slice(body);
        let time = u64::from(sample.time());
        // What the relay would drop is dropped here, too.
        if let Some(frame) = frame(sample.kind(), time, payload.freeze()) {
            let frame = Arc::new(frame);
            packager.feed(&logged(&frame, &part, epoch, time, last.is_none()));
            last = Some(frame);
        }
    }
    let made = match (next, &last) {
        (Some(next), Some(last)) => packager.feed(&logged(last, &part, epoch, next.time, true)),
        _ => packager.finish(),
    };
    Ok(made.unwrap_or_else(|| Err(NoSegment::Unsupported("it has no media".to_owned())))?)
}

const fn logged<'a>(
    frame: &'a Arc<Frame>,
    segment: &'a Segment,
    epoch: u64,
    date: u64,
    begins: bool,
) -> Logged<'a> {
    Logged {
        seq: 0,
        frame,
        epoch,
        date,
        segment,
        begins,
        run: 0,
    }
}
