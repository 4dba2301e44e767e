//! Who is connected, who publishes, who plays, in each role.

#![cfg(feature = "publish")]

use std::path::Path;

use super::*;
use crate::auth::Grant;

const FAR: &str = "203.0.113.9";

fn connect(peer: &str) -> Connect<'static> {
    Connect {
        app: "live",
        query: None,
        flash_ver: "LNX 10,0,32,18",
        connect_type: None,
        claims_mirror: false,
        peer: peer.parse().unwrap(),
    }
}

fn encoder(peer: &str) -> Connect<'static> {
    Connect {
        connect_type: Some("nonprivate"),
        ..connect(peer)
    }
}

fn nets(words: &[&str]) -> Networks {
    let mut list = Networks::none();
    for word in words {
        list.add(word).unwrap();
    }
    list
}

fn standalone(users: Option<&Path>, networks: Networks) -> PolicyConfig {
    PolicyConfig {
        applications: Applications::default(),
        publishers: Some(Publishers {
            users: users.map(Path::to_owned),
            keys: None,
            networks,
        }),
        play: Networks::any(),
        closed: false,
        secret: None,
    }
}

fn users_file(dir: &tempfile::TempDir) -> std::path::PathBuf {
    let path = dir.path().join("users");
    let verifier = adobe::verifier("ann", "salt", "secret");
    std::fs::write(&path, format!("ann:adobe1:salt:{verifier}\n")).unwrap();
    path
}

fn policy(config: PolicyConfig) -> Policy {
    Policy::new(config, Instant::now()).unwrap()
}

fn reason(decision: Decision) -> Option<Reason> {
    match decision {
        Decision::Accept { .. } => None,
        Decision::Reject(refusal) => Some(refusal.reason),
    }
}

/// Takes all three steps with the project's own client side.
fn login(policy: &Policy, peer: &str, user: &str, password: &str) -> Decision {
    let mut query = String::new();
    for _ in 0..3 {
        let attempt = Connect {
            query: query.strip_prefix('?'),
            ..encoder(peer)
        };
        let decision = policy.on_connect(&attempt, Instant::now());
        let Decision::Reject(refusal) = &decision else {
            return decision;
        };
        match adobe::answer(user, password, &refusal.description, "Y2xpZW50") {
            Some(next) => query = next,
            None => return decision,
        }
    }
    panic!("no end");
}

#[test]
fn without_users_only_loopback_publishes() {
    let p = policy(standalone(None, Networks::loopback()));
    for peer in ["127.0.0.1", "::1", FAR] {
        assert_eq!(
            reason(p.on_connect(&encoder(peer), Instant::now())),
            None,
            "{peer}"
        );
    }
    let may = |peer: &str| p.may_publish(&Identity::Nobody, peer.parse().unwrap());
    assert_eq!(may("127.0.0.1"), Ok(()));
    assert_eq!(may("::ffff:127.0.0.1"), Ok(()));
    let refused = may(FAR).unwrap_err();
    assert_eq!(
        (refused.code, refused.reason),
        (BAD_NAME, Reason::NotListed)
    );
    assert!(p.may_play(&Identity::Nobody, FAR.parse().unwrap()).is_ok());
}

#[test]
fn an_encoder_logs_in_and_a_player_need_not() {
    let dir = tempfile::tempdir().unwrap();
    let p = policy(standalone(Some(&users_file(&dir)), Networks::none()));
    let now = Instant::now();
    assert_eq!(reason(p.on_connect(&connect(FAR), now)), None);
    assert_eq!(
        reason(p.on_connect(&encoder(FAR), now)),
        Some(Reason::LoginNeeded)
    );
    assert_eq!(
        reason(p.on_connect(&encoder("127.0.0.1"), now)),
        Some(Reason::LoginNeeded)
    );
    let fmle = Connect {
        flash_ver: "FMLE/3.0 (compatible; Lavf59)",
        ..connect(FAR)
    };
    assert_eq!(reason(p.on_connect(&fmle, now)), Some(Reason::LoginNeeded));
    let Decision::Accept { app, identity } = login(&p, FAR, "ann", "secret") else {
        panic!("the right password was refused");
    };
    assert_eq!((&*app, identity.user()), ("live", Some("ann")));
    let far = FAR.parse().unwrap();
    assert!(p.may_publish(&identity, far).is_ok());
    assert_eq!(
        p.may_publish(&Identity::Nobody, far).unwrap_err().reason,
        Reason::NoLogin
    );
    assert_eq!(
        p.may_publish(&Identity::Mirror, far).unwrap_err().reason,
        Reason::NoLogin
    );
}

