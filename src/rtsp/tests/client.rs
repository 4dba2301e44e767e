//! Pulls: answers as cameras and servers give them, cut at every place, and hostile ones.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{SDP, interleaved, media, report, rtp};
use crate::flv::{AUDIO, ReaderLimits, VIDEO};
use crate::limits::{REMOTE_ANSWER, RTSP_ALIVE_LATEST, RTSP_ALIVE_SOONEST};
use crate::rtsp::{Client, Event, Failed, Figures, Order, RtspError};

const URL: &str = "rtsp://cam:554/live";
const DIGEST: &str = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"abc\"\r\n";

fn order() -> Order {
    Order {
        url: URL.to_owned(),
        login: None,
        plain: true,
        datagrams: false,
        agent: "t".to_owned(),
        limits: ReaderLimits::default(),
        chance: 1,
    }
}

fn logged_in() -> Order {
    Order {
        login: Some(("ann".to_owned(), "hunter2".to_owned())),
        ..order()
    }
}

fn in_datagrams() -> Order {
    Order {
        datagrams: true,
        ..order()
    }
}

fn answer(status: &str, cseq: u32, rest: &str, body: &str) -> String {
    let length = body.len();
    format!("RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{rest}Content-Length: {length}\r\n\r\n{body}")
}

fn ok(cseq: u32, rest: &str) -> String {
    answer("200 OK", cseq, rest, "")
}

fn described(cseq: u32) -> String {
    answer(
        "200 OK",
        cseq,
        "Content-Base: rtsp://cam/live/\r\nContent-Type: application/sdp\r\n",
        SDP,
    )
}

fn tcp(cseq: u32, first: u8) -> String {
    let next = first + 1;
    ok(
        cseq,
        &format!(
            "Session: 12ab;timeout=20\r\nTransport: RTP/AVP/TCP;unicast;interleaved={first}-{next}\r\n"
        ),
    )
}

/// What a camera says from the beginning to the first media.
fn session() -> String {
    let public = "Public: OPTIONS, DESCRIBE, get_parameter\r\n";
    [
        ok(1, public),
        described(2),
        tcp(3, 0),
        tcp(4, 2),
        ok(5, "Session: 12ab\r\nRTP-Info: nonsense\r\n"),
    ]
    .concat()
}

/// A machine, and what it did.
struct Run {
    client: Client,
    now: Instant,
    asked: Vec<String>,
    events: Vec<Event>,
    failed: Option<Failed>,
}

impl Run {
    fn new(order: Order) -> Self {
        Self::at(order, Instant::now())
    }

    fn at(order: Order, now: Instant) -> Self {
        let mut run = Self {
            client: Client::new(order, now),
            now,
            asked: Vec::new(),
            events: Vec::new(),
            failed: None,
        };
        run.drain();
        run
    }

