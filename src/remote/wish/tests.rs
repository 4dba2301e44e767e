//! What wishes come to, and what is refused of them.

use super::*;

fn wish(stream: &str, uri: &str) -> Wish {
    Wish {
        stream: stream.to_owned(),
        uri: uri.to_owned(),
        ..Wish::default()
    }
}

fn pull(wish: Wish) -> Result<Spec, Wrong> {
    Spec::new(Direction::Pull, wish, &Applications::usual())
}

fn push(wish: Wish) -> Result<Spec, Wrong> {
    Spec::new(Direction::Push, wish, &Applications::usual())
}

fn secret(word: &str) -> Option<Password> {
    Some(Password::new(word.to_owned()))
}

#[test]
fn a_pull_names_a_stream_there() {
    let spec = pull(wish("live/a", "rtmp://ann:pw@h/app/sub/event?token=1")).unwrap();
    let there = (spec.app.as_str(), spec.name.as_deref());
    assert_eq!(there, ("app/sub", Some("event?token=1")));
    assert_eq!(spec.to_string(), "live/a <- rtmp://h:1935/app/sub/event");
    assert_eq!(spec.address.login, None, "it is the spec's");
    let login = Some((
        "ann".to_owned(),
        Hidden::Word(Password::new("pw".to_owned())),
    ));
    assert_eq!(spec.login, login);
    // An alias is the application that it stands for.
    let spec = pull(wish("flvplayback/a", "rtmp://h/app/event")).unwrap();
    assert_eq!(spec.local.to_string(), "live/a");
}

#[test]
fn a_push_names_an_application_and_perhaps_a_stream() {
    let of = |wish| {
        let spec = push(wish).unwrap();
        (
            spec.app.clone(),
            spec.name.clone().unwrap_or_default(),
            spec.shown(),
        )
    };
    let said =
        |app: &str, name: &str, shown: &str| (app.to_owned(), name.to_owned(), shown.to_owned());
    assert_eq!(
        of(wish("live/a", "rtmp://h/app")),
        said("app", "a", "rtmp://h:1935/app")
    );
    assert_eq!(
        of(wish("live/a", "rtmp://h/app/key-1")),
        said("app", "key-1", "rtmp://h:1935/app/...")
    );
    let keyed = Wish {
        target: secret("key-2"),
        ..wish("live/a", "rtmp://h/app/instance")
    };
    assert_eq!(
        of(keyed),
        said("app/instance", "key-2", "rtmp://h:1935/app/...")
    );
    assert_eq!(
        of(wish("live/*", "rtmp://h/app/instance")),
        said("app/instance", "", "rtmp://h:1935/app/...")
    );
}

#[test]
fn nothing_secret_is_shown() {
    let spec = push(Wish {
        target: secret("stream-key"),
        ..wish("live/a", "rtmps://ann:hunter2@h/app?token=abc")
    })
    .unwrap();
    let shown = format!("{spec} {spec:?} {:?}", spec.wish);
    for word in ["hunter2", "stream-key", "token"] {
        assert!(!shown.contains(word), "{shown}");
    }
    let said = "stream-key is not available in app?token=abc for hunter2";
    assert_eq!(
        spec.without_secrets(said),
        "*** is not available in app?*** for ***"
    );
    let spec = push(wish("live/a", "rtmp://h/app/KEY?x=y")).unwrap();
    assert_eq!(
        spec.without_secrets("KEY: no such stream"),
        "***: no such stream"
    );
    let spec = push(wish("live/event", "rtmp://h/app")).unwrap();
    assert_eq!(spec.without_secrets("event is taken"), "event is taken");
}

#[test]
fn a_pull_over_rtsp_names_an_address() {
    let camera = || wish("live/cam", "rtsp://ad&min:@10.0.0.9/ch1?stream=0");
    let spec = pull(camera()).unwrap();
    assert_eq!(spec.to_string(), "live/cam <- rtsp://10.0.0.9:554/ch1");
    assert_eq!((spec.app.as_str(), spec.name.as_deref()), ("", None));
    assert!(!spec.datagrams());
    let word = Hidden::Word(Password::new(String::new()));
    assert_eq!(spec.login, Some(("ad&min".to_owned(), word)));
    let udp = |wish: Wish| Wish {
        transport: Some("udp".to_owned()),
        ..wish
    };
    assert!(pull(udp(camera())).unwrap().datagrams());
    assert!(
        pull(wish("live/cam", "rtsp://h")).is_ok(),
        "some have no path"
    );
    let hidden = pull(wish("live/cam", "rtsp://h/user=a&password=hunter2")).unwrap();
    let said = format!(
        "{hidden} {}",
        hidden.without_secrets("no user=a&password=hunter2 here")
    );
    assert!(!said.contains("hunter2"), "{said}");
    for (wrong, key) in [
        (udp(wish("live/a", "rtmp://h/app/x")), "transport"),
        (udp(wish("live/a", "rtsps://h/x")), "transport"),
        (
            Wish {
                transport: Some("sctp".to_owned()),
                ..camera()
            },
            "transport",
        ),
        (
            Wish {
                swf_url: Some("x".to_owned()),
                ..camera()
            },
            "swf_url",
        ),
        (wish("live/a", "rtsp://h:0/x"), "uri"),
    ] {
        assert_eq!(pull(wrong).unwrap_err().key, key);
    }
    assert_eq!(push(camera()).unwrap_err().key, "uri");
}