#[test]
fn wrong_user_and_wrong_password_look_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let p = policy(standalone(Some(&users_file(&dir)), Networks::none()));
    let wrong = login(&p, FAR, "ann", "wrong");
    assert_eq!(wrong, login(&p, FAR, "nobody", "wrong"));
    let Decision::Reject(refusal) = wrong else {
        panic!("a wrong password was accepted");
    };
    assert_eq!(refusal.description, adobe::AUTH_FAILED);
    assert_eq!(refusal.code, CONNECT_REJECTED);
}

#[test]
fn a_listed_network_publishes_without_a_login() {
    let dir = tempfile::tempdir().unwrap();
    let p = policy(standalone(
        Some(&users_file(&dir)),
        nets(&["203.0.113.0/24"]),
    ));
    assert_eq!(reason(p.on_connect(&encoder(FAR), Instant::now())), None);
    assert!(
        p.may_publish(&Identity::Nobody, FAR.parse().unwrap())
            .is_ok()
    );
    assert_eq!(
        reason(login(&p, FAR, "ann", "wrong")),
        None,
        "it need not log in"
    );
    let query = Some("authmod=adobe&user=ann&challenge=x&response=y&opaque=z");
    let tries = Connect {
        query,
        ..encoder(FAR)
    };
    assert_eq!(
        reason(p.on_connect(&tries, Instant::now())),
        Some(Reason::LoginFailed)
    );
}

#[test]
fn a_master_serves_mirrors_listed_networks_and_publishers() {
    let dir = tempfile::tempdir().unwrap();
    let now = Instant::now();
    let mut config = standalone(Some(&users_file(&dir)), Networks::none());
    config.closed = true;
    config.play = nets(&["10.0.0.0/8"]);
    config.secret = Secret::new("0123456789abcdef").ok();
    let p = policy(config);
    let mirror = Connect {
        claims_mirror: true,
        ..connect(FAR)
    };
    assert_eq!(reason(p.on_connect(&mirror, now)), None);
    assert_eq!(reason(p.on_connect(&connect("10.1.1.1"), now)), None);
    assert_eq!(
        reason(p.on_connect(&encoder("10.1.1.1"), now)),
        Some(Reason::LoginNeeded)
    );
    assert_eq!(
        reason(p.on_connect(&connect(FAR), now)),
        Some(Reason::LoginNeeded)
    );
    assert_eq!(reason(login(&p, FAR, "ann", "secret")), None);
    let far = FAR.parse().unwrap();
    let ann = Identity::Publisher("ann".into());
    assert!(p.may_play(&Identity::Mirror, far).is_ok());
    assert!(
        p.may_play(&Identity::Nobody, "10.1.1.1".parse().unwrap())
            .is_ok()
    );
    for identity in [Identity::Nobody, ann] {
        assert_eq!(
            p.may_play(&identity, far).unwrap_err().reason,
            Reason::NotListed
        );
    }
    assert!(!p.may_read(far));
}

#[test]
fn a_master_without_users_or_secret_is_closed() {
    let mut config = standalone(None, Networks::none());
    config.closed = true;
    config.play = Networks::none();
    let p = policy(config);
    for claims_mirror in [false, true] {
        let stranger = Connect {
            claims_mirror,
            ..encoder(FAR)
        };
        assert_eq!(
            reason(p.on_connect(&stranger, Instant::now())),
            Some(Reason::NotListed)
        );
    }
}

