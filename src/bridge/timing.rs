//! When each sample of a segment is decoded, from the dates of its frames.
//!
//! The time of a track begins on 1 January 1970, so it is the same on all servers and goes on through
//! epochs. Video keeps its milliseconds. Audio is counted in samples, and encoders round their times:
//! the frames of a segment together tell where it begins to a fraction of what each of them tells.

use super::fmp4::Piece;
use crate::codec::AudioClock;
use crate::mp4::{Run, Sample};

/// The last picture of an epoch that has no other to compare with, ms.
const ONE_PICTURE: u64 = 40;
/// Audio whose frames are further than this from where their samples would put them, ms, is placed by
/// its times.
const REGULAR: u64 = 40;

/// The run of a segment's pictures that ends at `end`, or with the epoch; and when it ends, ms.
pub(super) fn video_run(track: u32, pieces: &[Piece], end: Option<u64>) -> (Option<Run>, u64) {
    let Some(first) = pieces.first() else {
        return (None, 0);
    };
    let mut samples = Vec::with_capacity(pieces.len());
    let mut last = ONE_PICTURE;
    for (at, piece) in pieces.iter().enumerate() {
        let next = pieces.get(at.saturating_add(1)).map(|next| next.date);
        let until = next.or(end);
        last = until.map_or(last, |until| until.saturating_sub(piece.date));
        samples.push(Sample {
            duration: u32::try_from(last).unwrap_or(u32::MAX),
            composition: piece.composition,
            key: piece.key,
            data: piece.data.clone(),
        });
    }
    let newest = pieces.last().map_or(first.date, |piece| piece.date);
    let run = Run {
        track,
        begin: first.date,
        samples,
    };
    (Some(run), newest.saturating_add(last))
}

/// The run of a segment's sound; and when it ends, ms.
pub(super) fn audio_run(track: u32, pieces: &[Piece], clock: AudioClock) -> (Option<Run>, u64) {
    let Some(first) = pieces.first() else {
        return (None, 0);
    };
    let rate = u128::from(clock.rate().max(1));
    // In samples since 1970: where the dates put each frame.
    let placed = |date: u64| u128::from(date).saturating_mul(rate) / 1000;
    let counts: Vec<u32> = pieces.iter().map(|p| clock.samples(&p.data)).collect();
    let mut before = Vec::with_capacity(pieces.len());
    let mut sum = 0_u128;
    for count in &counts {
        before.push(sum);
        sum = sum.saturating_add(u128::from(*count));
    }
    // Where the segment begins by each frame; in all, their mean.
    let begins: Vec<u128> = pieces
        .iter()
        .zip(&before)
        .map(|(piece, before)| placed(piece.date).saturating_sub(*before))
        .collect();
    let mean = begins.iter().sum::<u128>() / (begins.len().max(1) as u128);
    let far = rate.saturating_mul(REGULAR.into()) / 1000;
    let regular = begins.iter().all(|begin| begin.abs_diff(mean) <= far);
    let begin = if regular { mean } else { placed(first.date) };
    let mut samples = Vec::with_capacity(pieces.len());
    for ((at, piece), count) in pieces.iter().enumerate().zip(&counts) {
        let next = pieces.get(at.saturating_add(1));
        let duration = match next {
            Some(next) if !regular => {
                let step = placed(next.date).saturating_sub(placed(piece.date));
                u32::try_from(step).unwrap_or(u32::MAX)
            }
            _ => *count,
        };
        samples.push(Sample {
            duration,
            composition: 0,
            key: true,
            data: piece.data.clone(),
        });
    }
    let length: u128 = samples.iter().map(|s| u128::from(s.duration)).sum();
    let end = begin.saturating_add(length).saturating_mul(1000) / rate;
    let run = Run {
        track,
        begin: u64::try_from(begin).unwrap_or(u64::MAX),
        samples,
    };
    (Some(run), u64::try_from(end).unwrap_or(u64::MAX))
}
