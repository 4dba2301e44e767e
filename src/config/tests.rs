//! Layers, problems, and the files of `etc/`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

#[cfg(feature = "publish")]
mod publishing;
mod sources;

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn from_text(text: &str) -> Result<Loaded, Vec<Problem>> {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "c.toml", text);
    load(&Sources {
        file: Some(file),
        ..Sources::default()
    })
}

#[cfg(feature = "publish")]
fn from_environment(pairs: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    let own = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    load(&Sources {
        environment: pairs.iter().map(own).collect(),
        ..Sources::default()
    })
}

/// Settings and warnings of keys given with `--set`.
pub(super) fn with_flags(pairs: &[(&str, &str)]) -> Result<(Settings, Vec<String>), Vec<Problem>> {
    let flag = |(key, value): &(&str, &str)| Flag {
        name: "--set".into(),
        key: (*key).into(),
        value: (*value).into(),
    };
    let loaded = load(&Sources {
        flags: pairs.iter().map(flag).collect(),
        ..Sources::default()
    })?;
    Ok((loaded.settings, loaded.warnings))
}

/// Key and message of each problem.
fn problems(text: &str) -> Vec<(String, String)> {
    let problems = from_text(text).unwrap_err();
    problems.into_iter().map(|p| (p.key, p.message)).collect()
}

fn keys(text: &str) -> Vec<String> {
    problems(text).into_iter().map(|(key, _)| key).collect()
}

#[test]
#[cfg(feature = "publish")]
fn without_anything_it_is_a_standalone_open_to_loopback() {
    let loaded = load(&Sources::default()).unwrap();
    let notes = loaded.notes();
    let s = loaded.settings;
    assert_eq!(s, Settings::default());
    assert_eq!(s.role, Role::Standalone);
    assert_eq!(s.listen.rtmp, ["[::]:1935".parse().unwrap()]);
    assert_eq!(s.listen.http, ["[::]:8080".parse().unwrap()]);
    assert!(s.publish.networks.contains("127.0.0.1".parse().unwrap()));
    assert!(!s.publish.networks.contains("10.0.0.1".parse().unwrap()));
    let said = |note: &String| note.starts_with("publish: loopback alone, without a login");
    assert!(notes.iter().any(said), "said at start: {notes:?}");
    assert!(loaded.warnings.is_empty());
}

#[test]
#[cfg(feature = "publish")]
fn each_layer_replaces_single_keys_of_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[relay]\nlog_time = \"11s\"\njoin_max = \"1s\"\ngrace = \"1s\"\nlog_frames = 100\n[log]\nlevel = \"error\"\n";
    let file = write(dir.path(), "c.toml", text);
    write(
        dir.path(),
        "conf.d/20.toml",
        "[relay]\nlog_frames = 200\ngrace = \"2s\"\n",
    );
    write(
        dir.path(),
        "conf.d/10.toml",
        "[relay]\nlog_frames = 150\njoin_max = \"2s\"\n",
    );
    write(dir.path(), "conf.d/.hidden.toml", "nonsense");
    write(dir.path(), "conf.d/30.toml~", "nonsense");
    let flag = |key: &str, value: &str| Flag {
        name: "--set".into(),
        key: key.into(),
        value: value.into(),
    };
    let loaded = load(&Sources {
        file: Some(file),
        environment: vec![
            ("CRTMPSERVER_RELAY__GRACE".into(), "3s".into()),
            ("CRTMPSERVER_LOG__LEVEL".into(), "debug".into()),
            ("PATH".into(), "/bin".into()),
        ],
        flags: vec![flag("log.level", "trace"), flag("listen.rtmp", "[::1]:7")],
        ..Sources::default()
    });
    let s = loaded.unwrap().settings;
    assert_eq!(s.relay.log_time.as_secs(), 11, "file");
    assert_eq!(s.relay.join_max.as_secs(), 2, "conf.d/10");
    assert_eq!(s.relay.log_frames, 200, "conf.d/20");
    assert_eq!(s.relay.grace.unwrap().as_secs(), 3, "environment");
    assert_eq!(s.log.level, "trace", "flag");
    assert_eq!(s.listen.rtmp, ["[::1]:7".parse().unwrap()]);
}

