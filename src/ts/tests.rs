//! Streams made by hand: cut anywhere, with losses, and with whatever a peer may send.

use proptest::prelude::*;

use super::*;
use crate::flv;
use crate::limits::MAX_TS_SECTION;
use crate::wire::hex;

const SPS: &str = "67640028acd940780227e5c044000003000400000300c83c60c658";
const PPS: &str = "68ebe3cb22c0";
const PMT_PID: u16 = 0x1000;
const VIDEO: u16 = 0x100;
const AUDIO: u16 = 0x101;

/// Writes packets, with counters as they should be.
#[derive(Default)]
struct Muxer {
    out: Vec<u8>,
    counters: std::collections::HashMap<u16, u8>,
}

impl Muxer {
    /// One unit in as many packets as it takes; the last is filled up by its adaptation field.
    fn unit(&mut self, pid: u16, unit: &[u8]) {
        let mut rest = unit;
        let mut first = true;
        while !rest.is_empty() {
            let counter = self.counters.entry(pid).or_default();
            let [high, low] = pid.to_be_bytes();
            let (payload, after) = rest.split_at(rest.len().min(184));
            rest = after;
            self.out
                .extend([SYNC, high | if first { 0x40 } else { 0 }, low]);
            let filling = 184 - payload.len();
            if filling == 0 {
                self.out.push(0x10 | *counter);
            } else {
                self.out.push(0x30 | *counter);
                self.out.push(u8::try_from(filling - 1).unwrap());
                if filling > 1 {
                    self.out.push(0);
                    self.out.resize(self.out.len() + filling - 2, 0xff);
                }
            }
            self.out.extend(payload);
            *counter = (*counter + 1) & 15;
            first = false;
        }
    }

    fn section(&mut self, pid: u16, table: u8, version: u8, body: &[u8]) {
        let length = u16::try_from(body.len() + 9).unwrap();
        let mut section = vec![table];
        section.extend((0xb000 | length).to_be_bytes());
        section.extend([0, 1, 0xc1 | version << 1, 0, 0]);
        section.extend(body);
        let crc = psi::crc(&section);
        section.extend(crc.to_be_bytes());
        self.unit(pid, &[&[0][..], &section].concat());
    }

    fn tables(&mut self, version: u8, audio: u8) {
        let [high, low] = PMT_PID.to_be_bytes();
        self.section(0, 0, 0, &[0, 1, 0xe0 | high, low]);
        let body = [
            0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0, audio, 0xe1, 1, 0xf0, 0,
        ];
        self.section(PMT_PID, 2, version, &body);
    }

    fn pes(&mut self, pid: u16, stream: u8, times: (u64, u64), data: &[u8]) {
        let mut header = vec![0, 0, 1, stream, 0, 0, 0x80];
        let (pts, dts) = times;
        let stamp = |mark: u8, time: u64| {
            let [_, _, _, a, b, c, d, e] = (time << 7).to_be_bytes();
            let _ = (a, b, c, d, e);
            vec![
                mark << 4 | u8::try_from(time >> 30 & 7).unwrap() << 1 | 1,
                u8::try_from(time >> 22 & 255).unwrap(),
                u8::try_from(time >> 15 & 127).unwrap() << 1 | 1,
                u8::try_from(time >> 7 & 255).unwrap(),
                u8::try_from(time & 127).unwrap() << 1 | 1,
            ]
        };
        if pts == dts {
            header.extend([0x80, 5]);
            header.extend(stamp(2, pts));
        } else {
            header.extend([0xc0, 10]);
            header.extend(stamp(3, pts));
            header.extend(stamp(1, dts));
        }
        header.extend(data);
        if stream != 0xe0 {
            let size = u16::try_from(header.len() - 6).unwrap();
            header[4..6].copy_from_slice(&size.to_be_bytes());
        }
        self.unit(pid, &header);
    }

    fn picture(&mut self, time: u64, key: bool, fill: u8) {
        let mut data = hex("0000000109f0");
        if key {
            data.extend(hex(&format!("00000001{SPS}00000001{PPS}")));
        }
        data.extend([0, 0, 1, if key { 0x65 } else { 0x41 }]);
        data.resize(data.len() + 400, fill);
        self.pes(VIDEO, 0xe0, (time + 3600, time), &data);
    }

