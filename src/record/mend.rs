//! Files whose end nobody saw: where they are whole to, and how long they are.
//!
//! A process that is killed leaves a file that ends anywhere, and a loss of power may leave what was
//! never written. Walked are the heads of tags and boxes alone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::bridge::recording::{DURATION_AT, Format};
use crate::flv::{self, FILE_HEADER, FileHeader, TAG_HEADER, TAG_TRAILER, TagHeader};
use crate::index::{Indexer, Step};
use crate::wire::Reader;

/// Where a file is whole to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Bytes that are whole.
    pub(super) length: u64,
    /// Its last time, ms; of an FLV file.
    pub(super) last: u64,
    /// What is in it; of an FLV file.
    pub(super) has: FileHeader,
}

/// Cuts off what is not whole and writes the duration at its place. `None`: this is no file of ours.
///
/// # Errors
/// The system refuses.
pub(super) fn mend(file: &File, format: Format) -> io::Result<Option<End>> {
    let length = file.metadata()?.len();
    let end = match format {
        Format::Flv => flv_end(file, length)?,
        Format::Mp4 => mp4_end(file, length)?,
    };
    let Some(end) = end else { return Ok(None) };
    if end.length < length {
        file.set_len(end.length)?;
    }
    match format {
        Format::Flv => write_flv_head(file, end)?,
        Format::Mp4 => write_mp4_duration(file, end.length)?,
    }
    file.sync_data()?;
    Ok(Some(end))
}

fn flv_end(file: &File, length: u64) -> io::Result<Option<End>> {
    let mut head = [0; FILE_HEADER];
    if length < head.len() as u64 {
        return Ok(None);
    }
    file.read_exact_at(&mut head, 0)?;
    if head.get(..3) != Some(b"FLV") {
        return Ok(None);
    }
    let mut r = Reader::new(&head);
    let begins = r.take(5).and_then(|_| r.u32()).unwrap_or_default();
    let mut end = End {
        length: u64::from(begins).saturating_add(TAG_TRAILER as u64),
        last: 0,
        has: FileHeader {
            audio: false,
            video: false,
        },
    };
    if end.length > length {
        return Ok(None);
    }
    let overhead = (TAG_HEADER + TAG_TRAILER) as u64;
    // The heads of small tags come several at a time.
    let mut window = Window::default();
    loop {
        let left = length.saturating_sub(end.length);
        if left < overhead {
            return Ok(Some(end));
        }
        let bytes = window.read(file, end.length, TAG_HEADER, length)?;
        let Ok(tag) = TagHeader::decode(&mut Reader::new(bytes)) else {
            return Ok(Some(end));
        };
        let whole = u64::from(tag.size).saturating_add(overhead);
        let known = matches!(tag.kind, flv::AUDIO | flv::VIDEO | flv::SCRIPT);
        if !known || whole > left {
            return Ok(Some(end));
        }
        let behind = end.length.saturating_add(whole);
        let at = behind.saturating_sub(TAG_TRAILER as u64);
        let size = window.read(file, at, TAG_TRAILER, length)?;
        if Reader::new(size).u32() != Ok(tag.size.saturating_add(11)) {
            return Ok(Some(end));
        }
        end.length = behind;
        end.last = end.last.max(tag.timestamp.into());
        end.has.audio |= tag.kind == flv::AUDIO;
        end.has.video |= tag.kind == flv::VIDEO;
    }
}

/// Some bytes of a file, read ahead.
#[derive(Default)]
struct Window {
    at: u64,
    bytes: Vec<u8>,
}

impl Window {
    const SIZE: u64 = 16 * 1024;

    /// So many bytes, which the file must have.
    fn read(&mut self, file: &File, at: u64, count: usize, length: u64) -> io::Result<&[u8]> {
        let inside = |window: &Self| {
            let begin = usize::try_from(at.checked_sub(window.at)?).ok()?;
            let range = begin..begin.checked_add(count)?;
            window.bytes.get(range.clone()).map(|_| range)
        };
        if inside(self).is_none() {
            let size = Self::SIZE.min(length.saturating_sub(at));
            let size = usize::try_from(size).unwrap_or_default().max(count);
            self.bytes.resize(size, 0);
            self.at = at;
            file.read_exact_at(&mut self.bytes, at)?;
        }
        let range = inside(self).unwrap_or_default();
        Ok(self.bytes.get(range).unwrap_or_default())
    }
}

fn write_flv_head(file: &File, end: End) -> io::Result<()> {
    let [_, _, _, _, flags, ..] = end.has.encode();
    file.write_all_at(&[flags], 4)?;
    const KEY: &[u8] = b"\0\x08duration\0";
    let at = DURATION_AT.saturating_sub(KEY.len() as u64);
    let mut key = [0; KEY.len()];
    if end.length < DURATION_AT.saturating_add(8) {
        return Ok(());
    }
    file.read_exact_at(&mut key, at)?;
    if key == KEY {
        #[expect(clippy::cast_precision_loss, reason = "a file lasts less than 2^52 ms")]
        let seconds = end.last as f64 / 1000.0;
        file.write_all_at(&seconds.to_be_bytes(), DURATION_AT)?;
    }
    Ok(())
}

/// Behind the last `mdat` that is whole and has its `moof`, or behind `moov`.
fn mp4_end(file: &File, length: u64) -> io::Result<Option<End>> {
    let (mut at, mut whole, mut movie) = (0_u64, None, false);
    loop {
        let left = length.saturating_sub(at);
        if left < 8 {
            break;
        }
        let mut head = [0; 8];
        file.read_exact_at(&mut head, at)?;
        let [a, b, c, d, kind @ ..] = head;
        // Files that were made here have no box that needs more.
        let size = u64::from(u32::from_be_bytes([a, b, c, d]));
        if size < 8 || size > left {
            break;
        }
        at = at.saturating_add(size);
        match &kind {
            b"ftyp" | b"moof" => {}
            b"moov" => {
                movie = true;
                whole = Some(at);
            }
            b"mdat" if movie => whole = Some(at),
            _ => break,
        }
    }
    Ok(whole.map(|length| End {
        length,
        last: 0,
        has: FileHeader {
            audio: false,
            video: false,
        },
    }))
}

fn write_mp4_duration(file: &File, length: u64) -> io::Result<()> {
    const HEAD: u64 = 64 * 1024;
    let mut indexer = Indexer::new(length);
    let mut bytes = Vec::new();
    let index = loop {
        match indexer.step(&bytes) {
            Ok(Step::Read { offset, length }) => {
                bytes.resize(length, 0);
                file.read_exact_at(&mut bytes, offset)?;
            }
            Ok(Step::Done(index)) => break index,
            Err(_) => return Ok(()), // it has a head and nothing more
        }
    };
    bytes.resize(usize::try_from(HEAD.min(length)).unwrap_or_default(), 0);
    file.read_exact_at(&mut bytes, 0)?;
    let Some(at) = bytes.windows(4).position(|w| w == b"mehd") else {
        return Ok(());
    };
    let ms = u32::try_from(index.duration).unwrap_or(u32::MAX);
    file.write_all_at(&ms.to_be_bytes(), (at as u64).saturating_add(8))
}
