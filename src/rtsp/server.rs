//! The session of one connection.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::message::{Item, Request, RtspError, answer, read};
use super::sdp;
use super::track::{FIRST, Line, Track};
use crate::elementary::Opening;
use crate::flv::{ReaderLimits, Tag};

/// What an encoder may ask for.
const METHODS: &str = "OPTIONS, ANNOUNCE, SETUP, RECORD, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

/// What the machine gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Bytes for the peer.
    Write(Bytes),
    /// It wants to publish what its URL names, the path without the slash in front. To be answered by
    /// [`Server::accept`] or [`Server::refuse`].
    Announce(String),
    /// The media of this track shall come in datagrams, from these ports of the peer: RTP and RTCP. To
    /// be answered by [`Server::datagrams`] or [`Server::refuse`].
    Setup(usize, [u16; 2]),
    /// A sequence header or a frame.
    Tag(Tag),
    /// Something in the description that is not passed on.
    LeftOut(String),
    /// The peer is done.
    Close,
}

/// What went wrong so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Packets missing or late.
    pub gaps: u64,
    /// Packets that are not what they should be.
    pub broken: u64,
}

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Idle,
    Announced,
    Ready,
    Recording,
}

/// What was asked of the driver.
#[derive(Debug)]
enum Asked {
    Announce {
        cseq: u32,
        media: Vec<sdp::Media>,
    },
    Setup {
        cseq: u32,
        track: usize,
        transport: String,
    },
}

/// A track, and how its media come.
#[derive(Debug)]
struct Place {
    track: Track,
    /// The channels of RTP and RTCP on the connection.
    channels: Option<[u8; 2]>,
    /// Whether it was set up.
    set_up: bool,
}

/// See the module. Its memory is one request or packet, one picture, and what [`Server::poll`] was not
/// asked for.
#[derive(Debug)]
pub struct Server {
    limits: ReaderLimits,
    session: String,
    buffer: Vec<u8>,
    state: State,
    asked: Option<Asked>,
    places: Vec<Place>,
    line: Line,
    opening: Opening,
    begun: Instant,
    now: Instant,
    output: VecDeque<Output>,
    over: bool,
}

impl Server {
    /// A machine at the start of a connection; `session` is a random number.
    #[must_use]
    pub fn new(limits: ReaderLimits, session: u64, now: Instant) -> Self {
        Self {
            limits,
            session: format!("{session:016x}"),
            buffer: Vec::new(),
            state: State::Idle,
            asked: None,
            places: Vec::new(),
            line: Line::default(),
            opening: Opening::default(),
            begun: now,
            now,
            output: VecDeque::new(),
            over: false,
        }
    }

