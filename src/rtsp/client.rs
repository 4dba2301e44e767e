//! The session of a pull: OPTIONS, DESCRIBE, SETUP of each track, PLAY; then a request now and then, so that
//! the other server keeps it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use super::control::{is_absolute, is_plain, is_url, joined};
use super::login::Login;
use super::message::{Answer, Item, Request, RtspError, answer, pair, read, request};
use super::order::{Event, Failed, Order};
use super::reception::{Figures, Reception};
use super::rtp::is_goodbye;
use super::sdp;
use crate::flv::ReaderLimits;
use crate::limits::{
    MAX_RTSP_SESSION, REMOTE_ANSWER, RTSP_ALIVE_LATEST, RTSP_ALIVE_SOONEST, RTSP_SESSION,
};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Options,
    Describe,
    /// A track, and its channels or ports.
    Setup(usize, [u16; 2]),
    Play,
    Alive,
    Teardown,
}

impl Step {
    const fn method(self, knows_parameters: bool) -> &'static str {
        match self {
            Self::Describe => "DESCRIBE",
            Self::Setup(..) => "SETUP",
            Self::Play => "PLAY",
            Self::Teardown => "TEARDOWN",
            Self::Alive if knows_parameters => "GET_PARAMETER",
            Self::Options | Self::Alive => "OPTIONS",
        }
    }
}

/// A request that has no answer yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    step: Step,
    cseq: u32,
    /// It was asked before, and a login was wanted.
    again: bool,
    /// When its answer is late.
    due: Instant,
}

/// See the module. Its memory is one message or packet, one picture a track, and what [`Client::poll`] was
/// not asked for.
pub struct Client {
    url: String,
    datagrams: bool,
    agent: String,
    limits: ReaderLimits,
    login: Option<Login>,
    buffer: BytesMut,
    output: VecDeque<Event>,
    failed: Option<Failed>,
    over: bool,
    pending: Option<Pending>,
    /// The track whose ports the driver is asked for.
    asked: Option<usize>,
    cseq: u32,
    /// What the tracks' addresses begin with.
    base: String,
    /// The address of the session as a whole.
    whole: String,
    session: Option<String>,
    /// How long it is kept without a request.
    kept: Duration,
    /// When the next request is to keep it.
    alive: Option<Instant>,
    knows_parameters: bool,
    reception: Reception,
    now: Instant,
}

impl Client {
    /// A machine at the start of a connection.
    #[must_use]
    pub fn new(order: Order, now: Instant) -> Self {
        let Order { plain, chance, .. } = order;
        let login = order.login.map(|login| Login::new(login, plain, chance));
        let mut client = Self {
            base: order.url.clone(),
            whole: order.url.clone(),
            url: order.url,
            datagrams: order.datagrams,
            agent: order.agent,
            limits: order.limits,
            login,
            buffer: BytesMut::new(),
            output: VecDeque::new(),
            failed: None,
            over: false,
            pending: None,
            asked: None,
            cseq: 0,
            session: None,
            kept: RTSP_SESSION,
            alive: None,
            knows_parameters: false,
            reception: Reception::new(now),
            now,
        };
        client.ask(Step::Options, false);
        client
    }