    fn sound(&mut self, time: u64) {
        let mut frame = hex("fff150800f1ffc"); // 120 bytes
        frame.resize(120, 7);
        self.pes(AUDIO, 0xc0, (time, time), &frame);
    }
}

/// Two seconds, 25 pictures a second with a key frame each 10.
fn programme(begin: u64) -> Vec<u8> {
    let mut muxer = Muxer::default();
    for n in 0..50u64 {
        if n % 10 == 0 {
            muxer.tables(0, 0x0f);
        }
        let time = (begin + n * 3600) & ((1 << 33) - 1);
        muxer.picture(time, n % 10 == 0, u8::try_from(n + 1).unwrap());
        muxer.sound(time);
    }
    muxer.out
}

fn tags(demuxer: &mut Demuxer) -> Vec<Tag> {
    let mut out = Vec::new();
    while let Some(output) = demuxer.poll() {
        if let Output::Tag(tag) = output {
            out.push(tag);
        }
    }
    out
}

fn demux(pieces: &[&[u8]]) -> (Vec<Tag>, Figures) {
    let mut demuxer = Demuxer::new(ReaderLimits::default());
    let mut out = Vec::new();
    for piece in pieces {
        demuxer.feed(piece);
        out.extend(tags(&mut demuxer));
    }
    demuxer.finish();
    out.extend(tags(&mut demuxer));
    (out, demuxer.figures())
}

fn pictures(tags: &[Tag]) -> Vec<&Tag> {
    let frames = tags.iter().filter(|t| t.kind == flv::VIDEO);
    frames.filter(|t| t.payload[1] == 1).collect()
}

#[test]
fn pictures_and_sound_come_out_with_their_times() {
    let (tags, figures) = demux(&[&programme(900_000)]);
    assert_eq!(figures, Figures::default());
    let headers = tags.iter().filter(|t| t.payload[1] == 0).count();
    assert_eq!(headers, 2, "one of each kind, as nothing changes");
    let pictures = pictures(&tags);
    assert_eq!(pictures.len(), 50);
    for (n, tag) in pictures.iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        assert_eq!(tag.timestamp, 5000 + n * 40);
        assert_eq!(&tag.payload[2..5], [0, 0, 40]);
        assert_eq!(tag.payload[0], if n % 10 == 0 { 0x17 } else { 0x27 });
        assert_eq!(tag.payload.len(), 5 + 4 + 401);
    }
    let sound: Vec<&Tag> = tags
        .iter()
        .filter(|t| t.kind == flv::AUDIO && t.payload[1] == 1)
        .collect();
    assert_eq!(sound.len(), 50);
    assert_eq!(sound[0].timestamp, 5000);
    assert_eq!(sound[0].payload.len(), 2 + 113);
}

#[test]
fn it_may_be_cut_anywhere_and_spaced_in_any_way() {
    let whole = programme(0);
    let (expected, _) = demux(&[&whole]);
    for size in [1, 7, 187, 188, 189, 1316, 4096] {
        let pieces: Vec<&[u8]> = whole.chunks(size).collect();
        assert!(demux(&pieces).0 == expected, "in pieces of {size}");
    }
    for (before, after) in [(0, 16), (4, 0), (0, 20)] {
        let spaced: Vec<u8> = whole
            .chunks(188)
            .flat_map(|p| [&vec![1; before][..], p, &vec![2; after]].concat())
            .collect();
        assert!(demux(&[&spaced]).0 == expected, "{before} + {after}");
    }
    // Joined in the middle of a packet, after a second of something else.
    let (late, figures) = demux(&[&vec![0x46; 5000], &whole[188 * 30 + 100..]]);
    assert!(pictures(&late).len() >= 30, "{}", pictures(&late).len());
    assert!(pictures(&late)[0].payload[0] == 0x17 && figures.gaps == 0);
}

