//! `onMetaData` of a file: what it says of itself, and what is known better.

use bytes::Bytes;

use super::library::Opened;
use crate::amf::{Fields, Value};
use crate::index::Track;
use crate::media::FourCc;
use crate::rtmp::command::data_values;
use crate::rtmp::message::kind;
use crate::rtmp::status;

/// What an FLV file may say of itself and nobody needs: the places of its key frames are those in the
/// file, not in what is sent.
const DROPPED: [&str; 4] = ["keyframes", "duration", "filesize", "lasttimestamp"];

/// The message's payload.
pub(super) fn metadata(opened: &Opened) -> Bytes {
    let index = &opened.index;
    let number = |n: u64| Value::Number(f64::from(u32::try_from(n).unwrap_or(u32::MAX)));
    let seconds = |ms: u64| f64::from(u32::try_from(ms).unwrap_or(u32::MAX)) / 1000.0;
    let mut fields: Fields = vec![
        ("duration".to_owned(), seconds(index.duration).into()),
        ("filesize".to_owned(), number(opened.length)),
        ("canSeekToEnd".to_owned(), true.into()),
    ];
    let own = index.metadata.as_ref().map(own).unwrap_or_default();
    let known = |name: &str| own.iter().any(|(key, _)| key == name);
    let mut told = Fields::new();
    if let Some(video) = &index.video {
        let (width, height) = video.size;
        if width > 0 && height > 0 {
            told.push(("width".to_owned(), width.into()));
            told.push(("height".to_owned(), height.into()));
        }
        told.push(("videocodecid".to_owned(), codec(video)));
    }
    if let Some(audio) = &index.audio {
        told.push(("audiocodecid".to_owned(), codec(audio)));
        if audio.rate > 0 {
            told.push(("audiosamplerate".to_owned(), audio.rate.into()));
        }
        if audio.channels > 0 {
            told.push(("stereo".to_owned(), (audio.channels > 1).into()));
        }
    }
    told.retain(|(name, _)| !known(name));
    fields.extend(told);
    fields.extend(own);
    status::on_metadata(fields)
}

/// The fields that an FLV file has; none when they cannot be read.
fn own(body: &Bytes) -> Fields {
    let values = data_values(kind::DATA_AMF0, body).unwrap_or_default();
    let fields = values.get(1).and_then(Value::fields).unwrap_or_default();
    let kept = |(name, _): &&(String, Value)| !DROPPED.contains(&name.as_str());
    fields.iter().filter(kept).cloned().collect()
}

/// A codec as FLV numbers it, or its `FourCC` as Enhanced RTMP does.
fn codec(track: &Track) -> Value {
    let FourCc(name) = track.codec;
    match &name {
        b"avc1" => 7.0.into(),
        b"mp4a" => 10.0.into(),
        b".mp3" => 2.0.into(),
        _ => u32::from_be_bytes(name).into(),
    }
}
