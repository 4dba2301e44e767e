//! MPEG transport streams (ISO/IEC 13818-1) to FLV tags.
//!
//! ```text
//! bytes -> Framer (packets) -> by PID: Sections (tables) | Assembly (PES) -> elementary -> tags
//! ```
//!
//! The first programme is taken, and of it the first stream of pictures and the first of sound that FLV
//! has a place for: H.264, H.265; AAC in ADTS, MP3, Opus. Whatever is missing or broken is counted
//! ([`Figures`]) and survived: a picture of which a packet is missing is dropped, and so is nothing else.

mod packet;
mod pes;
mod psi;
#[cfg(test)]
mod tests;
mod track;

use std::collections::VecDeque;

use packet::{Continuity, Follows, Framer, Packet, SYNC};
use psi::Sections;
use track::{Of, Track};

use crate::elementary::Opening;
use crate::flv::{ReaderLimits, Tag};

/// What went wrong so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Gaps in the counters of packets.
    pub gaps: u64,
    /// Times that the packets' beginnings were lost.
    pub lost: u64,
    /// Packets that are scrambled, or that their sender marked as broken.
    pub unreadable: u64,
    /// Tables, PES packets and frames that were broken or too long.
    pub broken: u64,
}

impl Figures {
    /// What came since `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            gaps: self.gaps.saturating_sub(before.gaps),
            lost: self.lost.saturating_sub(before.lost),
            unreadable: self.unreadable.saturating_sub(before.unreadable),
            broken: self.broken.saturating_sub(before.broken),
        }
    }
}

/// What the demuxer gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A sequence header or a frame.
    Tag(Tag),
    /// A stream of the programme that is not passed on: its `stream_type` and registered name.
    LeftOut(u8, Option<[u8; 4]>),
}

/// The table of a programme, and what there is of it.
#[derive(Debug)]
struct Programme {
    pid: u16,
    continuity: Continuity,
    sections: Sections,
    version: Option<u8>,
}

/// A demuxer. Its memory is the packets that are arriving: less than [`ReaderLimits`] for each of two
/// streams, and what [`Demuxer::poll`] was not asked for.
#[derive(Debug)]
pub struct Demuxer {
    limits: ReaderLimits,
    framer: Framer,
    inside: Inside,
}

/// All behind the framing.
#[derive(Debug)]
struct Inside {
    limits: ReaderLimits,
    table: (Continuity, Sections),
    programme: Option<Programme>,
    tracks: Vec<Track>,
    clock: pes::Unrolled,
    figures: Figures,
    /// Of tracks and programmes that are gone.
    past: u64,
    /// What a packet gave, before it goes on.
    fresh: VecDeque<Output>,
    opening: Opening,
    output: VecDeque<Output>,
}

impl Demuxer {
    /// One at the beginning of a stream, or anywhere in it.
    #[must_use]
    pub fn new(limits: ReaderLimits) -> Self {
        Self {
            limits,
            framer: Framer::default(),
            inside: Inside::new(limits),
        }
    }

    /// Takes bytes, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        let inside = &mut self.inside;
        self.framer.feed(bytes, |packet| inside.packet(packet));
    }

    /// Takes one datagram: whole packets, or the same behind a header of RTP (RFC 2250), which is
    /// skipped.
    pub fn datagram(&mut self, bytes: &[u8]) {
        let payload = rtp_payload(bytes).unwrap_or(bytes);
        if payload.first() == Some(&SYNC) {
            self.framer.begin();
        }
        self.feed(payload);
    }

    /// The input is over, or its source is another one: what is begun counts as whole.
    pub fn finish(&mut self) {
        self.inside.finish();
    }

    /// The next tag.
    pub fn poll(&mut self) -> Option<Output> {
        self.inside.output.pop_front()
    }

    /// What went wrong so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let inside = &self.inside;
        let sections = inside.table.1.broken;
        let programme = inside.programme.as_ref().map_or(0, |p| p.sections.broken);
        let tracks: u64 = inside.tracks.iter().map(Track::broken).sum();
        Figures {
            lost: self.framer.lost,
            broken: [inside.past, sections, programme, tracks].iter().sum(),
            ..inside.figures
        }
    }

    /// The largest frames that are taken.
    #[must_use]
    pub const fn limits(&self) -> ReaderLimits {
        self.limits
    }
}

/// What follows the header of RTP when this is MPEG-TS in RTP (payload type 33).
fn rtp_payload(bytes: &[u8]) -> Option<&[u8]> {
    let (&[first, kind, ..], _) = bytes.split_first_chunk::<12>()?;
    if first >> 6 != 2 || kind & 0x7f != 33 {
        return None;
    }
    let mut at = 12usize.saturating_add(usize::from(first & 15) * 4);
    if first & 0x10 != 0 {
        let [_, _, high, low] = *bytes.get(at..)?.first_chunk::<4>()?;
        let words = usize::from(u16::from_be_bytes([high, low]));
        at = at.saturating_add(4 + words * 4);
    }
    bytes.get(at..)
}