    /// Takes bytes of the connection; [`Client::poll`] is to be called until it gives nothing.
    pub fn feed(&mut self, bytes: &[u8], now: Instant) {
        self.now = now;
        if !self.over {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Takes a datagram of a track: RTP, or RTCP.
    pub fn datagram(&mut self, track: usize, rtcp: bool, bytes: &[u8], now: Instant) {
        self.now = now;
        if !self.over && self.datagrams {
            self.media(track, rtcp, bytes);
        }
    }

    /// The next event. While ports are asked for there is none.
    ///
    /// # Errors
    /// Why there are no media, or none any more, once.
    pub fn poll(&mut self) -> Result<Option<Event>, Failed> {
        loop {
            if let Some(event) = self.output.pop_front() {
                return Ok(Some(event));
            }
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
            if self.over || self.asked.is_some() {
                return Ok(None);
            }
            // Empty lines between messages mean nothing, and must not pile up.
            let blank = |b: &&u8| matches!(b, b'\r' | b'\n');
            let blank = self.buffer.iter().take_while(blank).count();
            self.buffer.advance(blank);
            match read(&self.buffer) {
                Ok(None) => return Ok(None),
                Ok(Some((item, used))) => {
                    self.buffer.advance(used.min(self.buffer.len()));
                    match item {
                        Item::Answer(answer) => self.answer(&answer),
                        Item::Request(request) => self.request(&request),
                        Item::Packet(channel, packet) => {
                            if let Some((track, rtcp)) = self.reception.of_channel(channel) {
                                self.media(track, rtcp, &packet);
                            }
                        }
                    }
                }
                Err(error) => self.fail(error.into()),
            }
        }
    }

    /// The datagrams of the track that was asked about are taken on these ports: RTP and RTCP.
    pub fn ports(&mut self, ports: [u16; 2]) {
        if let Some(track) = self.asked.take() {
            self.ask(Step::Setup(track, ports), false);
        }
    }

    /// When [`Client::timeout`] is to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let late = self.pending.map(|pending| pending.due);
        late.into_iter().chain(self.alive).min()
    }

    /// The time has come.
    pub fn timeout(&mut self, now: Instant) {
        self.now = now;
        if self.over {
            return;
        }
        if let Some(pending) = self.pending.take_if(|pending| pending.due <= now)
            && pending.step != Step::Alive
        {
            let method = pending.step.method(self.knows_parameters);
            return self.fail(Failed::Silent(method));
        }
        if self.alive.is_some_and(|at| at <= now) {
            self.keep();
            self.ask(Step::Alive, false);
        }
    }

    /// The session is not wanted any more: what is to be said is there for [`Client::poll`].
    pub fn teardown(&mut self) {
        if self.session.is_some() {
            self.ask(Step::Teardown, false);
        }
        self.over = true;
    }

    /// What went wrong with the media so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.reception.figures()
    }

    fn fail(&mut self, failed: Failed) {
        self.over = true;
        self.buffer.clear();
        self.failed.get_or_insert(failed);
    }

    fn ask(&mut self, step: Step, again: bool) {
        self.cseq = self.cseq.wrapping_add(1);
        let method = step.method(self.knows_parameters);
        let url = match step {
            Step::Options | Step::Describe => self.url.clone(),
            Step::Setup(track, _) => self.track_url(track).unwrap_or_default(),
            Step::Play | Step::Alive | Step::Teardown => self.whole.clone(),
        };
        let proof = self.login.as_mut();
        let proof = proof.and_then(|login| login.answer(method, &url));
        let transport = match step {
            Step::Setup(_, [one, two]) if self.datagrams => {
                format!("RTP/AVP;unicast;client_port={one}-{two}")
            }
            Step::Setup(_, [one, two]) => {
                format!("RTP/AVP/TCP;unicast;interleaved={one}-{two}")
            }
            _ => String::new(),
        };
        let mut fields = vec![("User-Agent", self.agent.as_str())];
        match step {
            Step::Describe => fields.push(("Accept", "application/sdp")),
            Step::Setup(..) => fields.push(("Transport", &transport)),
            Step::Play => fields.push(("Range", "npt=0.000-")),
            Step::Options | Step::Alive | Step::Teardown => {}
        }
        fields.extend(self.session.as_deref().map(|name| ("Session", name)));
        fields.extend(proof.as_deref().map(|proof| ("Authorization", proof)));
        let bytes = request(method, &url, self.cseq, &fields);
        self.output.push_back(Event::Write(bytes));
        self.pending = Some(Pending {
            step,
            cseq: self.cseq,
            again,
            due: self.now.checked_add(REMOTE_ANSWER).unwrap_or(self.now),
        });
    }

    fn answer(&mut self, answer: &Answer) {
        // Some say no number; a wrong one is the answer to what is not waited for any more.
        let ours = |pending: &mut Pending| answer.cseq.is_none_or(|cseq| cseq == pending.cseq);
        if (100..200).contains(&answer.status) {
            return;
        }
        let Some(pending) = self.pending.take_if(ours) else {
            return;
        };
        match (answer.status, answer.headers.get("Location")) {
            (200..=299, _) => {
                if let Err(failed) = self.agreed(pending.step, answer) {
                    self.fail(failed);
                }
            }
            (300..=399, Some(to)) => self.moved(to),
            (401, _) => match self.challenged(pending.again, answer) {
                Ok(()) => self.ask(pending.step, true),
                Err(failed) => self.fail(failed),
            },
            _ => self.refused(pending.step, answer),
        }
    }

