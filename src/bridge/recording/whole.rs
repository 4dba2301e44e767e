//! A file whose end nobody saw: where it is whole to, and how long it is.
//!
//! A process that is killed leaves a file that ends anywhere, and a loss of power may leave what was
//! never written. Walked are the heads of tags and boxes alone; somebody else reads them.

use bytes::Bytes;

use super::{DURATION_AT, Format, Patch};
use crate::flv::{self, FILE_HEADER, FileHeader, TAG_HEADER, TAG_TRAILER, TagHeader};
use crate::index::{Indexer, Step};
use crate::wire::Reader;

/// The head of an MP4 file that was made here is not nearly as long as this, bytes.
const MAX_HEAD: u64 = 64 * 1024;

/// Where a file is whole to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Bytes that are whole.
    pub length: u64,
    /// Its last time, ms; of an MP4 file where what follows may begin.
    pub last: u64,
    /// What is in it; of an FLV file.
    pub has: FileHeader,
    /// Fragments of an MP4 file.
    pub fragments: u32,
    /// What is to be written into what is whole: how long it is.
    pub patches: Vec<Patch>,
}

/// Looks where a file of `length` bytes is whole to. `read` fills a buffer from a place in it, and is asked for
/// nothing beyond its length. `None`: this is no file of this format.
///
/// # Errors
/// Those of `read`.
pub fn whole<E>(
    format: Format,
    length: u64,
    read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Option<End>, E> {
    match format {
        Format::Flv => flv_end(length, read),
        Format::Mp4 => mp4_end(length, read),
    }
}

fn flv_end<E>(
    length: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Option<End>, E> {
    let mut head = [0; FILE_HEADER];
    if length < head.len() as u64 {
        return Ok(None);
    }
    read(0, &mut head)?;
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
        fragments: 0,
        patches: Vec::new(),
    };
    // A head that says that it is shorter than it is would be taken for a tag.
    if end.length < FILE_HEADER as u64 || end.length > length {
        return Ok(None);
    }
    let begin = end.length;
    // Where the metadata ends that a file begins with.
    let mut metadata = 0;
    let overhead = (TAG_HEADER + TAG_TRAILER) as u64;
    // The heads of small tags come several at a time.
    let mut window = Window::default();
    loop {
        let left = length.saturating_sub(end.length);
        if left < overhead {
            break;
        }
        let bytes = window.read(&mut read, end.length, TAG_HEADER, length)?;
        let Ok(tag) = TagHeader::decode(&mut Reader::new(bytes)) else {
            break;
        };
        let whole = u64::from(tag.size).saturating_add(overhead);
        let known = matches!(tag.kind, flv::AUDIO | flv::VIDEO | flv::SCRIPT);
        if !known || whole > left {
            break;
        }
        let behind = end.length.saturating_add(whole);
        let at = behind.saturating_sub(TAG_TRAILER as u64);
        let size = window.read(&mut read, at, TAG_TRAILER, length)?;
        if Reader::new(size).u32() != Ok(tag.size.saturating_add(11)) {
            break;
        }
        if end.length == begin && tag.kind == flv::SCRIPT {
            metadata = at;
        }
        end.length = behind;
        end.last = end.last.max(tag.timestamp.into());
        end.has.audio |= tag.kind == flv::AUDIO;
        end.has.video |= tag.kind == flv::VIDEO;
    }
    flv_patches(&mut end, metadata, &mut read)?;
    Ok(Some(end))
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
    fn read<E>(
        &mut self,
        read: &mut impl FnMut(u64, &mut [u8]) -> Result<(), E>,
        at: u64,
        count: usize,
        length: u64,
    ) -> Result<&[u8], E> {
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
            read(at, &mut self.bytes)?;
        }
        let range = inside(self).unwrap_or_default();
        Ok(self.bytes.get(range).unwrap_or_default())
    }
}

fn flv_patches<E>(
    end: &mut End,
    metadata: u64,
    read: &mut impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let [_, _, _, _, flags, ..] = end.has.encode();
    end.patches.push(Patch {
        offset: 4,
        bytes: Bytes::copy_from_slice(&[flags]),
    });
    const KEY: &[u8] = b"\0\x08duration\0";
    if metadata < DURATION_AT.saturating_add(8) {
        return Ok(());
    }
    let mut key = [0; KEY.len()];
    read(DURATION_AT.saturating_sub(KEY.len() as u64), &mut key)?;
    if key == KEY {
        end.patches.push(super::flv::duration(end.last));
    }
    Ok(())
}

/// Behind the last `mdat` that is whole and has its `moof`, or behind `moov`.
fn mp4_end<E>(
    length: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Option<End>, E> {
    let (mut at, mut whole, mut movie) = (0_u64, None, None);
    let (mut moofs, mut fragments) = (0_u32, 0_u32);
    loop {
        let left = length.saturating_sub(at);
        if left < 8 {
            break;
        }
        let mut head = [0; 8];
        read(at, &mut head)?;
        let [a, b, c, d, kind @ ..] = head;
        // Files that were made here have no box that needs more.
        let size = u64::from(u32::from_be_bytes([a, b, c, d]));
        if size < 8 || size > left {
            break;
        }
        let begin = at;
        at = at.saturating_add(size);
        match &kind {
            b"ftyp" => {}
            b"moof" => moofs = moofs.saturating_add(1),
            b"moov" if movie.is_none() => {
                movie = Some((begin, at));
                whole = Some(at);
            }
            b"mdat" if movie.is_some() => {
                whole = Some(at);
                fragments = moofs;
            }
            _ => break,
        }
    }
    let (Some(length), Some((begin, behind))) = (whole, movie) else {
        return Ok(None);
    };
    let mut end = End {
        length,
        last: 0,
        has: FileHeader {
            audio: false,
            video: false,
        },
        fragments,
        patches: Vec::new(),
    };
    let mut indexer = Indexer::new(length);
    let mut bytes = Vec::new();
    loop {
        match indexer.step(&bytes) {
            Ok(Step::Read { offset, length }) => {
                bytes.resize(length, 0);
                read(offset, &mut bytes)?;
            }
            Ok(Step::Done(index)) => {
                end.last = index.duration;
                break;
            }
            Err(_) => return Ok(Some(end)), // it has a head and nothing more
        }
    }
    let size = behind.saturating_sub(begin).min(MAX_HEAD);
    bytes.resize(usize::try_from(size).unwrap_or_default(), 0);
    read(begin, &mut bytes)?;
    // Behind its name are its version and flags, then the number: all of it within `moov`.
    let found = bytes.windows(12).rposition(|w| w.starts_with(b"mehd"));
    if let Some(place) = found {
        let ms = u32::try_from(end.last).unwrap_or(u32::MAX);
        end.patches.push(Patch {
            offset: begin.saturating_add(place as u64).saturating_add(8),
            bytes: Bytes::copy_from_slice(&ms.to_be_bytes()),
        });
    }
    Ok(Some(end))
}