#[test]
fn a_bad_address_is_told_with_how_one_is_written() {
    for bad in ["", "http://h/x", "rtmp://h:70000/x", "rtmp://h o/x"] {
        let told = pull(wish("live/a", bad)).unwrap_err().message;
        assert!(told.contains("rtmp://HOST/APPLICATION/STREAM"), "{told}");
        let told = push(wish("live/a", bad)).unwrap_err().message;
        assert!(told.contains("\"rtmp://HOST/APPLICATION\""), "{told}");
        assert!(!told.contains(", rtsp://"), "{told}");
    }
}

#[test]
fn what_is_wrong_names_its_key() {
    let (base, tls) = (
        wish("live/a", "rtmp://h/app/x"),
        wish("live/a", "rtmps://h/app/x"),
    );
    let text = |text: &str| Some(text.to_owned());
    for (wish, key) in [
        (wish("", "rtmp://h/app/x"), "stream"),
        (wish("event", "rtmp://h/app/x"), "stream"),
        (wish("other/event", "rtmp://h/app/x"), "stream"),
        (wish("live/../x", "rtmp://h/app/x"), "stream"),
        (wish("live/*", "rtmp://h/app/x"), "stream"),
        (wish("live/a", ""), "uri"),
        (wish("live/a", "rtmp://h/app"), "uri"),
        (wish("live/a", "rtmp://h/app/"), "uri"),
        (wish("live/a", "http://h/app/x"), "uri"),
        (
            Wish {
                target: secret("x"),
                ..base.clone()
            },
            "target",
        ),
        (
            Wish {
                kind: text("live"),
                ..base.clone()
            },
            "type",
        ),
        (
            Wish {
                user: text("ann"),
                ..base.clone()
            },
            "user",
        ),
        (
            Wish {
                password: secret("x"),
                ..base.clone()
            },
            "user",
        ),
        (
            Wish {
                user: text("a&b"),
                password: secret("x"),
                ..base.clone()
            },
            "user",
        ),
        (
            Wish {
                user: text("ann"),
                password: secret("x"),
                password_file: Some("p".into()),
                ..base.clone()
            },
            "password_file",
        ),
        (
            Wish {
                user: text("b"),
                uri: "rtmp://a:b@h/app/x".into(),
                ..base.clone()
            },
            "user",
        ),
        (
            Wish {
                ca_file: Some("ca".into()),
                ..base.clone()
            },
            "ca_file",
        ),
        (
            Wish {
                tc_url: text("a\nb"),
                ..base.clone()
            },
            "tc_url",
        ),
        (
            Wish {
                flash_ver: text(&"x".repeat(3000)),
                ..base
            },
            "flash_ver",
        ),
    ] {
        let told = pull(wish).unwrap_err();
        assert_eq!(told.key, key, "{told}");
    }
    assert!(
        pull(Wish {
            ca_file: Some("ca".into()),
            ..tls
        })
        .is_ok()
    );
    for (wish, key) in [
        (wish("live/a", "rtmp://h"), "uri"),
        (
            Wish {
                kind: text("vod"),
                ..wish("live/a", "rtmp://h/app")
            },
            "type",
        ),
        (
            Wish {
                target: secret("x"),
                ..wish("live/*", "rtmp://h/app")
            },
            "target",
        ),
        (
            Wish {
                target: secret(""),
                ..wish("live/a", "rtmp://h/app")
            },
            "target",
        ),
    ] {
        let told = push(wish).unwrap_err();
        assert_eq!(told.key, key, "{told}");
    }
}

#[test]
fn an_application_may_have_a_slash_in_its_name() {
    let mut applications = Applications::usual();
    applications.add("tv/one").unwrap();
    let spec = |stream: &str| {
        let wish = Wish {
            stream: stream.to_owned(),
            uri: "rtmp://source.example/live/event".to_owned(),
            ..Wish::default()
        };
        Spec::new(Direction::Pull, wish, &applications).map(|spec| spec.local.to_string())
    };
    assert_eq!(spec("tv/one/x").unwrap(), "tv/one/x");
    assert_eq!(spec("vod/x").unwrap(), "live/x");
    assert!(
        spec("tv/two/x")
            .unwrap_err()
            .message
            .starts_with("\"tv\" is not in the list")
    );
    assert!(spec("tv/one").is_err());
}
