//! A session as ffmpeg and GStreamer have it, cut at every place, and what hostile ones send.

mod client;

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::codec;
use crate::flv::{AUDIO, ReaderLimits, Tag, VIDEO};
use crate::limits::{MAX_RTSP_BODY, MAX_RTSP_HEAD};
use crate::media::Role;

const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z2QAKKzZQHgCJ+XARAAAAwAEAAADAMg8YMZY,aOvjyyLA\r\n\
    a=control:streamid=0\r\n\
    m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/2\r\n\
    a=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=1190\r\n\
    a=control:streamid=1\r\n";

fn request(method: &str, path: &str, cseq: u32, rest: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} rtsp://127.0.0.1:8554/{path} RTSP/1.0\r\nCSeq: {cseq}\r\n{rest}Content-Length: {length}\r\n\r\n{body}"
    )
}

fn interleaved(channel: u8, packet: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(packet.len()).unwrap().to_be_bytes();
    [&[b'$', channel, high, low][..], packet].concat()
}

fn rtp(kind: u8, marker: bool, sequence: u16, time: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, kind | if marker { 0x80 } else { 0 }];
    packet.extend(sequence.to_be_bytes());
    packet.extend(time.to_be_bytes());
    packet.extend([0, 0, 0, 9]);
    packet.extend(payload);
    packet
}

fn report(ntp: u64, time: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6, 0, 0, 0, 9];
    packet.extend(ntp.to_be_bytes());
    packet.extend(time.to_be_bytes());
    packet.extend([0; 8]);
    packet
}

/// The requests of a session over its own connection.
fn opening() -> Vec<u8> {
    [
        request("OPTIONS", "live/cam", 1, "", ""),
        request(
            "ANNOUNCE",
            "live/cam",
            2,
            "Content-Type: application/sdp\r\n",
            SDP,
        ),
        request(
            "SETUP",
            "live/cam/streamid=0",
            3,
            "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n",
            "",
        ),
        request(
            "SETUP",
            "live/cam/streamid=1",
            4,
            "Transport: RTP/AVP/TCP;unicast;interleaved=2-3;mode=record\r\nSession: 7\r\n",
            "",
        ),
        request(
            "RECORD",
            "live/cam",
            5,
            "Range: npt=0.000-\r\nSession: 7\r\n",
            "",
        ),
    ]
    .concat()
    .into_bytes()
}

/// Two pictures, the second in fragments, and a packet with two frames of sound; the tracks' times are
/// those of their reports.
fn media() -> Vec<u8> {
    let mut out = interleaved(1, &report(100 << 32, 9000));
    out.extend(interleaved(3, &report((100 << 32) + (1 << 31), 48_000)));
    out.extend(interleaved(
        0,
        &rtp(96, true, 1, 9000, &[24, 0, 2, 9, 0xf0, 0, 3, 0x65, 1, 2]),
    ));
    let sound = [0, 32, 0, 3 << 3, 0, 2 << 3, 5, 6, 7, 8, 9];
    out.extend(interleaved(2, &rtp(97, true, 1, 48_000, &sound)));
    out.extend(interleaved(0, &rtp(96, false, 2, 12_600, &[0x5c, 0x81, 3])));
    out.extend(interleaved(0, &rtp(96, false, 3, 12_600, &[0x5c, 1, 4])));
    out.extend(interleaved(0, &rtp(96, true, 4, 12_600, &[0x5c, 0x41, 5])));
    out
}

/// Accepts everything; what comes out.
fn drain(machine: &mut Server) -> Vec<Output> {
    let mut out = Vec::new();
    while let Some(output) = machine.poll().unwrap() {
        match &output {
            Output::Announce(_) => machine.accept(),
            Output::Setup(..) => machine.datagrams([4000, 4001]),
            _ => {}
        }
        out.push(output);
    }
    out
}

fn machine(now: Instant) -> Server {
    Server::new(ReaderLimits::default(), 7, now)
}

fn run(pieces: &[&[u8]]) -> Vec<Output> {
    let now = Instant::now();
    let mut machine = machine(now);
    let mut out = Vec::new();
    for piece in pieces {
        machine.feed(piece, now);
        out.extend(drain(&mut machine));
    }
    machine.finish();
    out.extend(drain(&mut machine));
    out
}

fn tags(outputs: &[Output]) -> Vec<&Tag> {
    let all = outputs.iter();
    all.filter_map(|output| match output {
        Output::Tag(tag) => Some(tag),
        _ => None,
    })
    .collect()
}