impl Inside {
    fn new(limits: ReaderLimits) -> Self {
        Self {
            limits,
            table: Default::default(),
            programme: None,
            tracks: Vec::new(),
            clock: pes::Unrolled::default(),
            figures: Figures::default(),
            past: 0,
            fresh: VecDeque::new(),
            opening: Opening::default(),
            output: VecDeque::new(),
        }
    }

    fn packet(&mut self, bytes: &[u8; packet::PACKET]) {
        let Some(packet) = Packet::read(bytes) else {
            self.figures.unreadable = self.figures.unreadable.saturating_add(1);
            return;
        };
        let Some(payload) = packet.payload else {
            return;
        };
        if packet.pid == 0 {
            return self.programmes(&packet, payload);
        }
        let is_table = |p: &Programme| p.pid == packet.pid;
        if self.programme.as_ref().is_some_and(is_table) {
            return self.streams(&packet, payload);
        }
        let Some(track) = self.tracks.iter_mut().find(|t| t.pid() == packet.pid) else {
            return;
        };
        match track.continuity.next(&packet) {
            Follows::Yes => {}
            Follows::Repeated => return,
            Follows::Gap => {
                self.figures.gaps = self.figures.gaps.saturating_add(1);
                track.cut();
            }
        }
        track.feed(payload, packet.begins, &mut self.clock, &mut self.fresh);
        self.pass_on();
    }

    /// Gives what came, from the stream's beginning on.
    fn pass_on(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        let sound = self.tracks.iter().any(|track| !track.is_video());
        let awaits = (sound, self.tracks.iter().any(Track::is_video));
        for output in self.fresh.drain(..) {
            match output {
                Output::Tag(tag) => self.opening.push(tag, awaits, &mut |tag| {
                    self.output.push_back(Output::Tag(tag));
                }),
                other @ Output::LeftOut(..) => self.output.push_back(other),
            }
        }
    }

    fn programmes(&mut self, packet: &Packet<'_>, payload: &[u8]) {
        let (continuity, sections) = &mut self.table;
        match continuity.next(packet) {
            Follows::Yes => {}
            Follows::Repeated => return,
            Follows::Gap => sections.cut(),
        }
        let mut found = None;
        sections.feed(payload, packet.begins, |section| {
            found = found.or_else(|| psi::programme(section));
        });
        let Some(pid) = found else { return };
        if self.programme.as_ref().is_none_or(|p| p.pid != pid) {
            self.past = self.past.saturating_add(
                self.programme
                    .as_ref()
                    .map_or(0, |before| before.sections.broken),
            );
            self.programme = Some(Programme {
                pid,
                continuity: Continuity::default(),
                sections: Sections::default(),
                version: None,
            });
        }
    }

    fn streams(&mut self, packet: &Packet<'_>, payload: &[u8]) {
        let Some(programme) = &mut self.programme else {
            return;
        };
        match programme.continuity.next(packet) {
            Follows::Yes => {}
            Follows::Repeated => return,
            Follows::Gap => programme.sections.cut(),
        }
        let mut found = None;
        let version = programme.version;
        programme.sections.feed(payload, packet.begins, |section| {
            found = psi::streams(section)
                .filter(|(new, _)| version != Some(*new))
                .or_else(|| found.take());
        });
        if let Some((version, streams)) = found {
            programme.version = Some(version);
            self.take_up(&streams);
        }
    }

    /// Another version of the table: what is in it as it was goes on.
    fn take_up(&mut self, streams: &[psi::Stream]) {
        let mut before = std::mem::take(&mut self.tracks);
        for stream in streams {
            let Some(of) = Of::stream(stream) else {
                self.output
                    .push_back(Output::LeftOut(stream.kind, stream.registered));
                continue;
            };
            if self.tracks.iter().any(|t| t.is_video() == of.is_video()) {
                continue; // there is one of the kind
            }
            let same = before.iter().position(|t| t.is(stream.pid, of));
            let track = match same {
                Some(at) => before.swap_remove(at),
                None => Track::new(stream.pid, of, self.limits),
            };
            self.tracks.push(track);
        }
        for mut gone in before {
            gone.finish(&mut self.clock, &mut self.fresh);
            self.past = self.past.saturating_add(gone.broken());
        }
        self.pass_on();
    }

    fn finish(&mut self) {
        for track in &mut self.tracks {
            track.finish(&mut self.clock, &mut self.fresh);
            track.continuity = Continuity::default();
        }
        self.pass_on();
        let output = &mut self.output;
        self.opening
            .end(&mut |tag| output.push_back(Output::Tag(tag)));
    }
}