#[test]
#[cfg(feature = "publish")]
fn the_environment_knows_lists_numbers_and_words() {
    let s = from_environment(&[
        ("CRTMPSERVER_APPLICATIONS", "[live, \"test\"]"),
        ("CRTMPSERVER_LISTEN__RTMP", "[\"127.0.0.1:0\", \"[::1]:0\"]"),
        ("CRTMPSERVER_LISTEN__HTTP", "[]"),
        ("CRTMPSERVER_SERVER__THREADS", "3"),
        ("CRTMPSERVER_RELAY__LOG_BYTES", "32MiB"),
        ("CRTMPSERVER_PLAY__NETWORKS", "10.0.0.0/8"),
        ("CRTMPSERVER_ALIASES__SIMPLE", "live"),
    ])
    .unwrap()
    .settings;
    assert_eq!(s.applications.names().count(), 2);
    assert!(s.applications.resolve("simple").is_some());
    assert_eq!((s.listen.rtmp.len(), s.listen.http.len()), (2, 0));
    assert_eq!(s.server.threads.unwrap().get(), 3);
    assert_eq!(s.relay.log_bytes, 32 << 20);
    assert_eq!(s.play.networks.to_string(), "10.0.0.0/8");
    let problem = &from_environment(&[("CRTMPSERVER_RELAY__LOG_TIME", "10")]).unwrap_err()[0];
    assert_eq!(
        (problem.place.as_str(), problem.key.as_str()),
        ("CRTMPSERVER_RELAY__LOG_TIME", "relay.log_time")
    );
    let problem = &from_environment(&[("CRTMPSERVER_ROLL", "x")]).unwrap_err()[0];
    assert_eq!(
        (problem.place.as_str(), problem.key.as_str()),
        ("CRTMPSERVER_ROLL", "roll")
    );
}

#[test]
#[cfg(feature = "publish")]
fn every_problem_is_told_with_its_line_and_what_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let text = "rol = \"master\"\n[listen]\nrtmp = [\"1935\", \"nope\"]\n[relay]\nlog_time = 20\njoin = \"middle\"\n[limits]\nmax_streams = \"many\"\n[play]\nnetworks = [\"10.0.0.0/99\"]\n";
    let file = write(dir.path(), "c.toml", text);
    let name = file.display().to_string();
    let told: Vec<String> = load(&Sources {
        file: Some(file),
        ..Sources::default()
    })
    .unwrap_err()
    .iter()
    .map(ToString::to_string)
    .collect();
    let expected = [
        (8, "limits.max_streams", "expected a whole number"),
        (6, "relay.join", "gop, keyframe"),
        (5, "relay.log_time", "such as \"20s\""),
        (1, "rol", "role, applications"),
        (3, "listen.rtmp", "\"1935\" is no address"),
        (3, "listen.rtmp", "\"nope\" is no address"),
        (10, "play.networks", "\"10.0.0.0/8\""),
    ];
    for (line, key, part) in expected {
        let start = format!("{name}:{line}: {key}: ");
        assert!(
            told.iter()
                .any(|t| t.starts_with(&start) && t.contains(part)),
            "{start}…{part} in {told:#?}"
        );
    }
    // Nothing is left to listen on, because no address was good.
    assert!(told.len() <= expected.len() + 1, "{told:#?}");
}

#[test]
fn a_file_that_is_no_toml_or_not_there() {
    let problem = &from_text("role = \n").unwrap_err()[0];
    assert!(problem.place.ends_with("c.toml:1"), "{problem}");
    assert!(!problem.to_string().contains('\n'));
    let missing = load(&Sources {
        file: Some("/nonexistent/c.toml".into()),
        ..Sources::default()
    });
    assert!(
        missing.unwrap_err()[0]
            .to_string()
            .contains("/nonexistent/c.toml: cannot be read")
    );
    let folder = load(&Sources {
        file: Some(std::env::temp_dir()),
        ..Sources::default()
    });
    assert!(folder.is_err());
    assert_eq!(
        keys("relay = 5\nrole = \"mirror\"\n[mirror]\nmaster=\"rtmp://m\"\nstreams=[\"live/x\"]\n"),
        ["relay"]
    );
}

