//! Samples of a file as RTMP messages: read in as few pieces as they lie in, written in their order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::{Bytes, BytesMut};

use super::library::Opened;
use super::opening;
use crate::bridge::{OUT_CHUNK_SIZE, chunk_stream, message_kind};
use crate::index::{Batch, Sample};
use crate::media::Kind;
use crate::rtmp::chunk::{Envelope, write_joined};

/// Bytes that nobody wants and that are read all the same, rather than in two pieces.
const GAP: u64 = 4096;

/// The messages of a batch, for one message stream.
///
/// # Errors
/// The file cannot be read; it may have been shortened.
pub(super) fn messages(opened: &Opened, batch: &Batch, stream: u32) -> io::Result<Bytes> {
    let index = &opened.index;
    let wanted = |at: &usize| index.sample(*at).is_some_and(|s| batch.wants(*at, &s));
    let begin = index.sample(batch.samples.start).map_or(0, |s| s.time());
    let shown = |time: u32| time.wrapping_add(batch.shift);
    let mut samples = Vec::with_capacity(batch.samples.len());
    if batch.begins {
        let headers = index.headers_at(batch.samples.start);
        let headers = headers.into_iter().filter_map(|at| index.sample(at));
        samples.extend(headers.map(|header| (begin, header)));
    }
    let all = batch.samples.clone().filter(wanted);
    let all = all.filter_map(|at| index.sample(at));
    samples.extend(all.map(|sample| (sample.time(), sample)));
    let pieces = Pieces::read(&opened.file, samples.iter().map(|(_, sample)| sample))?;

    let bytes: usize = samples.iter().map(|(_, sample)| sample.size() + 24).sum();
    let mut out = BytesMut::with_capacity(bytes);
    let mut put = |kind: Kind, timestamp: u32, head: &[u8], body: &[u8]| {
        let envelope = Envelope {
            chunk_stream: match kind {
                Kind::Audio => chunk_stream::AUDIO,
                Kind::Video => chunk_stream::VIDEO,
                Kind::Data | Kind::Notice => chunk_stream::DATA,
            },
            kind: message_kind(kind),
            timestamp,
            stream,
        };
        write_joined(&mut out, OUT_CHUNK_SIZE, &envelope, head, body);
    };
    if batch.begins {
        // Later than 0 it would be a track of subtitles to ffmpeg, which it would wait for.
        put(Kind::Data, 0, &[], &opening::metadata(opened));
        for (kind, message) in index.configurations() {
            put(kind, shown(begin), &[], &message);
        }
    }
    for (time, sample) in &samples {
        let body = pieces.of(sample).ok_or(io::ErrorKind::UnexpectedEof)?;
        let head = index.head(*sample);
        put(sample.kind(), shown(*time), head.bytes(), body);
    }
    Ok(out.freeze())
}

/// Parts of a file.
pub(super) struct Pieces {
    bytes: Vec<u8>,
    /// Where each piece begins in the file, in `bytes`, and how long it is; in the order of the file.
    places: Vec<(u64, usize, u64)>,
}

impl Pieces {
    /// Reads what these samples have, and little else.
    ///
    /// # Errors
    /// The file cannot be read; it may have been shortened.
    pub(super) fn read<'a>(
        file: &File,
        samples: impl Iterator<Item = &'a Sample>,
    ) -> io::Result<Self> {
        let mut wanted: Vec<(u64, u64)> = samples
            .map(|s| (s.offset(), s.offset().saturating_add(s.size() as u64)))
            .collect();
        wanted.sort_unstable();
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for (begin, end) in wanted {
            match spans.last_mut() {
                Some(last) if begin <= last.1.saturating_add(GAP) => last.1 = last.1.max(end),
                _ => spans.push((begin, end)),
            }
        }
        let mut pieces = Self {
            bytes: Vec::new(),
            places: Vec::with_capacity(spans.len()),
        };
        for (begin, end) in spans {
            let length = end.saturating_sub(begin);
            let at = pieces.bytes.len();
            let size = usize::try_from(length).unwrap_or(usize::MAX);
            pieces.bytes.resize(at.saturating_add(size), 0);
            let into = pieces.bytes.get_mut(at..).unwrap_or_default();
            file.read_exact_at(into, begin)?;
            pieces.places.push((begin, at, length));
        }
        Ok(pieces)
    }

    /// The bytes of one of them.
    pub(super) fn of(&self, sample: &Sample) -> Option<&[u8]> {
        let offset = sample.offset();
        let later = self.places.partition_point(|(begin, ..)| *begin <= offset);
        let (begin, at, _) = self.places.get(later.checked_sub(1)?)?;
        let from = usize::try_from(offset.checked_sub(*begin)?).ok()?;
        let from = at.checked_add(from)?;
        self.bytes.get(from..from.checked_add(sample.size())?)
    }
}