#[test]
fn a_mirror_that_asks_a_server_without_a_secret_is_told_what_is_missing() {
    let p = policy(standalone(None, Networks::loopback()));
    let mirror = Connect {
        app: "control",
        claims_mirror: true,
        ..connect(FAR)
    };
    let Decision::Reject(refused) = p.on_connect(&mirror, Instant::now()) else {
        panic!("let in");
    };
    assert_eq!(refused.reason, Reason::NoMirrors);
    assert!(refused.description.contains("master.secret_file"));
}

#[test]
fn a_mirror_connects_everyone_and_takes_no_publisher() {
    let mut config = standalone(None, Networks::any());
    config.publishers = None;
    let p = policy(config);
    assert_eq!(reason(p.on_connect(&encoder(FAR), Instant::now())), None);
    let refused = p
        .may_publish(&Identity::Nobody, FAR.parse().unwrap())
        .unwrap_err();
    assert_eq!((refused.code, refused.reason), (BAD_NAME, Reason::Mirror));
}

#[test]
fn an_unknown_application_is_named_as_such() {
    let p = policy(standalone(None, Networks::loopback()));
    let wrong = Connect {
        app: "life",
        ..connect(FAR)
    };
    let Decision::Reject(refusal) = p.on_connect(&wrong, Instant::now()) else {
        panic!("accepted");
    };
    assert_eq!(
        (refusal.code, refusal.reason),
        (INVALID_APP, Reason::UnknownApp)
    );
    // A mirror takes any, but no stream key: it would be shown as a name.
    let mirror = policy(PolicyConfig {
        publishers: None,
        ..standalone(None, Networks::none())
    });
    for (app, is) in [
        ("vod", None),
        ("live/sk_abcdefgh", Some(Reason::UnknownApp)),
    ] {
        let asked = Connect {
            app,
            ..connect(FAR)
        };
        assert_eq!(
            reason(mirror.on_connect(&asked, Instant::now())),
            is,
            "{app}"
        );
    }
}

#[test]
fn users_in_memory_log_in_too() {
    let users = Users::one("demo", "secret").unwrap();
    let p = Policy::with_users(standalone(None, Networks::none()), users, Instant::now()).unwrap();
    assert_eq!(reason(login(&p, FAR, "demo", "secret")), None);
    assert_eq!(
        reason(login(&p, FAR, "demo", "wrong")),
        Some(Reason::LoginFailed)
    );
}

/// A file of keys for `live/event`, by label.
fn keys_file(dir: &tempfile::TempDir, keys: &[(&str, &str)]) -> std::path::PathBuf {
    let path = dir.path().join("keys");
    let line = |(label, key): &(&str, &str)| {
        let verifier = crate::auth::stream_keys::verifier(key);
        let hex: String = verifier.iter().map(|b| format!("{b:02x}")).collect();
        format!("{label} live/event sha256:{hex}\n")
    };
    std::fs::write(&path, keys.iter().map(line).collect::<String>()).unwrap();
    path
}

fn with_keys(users: Option<&Path>, keys: &Path, closed: bool) -> PolicyConfig {
    let mut config = standalone(users, Networks::none());
    config.publishers.as_mut().unwrap().keys = Some(keys.to_owned());
    config.closed = closed;
    if closed {
        config.play = Networks::none();
    }
    config
}

/// The name under which a peer publishes, or why it does not.
fn granted(policy: &Policy, name: &str) -> Result<String, Reason> {
    let far = FAR.parse().unwrap();
    let asked = policy.grant(&Identity::Nobody, ("live", name), far, Instant::now());
    match asked {
        Ok(Grant::Key { stream, .. }) => Ok(stream.to_string()),
        Ok(Grant::Named) => Ok(name.to_owned()),
        Err(refusal) => Err(refusal.reason),
    }
}

