//! Refusals, and the login of an encoder over three connections.

use super::{Pair, client_config, publisher, server_config};
use crate::rtmp::client::{self, ClientConfig};
use crate::rtmp::server;
use crate::rtmp::session::reason::CloseReason;
use crate::rtmp::status::{self, code};
use crate::rtmp::{adobe, session::caps::Caps};

const SALT: &str = "c2FsdHNhbHQ=";
const OPAQUE: &str = "b3BhcXVl+/==";

/// A server that wants Adobe authentication of `ann` with the password `secret`.
fn guard(server: &mut server::Server, event: &server::Event) {
    let server::Event::Connect(request) = event else {
        return super::accept(server, event);
    };
    let query = request.query.as_deref().and_then(adobe::Query::parse);
    let text = match query {
        None => adobe::NEED_AUTH.to_owned(),
        Some(adobe::Query {
            response: Some(got),
            challenge: Some(theirs),
            opaque: Some(OPAQUE),
            ..
        }) => {
            let verifier = adobe::verifier("ann", SALT, "secret");
            if got == adobe::response(&verifier, OPAQUE, theirs) {
                return server.accept_connect(vec![]);
            }
            adobe::AUTH_FAILED.to_owned()
        }
        Some(_) => adobe::challenge_description("ann", SALT, OPAQUE, OPAQUE),
    };
    server.reject_connect(code::CONNECT_REJECTED, &text, None);
}

fn attempt(query: &str) -> Pair {
    let config = ClientConfig {
        app: format!("live{query}"),
        encoder: true,
        ..client_config()
    };
    let mut pair = Pair::new(config, server_config());
    pair.on_server = Box::new(guard);
    pair.on_client = Box::new(publisher(vec![]));
    pair.run();
    pair
}

fn rejection(pair: &Pair) -> String {
    let [
        client::Event::Rejected {
            code, description, ..
        },
    ] = &pair.client_events[..]
    else {
        panic!("not rejected: {:?}", pair.client_events);
    };
    assert_eq!(code, code::CONNECT_REJECTED);
    let reason = CloseReason::Rejected(code.clone());
    assert_eq!(pair.client_closed, Some(reason.clone()));
    assert_eq!(pair.server_closed, Some(reason));
    description.clone()
}

#[test]
fn the_login_takes_three_connections() {
    let mut query = String::new();
    for _ in 0..2 {
        let description = rejection(&attempt(&query));
        query = adobe::answer("ann", "secret", &description, "Y2xpZW50").unwrap();
    }
    let third = attempt(&query);
    let started = client::Event::PublishStarted { stream: 1 };
    assert!(third.client_events.contains(&started));
    assert_eq!(third.client_closed, None);
}

#[test]
fn a_wrong_password_ends_it() {
    let mut query = String::new();
    for _ in 0..2 {
        let description = rejection(&attempt(&query));
        query = adobe::answer("ann", "guess", &description, "Y2xpZW50").unwrap();
    }
    let description = rejection(&attempt(&query));
    assert!(description.contains("reason=authfailed"));
    assert_eq!(
        adobe::answer("ann", "guess", &description, "Y2xpZW50"),
        None
    );
}

#[test]
fn the_command_close_follows_the_rejection() {
    let pair = attempt("");
    let at = |word: &[u8]| pair.downstream.windows(word.len()).position(|w| w == word);
    let error = at(b"\x02\x00\x06_error").unwrap();
    let close = at(b"\x02\x00\x05close").unwrap();
    assert!(error < close);
}

#[test]
fn a_redirect_is_understood() {
    let mut pair = Pair::new(client_config(), server_config());
    pair.on_server = Box::new(|server, _| {
        let ex = status::redirect("rtmp://other/live");
        server.reject_connect(code::CONNECT_REJECTED, "moved", Some(ex));
    });
    pair.run();
    let [client::Event::Rejected { redirect, ex, .. }] = &pair.client_events[..] else {
        panic!("not rejected: {:?}", pair.client_events);
    };
    assert_eq!(redirect.as_deref(), Some("rtmp://other/live"));
    assert!(ex.as_ref().is_some_and(|ex| ex.get("code").is_some()));
}

#[test]
fn a_relay_declares_everything_and_hears_the_same() {
    let config = ClientConfig {
        relay: true,
        extra: vec![("crtmpMirror".into(), "x".into())],
        ..client_config()
    };
    let mut pair = Pair::new(config, server_config());
    pair.run();
    let server::Event::Connect(request) = &pair.server_events[0] else {
        panic!("no connect");
    };
    let all = |caps: &Caps| caps.multitrack() && caps.modex() && caps.reconnect();
    assert!(all(&request.caps));
    assert_eq!(request.object.get("crtmpMirror"), Some(&"x".into()));
    let client::Event::Connected { caps, .. } = &pair.client_events[0] else {
        panic!("not connected");
    };
    assert!(all(caps));

    assert!(pair.server.request_reconnect(Some("rtmp://b/live"), "go"));
    pair.run();
    let asked = client::Event::ReconnectRequest {
        tc_url: Some("rtmp://b/live".into()),
        description: "go".into(),
    };
    assert_eq!(pair.client_events.last(), Some(&asked));
}
