//! The session of one connection.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::message::{Item, Request, RtspError, answer, pair, read};
use super::reception::{Figures, Place, Reception};
use super::sdp;
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

/// See the module. Its memory is one request or packet, one picture, and what [`Server::poll`] was not
/// asked for.
#[derive(Debug)]
pub struct Server {
    limits: ReaderLimits,
    session: String,
    buffer: Vec<u8>,
    state: State,
    asked: Option<Asked>,
    reception: Reception,
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
            reception: Reception::new(now),
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
                        Item::Answer(_) => {} // nothing was asked
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
        let left_out = self.reception.describe(media, self.limits);
        let left_out = left_out.into_iter().map(Output::LeftOut);
        self.output.extend(left_out);
        if self.reception.is_any_taken() {
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
        if let Some(place) = self.reception.places.get_mut(track) {
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
        self.reception.finish(&mut out);
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
        self.reception.figures()
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
        let places = &mut self.reception.places;
        let only = places.len() == 1;
        let Some(track) = places.iter().position(|p| named(p) || only) else {
            return self.write(answer(404, cseq, &[]));
        };
        let offers = request.header("Transport").unwrap_or_default();
        for offer in offers.split(',').map(str::trim) {
            let parts: Vec<&str> = offer.split(';').map(str::trim).collect();
            if parts.contains(&"multicast") {
                continue;
            }
            match parts.first().copied() {
                Some("RTP/AVP/TCP") => {
                    let usual = u16::try_from(track * 2).unwrap_or_default();
                    let [rtp, rtcp] = pair(&parts, "interleaved").unwrap_or([usual, usual + 1]);
                    let (Ok(one), Ok(two)) = (u8::try_from(rtp), u8::try_from(rtcp)) else {
                        continue;
                    };
                    let used = |p: &Place| {
                        p.channels
                            .is_some_and(|c| c.contains(&one) || c.contains(&two))
                    };
                    let mut others = places.iter().enumerate();
                    if others.any(|(n, p)| n != track && used(p)) {
                        continue;
                    }
                    if let Some(place) = places.get_mut(track) {
                        place.channels = Some([one, two]);
                        place.set_up = true;
                    }
                    let transport =
                        format!("RTP/AVP/TCP;unicast;interleaved={one}-{two};mode=record");
                    return self.set_up(cseq, &transport);
                }
                Some("RTP/AVP" | "RTP/AVP/UDP") => {
                    let Some(ports) =
                        pair(&parts, "client_port").filter(|ports| !ports.contains(&0))
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
        if let Some((track, rtcp)) = self.reception.of_channel(channel) {
            self.media(track, rtcp, packet);
        }
    }

    fn media(&mut self, track: usize, rtcp: bool, bytes: &[u8]) {
        let output = &mut self.output;
        let mut out = |tag| output.push_back(Output::Tag(tag));
        self.reception
            .take((track, rtcp), bytes, self.now, &mut out);
    }
}
