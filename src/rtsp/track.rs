//! One track: from RTP packets to tags.

use bytes::{BufMut, BytesMut};

use super::latm;
use super::rtp::{Clock, Follows, Packet, Reorder, Sequence, sender_report};
use super::sdp::{Media, Of};
use crate::elementary::{Aac, Coding, Mp3, Video, opus, opus_header};
use crate::flv::{ReaderLimits, Tag};
use crate::limits::{MAX_AAC_UNITS, MAX_NAL_UNITS};
use crate::wire::Reader;

/// Where the sessions' line begins: what belongs before the first time may come after it. 5 s.
pub(super) const FIRST: i64 = 5 * 90_000;

/// The sessions' line: the wall clock of the sender, which all tracks have, and ours.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Line {
    /// The sender's wall clock (NTP) at the beginning.
    sender: Option<(u64, i64)>,
}

impl Line {
    /// Where a time of the sender's clock is, when `now` is where we are.
    fn of(&mut self, ntp: u64, now: i64) -> i64 {
        let (begun, at) = *self.sender.get_or_insert((ntp, now));
        let step = ntp.wrapping_sub(begun).cast_signed();
        // The fraction has 32 bits.
        let ticks = i128::from(step).saturating_mul(90_000) >> 32;
        at.saturating_add(i64::try_from(ticks).unwrap_or_default())
    }
}

#[derive(Debug)]
enum Machine {
    Video(Box<Pictures>),
    Aac(Aac, BytesMut),
    Opus(bool),
    Mpeg(Mp3),
    None,
}

/// What arrives of pictures.
#[derive(Debug)]
struct Pictures {
    coding: Coding,
    video: Video,
    reorder: Reorder,
    /// The NAL units of the picture that is arriving, each behind its size.
    units: BytesMut,
    count: usize,
    /// Where in `units` the one begins that comes in fragments.
    fragment: Option<usize>,
    time: Option<u32>,
    /// Something of this picture is missing.
    broken: bool,
    limit: usize,
}

/// One track that was set up, or may be.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) media: Media,
    sequence: Sequence,
    clock: Clock,
    machine: Machine,
    limits: ReaderLimits,
    /// Gaps, and packets that are wrong in themselves.
    pub(super) gaps: u64,
    pub(super) broken: u64,
}

impl Track {
    pub(super) fn new(media: Media, limits: ReaderLimits) -> Self {
        let machine = match &media.of {
            Of::Video(coding, sets) => {
                let mut video = Video::new(*coding);
                sets.iter().for_each(|set| video.set(set));
                Machine::Video(Box::new(Pictures {
                    coding: *coding,
                    video,
                    reorder: Reorder::default(),
                    units: BytesMut::new(),
                    count: 0,
                    fragment: None,
                    time: None,
                    broken: false,
                    limit: limits.video,
                }))
            }
            Of::Aac(..) | Of::Latm(..) => Machine::Aac(Aac::default(), BytesMut::new()),
            Of::Opus(_) => Machine::Opus(false),
            Of::Mpeg => Machine::Mpeg(Mp3::default()),
            Of::Other(_) => Machine::None,
        };
        Self {
            sequence: Sequence::default(),
            clock: Clock::new(media.clock),
            machine,
            media,
            limits,
            gaps: 0,
            broken: 0,
        }
    }

    pub(super) const fn is_video(&self) -> bool {
        matches!(self.media.of, Of::Video(..))
    }

    /// Whether it can be passed on.
    pub(super) const fn is_taken(&self) -> bool {
        !matches!(self.media.of, Of::Other(_))
    }

    /// A report of the sender: before the first packet it says where the track's times are.
    pub(super) fn report(&mut self, bytes: &[u8], line: &mut Line, now: i64) {
        if let Some((ntp, time)) = sender_report(bytes)
            && !self.clock.is_set()
        {
            self.clock.set(time, line.of(ntp, now));
        }
    }

