//! One stream of a programme: from the payloads of its packets to tags.

use std::collections::VecDeque;

use super::packet::Continuity;
use super::pes::{Assembly, Pes, Unrolled};
use super::{Output, psi};
use crate::elementary::{Adts, Coding, Mp3, Video, nal_units, opus, opus_header};
use crate::flv::ReaderLimits;
use crate::limits::MAX_OPUS_PACKETS;
use crate::wire::Reader;

/// Which coding a stream is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Video(Coding),
    Adts,
    Mpeg,
    Opus(u8),
}

impl Of {
    /// By `stream_type` (ISO/IEC 13818-1 table 2-34), and by name for private data.
    pub(super) fn stream(stream: &psi::Stream) -> Option<Self> {
        match (stream.kind, &stream.registered) {
            (0x1b, _) => Some(Self::Video(Coding::Avc)),
            (0x24, _) | (0x06, Some([b'H', b'E', b'V', b'C'])) => Some(Self::Video(Coding::Hevc)),
            (0x0f, _) => Some(Self::Adts),
            (0x03 | 0x04, _) => Some(Self::Mpeg),
            (0x06, Some([b'O', b'p', b'u', b's'])) => {
                // Others have a table of channels, which browsers and players do not have.
                let channels = stream.channels.filter(|n| matches!(n, 1 | 2));
                channels.map(Self::Opus)
            }
            _ => None,
        }
    }

    pub(super) const fn is_video(self) -> bool {
        matches!(self, Self::Video(_))
    }
}

#[derive(Debug)]
enum Machine {
    Video(Box<Video>),
    Adts(Adts),
    Mpeg(Mp3),
    /// Whether the header was sent, and what was broken.
    Opus(bool, u64),
}

/// One stream.
#[derive(Debug)]
pub(super) struct Track {
    pid: u16,
    of: Of,
    pub(super) continuity: Continuity,
    assembly: Assembly,
    inside: Elementary,
}

#[derive(Debug)]
struct Elementary {
    machine: Machine,
    /// The last time, for packets that tell none.
    last: i64,
    broken: u64,
}

impl Track {
    pub(super) fn new(pid: u16, of: Of, limits: ReaderLimits) -> Self {
        let (machine, limit) = match of {
            Of::Video(coding) => (Machine::Video(Box::new(Video::new(coding))), limits.video),
            Of::Adts => (Machine::Adts(Adts::default()), limits.audio),
            Of::Mpeg => (Machine::Mpeg(Mp3::default()), limits.audio),
            Of::Opus(_) => (Machine::Opus(false, 0), limits.audio),
        };
        Self {
            pid,
            of,
            continuity: Continuity::default(),
            assembly: Assembly::new(limit),
            inside: Elementary {
                machine,
                last: 0,
                broken: 0,
            },
        }
    }

    pub(super) const fn pid(&self) -> u16 {
        self.pid
    }

    pub(super) fn is(&self, pid: u16, of: Of) -> bool {
        self.pid == pid && self.of == of
    }

    pub(super) const fn is_video(&self) -> bool {
        self.of.is_video()
    }

    pub(super) fn broken(&self) -> u64 {
        let counted = match &self.inside.machine {
            Machine::Video(video) => video.counted,
            Machine::Adts(adts) => adts.counted,
            Machine::Mpeg(mp3) => mp3.counted,
            Machine::Opus(_, broken) => return self.assembly.broken.saturating_add(*broken),
        };
        [
            self.assembly.broken,
            self.inside.broken,
            counted.malformed,
            counted.unsupported,
        ]
        .iter()
        .fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// A packet is missing.
    pub(super) fn cut(&mut self) {
        self.assembly.cut();
        match &mut self.inside.machine {
            Machine::Adts(adts) => adts.cut(),
            Machine::Mpeg(mp3) => mp3.cut(),
            Machine::Video(_) | Machine::Opus(..) => {}
        }
    }

    pub(super) fn feed(
        &mut self,
        payload: &[u8],
        begins: bool,
        clock: &mut Unrolled,
        output: &mut VecDeque<Output>,
    ) {
        let (inside, of) = (&mut self.inside, self.of);
        self.assembly.feed(payload, begins, &mut |packet: &[u8]| {
            inside.packet(of, packet, clock, output);
        });
    }

    pub(super) fn finish(&mut self, clock: &mut Unrolled, output: &mut VecDeque<Output>) {
        let (inside, of) = (&mut self.inside, self.of);
        self.assembly.finish(&mut |packet: &[u8]| {
            inside.packet(of, packet, clock, output);
        });
    }
}

impl Elementary {
    fn packet(
        &mut self,
        of: Of,
        packet: &[u8],
        clock: &mut Unrolled,
        output: &mut VecDeque<Output>,
    ) {
        let Some(pes) = Pes::read(packet) else {
            self.broken = self.broken.saturating_add(1);
            return;
        };
        let shown = pes.pts.map(|pts| clock.of(pts));
        let decoded = match pes.dts {
            Some(dts) => Some(clock.of(dts)),
            None => shown,
        };
        let mut put = |tag| output.push_back(Output::Tag(tag));
        match &mut self.machine {
            Machine::Video(video) => {
                let decoded = decoded.unwrap_or(self.last);
                self.last = decoded;
                let times = (decoded, shown.unwrap_or(decoded));
                video.unit(nal_units(pes.data), times, put);
            }
            Machine::Adts(adts) => adts.packet(pes.data, shown, put),
            Machine::Mpeg(mp3) => mp3.packet(pes.data, shown, put),
            Machine::Opus(begun, broken) => {
                let mut time = shown.unwrap_or(self.last);
                if let (Of::Opus(channels), false) = (of, *begun) {
                    opus_header(channels, time, &mut put);
                    *begun = true;
                }
                let mut r = Reader::new(pes.data);
                for _ in 0..MAX_OPUS_PACKETS {
                    if r.is_empty() {
                        break;
                    }
                    let Some(packet) = opus_packet(&mut r) else {
                        *broken = broken.saturating_add(1);
                        break;
                    };
                    opus(packet, time, &mut put);
                    time = time.saturating_add(opus_ticks(packet));
                }
                self.last = time;
            }
        }
    }
}

/// One packet of Opus behind its control header (ETSI TS 103 491, "Opus in MPEG-2 TS" by the codec's
/// makers): a mark of 11 bits, flags, its size, and what is cut off at its ends.
fn opus_packet<'a>(r: &mut Reader<'a>) -> Option<&'a [u8]> {
    let [first, flags] = r.array().ok()?;
    if first != 0x7f || flags & 0xe0 != 0xe0 {
        return None;
    }
    let mut size = 0usize;
    loop {
        let byte = r.u8().ok()?;
        size = size.checked_add(usize::from(byte))?;
        if byte != 0xff {
            break;
        }
    }
    for flag in [0x10, 0x08] {
        if flags & flag != 0 {
            r.u16().ok()?;
        }
    }
    if flags & 0x04 != 0 {
        let extension = usize::from(r.u8().ok()?);
        r.take(extension).ok()?;
    }
    r.take(size).ok()
}

/// How long a packet of Opus lasts, 90 kHz.
fn opus_ticks(packet: &[u8]) -> i64 {
    let samples = crate::codec::AudioClock::Opus.samples(packet);
    i64::from(samples) * 90_000 / 48_000
}
