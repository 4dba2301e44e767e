//! Credentials, and what differs between two configurations.

use super::*;

/// In the folder of a configuration, with these credentials.
fn with_credentials(text: &str, given: &[(&str, &str)], flags: &[(&str, &str)]) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in given {
        write(dir.path(), &format!("given/{name}"), text);
    }
    let flag = |(key, value): &(&str, &str)| Flag {
        name: "--set".into(),
        key: (*key).into(),
        value: (*value).into(),
    };
    load(&Sources {
        file: Some(write(dir.path(), "c.toml", text)),
        credentials: Some(dir.path().join("given")),
        flags: flags.iter().map(flag).collect(),
        ..Sources::default()
    })
    .unwrap()
}

#[test]
fn credentials_come_behind_the_files_and_before_the_rest() {
    let secret = ("crtmpserver.secret", "0123456789abcdef\n");
    let master = ("crtmpserver.master", "rtmp://given\n");
    let text = "role = \"mirror\"\n[mirror]\nmaster = \"rtmp://file\"\nsecret_file = \"none\"\n";
    let both = with_credentials(text, &[secret, master], &[]);
    let address = |loaded: &Loaded| loaded.settings.mirror.as_ref().unwrap().master.to_string();
    assert_eq!(address(&both), "rtmp://given:1935");
    assert!(both.settings.policy().is_err(), "the folder is gone by now");
    assert!(both.settings.lack().is_none() && both.warnings.is_empty());
    let from = |key: &str| {
        let origin = both.origins.iter().find(|(k, _)| k == key);
        origin.unwrap().1.clone()
    };
    assert_eq!(from("mirror.master"), "credential crtmpserver.master");
    assert_eq!(from("mirror.secret_file"), "credential crtmpserver.secret");
    assert!(from("role").ends_with("c.toml:1"), "{}", from("role"));

    let flag = ("mirror.master", "rtmp://flag");
    assert_eq!(
        address(&with_credentials(text, &[secret, master], &[flag])),
        "rtmp://flag:1935"
    );
    let empty = with_credentials(text, &[("crtmpserver.master", ""), secret], &[]);
    assert_eq!(address(&empty), "rtmp://file:1935");
    let none = with_credentials(text, &[], &[]);
    assert!(matches!(none.settings.lack(), Some(Lack::SecretFile(_))));
}

#[test]
#[cfg(feature = "publish")]
fn credentials_are_for_the_role_whoever_says_which() {
    let given = [
        ("crtmpserver.master", "rtmp://given"),
        ("crtmpserver.secret", "0123456789abcdef"),
        ("crtmpserver.users", "# nobody\n"),
    ];
    let master = with_credentials("", &given, &[("role", "master")]);
    assert!(master.settings.mirror.is_none() && master.settings.secret_file.is_some());
    assert_eq!(master.holders.users, Some(0));
    assert!(master.warnings[0].contains("crtmpserver.master has no meaning on a master"));
    let mirror = with_credentials("", &given, &[("role", "mirror")]);
    assert!(mirror.settings.mirror.is_some() && mirror.holders.users.is_none());
    assert_eq!(mirror.warnings.len(), 1, "{:?}", mirror.warnings);
}

#[test]
fn what_changed_is_told_key_by_key() {
    let base = Settings::for_role(Role::Mirror);
    assert_eq!(changes(&base, &base), []);
    let mut other = base.clone();
    other.relay.grace = Some(std::time::Duration::from_secs(60));
    other.limits.max_video = 4 << 20;
    other.server.threads = std::num::NonZeroUsize::new(3);
    other.listen.rtmp.push("127.0.0.1:1936".parse().unwrap());
    other.applications.add_alias("simple", "live").unwrap();
    other.mirror = Some(Mirror {
        ca_file: None,
        master: "rtmp://m".parse().unwrap(),
        streams: Vec::new(),
    });
    let told: Vec<_> = changes(&base, &other)
        .into_iter()
        .map(|change| (change.to_string(), change.effect))
        .collect();
    let told: Vec<_> = told
        .iter()
        .map(|(text, effect)| (&**text, *effect))
        .collect();
    assert_eq!(
        told,
        [
            ("aliases [] -> [simple=live]", Effect::ForNew),
            (
                "listen.rtmp [[::]:1935] -> [[::]:1935, 127.0.0.1:1936]",
                Effect::Listener
            ),
            ("mirror.master none -> rtmp://m:1935", Effect::AtOnce),
            ("relay.grace unlimited -> 1m", Effect::AtOnce),
            ("limits.max_video 8MiB -> 4MiB", Effect::ForNew),
            ("server.threads auto -> 3", Effect::Restart),
        ]
    );
}
