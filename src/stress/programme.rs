//! What a publisher sends: a grey picture of a given weight, or an FLV file in a loop; every frame
//! has room for a [`Stamp`].

use std::path::Path;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::picture;
use super::stamp::{STAMP, SUM, Stamp, sum};
use crate::amf::{Value, amf0};
use crate::flv;

/// What a synthetic programme is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Synthetic {
    /// Audio and video together, bit/s.
    pub bitrate: u64,
    /// Pictures a second.
    pub fps: u32,
    /// From one key picture to the next.
    pub gop: Duration,
    /// Of it audio, bit/s; 0 for none.
    pub audio: u64,
}

impl Default for Synthetic {
    fn default() -> Self {
        Self {
            bitrate: 1_000_000,
            fps: 25,
            gop: Duration::from_secs(2),
            audio: 64_000,
        }
    }
}

/// Why there is no programme.
#[derive(Debug, thiserror::Error)]
pub enum ProgrammeError {
    /// The numbers cannot be met.
    #[error("no programme has {0}")]
    Impossible(String),
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    File(#[from] std::io::Error),
    /// The file is no FLV.
    #[error("{0}")]
    Flv(#[from] flv::FlvError),
    /// There is nothing to send in the file.
    #[error("there is neither H.264 nor AAC in it")]
    Empty,
}

/// One frame without its stamp.
#[derive(Debug)]
struct Piece {
    kind: u8,
    at: Duration,
    before: Vec<u8>,
    behind: Vec<u8>,
    sum: u32,
}

/// Frames that repeat.
#[derive(Debug)]
struct Track {
    pieces: Vec<Piece>,
    round: Duration,
}

/// A programme without end.
#[derive(Debug)]
pub struct Programme {
    headers: Vec<flv::Tag>,
    tracks: Vec<Track>,
}

/// Samples in an AAC frame.
const AAC_FRAME: u64 = 1024;
/// Hz of the synthetic audio.
const SAMPLE_RATE: u64 = 44_100;
/// `AudioSpecificConfig`: AAC LC, 44.1 kHz, stereo.
const AAC_CONFIG: [u8; 4] = [0xaf, 0, 0x12, 0x10];
/// A silent AAC LC frame, stereo, with its end marker.
const SILENCE: [u8; 6] = [0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c];
/// A key picture has the weight of this many others.
const KEY_WEIGHT: u64 = 6;
/// Bytes that a picture has on average at the least, with its stamp.
const LEAST_PICTURE: u64 = 100;
/// How long the key picture of the longest GOP may last.
const MAX_GOP: Duration = Duration::from_secs(60);
/// The longest file, bytes.
const MAX_FILE: u64 = 256 << 20;
/// Bytes of a `data_stream_element` beyond its content, up to 254 of it: tag and count.
const DSE_HEAD: usize = 2;

impl Piece {
    fn new(kind: u8, at: Duration, before: Vec<u8>, behind: Vec<u8>) -> Self {
        let sum = sum(sum(SUM, &before), &behind);
        Self {
            kind,
            at,
            before,
            behind,
            sum,
        }
    }

    /// A video tag: `head` (type, composition time), our SEI message, and more NAL units.
    fn video(at: Duration, head: &[u8], units: Vec<u8>) -> Self {
        let mut before = head.to_vec();
        let length = u32::try_from(3 + STAMP + 1).unwrap_or_default();
        before.extend_from_slice(&length.to_be_bytes());
        // NAL unit 6, message 5, length of the message; behind the stamp the stop bit.
        before.extend_from_slice(&[6, 5, u8::try_from(STAMP).unwrap_or_default()]);
        let mut behind = vec![0x80];
        behind.extend(units);
        Self::new(flv::VIDEO, at, before, behind)
    }

    /// An audio tag: `head`, a data element with our stamp and as much filling, and the rest.
    fn audio(at: Duration, head: &[u8], filling: usize, rest: &[u8]) -> Self {
        let mut before = head.to_vec();
        let filling = filling.min(254 - STAMP);
        // Element 4, instance 0, aligned.
        let count = u8::try_from(STAMP + filling).unwrap_or_default();
        before.extend_from_slice(&[0b1000_0001, count]);
        let mut behind = vec![0; filling];
        behind.extend_from_slice(rest);
        Self::new(flv::AUDIO, at, before, behind)
    }

    fn stamped(&self, nanos: u64, sequence: u64) -> Bytes {
        let length = self.before.len() + STAMP + self.behind.len();
        let stamp = Stamp {
            nanos,
            sequence,
            sum: self.sum,
            length: u32::try_from(length).unwrap_or_default(),
        };
        let mut out = BytesMut::with_capacity(length);
        out.put_slice(&self.before);
        out.put_slice(&stamp.encode());
        out.put_slice(&self.behind);
        out.freeze()
    }
}

impl Programme {
    /// A grey picture and silence, as heavy as asked for.
    ///
    /// # Errors
    /// [`ProgrammeError::Impossible`].
    pub fn synthetic(s: &Synthetic) -> Result<Self, ProgrammeError> {
        check(s)?;
        let interval = Duration::from_secs(1) / s.fps;
        let gop = u64::from(s.fps)
            .saturating_mul(u64::try_from(s.gop.as_millis()).unwrap_or(u64::MAX))
            / 1000;
        let gop = gop.max(1);
        // Bytes of a GOP's pictures, of which each but the first weighs one part.
        let video = s.bitrate.saturating_sub(s.audio) / 8;
        let budget = video.saturating_mul(gop) / u64::from(s.fps);
        let part = budget / (gop - 1 + KEY_WEIGHT);
        let mut pieces = Vec::new();
        for number in 0..u32::try_from(gop).unwrap_or(u32::MAX) {
            let (picture, size, first) = if number == 0 {
                (picture::key(false), part.saturating_mul(KEY_WEIGHT), 0x17)
            } else {
                (picture::repeat(number), part, 0x27)
            };
            let mut units = Vec::new();
            picture::put_nal(&mut units, &picture);
            let used = 5 + 4 + 3 + STAMP + 1 + units.len();
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if size > flv::MAX_BODY / 2 {
                return Err(impossible(
                    "so high a bitrate: its key pictures would be too large",
                ));
            }
            picture::put_filler(&mut units, size.saturating_sub(used));
            pieces.push(Piece::video(
                interval.saturating_mul(number),
                &[first, 1, 0, 0, 0],
                units,
            ));
        }
        let round = interval.saturating_mul(u32::try_from(gop).unwrap_or(u32::MAX));
        let mut tracks = vec![Track { pieces, round }];
        let mut headers = vec![metadata(s)];
        let mut configuration = vec![0x17, 0, 0, 0, 0];
        configuration.extend(picture::configuration());
        headers.push(header(flv::VIDEO, configuration.into()));
        if s.audio > 0 {
            headers.push(header(flv::AUDIO, Bytes::from_static(&AAC_CONFIG)));
            let size = s.audio.saturating_mul(AAC_FRAME) / SAMPLE_RATE / 8;
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let filling = size.saturating_sub(2 + DSE_HEAD + STAMP + SILENCE.len());
            tracks.push(Track {
                pieces: vec![Piece::audio(Duration::ZERO, &[0xaf, 1], filling, &SILENCE)],
                round: Duration::from_nanos(AAC_FRAME * 1_000_000_000 / SAMPLE_RATE),
            });
        }
        Ok(Self { headers, tracks })
    }

    /// An FLV file in a loop. Frames of H.264 and AAC get a stamp, others are left out.
    ///
    /// # Errors
    /// [`ProgrammeError`].
    pub fn file(path: &Path) -> Result<Self, ProgrammeError> {
        if std::fs::metadata(path)?.len() > MAX_FILE {
            return Err(impossible("a file of more than 256 MiB"));
        }
        let bytes = std::fs::read(path)?;
        let mut input = bytes.as_slice();
        let mut reader = flv::Reader::new(flv::ReaderLimits::default());
        let (mut headers, mut pieces) = (Vec::new(), Vec::new());
        let mut last = Duration::ZERO;
        let mut step = Duration::from_millis(20);
        while let Some(tag) = reader.feed(&mut input)? {
            let at = Duration::from_millis(tag.timestamp.into());
            let piece = match (tag.kind, tag.payload.as_ref()) {
                (flv::VIDEO, [first, 1, a, b, c, units @ ..]) if first & 0x8f == 7 => {
                    Piece::video(at, &[*first, 1, *a, *b, *c], units.to_vec())
                }
                (flv::AUDIO, [first, 1, rest @ ..]) if first >> 4 == 10 => {
                    Piece::audio(at, &[*first, 1], 0, rest)
                }
                (flv::VIDEO, [first, 0, ..]) if first & 0x8f == 7 => {
                    headers.push(header(tag.kind, tag.payload));
                    continue;
                }
                (flv::AUDIO, [first, 0, ..]) if first >> 4 == 10 => {
                    headers.push(header(tag.kind, tag.payload));
                    continue;
                }
                (flv::SCRIPT, _) if pieces.is_empty() => {
                    headers.push(header(tag.kind, tag.payload));
                    continue;
                }
                _ => continue,
            };
            if tag.kind == flv::VIDEO {
                step = at.saturating_sub(last).max(Duration::from_millis(1));
                last = at;
            }
            pieces.push(piece);
        }
        let end = pieces.iter().map(|p| p.at).max();
        let round = end.ok_or(ProgrammeError::Empty)?.saturating_add(step);
        let tracks = vec![Track { pieces, round }];
        Ok(Self { headers, tracks })
    }

    /// Metadata and sequence headers: kind and payload.
    pub fn headers(&self) -> impl Iterator<Item = (u8, Bytes)> {
        self.headers
            .iter()
            .map(|tag| (tag.kind, tag.payload.clone()))
    }

    /// The frames from the beginning.
    #[must_use]
    pub fn play(&self) -> Playhead<'_> {
        Playhead {
            at: vec![(0, 0); self.tracks.len()],
            tracks: &self.tracks,
            sequence: 0,
        }
    }
}

/// Goes through a programme.
#[derive(Debug)]
pub struct Playhead<'p> {
    tracks: &'p [Track],
    /// Round and index of each track's next piece.
    at: Vec<(u32, usize)>,
    sequence: u64,
}