    /// Takes a packet that arrives at `now` of the session's line.
    pub(super) fn packet(&mut self, bytes: &[u8], now: i64, out: &mut impl FnMut(Tag)) {
        let Some(packet) = Packet::read(bytes).filter(|p| p.kind == self.media.payload_type) else {
            self.broken = self.broken.saturating_add(1);
            return;
        };
        match self.sequence.next(packet.sequence) {
            Follows::Yes => {}
            Follows::Late => return self.gaps = self.gaps.saturating_add(1),
            Follows::Gap => {
                self.gaps = self.gaps.saturating_add(1);
                match &mut self.machine {
                    Machine::Video(pictures) => pictures.broken = true,
                    Machine::Aac(_, partial) => partial.clear(),
                    Machine::Mpeg(mp3) => mp3.cut(),
                    Machine::Opus(_) | Machine::None => {}
                }
            }
        }
        if !self.clock.is_set() {
            self.clock.set(packet.time, now);
        }
        if self.take(&packet, out).is_none() {
            self.broken = self.broken.saturating_add(1);
            if let Machine::Video(pictures) = &mut self.machine {
                pictures.broken = true;
            }
        }
    }

    /// `None` when the payload is not what it should be.
    fn take(&mut self, packet: &Packet<'_>, out: &mut impl FnMut(Tag)) -> Option<()> {
        if let Machine::Video(pictures) = &mut self.machine {
            // The picture before has no mark at its end where that packet was lost.
            if pictures.time.is_some_and(|time| time != packet.time) {
                pictures.finish(&mut self.clock, out);
            }
            if pictures.time.is_none() {
                pictures.time = Some(packet.time);
            }
            let taken = pictures.payload(packet.payload);
            if packet.marker {
                pictures.broken |= taken.is_none();
                pictures.finish(&mut self.clock, out);
            }
            return taken;
        }
        let at = self.clock.of(packet.time)?;
        match (&mut self.machine, &self.media.of) {
            (Machine::Aac(aac, partial), Of::Aac(configuration, bits)) => {
                let frame = 1024i64.saturating_mul(90_000) / i64::from(self.media.clock.max(1));
                let mut time = at;
                units_of_aac(packet, *bits, (partial, self.limits.audio), |unit| {
                    aac.frame(configuration, unit, time, &mut *out);
                    time = time.saturating_add(frame);
                })
            }
            (Machine::Aac(aac, partial), Of::Latm(configuration, frequency)) => {
                let frame = 1024i64.saturating_mul(90_000) / i64::from((*frequency).max(1));
                let mut time = at;
                latm::units(packet, (partial, self.limits.audio), |unit| {
                    aac.frame(configuration, unit, time, &mut *out);
                    time = time.saturating_add(frame);
                })
            }
            (Machine::Opus(begun), Of::Opus(channels)) => {
                if !*begun {
                    opus_header(*channels, at, &mut *out);
                    *begun = true;
                }
                opus(packet.payload, at, out);
                Some(())
            }
            (Machine::Mpeg(mp3), _) => {
                // RFC 2250 section 3.5: where in a frame the payload begins.
                let mut r = Reader::new(packet.payload);
                let offset = r.u32().ok()?;
                let time = (offset == 0).then_some(at);
                mp3.packet(r.rest(), time, out);
                Some(())
            }
            _ => Some(()),
        }
    }

    /// The sender is gone.
    pub(super) fn finish(&mut self, out: &mut impl FnMut(Tag)) {
        if let Machine::Video(pictures) = &mut self.machine {
            pictures.finish(&mut self.clock, out);
        }
    }
}

impl Pictures {
    /// One payload: a NAL unit, several, or a part of one (RFC 6184 section 5, RFC 7798 section 4.4).
    fn payload(&mut self, payload: &[u8]) -> Option<()> {
        let mut r = Reader::new(payload);
        match self.coding {
            Coding::Avc => {
                let head = r.u8().ok()?;
                match head & 31 {
                    1..=23 => self.unit(&[payload]),
                    24 => self.several(&mut r),
                    28 => {
                        let part = r.u8().ok()?;
                        let first = [head & 0xe0 | part & 31];
                        self.part(part, &first, r.rest())
                    }
                    _ => None,
                }
            }
            Coding::Hevc => {
                let [head, layer] = r.array().ok()?;
                match head >> 1 & 63 {
                    0..=47 => self.unit(&[payload]),
                    48 => self.several(&mut r),
                    49 => {
                        let part = r.u8().ok()?;
                        let first = [head & 0x81 | (part & 63) << 1, layer];
                        self.part(part, &first, r.rest())
                    }
                    _ => None,
                }
            }
        }
    }

