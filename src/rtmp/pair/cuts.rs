//! The same session, its bytes cut at every place.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Pair, client_config, publisher, server_config};
use crate::rtmp::handshake::ClientMode;
use crate::rtmp::{client, server};

fn media() -> Vec<(u8, u32, Bytes)> {
    vec![
        (18, 0, Bytes::from_static(b"\x02\x00\x0aonMetaData\x05")),
        (9, 0, Bytes::from(vec![0x17; 300])),
        (8, 21, Bytes::from_static(b"\xaf\x01a")),
        (8, 42, Bytes::new()),
        (9, 40, Bytes::from(vec![0x27; 5000])),
    ]
}

fn publish_session(cuts: Vec<usize>, handshake: ClientMode) -> Pair {
    let config = client::ClientConfig {
        encoder: true,
        handshake,
        ..client_config()
    };
    let mut pair = Pair::new(config, server_config());
    pair.on_client = Box::new(publisher(media()));
    pair.cuts = cuts.into_iter();
    pair.run();
    pair
}

fn check(pair: &Pair) {
    let server::Event::Connect(request) = &pair.server_events[0] else {
        panic!("no connect first");
    };
    assert_eq!(request.app, "live");
    assert_eq!(request.connect_type.as_deref(), Some("nonprivate"));
    assert_eq!(
        pair.server_events[1],
        server::Event::Publish {
            stream: 1,
            name: "event".into(),
            query: Some("key=1".into()),
            kind: server::PublishKind::Live,
        }
    );
    let sent: Vec<_> = media().into_iter().map(|(k, t, p)| (1, k, t, p)).collect();
    assert_eq!(pair.received(), sent);
    let last = pair.server_events.last().unwrap();
    assert_eq!(*last, server::Event::Unpublish { stream: 1 });
    assert_eq!((&pair.server_closed, &pair.client_closed), (&None, &None));
}

#[test]
fn a_publish_session_with_each_handshake() {
    use ClientMode::{Digest, DigestSchemeOne, Simple};
    for mode in [Simple, Digest, DigestSchemeOne] {
        let pair = publish_session(vec![], mode);
        check(&pair);
        let started = client::Event::PublishStarted { stream: 1 };
        assert!(pair.client_events.contains(&started));
    }
}

#[test]
fn a_publish_session_byte_by_byte() {
    check(&publish_session(vec![1; 100_000], ClientMode::Simple));
}

#[test]
fn a_publish_session_cut_once_anywhere_behind_the_handshake() {
    let whole = publish_session(vec![], ClientMode::Simple);
    let handshake = 1 + 2 * 1536;
    // The bytes of both directions alternate, so a cut at n delays what follows in either.
    for cut in 1..whole.upstream.len() - handshake {
        let pair = publish_session(vec![handshake, handshake, cut, cut], ClientMode::Simple);
        check(&pair);
    }
}

#[test]
fn a_pipelined_session_is_judged_in_order() {
    // Everything that the client ever says comes in one piece, before any answer is read.
    let whole = publish_session(vec![], ClientMode::Simple);
    let mut pair = Pair::new(client_config(), server_config());
    pair.server.feed(&whole.upstream, pair.now);
    while let Some(output) = pair.server.poll() {
        if let server::Output::Event(event) = output {
            super::accept(&mut pair.server, &event);
            pair.server_events.push(event);
        }
    }
    check(&pair);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_publish_session_cut_at_random(cuts in prop::collection::vec(1usize..700, 0..200)) {
        check(&publish_session(cuts, ClientMode::Digest));
    }
}