    fn challenged(&mut self, again: bool, answer: &Answer) -> Result<(), Failed> {
        let login = self.login.as_mut().ok_or(Failed::NoLogin)?;
        if again {
            return Err(Failed::Login);
        }
        let offers = answer.headers.all("WWW-Authenticate");
        let usable = login.challenged(offers);
        usable.then_some(()).ok_or(Failed::Scheme)
    }

    fn moved(&mut self, to: &str) {
        self.output.push_back(Event::Moved(to.to_owned()));
        self.over = true;
        self.buffer.clear();
    }

    fn refused(&mut self, step: Step, answer: &Answer) {
        match (step, answer.status) {
            // Not all know it, and it is no more than a question.
            (Step::Options, _) => self.ask(Step::Describe, false),
            (Step::Alive, 454) => self.fail(Failed::Over),
            (Step::Alive, _) => self.knows_parameters = false,
            (Step::Setup(..), 461) => self.fail(Failed::Transport(self.datagrams)),
            _ => self.fail(Failed::Refused {
                method: step.method(self.knows_parameters),
                status: answer.status,
                phrase: answer.phrase.clone(),
            }),
        }
    }

    fn agreed(&mut self, step: Step, answer: &Answer) -> Result<(), Failed> {
        match step {
            Step::Options => {
                let mut lists = answer.headers.all("Public");
                self.knows_parameters = lists.any(|list| {
                    let mut names = list.split(',').map(str::trim);
                    names.any(|name| name.eq_ignore_ascii_case("GET_PARAMETER"))
                });
                self.ask(Step::Describe, false);
            }
            Step::Describe => {
                self.describe(answer)?;
                self.next_track()?;
            }
            Step::Setup(track, asked) => {
                self.set_up(track, asked, answer)?;
                self.next_track()?;
            }
            Step::Play => {
                self.output.push_back(Event::Playing);
                self.keep();
            }
            Step::Alive | Step::Teardown => {}
        }
        Ok(())
    }

    fn describe(&mut self, answer: &Answer) -> Result<(), Failed> {
        let whole = sdp::control(&answer.body).unwrap_or("*");
        let headers = &answer.headers;
        let said = headers.get("Content-Base");
        let said = said.or_else(|| headers.get("Content-Location"));
        let mut bases = said.into_iter().chain([whole]);
        if let Some(base) = bases.find(|url| is_absolute(url) && is_url(url)) {
            base.clone_into(&mut self.base);
        }
        self.whole = joined(&self.base, whole).ok_or(Failed::Control)?;
        let media = sdp::read(&answer.body);
        if media.is_empty() {
            return Err(Failed::NoMedia);
        }
        let left_out = self.reception.describe(media, self.limits);
        if !self.reception.is_any_taken() {
            return Err(Failed::NoTrack(left_out.join(", ")));
        }
        let left_out = left_out.into_iter().map(Event::LeftOut);
        self.output.extend(left_out);
        Ok(())
    }

    fn track_url(&self, track: usize) -> Option<String> {
        let place = self.reception.places.get(track)?;
        joined(&self.base, &place.track.media.control)
    }

    /// Asks for the next track that is not set up yet, or for all of them to be played.
    fn next_track(&mut self) -> Result<(), Failed> {
        let mut all = self.reception.places.iter().enumerate();
        let next = all.position(|(n, place)| !place.set_up && self.reception.wants(n));
        let Some(track) = next else {
            self.ask(Step::Play, false);
            return Ok(());
        };
        self.track_url(track).ok_or(Failed::Control)?;
        if self.datagrams {
            self.asked = Some(track);
            self.output.push_back(Event::Ports(track));
        } else {
            let first = u16::try_from(track.saturating_mul(2)).unwrap_or_default();
            self.ask(Step::Setup(track, [first, first.saturating_add(1)]), false);
        }
        Ok(())
    }

