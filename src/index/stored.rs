//! An index as bytes, to be kept where it is found sooner than read anew.
//!
//! What is read back is believed no more than a media file is: everything is checked against the bounds of
//! a file and the length of this one, and what does not fit is no index.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Format, Index, Sample, Track};
use crate::limits::{MAX_CACHED_HEADER, MAX_FILE_FRAME, MAX_FILE_SAMPLES};
use crate::media::{FourCc, Kind};
use crate::wire::{Reader, Short};

/// Another version is read anew.
const MAGIC: &[u8; 8] = b"crtmpix1";
const SAMPLE: usize = 16;
const CUT: u8 = 1;

impl Index {
    /// The bytes of which [`Index::load`] makes the same index.
    #[must_use]
    pub fn store(&self) -> Bytes {
        let samples = self.samples.len().saturating_mul(SAMPLE);
        let mut out = BytesMut::with_capacity(samples.saturating_add(1024));
        out.put_slice(MAGIC);
        out.put_u8(match self.format {
            Format::Flv => 0,
            Format::Mp4 => 1,
        });
        out.put_u8(if self.cut { CUT } else { 0 });
        out.put_u64(self.duration);
        put_block(&mut out, self.metadata.as_deref());
        for track in [&self.video, &self.audio] {
            put_block(&mut out, track.as_ref().map(|t| &*t.configuration));
            if let Some(track) = track {
                out.put_slice(&track.codec.0);
                out.put_u32(track.size.0);
                out.put_u32(track.size.1);
                out.put_u32(track.rate);
                out.put_u8(track.channels);
            }
        }
        out.put_u32(u32::try_from(self.samples.len()).unwrap_or(u32::MAX));
        for sample in &self.samples {
            out.put_slice(&sample.to_bytes());
        }
        out.freeze()
    }

    /// Reads what [`Index::store`] made of a file of so many bytes; `None` when it is anything else.
    #[must_use]
    pub fn load(bytes: &[u8], length: u64) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let mut reader = Reader::new(rest);
        let head = Head::read(&mut reader).ok()?;
        let rest = reader.rest();
        let is_whole = head.samples.checked_mul(SAMPLE) == Some(rest.len());
        if !is_whole || head.samples > MAX_FILE_SAMPLES {
            return None;
        }
        let mut samples = Vec::with_capacity(head.samples);
        for bytes in rest.chunks_exact(SAMPLE) {
            let sample = Sample::from_bytes(bytes.try_into().ok()?)?;
            let size = sample.size() as u64;
            let is_within = sample.offset().checked_add(size)? <= length && size <= MAX_FILE_FRAME;
            let is_right = !sample.is_key() || sample.kind() == Kind::Video;
            if !is_within || !is_right {
                return None;
            }
            samples.push(sample);
        }
        let mut index = Self::new(head.format, samples, head.duration).ok()?;
        index.cut = head.cut;
        index.metadata = head.metadata;
        [index.video, index.audio] = head.tracks;
        Some(index)
    }
}

/// What stands before the samples.
struct Head {
    format: Format,
    cut: bool,
    duration: u64,
    metadata: Option<Bytes>,
    tracks: [Option<Track>; 2],
    /// How many follow.
    samples: usize,
}

impl Head {
    /// [`Short`] stands for whatever is wrong.
    fn read(reader: &mut Reader<'_>) -> Result<Self, Short> {
        let format = match reader.u8()? {
            0 => Format::Flv,
            1 => Format::Mp4,
            _ => return Err(Short),
        };
        let cut = reader.u8()? & CUT != 0;
        let duration = u64::from(reader.u32()?) << 32 | u64::from(reader.u32()?);
        let metadata = block(reader)?;
        let mut tracks = [None, None];
        for place in &mut tracks {
            if let Some(configuration) = block(reader)? {
                *place = Some(Track {
                    configuration,
                    codec: FourCc(reader.array()?),
                    size: (reader.u32()?, reader.u32()?),
                    rate: reader.u32()?,
                    channels: reader.u8()?,
                });
            }
        }
        Ok(Self {
            format,
            cut,
            duration,
            metadata,
            tracks,
            samples: reader.u32()? as usize,
        })
    }
}

/// Bytes that may be there; one more than their number stands before them, so that none is 0.
fn put_block(out: &mut BytesMut, block: Option<&[u8]>) {
    let length = block.map_or(0, |block| block.len().saturating_add(1));
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    out.put_slice(block.unwrap_or_default());
}

fn block(reader: &mut Reader<'_>) -> Result<Option<Bytes>, Short> {
    let Some(length) = (reader.u32()? as usize).checked_sub(1) else {
        return Ok(None);
    };
    if length > MAX_CACHED_HEADER {
        return Err(Short); // more than any index has
    }
    Ok(Some(Bytes::copy_from_slice(reader.take(length)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PROGRAMME: &[u8] = include_bytes!("../demo/programme.flv");

    fn index() -> Index {
        Index::of(PROGRAMME)
    }

    #[test]
    fn what_is_kept_is_what_was_read() {
        let index = index();
        let length = PROGRAMME.len() as u64;
        let kept = index.store();
        let again = Index::load(&kept, length).unwrap();
        assert_eq!(again.store(), kept);
        assert_eq!((again.len(), again.keys()), (index.len(), index.keys()));
        assert_eq!(again.sample(7), index.sample(7));
        assert_eq!(again.metadata, index.metadata);
        assert_eq!((&again.video, &again.audio), (&index.video, &index.audio));
        assert_eq!(again.headers_at(100), index.headers_at(100));
        // Of a file that is shorter, or cut off, or of another version.
        assert!(Index::load(&kept, length / 2).is_none());
        for end in [0, 7, 20, kept.len() / 2 + 1, kept.len() - 1] {
            assert!(Index::load(&kept[..end], length).is_none(), "{end}");
        }
        let mut other = kept.to_vec();
        other[7] = b'0';
        assert!(Index::load(&other, length).is_none());
    }

    proptest! {
        /// Whatever is in the file of the cache: nothing points outside, and nothing panics.
        #[test]
        fn damage_is_no_index_or_a_sound_one(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        ) {
            let length = PROGRAMME.len() as u64;
            let mut bytes = index().store().to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(index) = Index::load(&bytes, length) {
                for at in 0..index.len() {
                    let sample = index.sample(at).unwrap();
                    prop_assert!(sample.offset() + sample.size() as u64 <= length);
                }
                let _ = index.position(3000, super::super::Seek::Key);
                let _ = index.headers_at(index.len());
            }
        }
    }
}