fn status(outputs: &[Output]) -> Vec<u16> {
    let all = outputs.iter().filter_map(|output| match output {
        Output::Write(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
        _ => None,
    });
    all.map(|text| text.split(' ').nth(1).unwrap().parse().unwrap())
        .collect()
}

#[test]
fn an_encoder_publishes_on_its_connection() {
    let bytes = [
        opening(),
        media(),
        request("TEARDOWN", "live/cam", 6, "", "").into_bytes(),
    ]
    .concat();
    let out = run(&[&bytes]);
    assert_eq!(status(&out), [200; 6]);
    assert!(out.contains(&Output::Announce("live/cam".into())));
    assert_eq!(out.last(), Some(&Output::Close));
    let tags = tags(&out);
    let shown: Vec<(u8, u32, usize)> = tags
        .iter()
        .map(|t| (t.kind, t.timestamp, t.payload.len()))
        .collect();
    assert_eq!(
        shown,
        [
            // The headers of all tracks come before the first picture.
            (AUDIO, 5000, 4),
            (VIDEO, 5000, 5 + 48),
            (VIDEO, 5000, 5 + 4 + 3),
            (AUDIO, 5500, 2 + 3),
            (AUDIO, 5521, 2 + 2),
            (VIDEO, 5040, 5 + 4 + 4),
        ]
    );
    assert_eq!(codec::video(&tags[2].payload).unwrap().role, Role::Key);
    assert_eq!(
        &tags[5].payload[..],
        [0x27, 1, 0, 0, 0, 0, 0, 0, 4, 0x41, 3, 4, 5]
    );
    for cut in 0..bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert!(run(&[head, tail]) == out, "cut at {cut}");
    }
}

/// GStreamer's rtspclientsink chooses this form of AAC by itself.
#[test]
fn sound_may_come_in_latm() {
    let description = "m=audio 0 RTP/AVP 96\r\na=rtpmap:96 MP4A-LATM/48000\r\n\
        a=fmtp:96 cpresent=0;config=40002310adca00\r\na=control:stream=1\r\n";
    let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n";
    let mut bytes = [
        request("ANNOUNCE", "live/cam", 1, "", description),
        request("SETUP", "live/cam/stream=1", 2, transport, ""),
        request("RECORD", "live/cam", 3, "", ""),
    ]
    .concat()
    .into_bytes();
    for packet in [
        rtp(96, true, 1, 48_000, &[2, 5, 6, 1, 7]),
        rtp(96, false, 2, 50_048, &[3, 1]),
        rtp(96, true, 3, 50_048, &[2, 3]),
        // The end of what began in a packet that was lost.
        rtp(96, true, 5, 52_096, &[9, 9]),
        rtp(96, true, 6, 53_120, &[1, 4]),
    ] {
        bytes.extend(interleaved(0, &packet));
    }
    let out = run(&[&bytes]);
    assert_eq!(status(&out), [200; 3]);
    let tags = tags(&out);
    let shown: Vec<(u32, &[u8])> = tags.iter().map(|t| (t.timestamp, &t.payload[..])).collect();
    assert_eq!(
        shown,
        [
            (5000, &[0xaf, 0, 0x11, 0x88, 0x56, 0xe5, 0][..]),
            (5000, &[0xaf, 1, 5, 6]),
            (5021, &[0xaf, 1, 7]),
            (5042, &[0xaf, 1, 1, 2, 3]),
            (5106, &[0xaf, 1, 4]),
        ]
    );
    let elsewhere = description.replace("cpresent=0", "cpresent=1");
    let text = request("ANNOUNCE", "live/cam", 1, "", &elsewhere);
    assert_eq!(status(&run(&[text.as_bytes()])), [415]);
}

#[test]
fn or_in_datagrams() {
    let now = Instant::now();
    let mut machine = machine(now);
    let setup = request(
        "SETUP",
        "live/cam/streamid=0",
        3,
        "Transport: RTP/AVP/UDP;unicast;client_port=5000-5001;mode=record\r\n",
        "",
    );
    let opening = [
        request("ANNOUNCE", "live/cam", 2, "", SDP),
        setup,
        request("RECORD", "live/cam", 4, "", ""),
    ]
    .concat();
    machine.feed(opening.as_bytes(), now);
    let out = drain(&mut machine);
    assert!(out.contains(&Output::Setup(0, [5000, 5001])));
    let answer = out.iter().any(
        |o| matches!(o, Output::Write(b) if b.windows(21).any(|w| w == b"server_port=4000-4001")),
    );
    assert!(answer && machine.is_recording());
    // Without a report the time is that of its coming.
    let later = now + Duration::from_secs(2);
    machine.datagram(0, false, &rtp(96, true, 1, 77, &[0x65, 1]), later);
    machine.datagram(1, false, &rtp(97, true, 1, 77, &[0, 16, 0, 8, 1]), later);
    machine.datagram(0, false, &rtp(96, true, 3, 77 + 3600, &[0x41, 1]), later);
    machine.datagram(0, false, &rtp(96, true, 4, 77 + 7200, &[0x41, 1]), later);
    machine.datagram(0, false, &rtp(96, true, 2, 77, &[0x65, 1]), later);
    machine.datagram(0, false, b"no packet", later);
    let out = drain(&mut machine);
    let times: Vec<u32> = tags(&out).iter().map(|t| t.timestamp).collect();
    assert_eq!(
        times,
        [7000, 7000, 7080],
        "what is behind a gap is left out"
    );
    assert_eq!(machine.figures(), Figures { gaps: 2, broken: 1 });
}