#[test]
#[cfg(feature = "publish")]
fn a_master_needs_someone_who_may_play() {
    assert_eq!(keys("role = \"master\"\n"), ["master.secret_file"]);
    let s = from_text("role = \"master\"\n[play]\nnetworks = [\"10.0.0.0/8\"]\n").unwrap();
    assert!(s.settings.policy().unwrap().0.closed);
    assert_eq!(
        keys("role = \"master\"\n[master]\nsecret_file = \"none\"\n"),
        ["master.secret_file"]
    );
    assert_eq!(
        keys("role = \"master\"\n[mirror]\nmaster = \"rtmp://x\"\n[play]\nnetworks = [\"any\"]\n"),
        ["mirror.master"]
    );
}

#[test]
fn a_mirror_without_its_master_or_the_secret_says_so_and_runs() {
    let lack = |text: &str| {
        let loaded = from_text(text).unwrap();
        let lack = loaded.settings.lack().unwrap();
        assert_eq!(loaded.warnings, [lack.to_string()], "said once");
        lack
    };
    for nothing in [
        "",
        "[mirror]\nmaster = \"\"\n",
        "[mirror]\nsecret_file = \"none\"\n",
    ] {
        assert_eq!(lack(&format!("role = \"mirror\"\n{nothing}")), Lack::Master);
    }
    let master = "role = \"mirror\"\n[mirror]\nmaster = \"rtmp://x\"\n";
    let usual = lack(master);
    assert!(
        matches!(&usual, Lack::SecretFile(path) if path.ends_with("secret")),
        "{usual}"
    );
    // Without a file of the configuration there is nothing that it could be beside.
    let flag = |key: &str, value: &str| Flag {
        name: "--set".into(),
        key: key.into(),
        value: value.into(),
    };
    let alone = load(&Sources {
        flags: vec![flag("role", "mirror"), flag("mirror.master", "rtmp://x")],
        ..Sources::default()
    });
    assert_eq!(alone.unwrap().settings.lack(), Some(Lack::Secret));
    let missing = lack(&format!("{master}secret_file = \"/nonexistent/secret\"\n"));
    assert_eq!(missing, Lack::SecretFile("/nonexistent/secret".into()));
    assert!(missing.to_string().contains("/nonexistent/secret"));
    // A secret that is no secret is another matter.
    assert_eq!(
        keys(&format!("{master}secret_file = \"/dev/null\"\n")),
        ["mirror.secret_file"]
    );
}

#[test]
fn a_mirror_has_a_secret_or_a_foreign_master() {
    assert_eq!(
        keys("role = \"mirror\"\n[mirror]\nmaster = \"http://x\"\n"),
        ["mirror.master"]
    );
    let foreign = "role = \"mirror\"\n[mirror]\nmaster = \"rtmp://x\"\n";
    let s = from_text(&format!("{foreign}streams = [\"live/a\", \"live/b/c\"]\n"))
        .unwrap()
        .settings;
    assert_eq!(s.mirror.unwrap().streams.len(), 2);
    assert_eq!(s.relay.grace, None, "a mirror waits for ever");
    assert_eq!(
        keys(&format!(
            "{foreign}streams = [\"live\", \"vod/x\", \"live/..\"]\n"
        )),
        ["mirror.streams"; 3]
    );
    assert_eq!(
        keys(&format!(
            "{foreign}streams = [\"live/a\"]\nsecret_file = \"s\"\n"
        )),
        ["mirror.streams"]
    );
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "s", "0123456789abcdef\n");
    let file = write(
        dir.path(),
        "c.toml",
        &format!("{foreign}secret_file = \"s\"\n"),
    );
    let loaded = load(&Sources {
        file: Some(file),
        ..Sources::default()
    })
    .unwrap();
    assert_eq!(
        loaded.settings.secret_file,
        Some(dir.path().join("s")),
        "beside the file"
    );
    let (policy, _) = loaded.settings.policy().unwrap();
    assert!(policy.publishers.is_none() && policy.secret.is_some());
}