    fn drain(&mut self) {
        loop {
            match self.client.poll() {
                Ok(Some(Event::Write(bytes))) => {
                    self.asked.push(String::from_utf8(bytes.to_vec()).unwrap());
                }
                Ok(Some(Event::Ports(track))) => {
                    let port = 6000 + 2 * u16::try_from(track).unwrap();
                    self.client.ports([port, port + 1]);
                }
                Ok(Some(event)) => self.events.push(event),
                Ok(None) => return,
                Err(failed) => {
                    assert_eq!(self.failed.replace(failed), None, "it failed twice");
                }
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.client.feed(bytes, self.now);
        self.drain();
    }

    /// Says something; the last that was asked then.
    fn say(&mut self, text: &str) -> String {
        self.bytes(text.as_bytes());
        self.asked.last().unwrap().clone()
    }

    fn wait(&mut self, time: Duration) -> String {
        self.now += time;
        self.client.timeout(self.now);
        self.drain();
        self.asked.last().unwrap().clone()
    }

    fn tags(&self) -> Vec<(u8, u32)> {
        let all = self.events.iter();
        all.filter_map(|event| match event {
            Event::Tag(tag) => Some((tag.kind, tag.timestamp)),
            _ => None,
        })
        .collect()
    }
}

#[test]
fn a_camera_is_played_on_its_connection() {
    let mut run = Run::new(order());
    let head = |method: &str, url: &str, cseq: u32| {
        format!("{method} {url} RTSP/1.0\r\nCSeq: {cseq}\r\nUser-Agent: t\r\n")
    };
    assert_eq!(run.asked, [head("OPTIONS", URL, 1) + "\r\n"]);
    let public = "Public: OPTIONS, DESCRIBE, get_parameter\r\n";
    let asked = run.say(&ok(1, public));
    assert_eq!(
        asked,
        head("DESCRIBE", URL, 2) + "Accept: application/sdp\r\n\r\n"
    );
    let asked = run.say(&described(2));
    let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n";
    assert_eq!(
        asked,
        head("SETUP", "rtsp://cam/live/streamid=0", 3) + transport
    );
    let asked = run.say(&tcp(3, 0));
    let rest = "Transport: RTP/AVP/TCP;unicast;interleaved=2-3\r\nSession: 12ab\r\n\r\n";
    assert_eq!(asked, head("SETUP", "rtsp://cam/live/streamid=1", 4) + rest);
    let asked = run.say(&tcp(4, 2));
    let rest = "Range: npt=0.000-\r\nSession: 12ab\r\n\r\n";
    assert_eq!(asked, head("PLAY", "rtsp://cam/live/", 5) + rest);
    assert!(run.events.is_empty());
    run.say(&ok(5, ""));
    assert_eq!(run.events, [Event::Playing]);
    run.bytes(&media());
    assert_eq!(
        run.tags(),
        [
            (AUDIO, 5000),
            (VIDEO, 5000),
            (VIDEO, 5000),
            (AUDIO, 5500),
            (AUDIO, 5521),
            (VIDEO, 5040),
        ]
    );
    assert_eq!(run.client.figures(), Figures::default());

    // It asks for more at half of the session's time, whether it is answered or not.
    let due = run.client.next_timeout().unwrap();
    assert_eq!(due - run.now, Duration::from_secs(10));
    let asked = run.wait(Duration::from_secs(10));
    assert_eq!(
        asked,
        head("GET_PARAMETER", "rtsp://cam/live/", 6) + "Session: 12ab\r\n\r\n"
    );
    assert!(
        run.wait(Duration::from_secs(10))
            .starts_with("GET_PARAMETER")
    );
    // A server that does not know it is asked in another way.
    run.say(&answer("501 Not Implemented", 7, "", ""));
    assert!(run.wait(Duration::from_secs(10)).starts_with("OPTIONS"));
    assert_eq!(run.failed, None);
    run.client.teardown();
    run.drain();
    let asked = run.asked.last().unwrap();
    assert_eq!(
        *asked,
        head("TEARDOWN", "rtsp://cam/live/", 9) + "Session: 12ab\r\n\r\n"
    );
    assert_eq!(run.client.next_timeout(), None);
}

#[test]
fn wherever_it_is_cut() {
    let bytes = [session().as_bytes(), &media()].concat();
    let now = Instant::now();
    let whole = {
        let mut run = Run::at(order(), now);
        run.bytes(&bytes);
        run
    };
    assert_eq!(whole.tags().len(), 6);
    for cut in 0..bytes.len() {
        let mut run = Run::at(order(), now);
        let (head, tail) = bytes.split_at(cut);
        run.bytes(head);
        run.bytes(tail);
        assert!(
            run.events == whole.events && run.asked == whole.asked,
            "cut at {cut}"
        );
    }
}

#[test]
fn or_in_datagrams() {
    let mut run = Run::new(in_datagrams());
    run.say(&ok(1, ""));
    let asked = run.say(&described(2));
    assert!(
        asked.contains("Transport: RTP/AVP;unicast;client_port=6000-6001\r\n"),
        "{asked}"
    );
    let asked = run.say(&ok(
        3,
        "Session: 1\r\nTransport: RTP/AVP/UDP;unicast;client_port=6000-6001;server_port=7000-7001;source=10.0.0.9\r\n",
    ));
    assert!(asked.contains("client_port=6002-6003\r\n"), "{asked}");
    // One that says nothing of its own.
    let asked = run.say(&ok(4, ""));
    assert!(asked.starts_with("PLAY "), "{asked}");
    run.say(&ok(5, ""));
    let from = |track, source: Option<&str>, ports| Event::From {
        track,
        source: source.map(|ip| ip.parse().unwrap()),
        ports,
    };
    assert_eq!(run.events[0], from(0, Some("10.0.0.9"), Some([7000, 7001])));
    assert_eq!(run.events[1], from(1, None, None));
    assert_eq!(run.events[2], Event::Playing);
    // Something from each port opens the way through a firewall.
    let opens: Vec<(usize, bool)> = run.events[3..]
        .iter()
        .map(|event| match event {
            Event::Send { track, rtcp, .. } => (*track, *rtcp),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(opens, [(0, false), (0, true), (1, false), (1, true)]);
    let now = run.now;
    let both = [
        (0, true, report(100 << 32, 9000)),
        (1, true, report(100 << 32, 48_000)),
        (0, false, rtp(96, true, 1, 9000, &[0x65, 1])),
        (1, false, rtp(97, true, 1, 48_000, &[0, 16, 0, 8, 1])),
        (7, false, rtp(96, true, 1, 9000, &[0x65, 1])),
        (7, true, vec![0x81, 203, 0, 1, 0, 0, 0, 9]),
    ];
    for (track, rtcp, bytes) in both {
        run.client.datagram(track, rtcp, &bytes, now);
    }
    run.drain();
    assert_eq!(run.tags().len(), 4);
    let asked = run.wait(RTSP_ALIVE_LATEST);
    assert!(asked.starts_with("OPTIONS "), "{asked}");
    assert_eq!(run.events.len(), 7 + 4 + 4, "and keeps it open");
    // Datagrams are nothing to a session on its connection.
    let mut run = Run::new(order());
    run.say(&session());
    run.client
        .datagram(0, false, &rtp(96, true, 1, 9000, &[0x65, 1]), now);
    run.drain();
    assert!(run.tags().is_empty());
}

#[test]
fn a_login_is_shown_when_it_is_asked_for() {
    let wants = |cseq: u32, rest: &str| answer("401 Unauthorized", cseq, rest, "");
    let mut run = Run::new(logged_in());
    let asked = run.say(&ok(1, ""));
    assert!(!asked.contains("Authorization"), "{asked}");
    let basic = "WWW-Authenticate: Basic realm=\"cam\"\r\n";
    let asked = run.say(&wants(2, &format!("{basic}{DIGEST}")));
    assert!(asked.starts_with("DESCRIBE ") && asked.contains("CSeq: 3\r\n"));
    assert!(
        asked.contains(
            "Authorization: Digest username=\"ann\", realm=\"cam\", nonce=\"abc\", \
             uri=\"rtsp://cam:554/live\", response=\"90045ff8184b90d8706af01993320c53\"\r\n"
        ),
        "{asked}"
    );
    // From then on with each request; and anew where the server's number has become old.
    let asked = run.say(&described(3));
    assert!(asked.contains("uri=\"rtsp://cam/live/streamid=0\""));
    let fresh = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"def\", stale=true\r\n";
    let asked = run.say(&wants(4, fresh));
    assert!(asked.starts_with("SETUP ") && asked.contains("nonce=\"def\""));
    run.say(&tcp(5, 0));
    run.say(&tcp(6, 2));
    run.say(&ok(7, ""));
    assert_eq!(run.events, [Event::Playing]);
    assert!(run.wait(Duration::from_secs(10)).contains("nonce=\"def\""));
    let asked = run.say(&wants(8, DIGEST));
    assert!(asked.starts_with("OPTIONS ") && asked.contains("nonce=\"abc\""));
    assert_eq!(run.failed, None);
    run.say(&wants(9, DIGEST));
    assert_eq!(run.failed, Some(Failed::Login), "it asks once more only");

    let mut run = Run::new(logged_in());
    run.say(&wants(1, basic));
    run.say(&wants(2, basic));
    assert_eq!(run.failed, Some(Failed::Login));
    let mut run = Run::new(order());
    run.say(&wants(1, basic));
    assert_eq!(run.failed, Some(Failed::NoLogin));
    for (offer, plain) in [(basic, false), ("", true)] {
        let mut run = Run::new(Order {
            plain,
            ..logged_in()
        });
        run.say(&wants(1, offer));
        assert_eq!(run.failed, Some(Failed::Scheme));
        assert_eq!(run.asked.len(), 1, "nothing is shown");
    }
}

#[test]
fn what_a_server_has_and_nobody_takes_is_told() {
    let sdp =
        "v=0\r\nm=video 0 RTP/AVP 26\r\na=control:1\r\nm=audio 0 RTP/AVP 0\r\na=control:2\r\n";
    let mut run = Run::new(order());
    run.say(&ok(1, ""));
    run.say(&answer("200 OK", 2, "", sdp));
    assert_eq!(
        run.failed.map(|failed| failed.to_string()).as_deref(),
        Some(
            "no track this server can take: JPEG, PCMU; taken are H.264, H.265, AAC, MP3 and Opus"
        )
    );
    // The one of two that is taken is the only one to be set up, whatever its number is; of two pictures
    // the first.
    let more = "a=control:a/0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:rtsp://10.0.0.1/b\r\n\
         m=video 0 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\na=control:c\r\n";
    let sdp = sdp.to_owned() + more;
    let mut run = Run::new(order());
    run.say(&answer("404 Not Found", 1, "", ""));
    let asked = run.say(&answer("200 OK", 2, "", &sdp));
    assert!(asked.starts_with("SETUP rtsp://10.0.0.1/b "), "{asked}");
    let left_out = |name: &str| Event::LeftOut(name.to_owned());
    assert_eq!(run.events, [left_out("JPEG"), left_out("PCMU")]);
    let asked = run.say(&ok(3, "Transport: RTP/AVP/TCP;interleaved=8-9\r\n"));
    assert!(asked.starts_with("PLAY rtsp://cam:554/live "), "{asked}");
    run.say(&ok(4, ""));
    run.bytes(&interleaved(8, &rtp(96, true, 1, 0, &[0x65, 1])));
    run.bytes(&interleaved(4, &rtp(96, true, 1, 0, &[0x65, 1])));
    assert_eq!(run.client.figures(), Figures::default());
}

#[test]
fn what_goes_wrong_is_said() {
    let setup = [ok(1, ""), described(2)].concat();
    let udp = "Transport: RTP/AVP;unicast;client_port=1-2;server_port=3-4\r\n";
    let base = |rest: &str| [ok(1, ""), answer("200 OK", 2, "", rest)].concat();
    let refused = |method: &'static str, status: u16, phrase: &str| Failed::Refused {
        method,
        status,
        phrase: phrase.to_owned(),
    };
    for (text, failed) in [
        (
            ok(1, "") + &answer("404 Stream Not Found", 2, "", ""),
            refused("DESCRIBE", 404, "Stream Not Found"),
        ),
        (base("v=0\r\n"), Failed::NoMedia),
        (
            base("m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:a b\r\n"),
            Failed::Control,
        ),
        (base("a=control:a b\r\n"), Failed::Control),
        (
            setup.clone() + &answer("461 Unsupported Transport", 3, "", ""),
            Failed::Transport(false),
        ),
        (setup.clone() + &ok(3, udp), Failed::Transport(false)),
        (
            setup.clone() + &ok(3, "Transport: RTP/AVP/TCP;interleaved=255-256\r\n"),
            Failed::Transport(false),
        ),
        (
            setup.clone() + &tcp(3, 0) + &tcp(4, 1),
            Failed::Transport(false),
        ),
        (
            setup.clone() + &ok(3, &format!("Session: {}\r\n", "x".repeat(300))),
            Failed::Bytes(RtspError::NotRtsp),
        ),
        (
            setup.clone() + &answer("503 Service Unavailable", 3, "", ""),
            refused("SETUP", 503, "Service Unavailable"),
        ),
        (
            session() + "TEARDOWN rtsp://cam/live RTSP/1.0\r\nCSeq: 1\r\n\r\n",
            Failed::Over,
        ),
        (
            "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(),
            Failed::Bytes(RtspError::NotRtsp),
        ),
        ("\0".to_owned(), Failed::Bytes(RtspError::NotRtsp)),
        ("a".repeat(9000), Failed::Bytes(RtspError::TooLong)),
    ] {
        let mut run = Run::new(order());
        run.say(&text);
        assert_eq!(run.failed, Some(failed), "{text:?}");
        run.say(&session());
        assert!(run.tags().is_empty());
    }
    let mut run = Run::new(in_datagrams());
    run.say(&setup);
    run.say(&tcp(3, 0));
    assert_eq!(run.failed, Some(Failed::Transport(true)));
    // Nobody answers.
    for (said, silent) in [(String::new(), "OPTIONS"), (ok(1, ""), "DESCRIBE")] {
        let mut run = Run::new(order());
        run.say(&said);
        // The number of nothing that was asked.
        run.say(&ok(77, ""));
        assert_eq!(run.client.next_timeout(), Some(run.now + REMOTE_ANSWER));
        run.wait(REMOTE_ANSWER);
        assert_eq!(run.failed, Some(Failed::Silent(silent)));
    }
    // The session is gone.
    let mut run = Run::new(order());
    run.say(&session());
    run.wait(Duration::from_secs(10));
    run.say(&answer("454 Session Not Found", 6, "", ""));
    assert_eq!(run.failed, Some(Failed::Over));
}

#[test]
fn a_server_sends_elsewhere_or_ends_it() {
    let moved = "Location: rtsp://other/live\r\n";
    for text in [
        answer("302 Moved", 1, moved, ""),
        ok(1, "") + &answer("301 Moved Permanently", 2, moved, ""),
        session() + "REDIRECT * RTSP/1.0\r\nCSeq: 9\r\n" + moved + "\r\n",
    ] {
        let mut run = Run::new(order());
        run.say(&text);
        assert_eq!(
            run.events.last(),
            Some(&Event::Moved("rtsp://other/live".to_owned()))
        );
        assert_eq!((run.failed, run.client.next_timeout()), (None, None));
    }
    let mut run = Run::new(order());
    run.say(&answer("302 Moved", 1, "", ""));
    assert!(run.asked[1].starts_with("DESCRIBE"), "to nowhere is no");
    // What it asks is answered.
    let mut run = Run::new(order());
    run.say(&session());
    let asked = run.say("GET_PARAMETER * RTSP/1.0\r\nCSeq: 44\r\n\r\n");
    assert!(asked.starts_with("RTSP/1.0 200 OK\r\nCSeq: 44\r\n"));
    let asked = run.say("RECORD * RTSP/1.0\r\nCSeq: 45\r\n\r\n");
    assert!(asked.starts_with("RTSP/1.0 405 "));
    // All tracks have said goodbye, and what there is of media is given out.
    let goodbye = [0x81, 203, 0, 1, 0, 0, 0, 9];
    run.bytes(&interleaved(0, &rtp(96, true, 1, 9000, &[0x65, 1])));
    run.bytes(&interleaved(1, &goodbye));
    assert_eq!((run.failed.clone(), run.tags().len()), (None, 0));
    run.bytes(&interleaved(3, &[&report(1, 1)[..], &goodbye].concat()));
    assert_eq!(run.failed, Some(Failed::Over));
    assert_eq!(run.tags(), [(VIDEO, 5000), (VIDEO, 5000)]);
}

#[test]
fn a_session_that_is_kept_for_no_time_is_not_asked_about_all_the_time() {
    for (said, rest) in [
        ("0", RTSP_ALIVE_SOONEST),
        ("99999999999999999", RTSP_ALIVE_LATEST),
        ("x", RTSP_ALIVE_LATEST),
    ] {
        let text = session().replace("timeout=20", &format!("timeout={said}"));
        let mut run = Run::new(order());
        run.say(&text);
        assert_eq!(run.client.next_timeout(), Some(run.now + rest));
    }
}

proptest! {
    #[test]
    fn anything_may_be_answered(
        flips in prop::collection::vec((0..4000usize, any::<u8>()), 0..20),
        more in prop::collection::vec(any::<u8>(), 0..400),
        size in 1..500usize,
        datagrams in any::<bool>(),
    ) {
        let mut bytes = [session().as_bytes(), &media(), &more, &media()].concat();
        for (at, value) in flips {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let now = Instant::now();
        let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut run = Run::at(Order { datagrams, ..logged_in() }, now);
            pieces.for_each(|piece| run.bytes(piece));
            (run.events, run.failed, run.asked)
        };
        let whole = run(&mut std::iter::once(&bytes[..]));
        prop_assert!(whole == run(&mut bytes.chunks(size)), "cut elsewhere");
    }
}