/// A frame that is due.
#[derive(Debug)]
pub struct Due<'p> {
    /// Since the beginning.
    pub at: Duration,
    /// FLV tag type.
    pub kind: u8,
    piece: &'p Piece,
    sequence: u64,
}

impl Due<'_> {
    /// The payload, stamped with this time.
    #[must_use]
    pub fn payload(&self, nanos: u64) -> Bytes {
        self.piece.stamped(nanos, self.sequence)
    }

    /// Milliseconds, wrapping as on the wire.
    #[must_use]
    pub fn timestamp(&self) -> u32 {
        u32::try_from(self.at.as_millis() & u128::from(u32::MAX)).unwrap_or_default()
    }
}

impl<'p> Iterator for Playhead<'p> {
    type Item = Due<'p>;

    fn next(&mut self) -> Option<Due<'p>> {
        let next = |(track, (round, index)): (&'p Track, &(u32, usize))| {
            let piece = track.pieces.get(*index)?;
            Some((
                track.round.saturating_mul(*round).saturating_add(piece.at),
                piece,
            ))
        };
        let places = self.tracks.iter().zip(&self.at).map(next).enumerate();
        let found = places.filter_map(|(n, p)| p.map(|(at, piece)| (at, n, piece)));
        let (at, track, piece) = found.min_by_key(|(at, n, _)| (*at, *n))?;
        let length = self.tracks.get(track)?.pieces.len();
        let (round, index) = self.at.get_mut(track)?;
        *index += 1;
        if *index >= length {
            *index = 0;
            *round = round.saturating_add(1);
        }
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        Some(Due {
            at,
            kind: piece.kind,
            piece,
            sequence,
        })
    }
}