#[test]
#[cfg(feature = "publish")]
fn a_mirror_has_no_publishers() {
    let text = "role = \"mirror\"\n[mirror]\nmaster = \"rtmp://x\"\nstreams = [\"live/a\"]\n[publish]\nusers = \"u\"\n[master]\nsecret_file = \"s\"\n";
    assert_eq!(keys(text), ["publish.users", "master.secret_file"]);
}

#[test]
#[cfg(not(feature = "publish"))]
fn this_build_is_a_mirror_and_nothing_else() {
    assert_eq!(Role::default(), Role::Mirror);
    assert_eq!(
        keys("role = \"master\"\n[play]\nnetworks = [\"any\"]\n"),
        ["role"]
    );
    let mirror = "role = \"mirror\"\n[mirror]\nmaster = \"rtmp://x\"\nstreams = [\"live/a\"]\n";
    let other = format!("{mirror}[publish]\nusers = \"u\"\nunknown = 1\n");
    let warnings = from_text(&other).unwrap().warnings;
    assert!(
        warnings.iter().any(|w| w.contains("without publishing")),
        "{warnings:?}"
    );
}

#[test]
#[cfg(feature = "publish")]
fn users_close_publishing_without_a_login() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "users", "# nobody\n");
    let text = "[publish]\nusers = \"users\"\n";
    let load_text = |text: &str| {
        load(&Sources {
            file: Some(write(dir.path(), "c.toml", text)),
            ..Sources::default()
        })
    };
    let loaded = load_text(text).unwrap();
    assert!(loaded.settings.publish.networks.is_empty());
    assert_eq!(loaded.holders.users, Some(0));
    assert!(loaded.warnings.iter().any(|w| w.contains("has no user")));
    let missing = load_text("[publish]\nusers = \"nowhere\"\n").unwrap_err();
    assert!(missing[0].to_string().contains("crtmpserver passwd"));
    let kept = load_text(&format!("{text}networks = [\"loopback\"]\n")).unwrap();
    assert!(!kept.settings.publish.networks.is_empty());
    write(dir.path(), "users", "ann:secret\nbob:secret\n");
    let problem = load_text(text).unwrap_err().remove(0);
    assert!(
        problem.message.contains("line 1") && problem.message.contains("line 2"),
        "{problem}"
    );
    assert!(!problem.message.contains("secret"), "{problem}");
}