#[test]
fn a_key_publishes_under_its_public_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = keys_file(&dir, &[("studio", "sk_right-key")]);
    let p = policy(with_keys(None, &path, false));
    assert_eq!(granted(&p, "sk_right-key").as_deref(), Ok("live/event"));
    let mut texts = std::collections::HashSet::new();
    for name in ["sk_wrong-key", "sk_right-kez", "event", "SK_right-key", ""] {
        assert_eq!(granted(&p, name), Err(Reason::NoKey), "{name}");
        let far = FAR.parse().unwrap();
        let refused = p.grant(&Identity::Nobody, ("live", name), far, Instant::now());
        texts.insert(refused.err().unwrap().description);
    }
    assert_eq!(texts.len(), 1, "the same answer to all: {texts:?}");
    let far = FAR.parse().unwrap();
    let elsewhere = p.grant(
        &Identity::Nobody,
        ("vod", "sk_right-key"),
        far,
        Instant::now(),
    );
    assert!(elsewhere.is_err(), "another application");
    // The file may name the stream by an alias.
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("live/", "old/")).unwrap();
    let p = policy(with_keys(None, &path, false));
    assert!(granted(&p, "sk_right-key").is_err());
    let mut config = with_keys(None, &path, false);
    config.applications.add_alias("old", "live").unwrap();
    let p = policy(config);
    assert_eq!(granted(&p, "sk_right-key").as_deref(), Ok("live/event"));
    assert_eq!(reason(p.on_connect(&encoder(FAR), Instant::now())), None);
    // Where everybody may publish, a key that is none becomes no name.
    let open = policy(standalone(None, Networks::any()));
    assert_eq!(granted(&open, "event").as_deref(), Ok("event"));
    assert_eq!(granted(&open, "sk_right-key"), Err(Reason::NoKey));
}

#[test]
fn a_key_needs_no_login_and_a_plain_name_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = keys_file(&dir, &[("studio", "sk_right-key")]);
    let users = users_file(&dir);
    let now = Instant::now();
    for closed in [false, true] {
        let p = policy(with_keys(Some(&users), &path, closed));
        let comes = |query| {
            let encoder = Connect {
                query,
                ..encoder(FAR)
            };
            reason(p.on_connect(&encoder, now))
        };
        assert_eq!(comes(None), None, "an encoder may have a key");
        assert!(granted(&p, "sk_right-key").is_ok());
        assert_eq!(comes(None), None);
        assert_eq!(granted(&p, "event"), Err(Reason::NoKey));
        let Decision::Accept { identity, .. } = login(&p, FAR, "ann", "secret") else {
            panic!("not let in");
        };
        assert_eq!(
            identity.user(),
            Some("ann"),
            "asked, as it would have to log in"
        );
        assert_eq!(comes(Some("key")), None, "it says that it has a key");
        assert_eq!(comes(None), Some(Reason::LoginNeeded));
        assert_eq!(comes(None), None, "asked once, and it did not log in");
        let far = FAR.parse().unwrap();
        assert_eq!(
            p.may_play(&Identity::Key("studio".into()), far).is_ok(),
            !closed
        );
    }
}

#[test]
fn other_rules_end_those_whose_keys_they_do_not_have() {
    let dir = tempfile::tempdir().unwrap();
    let path = keys_file(&dir, &[("a", "sk_first-key"), ("b", "sk_second-key")]);
    let p = policy(with_keys(None, &path, false));
    let hold = |name: &str| {
        let far = FAR.parse().unwrap();
        match p.grant(&Identity::Nobody, ("live", name), far, Instant::now()) {
            Ok(Grant::Key { key, .. }) => p.hold(&key, Box::new(|| {})),
            _ => panic!("{name} is refused"),
        }
    };
    let (a, b) = (hold("sk_first-key"), hold("sk_second-key"));
    p.tick();
    assert!(!a.is_revoked() && !b.is_revoked());
    keys_file(&dir, &[("b", "sk_second-key")]);
    let new = p
        .prepare(with_keys(None, &path, false), Instant::now())
        .unwrap();
    assert!(!a.is_revoked(), "not before they hold");
    assert_eq!(p.adopt(new).keys, Some(1));
    assert!(a.is_revoked() && !b.is_revoked());
    assert!(granted(&p, "sk_first-key").is_err() && granted(&p, "sk_second-key").is_ok());
    keys_file(&dir, &[]);
    p.tick();
    assert!(b.is_revoked());
}