    fn set_up(&mut self, track: usize, asked: [u16; 2], answer: &Answer) -> Result<(), Failed> {
        if let Some(session) = answer.headers.get("Session") {
            let mut parts = session.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            if name.is_empty() || name.len() > MAX_RTSP_SESSION || !is_plain(name) {
                return Err(Failed::Bytes(RtspError::NotRtsp));
            }
            self.session = Some(name.to_owned());
            let timeout = parts.find_map(|part| part.strip_prefix("timeout="));
            if let Some(seconds) = timeout.and_then(|text| text.trim().parse().ok()) {
                self.kept = Duration::from_secs(seconds);
            }
        }
        let parts: Vec<&str> = answer
            .headers
            .get("Transport")
            .map(|text| text.split(';').map(str::trim).collect())
            .unwrap_or_default();
        let channels = pair(&parts, "interleaved");
        let on_it = channels.is_some() || parts.first() == Some(&"RTP/AVP/TCP");
        if parts.contains(&"multicast") || (!parts.is_empty() && on_it == self.datagrams) {
            return Err(Failed::Transport(self.datagrams));
        }
        let channels = if self.datagrams {
            let source = parts.iter().find_map(|part| part.strip_prefix("source="));
            self.output.push_back(Event::From {
                track,
                source: source.and_then(|text| text.parse().ok()),
                ports: pair(&parts, "server_port").filter(|ports| !ports.contains(&0)),
            });
            None
        } else {
            let [one, two] = channels.unwrap_or(asked);
            let (Ok(one), Ok(two)) = (u8::try_from(one), u8::try_from(two)) else {
                return Err(Failed::Transport(false));
            };
            let taken = |channel| self.reception.of_channel(channel).is_some();
            if one == two || taken(one) || taken(two) {
                return Err(Failed::Transport(false));
            }
            Some([one, two])
        };
        if let Some(place) = self.reception.places.get_mut(track) {
            place.set_up = true;
            place.channels = channels;
        }
        Ok(())
    }

    /// The next request that keeps the session, and before it what keeps the way of its datagrams open.
    fn keep(&mut self) {
        let half = self.kept / 2;
        let rest = half.clamp(RTSP_ALIVE_SOONEST, RTSP_ALIVE_LATEST);
        self.alive = Some(self.now.checked_add(rest).unwrap_or(self.now));
        if !self.datagrams {
            return;
        }
        for (track, place) in self.reception.places.iter().enumerate() {
            if !place.set_up {
                continue;
            }
            // Without content: a packet of RTP, and a report of a receiver that tells of no sender.
            let rtp: &[u8] = &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let report: &[u8] = &[0x80, 201, 0, 1, 0, 0, 0, 0];
            for (rtcp, bytes) in [(false, rtp), (true, report)] {
                self.output.push_back(Event::Send {
                    track,
                    rtcp,
                    bytes: Bytes::copy_from_slice(bytes),
                });
            }
        }
    }

    /// What the other server wants of us.
    fn request(&mut self, request: &Request) {
        let status = match request.method.as_str() {
            "OPTIONS" | "GET_PARAMETER" | "SET_PARAMETER" | "TEARDOWN" | "REDIRECT" => 200,
            _ => 405,
        };
        let bytes = answer(status, request.cseq, &[]);
        self.output.push_back(Event::Write(bytes));
        match (request.method.as_str(), request.header("Location")) {
            ("REDIRECT", Some(to)) => self.moved(to),
            ("TEARDOWN", _) => self.fail(Failed::Over),
            _ => {}
        }
    }

    fn media(&mut self, track: usize, rtcp: bool, bytes: &[u8]) {
        let output = &mut self.output;
        let mut out = |tag| output.push_back(Event::Tag(tag));
        self.reception
            .take((track, rtcp), bytes, self.now, &mut out);
        if !rtcp || !is_goodbye(bytes) {
            return;
        }
        let place = self.reception.places.get_mut(track);
        let Some(place) = place.filter(|place| place.set_up) else {
            return;
        };
        place.over = true;
        let mut all = self.reception.places.iter();
        if all.all(|place| place.over || !place.set_up) {
            self.reception.finish(&mut out);
            self.fail(Failed::Over);
        }
    }
}