#[test]
fn numbers_have_bounds() {
    let base = "role = \"mirror\"\n[mirror]\nmaster = \"rtmp://x\"\nstreams = [\"live/a\"]\n";
    for (table, line, key) in [
        ("relay", "log_bytes = \"1B\"", "relay.log_bytes"),
        ("relay", "log_frames = 63", "relay.log_frames"),
        ("relay", "join_max = \"21s\"", "relay.join_max"),
        ("hls", "segment = \"11s\"", "hls.segment"),
        ("hls", "window = 2", "hls.window"),
        ("limits", "min_chunk_size = 0", "limits.min_chunk_size"),
        ("limits", "max_streams = 0", "limits.max_streams"),
        ("limits", "max_audio = \"16MiB\"", "limits.max_audio"),
        ("limits", "ping_after = \"60s\"", "limits.silence_timeout"),
        ("limits", "idle_timeout = \"0s\"", "limits.idle_timeout"),
        ("limits", "max_viewers = 0", "limits.max_viewers"),
        ("limits", "max_mbit_s = -1", "limits.max_mbit_s"),
        ("cluster", "weight = 1001", "cluster.weight"),
        ("cluster", "http_port = 0", "cluster.http_port"),
        ("cluster", "host = \"http://x\"", "cluster.host"),
        ("cluster", "metadata = \"https://x\"", "cluster.metadata"),
        ("cluster", "allow = [\"a b\"]", "cluster.allow"),
        ("server", "threads = 0", "server.threads"),
        ("server", "stop_grace = \"2h\"", "server.stop_grace"),
        ("listen", "cli = [\"0.0.0.0:1112\"]", "listen.cli"),
        ("listen", "cli = [\"[::]:1112\"]", "listen.cli"),
        ("listen", "cli = [\"192.0.2.1:1112\"]", "listen.cli"),
        ("listen", "cli = [\"localhost:1112\"]", "listen.cli"),
        (
            "listen",
            "rtmp = [\"127.0.0.1:1\"]\ncli = [\"127.0.0.1:1\"]",
            "listen.cli",
        ),
        (
            "listen",
            "rtmp = []\nhttp = []\ncli = [\"127.0.0.1:1112\"]",
            "listen",
        ),
        ("log", "level = \"loud\"", "log.level"),
        ("listen", "rtmp = [\"[::]:1\", \"[::]:1\"]", "listen.rtmp"),
        ("listen", "rtmp = [\"[::]:8080\"]", "listen.http"),
        ("listen", "rtmp = []\nhttp = []", "listen"),
    ] {
        let found = keys(&format!("{base}[{table}]\n{line}\n"));
        assert!(found.iter().any(|k| k == key), "{line}: {found:?}");
    }
    let good = "[limits]\nmin_chunk_size = 1\nmax_streams = 1\n[relay]\nlog_frames = 64\n[listen]\nrtmp = [\"[::]:0\", \"[::]:0\"]\ncli = [\"127.0.0.1:1112\", \"[::1]:1112\"]\n";
    assert!(from_text(&format!("{base}{good}")).is_ok());
}

#[test]
fn more_problems_than_anyone_reads_do_not_hold_it_up() {
    let text: String = (0..5000).map(|n| format!("k{n} = 1\n")).collect();
    assert_eq!(from_text(&text).unwrap_err().len(), MAX_CONFIG_PROBLEMS);
}

/// The file that the packages install serves the mirror that has no publishing as well.
#[test]
fn what_is_installed_is_good_for_every_build() {
    assert!(!include_str!("../../etc/crtmpserver.toml").contains("\n[publish]"));
}

/// The three files of `etc/`.
#[cfg(feature = "publish")]
mod shipped {
    use super::*;

    const STANDALONE: &str = include_str!("../../etc/crtmpserver.toml");
    const MASTER: &str = include_str!("../../etc/master.toml");
    const MIRROR: &str = include_str!("../../etc/mirror.toml");

