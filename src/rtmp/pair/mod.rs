//! A client and a server machine on a virtual clock, with the bytes between them cut anywhere.

mod cuts;
mod login;
mod streams;
mod time;

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::client::{self, Client, ClientConfig};
use super::handshake::ClientMode;
use super::server::{self, PublishKind, Server, ServerConfig};
use super::session::reason::CloseReason;
use crate::limits::Limits;

pub(super) type OnServer = Box<dyn FnMut(&mut Server, &server::Event)>;
pub(super) type OnClient = Box<dyn FnMut(&mut Client, &client::Event)>;

/// Both machines, what they said, and what is on its way.
pub(super) struct Pair {
    pub(super) client: Client,
    pub(super) server: Server,
    pub(super) now: Instant,
    pub(super) on_server: OnServer,
    pub(super) on_client: OnClient,
    pub(super) server_events: Vec<server::Event>,
    pub(super) client_events: Vec<client::Event>,
    pub(super) server_closed: Option<CloseReason>,
    pub(super) client_closed: Option<CloseReason>,
    /// All bytes so far.
    pub(super) upstream: Vec<u8>,
    pub(super) downstream: Vec<u8>,
    /// What is on its way.
    up: Vec<u8>,
    down: Vec<u8>,
    /// Sizes of the next pieces; when it is used up, everything goes at once.
    pub(super) cuts: std::vec::IntoIter<usize>,
}

pub(super) fn client_config() -> ClientConfig {
    ClientConfig {
        limits: Limits::default(),
        app: "live".into(),
        tc_url: "rtmp://host/live".into(),
        flash_ver: "LNX 9,0,124,2".into(),
        swf_url: None,
        page_url: None,
        extra: vec![],
        encoder: false,
        relay: false,
        subscribe: false,
        chunk_size: 4096,
        window: 2_500_000,
        handshake: ClientMode::Digest,
        random: [7; 32],
    }
}

pub(super) fn server_config() -> ServerConfig {
    ServerConfig {
        limits: Limits::default().into(),
        chunk_size: 65_536,
        window: 2_500_000,
        random: [9; 32],
        client: 42,
    }
}

/// Accepts whatever is asked.
pub(super) fn accept(server: &mut Server, event: &server::Event) {
    match event {
        server::Event::Connect(_) => server.accept_connect(vec![]),
        server::Event::Publish { stream, .. } => server.accept_publish(*stream),
        server::Event::Play { stream, .. } => server.accept_play(*stream),
        server::Event::Call {
            name, transaction, ..
        } => server.unknown_call(*transaction, name),
        _ => {}
    }
}

impl Pair {
    pub(super) fn new(client: ClientConfig, server: ServerConfig) -> Self {
        let now = Instant::now();
        Self {
            client: Client::new(client, now),
            server: Server::new(server, now),
            now,
            on_server: Box::new(accept),
            on_client: Box::new(|_, _| {}),
            server_events: vec![],
            client_events: vec![],
            server_closed: None,
            client_closed: None,
            upstream: vec![],
            downstream: vec![],
            up: vec![],
            down: vec![],
            cuts: vec![].into_iter(),
        }
    }

    /// A pair that acts as `on_client` says, run until nothing moves.
    pub(super) fn with(on_client: impl FnMut(&mut Client, &client::Event) + 'static) -> Self {
        let mut pair = Self::new(client_config(), server_config());
        pair.on_client = Box::new(on_client);
        pair
    }

    /// Runs until neither side has anything to say.
    pub(super) fn run(&mut self) {
        loop {
            self.drain_client();
            self.drain_server();
            if self.up.is_empty() && self.down.is_empty() {
                return;
            }
            if !self.up.is_empty() {
                let piece = take(&mut self.up, self.cuts.next());
                self.server.feed(&piece, self.now);
                self.drain_server();
            }
            if !self.down.is_empty() {
                let piece = take(&mut self.down, self.cuts.next());
                self.client.feed(&piece, self.now);
                self.drain_client();
            }
        }
    }

    /// Moves the clock, fires what is due on the way.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.next_timeout().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.server.timeout(self.now);
            self.client.timeout(self.now);
            self.run();
        }
        self.now = end;
    }

    fn next_timeout(&self) -> Option<Instant> {
        let both = [self.server.next_timeout(), self.client.next_timeout()];
        both.into_iter().flatten().min()
    }

    fn drain_client(&mut self) {
        while let Some(output) = self.client.poll() {
            assert_eq!(self.client_closed, None, "output after the close");
            match output {
                client::Output::Write(bytes) => {
                    self.upstream.extend_from_slice(&bytes);
                    self.up.extend_from_slice(&bytes);
                }
                client::Output::Event(event) => {
                    (self.on_client)(&mut self.client, &event);
                    self.client_events.push(event);
                }
                client::Output::Close(reason) => self.client_closed = Some(reason),
            }
        }
    }

    fn drain_server(&mut self) {
        while let Some(output) = self.server.poll() {
            assert_eq!(self.server_closed, None, "output after the close");
            match output {
                server::Output::Write(bytes) => {
                    self.downstream.extend_from_slice(&bytes);
                    self.down.extend_from_slice(&bytes);
                }
                server::Output::Event(event) => {
                    (self.on_server)(&mut self.server, &event);
                    self.server_events.push(event);
                }
                server::Output::Close(reason) => self.server_closed = Some(reason),
            }
        }
    }

    /// The media that the server got: stream, kind, time, payload.
    pub(super) fn received(&self) -> Vec<(u32, u8, u32, Bytes)> {
        let media = |event: &server::Event| match event {
            server::Event::Media {
                stream,
                kind,
                timestamp,
                payload,
            } => Some((*stream, *kind, *timestamp, payload.clone())),
            _ => None,
        };
        self.server_events.iter().filter_map(media).collect()
    }

    /// Delivers bytes to the client that no machine made: the shared media.
    pub(super) fn send_down(&mut self, bytes: &[u8]) {
        self.down.extend_from_slice(bytes);
        self.run();
    }
}

fn take(bytes: &mut Vec<u8>, size: Option<usize>) -> Vec<u8> {
    let size = size.unwrap_or(bytes.len()).clamp(1, bytes.len());
    bytes.drain(..size).collect()
}

/// A client that publishes `event` and sends these media.
pub(super) fn publisher(
    media: Vec<(u8, u32, Bytes)>,
) -> impl FnMut(&mut Client, &client::Event) + 'static {
    move |client, event| match event {
        client::Event::Connected { .. } => {
            client.publish("event?key=1", PublishKind::Live).unwrap();
        }
        client::Event::PublishStarted { stream } => {
            for (kind, time, payload) in &media {
                assert!(client.send_media(*stream, *kind, *time, payload));
            }
            client.delete_stream(*stream);
        }
        _ => {}
    }
}