#[test]
fn what_cannot_be_done_is_answered() {
    let now = Instant::now();
    for (text, expected) in [
        (request("DESCRIBE", "live/cam", 1, "", ""), 405),
        (request("RECORD", "live/cam", 1, "", ""), 455),
        (request("SETUP", "live/cam/x", 1, "", ""), 455),
        (request("ANNOUNCE", "live/cam", 1, "", "v=0\r\n"), 400),
        (
            request("ANNOUNCE", "live/cam", 1, "", "m=audio 0 RTP/AVP 8\r\n"),
            415,
        ),
    ] {
        assert_eq!(status(&run(&[text.as_bytes()])), [expected], "{text}");
    }
    let mut refused = machine(now);
    refused.feed(request("ANNOUNCE", "live/cam", 1, "", SDP).as_bytes(), now);
    assert!(matches!(refused.poll(), Ok(Some(Output::Announce(_)))));
    assert_eq!(refused.poll(), Ok(None), "it waits for the answer");
    refused.refuse(403);
    assert_eq!(status(&drain(&mut refused)), [403]);
    let multicast = request(
        "SETUP",
        "live/cam/streamid=0",
        2,
        "Transport: RTP/AVP;multicast;client_port=1-2\r\n",
        "",
    );
    let text = request("ANNOUNCE", "live/cam", 1, "", SDP) + &multicast;
    assert_eq!(status(&run(&[text.as_bytes()])), [200, 461]);
    for bad in [
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "OPTIONS * RTSP/1.0\r\n\r\n".to_owned(),
        "\u{1}\u{2}".to_owned(),
        "OPTIONS * RTSP/1.0\r\nX: y\r\n".to_owned() + &"a".repeat(MAX_RTSP_HEAD),
        "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n".to_owned() + &"a: b\r\n".repeat(70) + "\r\n",
        format!(
            "ANNOUNCE x RTSP/1.0\r\nCSeq: 1\r\nContent-Length: {}\r\n\r\n",
            MAX_RTSP_BODY + 1
        ),
    ] {
        let mut machine = machine(now);
        machine.feed(bad.as_bytes(), now);
        assert!(machine.poll().is_err(), "{bad:?}");
        assert_eq!(machine.poll(), Ok(None), "once");
    }
}

proptest! {
    #[test]
    fn anything_is_taken(
        flips in prop::collection::vec((0..3000usize, any::<u8>()), 0..30),
        more in prop::collection::vec(any::<u8>(), 0..400),
        size in 1..500usize,
    ) {
        let mut bytes = [opening(), media(), more, media()].concat();
        let protect = opening().len();
        for (at, value) in flips {
            if let Some(byte) = bytes.get_mut(at + protect) {
                *byte = value;
            }
        }
        let now = Instant::now();
        let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut machine = machine(now);
            let mut out = Vec::new();
            for piece in pieces {
                machine.feed(piece, now);
                loop {
                    match machine.poll() {
                        Ok(Some(Output::Announce(_))) => machine.accept(),
                        Ok(Some(output)) => out.push(output),
                        Ok(None) => break,
                        Err(_) => return out,
                    }
                }
            }
            out
        };
        let whole = run(&mut std::iter::once(&bytes[..]));
        prop_assert!(whole == run(&mut bytes.chunks(size)), "cut elsewhere");
    }
}

#[test]
fn empty_lines_pile_up_nowhere() {
    let begin = Instant::now();
    let mut machine = Server::new(ReaderLimits::default(), 7, begin);
    for _ in 0..64 {
        machine.feed(&[b'\n'; 65_536], begin);
        assert_eq!(machine.poll(), Ok(None));
    }
    assert!(machine.held() == 0, "{} bytes", machine.held());
    machine.feed(b"\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: 3\r\n\r\n", begin);
    assert!(matches!(machine.poll(), Ok(Some(Output::Write(_)))));
}

#[test]
fn a_head_that_is_no_text_is_refused_whole_or_not() {
    let begin = Instant::now();
    let bytes = b"OPTIONS rtsp://a/\0 RTSP/1.0\r\nCSeq: 3\r\n\r\n";
    for cut in 0..bytes.len() {
        let mut machine = Server::new(ReaderLimits::default(), 7, begin);
        machine.feed(&bytes[..cut], begin);
        let first = machine.poll();
        machine.feed(&bytes[cut..], begin);
        assert!(first.is_err() || machine.poll().is_err(), "{cut}");
    }
}