fn impossible(what: &str) -> ProgrammeError {
    ProgrammeError::Impossible(what.to_owned())
}

/// The bit/s of audio whose frames have so many bytes of filling.
const fn audio_rate(filling: usize) -> u64 {
    let bytes = (2 + DSE_HEAD + STAMP + filling + SILENCE.len()) as u64;
    bytes * 8 * SAMPLE_RATE / AAC_FRAME
}

/// Whether the numbers can be met: what is not as heavy as was asked for would be measured as if it were.
fn check(s: &Synthetic) -> Result<(), ProgrammeError> {
    let say = |what: String| Err(ProgrammeError::Impossible(what));
    if s.fps == 0 || s.fps > 1000 {
        return say(format!("{} pictures a second: say 1 to 1000", s.fps));
    }
    if s.gop > MAX_GOP {
        return say(format!("so long a GOP: say up to {} s", MAX_GOP.as_secs()));
    }
    let (least, most) = (audio_rate(0), audio_rate(254 - STAMP));
    if s.audio > 0 && !(least..=most).contains(&s.audio) {
        return say(format!(
            "audio of {} bit/s: say {} to {}, or 0 for none",
            s.audio,
            least.div_ceil(1000) * 1000,
            most / 1000 * 1000
        ));
    }
    let least = s.audio.saturating_add(u64::from(s.fps) * LEAST_PICTURE * 8);
    if s.bitrate < least {
        return say(format!(
            "{} bit/s with {} of audio and {} pictures a second: say at least {}",
            s.bitrate,
            s.audio,
            s.fps,
            least.div_ceil(1000) * 1000
        ));
    }
    Ok(())
}

fn header(kind: u8, payload: Bytes) -> flv::Tag {
    flv::Tag {
        kind,
        timestamp: 0,
        payload,
    }
}

