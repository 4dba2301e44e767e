//! FLV with an index of its key frames in front, for players that seek by it: most files have none.
//!
//! A head is made in place of the file's own, up to its first frame; what follows is the file as it is.

use bytes::{BufMut, Bytes, BytesMut};

use super::library::Opened;
use crate::amf::{Fields, Value, object};
use crate::flv::{self, FILE_HEADER, FileHeader, TAG_HEADER};
use crate::index::{Format, Index, Sample};
use crate::limits::MAX_INDEXED_FRAMES;
use crate::rtmp::status;

/// A head, and how many bytes of the file it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What goes in front.
    pub bytes: Bytes,
    /// Where the rest begins in the file.
    pub skips: u64,
}

/// The head for a file; `None` when it is no FLV.
#[must_use]
pub fn head(opened: &Opened) -> Option<Head> {
    let index = &opened.index;
    if index.format != Format::Flv {
        return None;
    }
    let skips = tag(&index.sample(0)?)?;
    // A number takes as much room as any other: what is written anew is as long.
    let length = written(index, Some)?.len() as u64;
    let moved = |place: u64| place.checked_sub(skips)?.checked_add(length);
    let bytes = written(index, moved)?;
    Some(Head { bytes, skips })
}

/// Where the tag of a sample begins.
fn tag(sample: &Sample) -> Option<u64> {
    sample.offset().checked_sub(TAG_HEADER as u64)
}

fn written(index: &Index, place: impl Fn(u64) -> Option<u64>) -> Option<Bytes> {
    let number = |n: u64| u32::try_from(n).ok().map(f64::from);
    let seconds = |ms: u64| number(ms).map(|ms| Value::Number(ms / 1000.0));
    let (mut times, mut places) = (Vec::new(), Vec::new());
    // Readers take the first entry for the sequence header.
    let first = std::iter::once(0);
    for at in first.chain(entries(index)) {
        let sample = index.sample(at)?;
        times.push(seconds(sample.time().into())?);
        #[expect(clippy::cast_precision_loss, reason = "no file has 2^53 bytes")]
        places.push(Value::Number(place(tag(&sample)?)? as f64));
    }
    let keyframes = object([
        ("times", Value::StrictArray(times)),
        ("filepositions", Value::StrictArray(places)),
    ]);
    let mut fields: Fields = vec![
        ("duration".to_owned(), seconds(index.duration)?),
        ("hasKeyframes".to_owned(), true.into()),
        ("keyframes".to_owned(), keyframes),
    ];
    if let Some((width, height)) = index.video.as_ref().map(|video| video.size)
        && width > 0
        && height > 0
    {
        fields.push(("width".to_owned(), width.into()));
        fields.push(("height".to_owned(), height.into()));
    }
    let has = FileHeader {
        audio: index.audio.is_some(),
        video: index.video.is_some(),
    };
    let metadata = status::on_metadata(fields);
    let mut out = BytesMut::with_capacity(metadata.len().saturating_add(FILE_HEADER + 32));
    out.put_slice(&has.encode());
    flv::put_tag(&mut out, flv::SCRIPT, 0, &metadata).ok()?;
    Some(out.freeze())
}

/// The key frames, or some of them; of sound alone, a frame now and then.
fn entries(index: &Index) -> Vec<usize> {
    let mut all = Vec::new();
    if index.keys() > 0 {
        let mut at = index.key_from(0);
        while at < index.len() {
            all.push(at);
            at = index.key_from(at.saturating_add(1));
        }
    } else {
        all.extend((0..index.len()).step_by(100));
    }
    let step = all.len().div_ceil(MAX_INDEXED_FRAMES).max(1);
    all.into_iter().step_by(step).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::flv::{Reader, ReaderLimits};
    use crate::rtmp::command::data_values;
    use crate::vod::FileName;

    const PROGRAMME: &[u8] = include_bytes!("../demo/programme.flv");

    fn opened(bytes: &[u8], name: &str) -> Opened {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        Opened {
            file: Arc::new(fs::File::open(path).unwrap()),
            index: Arc::new(Index::of(bytes)),
            name: FileName::exact(name).unwrap(),
            length: bytes.len() as u64,
            modified: None,
        }
    }

    #[test]
    fn its_places_are_those_of_the_key_frames() {
        let head = head(&opened(PROGRAMME, "film.flv")).unwrap();
        let skips = usize::try_from(head.skips).unwrap();
        let whole = [&head.bytes, &PROGRAMME[skips..]].concat();
        let mut rest = &whole[..];
        let mut reader = Reader::new(ReaderLimits::default());
        let first = reader.feed(&mut rest).unwrap().unwrap();
        let values = data_values(flv::SCRIPT, &first.payload).unwrap();
        let keyframes = values[1].get("keyframes").unwrap();
        let numbers = |name: &str| -> Vec<f64> {
            let Some(Value::StrictArray(all)) = keyframes.get(name) else {
                panic!("no {name}");
            };
            all.iter().filter_map(Value::as_f64).collect()
        };
        let (times, places) = (numbers("times"), numbers("filepositions"));
        assert_eq!((times.len(), places.len()), (9, 9), "the header, and eight");
        assert_eq!(times[1..], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        for place in &places[1..] {
            let at = (0..whole.len())
                .find(|at| u32::try_from(*at).is_ok_and(|at| f64::from(at) == *place));
            let at = at.unwrap();
            assert_eq!((whole[at], whole[at + 11]), (flv::VIDEO, 0x17), "{place}");
        }
        // What is behind the head is all there was but for the file's own.
        let mut tags = 0;
        while let Some(tag) = reader.feed(&mut rest).unwrap() {
            assert_ne!(tag.kind, flv::SCRIPT);
            tags += 1;
        }
        assert_eq!(tags, Index::of(PROGRAMME).len());
    }
}