    /// With the absolute paths of an installation moved beside the file.
    fn check(text: &str) -> Loaded {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "users", "");
        write(dir.path(), "secret", "0123456789abcdef");
        let text = text.replace("/etc/crtmpserver/", "");
        load(&Sources {
            file: Some(write(dir.path(), "c.toml", &text)),
            ..Sources::default()
        })
        .unwrap()
    }

    #[test]
    fn each_is_good() {
        assert_eq!(check(STANDALONE).settings, Settings::default());
        assert_eq!(check(MASTER).settings.role, Role::Master);
        let mirror = check(MIRROR).settings;
        assert_eq!(mirror.role, Role::Mirror);
        assert_eq!(mirror.relay.grace, None);
    }

    #[test]
    fn each_is_a_dozen_lines_of_substance() {
        for text in [STANDALONE, MASTER, MIRROR] {
            let prose = |l: &str| l.starts_with("# ") || l == "#" || l.is_empty();
            let substance = text.lines().filter(|l| !prose(l)).count();
            assert!((6..=36).contains(&substance), "{substance}");
        }
    }

    #[test]
    fn the_defaults_in_comments_are_the_built_in_ones() {
        let mut shown = 0;
        let mut text = String::new();
        for line in STANDALONE.lines() {
            let is_default = |l: &str| l.starts_with(|c: char| c.is_alphabetic() || c == '[');
            match line.strip_prefix('#').filter(|l| is_default(l)) {
                // The two defaults that are "none".
                Some(rest) if rest.starts_with("users = ") || rest.starts_with("keys = ") => {}
                Some(rest) if rest.starts_with('[') => text += rest,
                Some(rest) => {
                    shown += 1;
                    text += rest;
                }
                None => text += line,
            }
            text.push('\n');
        }
        assert!(shown >= 15, "{shown}");
        assert_eq!(check(&text).settings, Settings::default());
    }

    #[test]
    fn a_summary_says_who_publishes_and_who_plays() {
        let text = |loaded: Loaded| -> String {
            let line = |(name, what): (&str, String)| format!("{name}: {what}\n");
            loaded.summary().into_iter().map(line).collect()
        };
        let standalone = text(check(STANDALONE));
        assert!(
            standalone.contains("publish: loopback alone, without a login: there are no users")
        );
        assert!(standalone.contains("play: everyone"));
        let master = text(check(MASTER));
        assert!(
            master.contains("publish: the users of")
                && master.contains("play: mirrors with the secret in")
        );
        let mirror = text(check(MIRROR));
        assert!(mirror.contains("publish: nobody") && mirror.contains("master.example.org:1935"));
    }
}

/// The table of `docs/configuration.md`.
#[cfg(feature = "publish")]
mod documented {
    use super::*;

    const PAGE: &str = include_str!("../../docs/configuration.md");

    /// Key and default of each row.
    fn rows() -> Vec<(&'static str, &'static str)> {
        let cell = |text: &'static str| text.trim().trim_matches('`');
        PAGE.lines()
            .filter(|l| l.starts_with("| `"))
            .filter_map(|l| {
                let mut cells = l.trim_start_matches('|').split('|');
                Some((cell(cells.next()?), cell(cells.next()?)))
            })
            .collect()
    }

    #[test]
    fn every_key_is_there_and_none_that_is_not_known() {
        let mut documented: Vec<&str> = rows().into_iter().map(|(key, _)| key).collect();
        let mut known = Vec::new();
        for table in std::iter::once("").chain(known_tables()) {
            let header = if table.is_empty() {
                String::new()
            } else {
                format!("[{table}]\n")
            };
            let told = problems(&format!("{header}no-such-key = 1\n"));
            let (_, list) = told[0].1.split_once("what is known: ").unwrap();
            for key in list.split(", ") {
                known.push(if table.is_empty() {
                    key.to_owned()
                } else {
                    format!("{table}.{key}")
                });
            }
        }
        known.retain(|key| !known_tables().contains(&key.as_str()));
        known.sort();
        documented.sort_unstable();
        assert_eq!(documented, known);
    }

    fn known_tables() -> [&'static str; 14] {
        [
            "listen", "tls", "publish", "play", "master", "mirror", "cluster", "relay", "hls",
            "files", "record", "limits", "log", "server",
        ]
    }

    #[test]
    fn every_key_says_when_a_change_takes_effect() {
        let column = |line: &'static str| Some(line.rsplit('|').nth(1)?.trim());
        let documented: Vec<_> = PAGE
            .lines()
            .filter(|l| l.starts_with("| `"))
            .filter_map(|l| Some((l.split('`').nth(1)?, column(l)?)))
            .collect();
        let known: Vec<_> = KEYS.iter().map(|k| (k.name, k.effect.as_str())).collect();
        assert_eq!(documented, known);
    }

    #[test]
    fn the_defaults_are_the_built_in_ones() {
        let mut text = String::new();
        let mut shown = 0;
        for (key, default) in rows() {
            if default != "none" && default != "{}" {
                shown += 1;
                text += &format!("{key} = {default}\n");
            }
        }
        assert!(shown >= 30, "{shown}");
        assert_eq!(from_text(&text).unwrap().settings, Settings::default());
    }
}