fn metadata(s: &Synthetic) -> flv::Tag {
    let kbit = |bits: u64| Value::Number(super::histogram::as_f64(bits) / 1000.0);
    let mut fields = vec![
        ("width".to_owned(), 320.0.into()),
        ("height".to_owned(), 180.0.into()),
        ("framerate".to_owned(), f64::from(s.fps).into()),
        ("videocodecid".to_owned(), 7.0.into()),
        (
            "videodatarate".to_owned(),
            kbit(s.bitrate.saturating_sub(s.audio)),
        ),
    ];
    if s.audio > 0 {
        fields.push(("audiocodecid".to_owned(), 10.0.into()));
        fields.push(("audiodatarate".to_owned(), kbit(s.audio)));
    }
    let mut out = BytesMut::new();
    amf0::encode_all(&mut out, &["onMetaData".into(), Value::EcmaArray(fields)]);
    header(flv::SCRIPT, out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Synthetic = Synthetic {
        bitrate: 1_000_000,
        fps: 25,
        gop: Duration::from_secs(2),
        audio: 64_000,
    };

    #[test]
    fn a_synthetic_programme_has_the_weight_that_was_asked_for() {
        let programme = Programme::synthetic(&USUAL).unwrap();
        let ten: Vec<_> = programme
            .play()
            .take_while(|d| d.at < Duration::from_secs(10))
            .collect();
        let count = |kind| ten.iter().filter(|d| d.kind == kind).count();
        assert_eq!((count(flv::VIDEO), count(flv::AUDIO)), (250, 431));
        let bytes: usize = ten.iter().map(|d| d.payload(0).len()).sum();
        assert!((1_230_000..=1_255_000).contains(&bytes), "{bytes}");
        let keys = ten
            .iter()
            .filter(|d| d.kind == flv::VIDEO && d.payload(0)[0] == 0x17)
            .map(|d| d.timestamp());
        assert_eq!(keys.collect::<Vec<_>>(), [0, 2000, 4000, 6000, 8000]);
        assert!(ten.is_sorted_by_key(|d| d.at));
    }

    #[test]
    fn every_frame_has_its_stamp() {
        let programme = Programme::synthetic(&USUAL).unwrap();
        for (n, due) in (0..200).zip(programme.play()) {
            let (stamp, whole) = Stamp::find(&due.payload(n * 7)).unwrap();
            assert!(whole);
            assert_eq!((stamp.sequence, stamp.nanos), (n, n * 7));
        }
    }

    #[test]
    fn a_file_is_played_in_a_loop_with_stamps() {
        let mut file = flv::FileHeader {
            audio: true,
            video: true,
        }
        .encode()
        .to_vec();
        let tags: [(u8, u32, &[u8]); 5] = [
            (flv::VIDEO, 0, &[0x17, 0, 0, 0, 0, 1]),
            (flv::AUDIO, 0, &[0xaf, 0, 0x12, 0x10]),
            (flv::VIDEO, 0, &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]),
            (flv::AUDIO, 10, &[0xaf, 1, 0x21]),
            (flv::VIDEO, 40, &[0x27, 1, 0, 0, 0, 0, 0, 0, 1, 0x61]),
        ];
        for (kind, at, payload) in tags {
            flv::put_tag(&mut file, kind, at, payload).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.flv");
        std::fs::write(&path, file).unwrap();
        let programme = Programme::file(&path).unwrap();
        assert_eq!(programme.headers().count(), 2);
        let times: Vec<_> = programme.play().take(5).map(|d| d.timestamp()).collect();
        assert_eq!(times, [0, 10, 40, 80, 90]);
        let payload = programme.play().nth(1).unwrap().payload(1);
        assert_eq!(Stamp::find(&payload).unwrap().0.sequence, 1);
        assert!(payload.ends_with(&[0x21]));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for bad in [
            Synthetic { fps: 0, ..USUAL },
            // Its frames have room for no more, and the stamp takes so much already.
            Synthetic {
                audio: 91_000,
                ..USUAL
            },
            Synthetic {
                audio: 8000,
                ..USUAL
            },
            Synthetic {
                bitrate: 70_000,
                ..USUAL
            },
            Synthetic {
                gop: Duration::MAX,
                ..USUAL
            },
            Synthetic {
                bitrate: u64::MAX,
                ..USUAL
            },
        ] {
            assert!(Programme::synthetic(&bad).is_err());
        }
        // What is taken is met.
        let weights = [(84_000, 64_000), (200_000, 90_000), (120_000, 20_000)];
        for (bitrate, audio) in weights {
            let programme = Programme::synthetic(&Synthetic {
                bitrate,
                audio,
                ..USUAL
            });
            let programme = programme.unwrap();
            let ten = programme.play();
            let ten = ten.take_while(|d| d.at < Duration::from_secs(10));
            let bits: usize = ten.map(|d| d.payload(0).len() * 8).sum();
            let asked = usize::try_from(bitrate * 10).unwrap();
            assert!(bits.abs_diff(asked) < asked / 20, "{bits} of {asked}");
        }
    }
}
