//! A recording in FLV.

use std::sync::Arc;

use bytes::Bytes;

use super::{NotFed, Patch};
use crate::amf::{Fields, Value, amf0};
use crate::flv::{self, FILE_HEADER, FileHeader, TAG_HEADER};
use crate::media::{FourCc, Frame, Kind, Role, Slot};
use crate::rtmp::status::on_metadata;

/// Where a file that was begun here has its duration: eight bytes, the first value of `onMetaData`.
pub const DURATION_AT: u64 = (FILE_HEADER + TAG_HEADER + NAME + ARRAY + KEY) as u64;
/// AMF0 text `onMetaData`.
const NAME: usize = 3 + 10;
/// The marker of an ECMA array and its count.
const ARRAY: usize = 5;
/// `duration` and the marker of a number.
const KEY: usize = 2 + 8 + 1;
/// The byte that tells whether there is sound and are pictures.
const FLAGS_AT: u64 = 4;
/// Fields of an encoder's metadata that are of its own file, or that this file has of its own.
const FOREIGN: [&str; 10] = [
    "duration",
    "filesize",
    "datasize",
    "videosize",
    "audiosize",
    "lasttimestamp",
    "lastkeyframetimestamp",
    "lastkeyframelocation",
    "keyframes",
    "canSeekToEnd",
];
/// What a recording that goes on leaves behind its last frame, ms: one picture.
const GAP: u64 = 40;

/// See the module.
#[derive(Debug)]
pub struct FlvFile {
    /// Time 0 of what is fed, on the stream's timeline.
    base: u64,
    /// The same in the file, ms.
    offset: u64,
    /// Newest time in the file, ms, and the last step of the pictures.
    last: u64,
    step: u64,
    picture: Option<u64>,
    has: FileHeader,
    codecs: [Option<FourCc>; 2],
}

impl FlvFile {
    /// A new file.
    pub(super) fn begin(headers: &[Arc<Frame>], base: u64, out: &mut Vec<u8>) -> Self {
        let mut file = Self::at(base, 0);
        // Both are announced until it is known; a reader takes what comes.
        let both = FileHeader {
            audio: true,
            video: true,
        };
        out.extend_from_slice(&both.encode());
        let metadata = headers
            .iter()
            .find(|frame| frame.role == Role::Header(Slot::Metadata));
        let metadata = on_metadata(about(metadata.map(|frame| &frame.payload)));
        // Metadata that came in a message fits into a tag.
        let _ = flv::put_tag(out, flv::SCRIPT, 0, &metadata);
        file.headers(headers, out);
        file
    }

    /// A file that is there and ends at `last` ms goes on; `has` is what its head says.
    pub(super) fn resume(
        headers: &[Arc<Frame>],
        base: u64,
        last: u64,
        has: FileHeader,
        out: &mut Vec<u8>,
    ) -> Self {
        let mut file = Self::at(base, last.saturating_add(GAP));
        file.has = has;
        file.headers(headers, out);
        file
    }

    const fn at(base: u64, offset: u64) -> Self {
        Self {
            base,
            offset,
            last: offset,
            step: 0,
            picture: None,
            has: FileHeader {
                audio: false,
                video: false,
            },
            codecs: [None, None],
        }
    }

    fn headers(&mut self, headers: &[Arc<Frame>], out: &mut Vec<u8>) {
        for frame in headers {
            // The first of a kind is never another codec than the one before it.
            let _ = self.put(frame, self.offset, out);
        }
    }

    pub(super) fn feed(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), NotFed> {
        let time = frame.time.saturating_sub(self.base);
        let time = time.saturating_add(self.offset);
        self.put(frame, time, out)?;
        if matches!(frame.kind, Kind::Audio | Kind::Video) && !is_header(frame) {
            self.last = self.last.max(time);
            if frame.kind == Kind::Video {
                let before = self.picture.replace(time);
                self.step = before.map_or(self.step, |before| time.saturating_sub(before));
            }
        }
        Ok(())
    }

    fn put(&mut self, frame: &Frame, time: u64, out: &mut Vec<u8>) -> Result<(), NotFed> {
        let kind = match (frame.kind, frame.role) {
            // It is at the head of the file; a later one is for who joins later.
            (_, Role::Header(Slot::Metadata)) | (Kind::Notice, _) => return Ok(()),
            (Kind::Audio, _) => flv::AUDIO,
            (Kind::Video, _) => flv::VIDEO,
            (Kind::Data, _) => flv::SCRIPT,
        };
        let [audio, video] = &mut self.codecs;
        let known = match frame.kind {
            Kind::Audio => Some(audio),
            Kind::Video => Some(video),
            Kind::Data | Kind::Notice => None,
        };
        // Readers keep the codec of a file's first frames for all of it.
        if let (Some(known), Some(codec), false) = (known, frame.codec, frame.extended)
            && *known.get_or_insert(codec) != codec
        {
            return Err(NotFed::Split);
        }
        self.has.audio |= kind == flv::AUDIO;
        self.has.video |= kind == flv::VIDEO;
        let time = crate::bridge::wire_time(time);
        // No message that came over RTMP is too long for a tag.
        let _ = flv::put_tag(out, kind, time, &frame.payload);
        Ok(())
    }

    pub(super) fn finish(&self) -> Vec<Patch> {
        let [_, _, _, _, flags, ..] = self.has.encode();
        vec![
            Patch {
                offset: FLAGS_AT,
                bytes: Bytes::copy_from_slice(&[flags]),
            },
            duration(self.duration()),
        ]
    }

    pub(super) fn duration(&self) -> u64 {
        self.last.saturating_add(self.step.min(1000))
    }
}

/// The duration, ms, where a file that was begun here has it.
#[must_use]
pub(super) fn duration(ms: u64) -> Patch {
    #[expect(clippy::cast_precision_loss, reason = "a file lasts less than 2^52 ms")]
    let seconds = ms as f64 / 1000.0;
    Patch {
        offset: DURATION_AT,
        bytes: Bytes::copy_from_slice(&seconds.to_be_bytes()),
    }
}

const fn is_header(frame: &Frame) -> bool {
    frame.role.is_header()
}

/// The metadata of the file: its duration, and what the encoder said of the media.
fn about(encoders: Option<&Bytes>) -> Fields {
    let mut fields: Fields = vec![("duration".to_owned(), 0.0.into())];
    let said = encoders.and_then(|payload| amf0::decode_all(payload).ok());
    let said = said.into_iter().flatten().nth(1);
    let of_media = |(name, _): &&(String, Value)| !FOREIGN.contains(&name.as_str());
    let said = said.as_ref().and_then(Value::fields).unwrap_or_default();
    fields.extend(said.iter().filter(of_media).cloned());
    fields
}