#[test]
fn datagrams_may_be_in_rtp_and_lost() {
    let whole = programme(0);
    let (expected, _) = demux(&[&whole]);
    let mut demuxer = Demuxer::new(ReaderLimits::default());
    let mut out = Vec::new();
    for (n, datagram) in whole.chunks(1316).enumerate() {
        let mut packet = hex("802100010000000000000001");
        packet.extend(datagram);
        if n == 5 {
            continue; // lost
        }
        demuxer.datagram(if n % 2 == 0 { &packet } else { datagram });
        out.extend(tags(&mut demuxer));
    }
    demuxer.finish();
    out.extend(tags(&mut demuxer));
    assert!(demuxer.figures().gaps > 0);
    let (out, expected) = (pictures(&out), pictures(&expected));
    assert!((40..50).contains(&out.len()), "{}", out.len());
    assert!(
        out.iter().all(|tag| expected.contains(tag)),
        "a broken picture"
    );
}

#[test]
fn times_of_33_bits_wrap() {
    let (tags, _) = demux(&[&programme((1 << 33) - 90_000)]);
    let pictures = pictures(&tags);
    let times: Vec<u32> = pictures.iter().map(|t| t.timestamp).collect();
    assert_eq!(times.len(), 50);
    assert!(times.windows(2).all(|w| w[1] - w[0] == 40), "{times:?}");
}

#[test]
fn another_table_takes_up_another_stream() {
    let mut muxer = Muxer::default();
    muxer.tables(0, 0x81);
    muxer.picture(0, true, 1);
    muxer.tables(1, 0x0f);
    muxer.picture(3600, false, 2);
    muxer.sound(3600);
    muxer.tables(1, 0x0f);
    let mut demuxer = Demuxer::new(ReaderLimits::default());
    demuxer.feed(&muxer.out);
    demuxer.finish();
    let mut left_out = Vec::new();
    let mut tags = Vec::new();
    while let Some(output) = demuxer.poll() {
        match output {
            Output::Tag(tag) => tags.push(tag),
            Output::LeftOut(kind, _) => left_out.push(kind),
        }
    }
    assert_eq!(left_out, [0x81], "AC-3 is named once");
    assert_eq!(pictures(&tags).len(), 2);
    assert!(tags.iter().any(|t| t.kind == flv::AUDIO));
}

#[test]
fn what_is_broken_is_counted_and_bounded() {
    let limits = ReaderLimits {
        audio: 500,
        video: 700,
        other: 0,
    };
    let mut muxer = Muxer::default();
    muxer.tables(0, 0x0f);
    muxer.picture(0, true, 1);
    muxer.pes(VIDEO, 0xe0, (3600, 3600), &vec![1; 701]);
    muxer.picture(7200, true, 2);
    muxer.section(PMT_PID, 2, 3, &vec![0; MAX_TS_SECTION]);
    let mut out = muxer.out;
    let end = out.len() - 10;
    out[end] ^= 1;
    let mut demuxer = Demuxer::new(limits);
    demuxer.feed(&out);
    demuxer.finish();
    assert_eq!(pictures(&tags(&mut demuxer)).len(), 2);
    assert!(demuxer.figures().broken >= 2, "{:?}", demuxer.figures());
    // A table whose checksum is wrong changes nothing.
    let mut muxer = Muxer::default();
    muxer.tables(0, 0x0f);
    muxer.out[180] ^= 0x80;
    muxer.picture(0, true, 1);
    let (tags, figures) = demux(&[&muxer.out]);
    assert!(tags.is_empty() && figures.broken == 1, "{figures:?}");
    let mut scrambled = programme(0);
    for packet in scrambled.chunks_mut(188) {
        packet[3] |= 0x80;
    }
    let (tags, figures) = demux(&[&scrambled]);
    assert!(tags.is_empty() && figures.unreadable > 100);
}

proptest! {
    #[test]
    fn anything_is_taken(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        at in 0..40_000usize,
        flips in prop::collection::vec((0..60_000usize, any::<u8>()), 0..20),
        size in 1..2000usize,
    ) {
        let mut stream = programme(0);
        let at = at.min(stream.len());
        stream.splice(at..at, bytes);
        for (place, value) in flips {
            if let Some(byte) = stream.get_mut(place) {
                *byte = value;
            }
        }
        let pieces: Vec<&[u8]> = stream.chunks(size).collect();
        let (tags, _) = demux(&pieces);
        let (whole, _) = demux(&[&stream]);
        prop_assert!(tags == whole, "cut elsewhere");
    }
}