    /// Takes bytes of the connection; [`Server::poll`] is to be called until it gives nothing.
    pub fn feed(&mut self, bytes: &[u8], now: Instant) {
        self.now = now;
        if !self.over {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next output. While a question is not answered there is none.
    ///
    /// # Errors
    /// The peer does not speak RTSP; the connection is of no use any more.
    pub fn poll(&mut self) -> Result<Option<Output>, RtspError> {
        let mut used = 0usize;
        let result = loop {
            if let Some(output) = self.output.pop_front() {
                break Ok(Some(output));
            }
            if self.asked.is_some() || self.over {
                break Ok(None);
            }
            // Empty lines between requests mean nothing, and must not pile up.
            let rest = self.buffer.get(used..).unwrap_or_default();
            let blank = rest
                .iter()
                .take_while(|b| matches!(b, b'\r' | b'\n'))
                .count();
            used = used.saturating_add(blank);
            match read(rest.get(blank..).unwrap_or_default()) {
                Ok(None) => break Ok(None),
                Ok(Some((item, more))) => {
                    used = used.saturating_add(more);
                    match item {
                        Item::Request(request) => self.request(&request),
                        Item::Packet(channel, packet) => self.interleaved(channel, &packet),
                        Item::Answer => {}
                    }
                }
                Err(error) => {
                    self.over = true;
                    break Err(error);
                }
            }
        };
        self.buffer.drain(..used.min(self.buffer.len()));
        result
    }

    /// Bytes that wait for more.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// What was announced may be published.
    pub fn accept(&mut self) {
        let Some(Asked::Announce { cseq, media }) = self.asked.take() else {
            return;
        };
        self.places.clear();
        let (mut video, mut audio) = (false, false);
        for media in media {
            let track = Track::new(media, self.limits);
            let taken = if track.is_video() {
                &mut video
            } else {
                &mut audio
            };
            if !track.is_taken() || *taken {
                if let sdp::Of::Other(name) = &track.media.of {
                    self.output.push_back(Output::LeftOut(name.clone()));
                }
            } else {
                *taken = true;
            }
            self.places.push(Place {
                track,
                channels: None,
                set_up: false,
            });
        }
        if video || audio {
            self.state = State::Announced;
            self.write(answer(200, cseq, &[]));
        } else {
            self.write(answer(415, cseq, &[]));
        }
    }

    /// What was asked for is not done, by this status; the connection stays.
    pub fn refuse(&mut self, status: u16) {
        if let Some(Asked::Announce { cseq, .. } | Asked::Setup { cseq, .. }) = self.asked.take() {
            self.write(answer(status, cseq, &[]));
        }
    }

    /// The datagrams of a track are taken on these ports: RTP and RTCP.
    pub fn datagrams(&mut self, [rtp, rtcp]: [u16; 2]) {
        let Some(Asked::Setup {
            cseq,
            track,
            transport,
        }) = self.asked.take()
        else {
            return;
        };
        if let Some(place) = self.places.get_mut(track) {
            place.set_up = true;
            place.channels = None;
        }
        let transport = format!("{transport};server_port={rtp}-{rtcp}");
        self.set_up(cseq, &transport);
    }

    /// A datagram of a track: RTP, or RTCP.
    pub fn datagram(&mut self, track: usize, rtcp: bool, bytes: &[u8], now: Instant) {
        self.now = now;
        if self.state == State::Recording {
            self.media(track, rtcp, bytes);
        }
    }

    /// The connection is over: what is begun counts as whole.
    pub fn finish(&mut self) {
        let output = &mut self.output;
        let mut out = |tag| output.push_back(Output::Tag(tag));
        let opening = &mut self.opening;
        for place in &mut self.places {
            let mut put = |tag| opening.push(tag, (true, true), &mut out);
            place.track.finish(&mut put);
        }
        opening.end(&mut out);
        self.over = true;
    }

    /// Whether media are to come.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.state == State::Recording
    }

    /// What went wrong so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let of = |what: fn(&Track) -> u64| self.places.iter().map(|p| what(&p.track)).sum();
        Figures {
            gaps: of(|track| track.gaps),
            broken: of(|track| track.broken),
        }
    }

    fn write(&mut self, bytes: Bytes) {
        self.output.push_back(Output::Write(bytes));
    }

    fn request(&mut self, request: &Request) {
        let cseq = request.cseq;
        match request.method.as_str() {
            "OPTIONS" => self.write(answer(200, cseq, &[("Public", METHODS)])),
            "ANNOUNCE" if self.state <= State::Announced => self.announce(request),
            "SETUP" if matches!(self.state, State::Announced | State::Ready) => {
                self.setup(request);
            }
            "RECORD" if self.state == State::Ready => {
                self.state = State::Recording;
                let session = self.session.clone();
                self.write(answer(200, cseq, &[("Session", &session)]));
            }
            "GET_PARAMETER" | "SET_PARAMETER" if request.body.is_empty() => {
                let session = self.session.clone();
                self.write(answer(200, cseq, &[("Session", &session)]));
            }
            "TEARDOWN" => {
                let session = self.session.clone();
                self.write(answer(200, cseq, &[("Session", &session)]));
                self.output.push_back(Output::Close);
                self.over = true;
            }
            "ANNOUNCE" | "SETUP" | "RECORD" => self.write(answer(455, cseq, &[])),
            _ => self.write(answer(405, cseq, &[("Allow", METHODS)])),
        }
    }

    fn announce(&mut self, request: &Request) {
        let media = sdp::read(&request.body);
        if media.is_empty() {
            return self.write(answer(400, request.cseq, &[]));
        }
        self.asked = Some(Asked::Announce {
            cseq: request.cseq,
            media,
        });
        let path = request.path().trim_end_matches('/').to_owned();
        self.output.push_back(Output::Announce(path));
    }

