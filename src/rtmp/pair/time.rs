//! The virtual clock: deadlines, pings, acknowledgements, timestamps that outgrow their fields.

use std::time::Duration;

use bytes::Bytes;

use super::{Pair, client_config, server_config};
use crate::limits::Limits;
use crate::rtmp::client::{Client, ClientConfig, Event};
use crate::rtmp::server::PublishKind;
use crate::rtmp::session::reason::CloseReason;

fn publishing() -> Pair {
    let mut pair = Pair::with(|client, event| {
        if let Event::Connected { .. } = event {
            client.publish("event", PublishKind::Live).unwrap();
        }
    });
    pair.run();
    pair
}

#[test]
fn timestamps_go_on_across_2_24_and_2_32() {
    let mut pair = publishing();
    // Chunks of a handful of bytes: the extended timestamp is repeated on each.
    let payload = Bytes::from(vec![0x27; 20_000]);
    for start in [0x00ff_ffb0, 0xffff_ffb0u32] {
        let times: Vec<u32> = (0..8).map(|n: u32| start.wrapping_add(n * 21)).collect();
        pair.server_events.clear();
        for time in &times {
            for kind in [8, 9] {
                assert!(pair.client.send_media(1, kind, *time, &payload));
            }
            pair.run();
        }
        let got = pair.received();
        let expected = times.iter().flat_map(|time| [*time, *time]);
        assert!(got.iter().map(|m| m.2).eq(expected), "{got:?}");
        assert!(got.iter().all(|m| m.3 == payload));
    }
}

#[test]
fn an_hour_of_nothing_but_pings() {
    let mut pair = Pair::with(|client, event| {
        if let Event::Connected { .. } = event {
            client.play("event", -1.0).unwrap();
        }
    });
    pair.run();
    pair.pass(Duration::from_secs(3600));
    assert_eq!((&pair.server_closed, &pair.client_closed), (&None, &None));
}

#[test]
fn acknowledgements_both_ways() {
    let mut pair = publishing();
    let payload = Bytes::from(vec![0x27; 60_000]);
    for n in 0..100 {
        assert!(pair.client.send_media(1, 9, n * 40, &payload));
        pair.run();
    }
    let sent = pair.upstream.len();
    let acked = pair.client.acknowledged() as usize;
    assert!(
        acked <= sent && sent - acked <= 1_250_000 + 120_000,
        "{acked} of {sent}"
    );

    for _ in 0..100 {
        pair.server.send_data(1, payload.clone());
        pair.run();
    }
    let sent = pair.downstream.len();
    let acked = pair.server.acknowledged() as usize;
    assert!(
        acked <= sent && sent - acked <= 1_250_000 + 120_000,
        "{acked} of {sent}"
    );
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let limits = Limits::default();
    let config = || ClientConfig {
        limits,
        ..client_config()
    };
    let mut pair = Pair::new(config(), server_config());
    let next = pair.client.next_timeout().unwrap();
    assert_eq!(next - pair.now, limits.handshake_timeout);
    let mut client = Client::new(config(), pair.now);
    client.timeout(next);
    let closed = std::iter::from_fn(|| client.poll()).last();
    let reason = CloseReason::HandshakeTimeout;
    assert_eq!(closed, Some(crate::rtmp::client::Output::Close(reason)));

    // The handshake ends, connect is never answered.
    pair.on_server = Box::new(|_, _| {});
    pair.run();
    pair.pass(limits.connect_timeout);
    assert_eq!(pair.client_closed, Some(CloseReason::AnswerTimeout));
    // The driver's question stays open for as long as the driver wants.
    assert_eq!(pair.server_closed, None);

    // connect is answered, createStream is not: the server's bytes are lost.
    let mut pair = Pair::new(config(), server_config());
    pair.run();
    pair.client.play("event", -1.0).unwrap();
    while pair.client.poll().is_some() {}
    pair.client.timeout(pair.now + limits.connect_timeout);
    let closed = std::iter::from_fn(|| pair.client.poll()).last();
    let reason = CloseReason::AnswerTimeout;
    assert_eq!(closed, Some(crate::rtmp::client::Output::Close(reason)));
}

#[test]
fn a_half_open_link_is_found() {
    let config = ClientConfig {
        limits: Limits {
            ping_after: Duration::from_secs(2),
            silence_timeout: Duration::from_secs(8),
            ..Limits::default()
        },
        ..client_config()
    };
    let mut pair = Pair::new(config, server_config());
    pair.run();
    let mut pings = 0;
    let start = pair.now;
    let reason = loop {
        let next = pair.client.next_timeout().unwrap();
        pair.client.timeout(next);
        let mut outputs = std::iter::from_fn(|| pair.client.poll()).peekable();
        match outputs.peek() {
            Some(crate::rtmp::client::Output::Close(reason)) => {
                assert_eq!(next - start, Duration::from_secs(8));
                break reason.clone();
            }
            _ => pings += outputs.count(),
        }
    };
    assert_eq!((reason.code(), pings), ("peer-silent", 3));
}
