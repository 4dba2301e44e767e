//! The files that say who may publish.

use super::*;

#[test]
fn keys_close_publishing_without_a_login() {
    let dir = tempfile::tempdir().unwrap();
    let line = |label: &str, stream: &str, more: &str| {
        format!("{label} {stream} sha256:{}{more}\n", "ab".repeat(32))
    };
    let load_keys = |keys: &str| {
        write(dir.path(), "keys", keys);
        load(&Sources {
            file: Some(write(dir.path(), "c.toml", "[publish]\nkeys = \"keys\"\n")),
            ..Sources::default()
        })
    };
    let good = line("a", "live/event", "") + &line("e", "flvplayback/event", "");
    let old = line("b", "live/event", " until=2020-01-01");
    let vain = line("d", "other/event", "");
    let loaded = load_keys(&(good + &old + &vain)).unwrap();
    assert!(loaded.settings.publish.networks.is_empty());
    assert_eq!((loaded.holders.users, loaded.holders.keys), (None, Some(4)));
    let warned = loaded.warnings.join("\n");
    for words in [
        "the key b has come to its end",
        "the key d is for other, which is no application here",
    ] {
        assert!(warned.contains(words), "{warned}");
    }
    for good in ["the key a", "the key e"] {
        assert!(!warned.contains(good), "{warned}");
    }
    assert!(load_keys("").unwrap().warnings[0].contains("has no key"));
    let problem = load_keys("a live/event sha256:secret\n")
        .unwrap_err()
        .remove(0);
    assert_eq!(problem.key, "publish.keys");
    assert!(problem.message.contains("line 1") && !problem.message.contains("secret"));
    std::fs::remove_file(dir.path().join("keys")).unwrap();
    let missing = load(&Sources {
        file: Some(dir.path().join("c.toml")),
        ..Sources::default()
    });
    assert!(
        missing.unwrap_err()[0]
            .message
            .contains("crtmpserver key add")
    );
}

#[test]
fn a_summary_says_what_comes_in_what_is_kept_and_where_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display();
    let loaded = from_text(&format!(
        "[[listen.rtsp]]\naddress = \"127.0.0.1:1554\"\nnetworks = [\"loopback\"]\n\
         [files]\nfolders = [\"{folder}\", \"{folder}/gone\"]\n\
         [record]\nstreams = [\"live/*\"]\npublishers = true\nfolder = \"{folder}\"\n\
         [[pull]]\nstream = \"live/copy\"\nuri = \"rtmp://source.example/live/event\"\n\
         [[push]]\nstream = \"live/event\"\nuri = \"rtmp://target.example/live\"\ntarget = \"a-secret-key\"\n"
    ))
    .unwrap();
    let lines: Vec<String> = loaded
        .summary()
        .into_iter()
        .map(|(name, what)| format!("{name}: {what}"))
        .collect();
    let has = |line: &str| {
        assert!(
            lines.iter().any(|l| l.starts_with(line)),
            "{line} in {lines:#?}"
        );
    };
    has("rtsp: 127.0.0.1:1554 to live from loopback");
    has(&format!("files: {folder}, {folder}/gone (is not there)"));
    has(&format!(
        "recordings: live/*, what publishers ask for; as flv in {folder}"
    ));
    has("pull: live/copy <- rtmp://source.example");
    has("push: live/event -> rtmp://target.example");
    assert!(!lines.concat().contains("a-secret-key"));
    // The ways in stand in the table that the server writes when it starts.
    assert!(loaded.notes().iter().all(|note| !note.starts_with("rtsp")));
}