    fn several(&mut self, r: &mut Reader<'_>) -> Option<()> {
        while !r.is_empty() {
            let size = r.u16().ok()?;
            let unit = r.take(usize::from(size)).ok()?;
            self.unit(&[unit])?;
        }
        Some(())
    }

    fn unit(&mut self, parts: &[&[u8]]) -> Option<()> {
        self.fragment = None;
        let size = parts.iter().map(|part| part.len()).sum::<usize>();
        let room = self.limit.saturating_sub(self.units.len());
        if size.saturating_add(4) > room || self.count >= MAX_NAL_UNITS {
            return None;
        }
        self.count = self.count.saturating_add(1);
        self.units.put_u32(u32::try_from(size).ok()?);
        parts.iter().for_each(|part| self.units.put_slice(part));
        Some(())
    }

    /// A part of a unit: its two highest bits say whether it is the first or the last.
    fn part(&mut self, mark: u8, first: &[u8], rest: &[u8]) -> Option<()> {
        if mark & 0x80 != 0 {
            let begin = self.units.len();
            self.unit(&[first, rest])?;
            self.fragment = Some(begin);
        } else {
            let begin = self.fragment?;
            let room = self.limit.saturating_sub(self.units.len());
            if rest.len() > room {
                return None;
            }
            self.units.put_slice(rest);
            let body = begin.saturating_add(4);
            let size = u32::try_from(self.units.len().checked_sub(body)?).ok()?;
            let field = self.units.get_mut(begin..body)?;
            field.copy_from_slice(&size.to_be_bytes());
        }
        if mark & 0x40 != 0 {
            self.fragment = None;
        }
        Some(())
    }

    fn finish(&mut self, clock: &mut Clock, out: &mut impl FnMut(Tag)) {
        let whole = !self.broken && self.fragment.is_none() && !self.units.is_empty();
        let shown = self.time.take().and_then(|time| clock.of(time));
        if let (true, Some(shown)) = (whole, shown) {
            let mut r = Reader::new(&self.units);
            let nals = std::iter::from_fn(|| {
                let size = usize::try_from(r.u32().ok()?).ok()?;
                r.take(size).ok()
            });
            let decoded = self.reorder.decoded(shown);
            self.video.unit(nals, (decoded, shown), &mut *out);
        }
        self.units.clear();
        self.count = 0;
        self.fragment = None;
        self.broken = false;
    }
}

/// The access units of a packet of AAC (RFC 3640 section 3.2): whole ones, or a part of one.
fn units_of_aac(
    packet: &Packet<'_>,
    [size_bits, index_bits]: [u32; 2],
    (partial, limit): (&mut BytesMut, usize),
    mut take: impl FnMut(&[u8]),
) -> Option<()> {
    let mut r = Reader::new(packet.payload);
    let bits = u32::from(r.u16().ok()?);
    let mut headers =
        crate::codec::Bits::new(r.take(usize::try_from(bits.div_ceil(8)).ok()?).ok()?);
    let each = size_bits.saturating_add(index_bits);
    let count = usize::try_from(bits / each.max(1)).ok()?;
    if count == 0 || count > MAX_AAC_UNITS {
        return None;
    }
    for _ in 0..count {
        let size = usize::try_from(headers.bits(size_bits)?).ok()?;
        headers.bits(index_bits)?;
        if size > r.remaining() || !partial.is_empty() {
            // A part of one unit, alone in its packet; the size is that of the whole.
            if count > 1 || size > limit || partial.len().saturating_add(r.remaining()) > size {
                partial.clear();
                return None;
            }
            partial.put_slice(r.rest());
            if packet.marker {
                let unit = partial.split();
                return (unit.len() == size).then(|| take(&unit));
            }
            return Some(());
        }
        take(r.take(size).ok()?);
    }
    Some(())
}
