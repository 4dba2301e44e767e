//! A media segment: `moof` and `mdat`, the samples of each track in one run.

use bytes::{BufMut, Bytes, BytesMut};
use shiguredo_mp4::boxes::{
    MdatBox, MfhdBox, MoofBox, TfdtBox, TfhdBox, TrafBox, TrunBox, TrunSample,
};
use shiguredo_mp4::{Encode, SampleFlags};

/// One coded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Until the next one is decoded, in units of the track's time scale.
    pub duration: u32,
    /// When it is shown, after when it is decoded, in the same units.
    pub composition: i32,
    /// Whether it can be decoded without those before it.
    pub key: bool,
    /// The frame.
    pub data: Bytes,
}

/// What a segment has of one track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The track's number.
    pub track: u32,
    /// When the first sample is decoded, in units of the track's time scale.
    pub begin: u64,
    /// The samples, in the order in which they are decoded.
    pub samples: Vec<Sample>,
}

/// The segment has more than the 2 GiB that its offsets can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the segment is too large for MP4")]
pub struct TooLarge;

/// A sample that needs none before it, and that others need.
const KEY: SampleFlags = SampleFlags::from_fields(0, 2, 0, 0, 0, false, 0);
/// A sample that needs others before it.
const INTER: SampleFlags = SampleFlags::from_fields(0, 1, 0, 0, 0, true, 0);

/// A segment of one fragment, with this number in its header.
///
/// # Errors
/// [`TooLarge`].
pub fn fragment(number: u32, runs: &[Run]) -> Result<Bytes, TooLarge> {
    let samples = || runs.iter().flat_map(|run| &run.samples);
    let payload: usize = samples().map(|s| s.data.len()).sum();
    // The offsets count from the beginning of `moof`, whose length they do not change.
    let length = moof(number, runs, 0)?.len();
    let mdat = length.checked_add(MDAT_HEADER).ok_or(TooLarge)?;
    let head = moof(number, runs, mdat)?;
    let size = payload.checked_add(MDAT_HEADER).ok_or(TooLarge)?;
    let mut out = BytesMut::with_capacity(length.saturating_add(size));
    out.put_slice(&head);
    out.put_u32(u32::try_from(size).map_err(|_| TooLarge)?);
    out.put_slice(MdatBox::TYPE.as_bytes());
    for sample in samples() {
        out.put_slice(&sample.data);
    }
    Ok(out.freeze())
}

const MDAT_HEADER: usize = 8;

fn moof(number: u32, runs: &[Run], mdat: usize) -> Result<Vec<u8>, TooLarge> {
    let mut offset = mdat;
    let mut traf_boxes = Vec::with_capacity(runs.len());
    for run in runs {
        traf_boxes.push(traf(run, i32::try_from(offset).map_err(|_| TooLarge)?)?);
        let bytes: usize = run.samples.iter().map(|s| s.data.len()).sum();
        offset = offset.checked_add(bytes).ok_or(TooLarge)?;
    }
    MoofBox {
        mfhd_box: MfhdBox {
            sequence_number: number,
        },
        traf_boxes,
        unknown_boxes: Vec::new(),
    }
    .encode_to_vec()
    .map_err(|_| TooLarge)
}

fn traf(run: &Run, offset: i32) -> Result<TrafBox, TooLarge> {
    let composed = run.samples.iter().any(|s| s.composition != 0);
    let inter = run.samples.iter().any(|s| !s.key);
    let first = run.samples.first().map(|s| s.duration);
    let even = run.samples.iter().all(|s| Some(s.duration) == first);
    let sample = |s: &Sample| {
        Ok(TrunSample {
            duration: (!even).then_some(s.duration),
            size: Some(u32::try_from(s.data.len()).map_err(|_| TooLarge)?),
            flags: inter.then_some(if s.key { KEY } else { INTER }),
            composition_time_offset: composed.then_some(s.composition.into()),
        })
    };
    Ok(TrafBox {
        tfhd_box: TfhdBox {
            track_id: run.track,
            base_data_offset: None,
            sample_description_index: None,
            default_sample_duration: first.filter(|_| even),
            default_sample_size: None,
            default_sample_flags: (!inter).then_some(KEY),
            duration_is_empty: false,
            default_base_is_moof: true,
        },
        tfdt_box: Some(TfdtBox {
            version: 1,
            base_media_decode_time: run.begin,
        }),
        trun_boxes: vec![TrunBox {
            data_offset: Some(offset),
            first_sample_flags: None,
            samples: run.samples.iter().map(sample).collect::<Result<_, _>>()?,
        }],
        unknown_boxes: Vec::new(),
    })
}