    fn setup(&mut self, request: &Request) {
        let cseq = request.cseq;
        let url = request.url.trim_end_matches('/');
        let named = |place: &Place| {
            let control = place.track.media.control.as_str();
            let ends = url.strip_suffix(control);
            !control.is_empty() && ends.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        let only = self.places.len() == 1;
        let Some(track) = self.places.iter().position(|p| named(p) || only) else {
            return self.write(answer(404, cseq, &[]));
        };
        let offers = request.header("Transport").unwrap_or_default();
        for offer in offers.split(',').map(str::trim) {
            let parts: Vec<&str> = offer.split(';').map(str::trim).collect();
            let pair = |name: &str| {
                let mut all = parts.iter();
                let value = all.find_map(|part| part.strip_prefix(name))?;
                let (first, second) = value.split_once('-').unwrap_or((value, ""));
                let first: u16 = first.parse().ok()?;
                let second = second.parse().unwrap_or(first.saturating_add(1));
                Some([first, second])
            };
            if parts.contains(&"multicast") {
                continue;
            }
            match parts.first().copied() {
                Some("RTP/AVP/TCP") => {
                    let usual = u16::try_from(track * 2).unwrap_or_default();
                    let [rtp, rtcp] = pair("interleaved=").unwrap_or([usual, usual + 1]);
                    let (Ok(one), Ok(two)) = (u8::try_from(rtp), u8::try_from(rtcp)) else {
                        continue;
                    };
                    let used = |p: &Place| {
                        p.channels
                            .is_some_and(|c| c.contains(&one) || c.contains(&two))
                    };
                    if self
                        .places
                        .iter()
                        .enumerate()
                        .any(|(n, p)| n != track && used(p))
                    {
                        continue;
                    }
                    if let Some(place) = self.places.get_mut(track) {
                        place.channels = Some([one, two]);
                        place.set_up = true;
                    }
                    let transport =
                        format!("RTP/AVP/TCP;unicast;interleaved={one}-{two};mode=record");
                    return self.set_up(cseq, &transport);
                }
                Some("RTP/AVP" | "RTP/AVP/UDP") => {
                    let Some(ports) = pair("client_port=").filter(|ports| !ports.contains(&0))
                    else {
                        continue;
                    };
                    let [rtp, rtcp] = ports;
                    self.asked = Some(Asked::Setup {
                        cseq,
                        track,
                        transport: format!("RTP/AVP/UDP;unicast;client_port={rtp}-{rtcp}"),
                    });
                    return self.output.push_back(Output::Setup(track, ports));
                }
                _ => {}
            }
        }
        self.write(answer(461, cseq, &[]));
    }

    fn set_up(&mut self, cseq: u32, transport: &str) {
        self.state = State::Ready;
        let session = format!("{};timeout=60", self.session);
        let fields = [("Session", session.as_str()), ("Transport", transport)];
        let bytes = answer(200, cseq, &fields);
        self.write(bytes);
    }

    fn interleaved(&mut self, channel: u8, packet: &[u8]) {
        if self.state != State::Recording {
            return;
        }
        let found = self.places.iter().enumerate().find_map(|(n, place)| {
            let at = place.channels?.iter().position(|c| *c == channel)?;
            Some((n, at == 1))
        });
        if let Some((track, rtcp)) = found {
            self.media(track, rtcp, packet);
        }
    }

    fn media(&mut self, track: usize, rtcp: bool, bytes: &[u8]) {
        let since = self.now.saturating_duration_since(self.begun).as_millis();
        let now = i64::try_from(since).unwrap_or(i64::MAX / 100);
        let now = now.saturating_mul(90).saturating_add(FIRST);
        // Of two tracks of a kind the first is taken.
        let is_video = |place: &Place| place.track.is_video();
        let wanted = self.places.get(track).map(is_video);
        let first = self
            .places
            .iter()
            .position(|p| p.track.is_taken() && Some(is_video(p)) == wanted);
        if first != Some(track) {
            return;
        }
        let awaits = |is: bool| {
            let mut all = self.places.iter().filter(|place| place.set_up);
            all.any(|place| place.track.is_taken() && place.track.is_video() == is)
        };
        let awaits = (awaits(false), awaits(true));
        let (line, output) = (&mut self.line, &mut self.output);
        let Some(place) = self.places.get_mut(track).filter(|p| p.set_up) else {
            return;
        };
        if rtcp {
            place.track.report(bytes, line, now);
        } else {
            let opening = &mut self.opening;
            let mut out = |tag| output.push_back(Output::Tag(tag));
            let mut put = |tag| opening.push(tag, awaits, &mut out);
            place.track.packet(bytes, now, &mut put);
        }
    }
}
