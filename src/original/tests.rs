//! Tables of the original, and what they come to. The shapes are those of its samples, the words are not.

use std::time::Duration;

use super::*;
use crate::lua::{Host, Unread, run};

struct Nothing;

impl Host for Nothing {
    fn read(&self, _: &str) -> Result<Vec<u8>, Unread> {
        Err(Unread::Missing)
    }

    fn time(&self) -> Duration {
        Duration::ZERO
    }
}

fn check(name: &str) -> Result<(), String> {
    if name == "files" {
        return Err("\"files\": is a path of the server's own".to_owned());
    }
    Ok(())
}

fn translated(source: &str) -> Translation {
    let outcome = run("c.lua", source.as_bytes(), &["configuration"], Nothing).unwrap();
    let table = configuration(&outcome.globals, &outcome.printed).unwrap();
    translate(table, &check)
}

/// One application beside the usual acceptor.
fn with(application: &str) -> Translation {
    translated(&format!(
        "configuration = {{ applications = {{ rootDirectory = 'apps',
            {{ name = 'appselector', acceptors = {{ {{ ip = '127.0.0.1', port = 1935, protocol = 'inboundRtmp' }} }} }},
            {{ {application} }} }} }}"
    ))
}

fn list(items: &[&str]) -> Item {
    Item::List(items.iter().map(|item| (*item).to_owned()).collect())
}

impl Translation {
    fn value(&self, key: &str) -> Option<&Item> {
        let found = self.settings.iter().find(|s| s.key == key);
        found.map(|setting| &setting.value)
    }

    fn note(&self, from: &str) -> Option<(NoteKind, &str)> {
        let found = self.notes.iter().find(|n| n.from == from);
        found.map(|note| (note.kind, note.text.as_str()))
    }

    fn lost(&self, from: &str) -> &str {
        match self.note(from) {
            Some((NoteKind::Without, text)) => text,
            other => panic!("{from}: {other:?} in {:#?}", self.notes),
        }
    }

    fn otherwise(&self, from: &str) -> &str {
        match self.note(from) {
            Some((NoteKind::Otherwise, text)) => text,
            other => panic!("{from}: {other:?} in {:#?}", self.notes),
        }
    }
}

#[test]
fn the_single_file_of_the_installation() {
    let all = translated(include_str!("../../tests/original/single/crtmpserver.lua"));
    assert_eq!(
        all.value("applications"),
        Some(&list(&["flvplayback", "proxypublish"]))
    );
    let Some(Item::Names(aliases)) = all.value("aliases") else {
        panic!("{all:#?}");
    };
    assert_eq!(aliases.get("live").map(String::as_str), Some("flvplayback"));
    assert_eq!(aliases.get("vod").map(String::as_str), Some("flvplayback"));
    assert_eq!(all.value("listen.rtmp"), Some(&list(&["0.0.0.0:1935"])));
    assert_eq!(all.value("listen.rtmps"), Some(&list(&["0.0.0.0:8081"])));
    assert_eq!(all.value("listen.http"), Some(&list(&["0.0.0.0:8080"])));
    let folders = Item::Folders(vec!["./media".to_owned()]);
    assert_eq!(all.value("files.folders"), Some(&folders));
    assert_eq!(all.value("log.level"), None, "level 6 is no trace here");
    let users = Item::File(vec![
        "applications/flvplayback/users.lua".to_owned(),
        "users.lua".to_owned(),
    ]);
    assert_eq!(all.value("publish.users"), Some(&users));
    assert!(all.otherwise("daemon").contains("foreground"));
    assert!(
        all.lost("applications.appselector.acceptors[3]")
            .contains("RTMPT")
    );
    assert_eq!(all.value("listen.cli"), Some(&list(&["127.0.0.1:1112"])));
    assert!(all.lost("inboundRtmp").contains("RTMPE"));
    assert!(all.lost("applications.samplefactory").contains("sample"));
    // Every key has become something: none of them is unknown.
    let unknown: Vec<&Note> = all
        .notes
        .iter()
        .filter(|n| n.text.contains("misspelt"))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn the_command_line_is_on_this_machine_alone() {
    let all = with("name = 'admin', acceptors = {
        { ip = '0.0.0.0', port = 1112, protocol = 'inboundJsonCli', useLengthPadding = true },
        { ip = '10.0.0.1', port = 1113, protocol = 'inboundJsonCli' },
        { ip = '::', port = 1112, protocol = 'inboundJsonCli', useLengthPadding = true },
        { ip = '127.0.0.1', port = 1115, protocol = 'inboundJsonCli', useLengthPadding = false, oops = 1 },
        { ip = '127.0.0.1', port = 1112, protocol = 'inboundJsonCli' },
        { ip = '127.0.0.1', port = 1114, protocol = 'inboundHttpJsonCli' } }");
    assert_eq!(
        all.value("listen.cli"),
        Some(&list(&["127.0.0.1:1112", "[::1]:1112", "127.0.0.1:1115"]))
    );
    let at = |n: u32, key: &str| {
        all.lost(&format!("applications.admin.acceptors[{n}]{key}"))
            .to_owned()
    };
    let moved = at(1, "");
    assert!(moved.contains("is on 127.0.0.1:1112 alone"), "{moved}");
    let left = at(2, "");
    assert!(left.contains("of this machine alone: left out"), "{left}");
    let moved = at(3, "");
    assert!(moved.contains("is on [::1]:1112 alone"), "{moved}");
    assert!(at(3, ".useLengthPadding").contains("length"));
    assert!(at(4, ".oops").contains("misspelt"));
    assert!(at(5, "").contains("is taken by listen.cli"));
    assert!(at(6, "").contains("web page"));
    // It is no place for streams: those are where they are when nobody says so.
    let all = translated(
        "configuration = { applications = { { name = 'admin', acceptors = {
            { ip = '127.0.0.1', port = 1112, protocol = 'inboundJsonCli' } } } } }",
    );
    assert_eq!(all.value("listen.cli"), Some(&list(&["127.0.0.1:1112"])));
    for key in ["listen.rtmp", "listen.http"] {
        assert_eq!(all.value(key), None, "{key}");
    }
}

#[test]
fn acceptors_listen() {
    let all = with("name = 'live', acceptors = {
        { ip = '10.0.0.1', port = 1936, protocol = 'inboundRtmp' },
        { ip = '10.0.0.1', port = 443, protocol = 'inboundRtmps', sslKey = 'k.pem', sslCert = '/c.pem', cipherSuite = 'ALL' },
        { ip = '127.0.0.1', port = 1935, protocol = 'inboundRtmpt' },
        { ip = 'localhost', port = 1, protocol = 'inboundRtmp' },
        { ip = '::1', port = 70000, protocol = 'inboundRtmp' },
        { ip = '::1', port = 7, protocol = 'inboundBogus' },
        { ip = '::1', port = 7 }, 'nonsense', oops = 1 }");
    assert_eq!(
        all.value("listen.rtmp"),
        Some(&list(&["127.0.0.1:1935", "10.0.0.1:1936"]))
    );
    assert_eq!(all.value("listen.rtmps"), Some(&list(&["10.0.0.1:443"])));
    assert_eq!(
        all.value("listen.http"),
        Some(&list(&["127.0.0.1:8080", "10.0.0.1:8080"]))
    );
    let key = Item::File(vec!["apps/live/k.pem".to_owned(), "k.pem".to_owned()]);
    assert_eq!(all.value("tls.key"), Some(&key));
    assert_eq!(
        all.value("tls.certificate"),
        Some(&Item::File(vec!["/c.pem".to_owned()]))
    );
    let at = |n: &str| {
        all.lost(&format!("applications.live.acceptors{n}"))
            .to_owned()
    };
    assert!(
        all.otherwise("applications.live.acceptors[1]")
            .contains("live")
    );
    assert!(at("[4]").contains("numeric"));
    assert!(at("[5]").contains("65535"));
    assert!(at("[6]").contains("inboundBogus"));
    assert!(at("[7]").contains("protocol"));
    assert!(at("[8]").contains("a text, not a table"));
    assert!(at(".oops").contains("not a table"));
    // The third one: RTMPT is not there, and its place is taken.
    let third = "applications.live.acceptors[3]";
    let notes: Vec<&Note> = all.notes.iter().filter(|n| n.from == third).collect();
    assert_eq!(notes.len(), 2);
    assert!(notes[1].text.contains("listen.rtmp already"));

    // HTTP keeps away from what another protocol has.
    let all = translated(
        "configuration = { applications = { { name = 'appselector', acceptors = {
        { ip = '0.0.0.0', port = 8080, protocol = 'inboundRtmp' } } } } }",
    );
    assert_eq!(all.value("listen.http"), Some(&list(&[])));
    assert!(all.otherwise("acceptors").contains("8080 is taken"));
    // One place for all, when one of them is everywhere.
    let all = translated(
        "configuration = { applications = { { name = 'appselector', acceptors = {
        { ip = '127.0.0.1', port = 1936, protocol = 'inboundRtmp' },
        { ip = '0.0.0.0', port = 1935, protocol = 'inboundRtmp' } } } } }",
    );
    assert_eq!(all.value("listen.http"), Some(&list(&["0.0.0.0:8080"])));
    // Without any there are our own.
    let all = translated("configuration = {}");
    assert_eq!(all.settings, []);
}

#[test]
fn applications_have_names() {
    let all = with("name = 'flvplayback', aliases = { 'live', 'files', 'live', 7, 'flvplayback' }");
    assert_eq!(all.value("applications"), Some(&list(&["flvplayback"])));
    let Some(Item::Names(aliases)) = all.value("aliases") else {
        panic!("{all:#?}");
    };
    assert_eq!(aliases.len(), 1);
    let at = |n: u32| {
        all.lost(&format!("applications.flvplayback.aliases[{n}]"))
            .to_owned()
    };
    assert!(at(2).contains("server's own"));
    assert!(at(3).contains("twice") && at(5).contains("twice"));
    assert!(at(4).contains("a number, not a text"));
    let all = with("name = 'mine', library = 'libmine.so', wings = 2");
    assert_eq!(all.value("applications"), Some(&list(&["mine"])));
    assert!(all.lost("applications.mine").contains("one's own"));
    assert!(all.lost("applications.mine.wings").contains("misspelt"));
    let all = with("name = 'vmapp', script = 'x.lua'");
    assert_eq!(all.value("applications"), None);
    assert!(all.lost("applications.vmapp").contains("Lua"));
    let all = with("description = 'nameless'");
    assert!(all.lost("applications.2").contains("no name"));
}

#[test]
fn files_are_played_from_their_folders() {
    let all = with("name = 'flvplayback', mediaFolder = '/m', keyframeSeek = false, clientSideBuffer = 30,
        seekGranularity = 0.1, mediaStorage = {
            recordedStreamsStorage = '/rec', hasTimers = true,
            films = { mediaFolder = '/films', metaFolder = '/meta', enableStats = true, keyframeSeek = true },
            { mediaFolder = '/more', clientSideBuffer = 4294967295, description = 'more' } }");
    let folders = Item::Folders(vec![
        "/m".to_owned(),
        "/more".to_owned(),
        "/films".to_owned(),
    ]);
    assert_eq!(all.value("files.folders"), Some(&folders));
    assert_eq!(
        all.value("files.seek"),
        Some(&Item::Text("exact".to_owned()))
    );
    assert_eq!(
        all.value("files.ahead"),
        Some(&Item::Text("30s".to_owned()))
    );
    let storage = "applications.flvplayback.mediaStorage";
    let recordings = Item::File(vec!["/rec".to_owned()]);
    assert_eq!(all.value("record.folder"), Some(&recordings));
    assert_eq!(all.value("record.publishers"), Some(&Item::Flag(true)));
    assert!(
        all.lost(&format!("{storage}.films.keyframeSeek"))
            .contains("files.seek")
    );
    assert!(
        all.lost(&format!("{storage}.films.enableStats"))
            .contains("counted")
    );
    assert!(
        all.otherwise(&format!("{storage}[1].clientSideBuffer"))
            .contains("120 s")
    );
    let all = with("name = 'flvplayback', clientSideBuffer = 0, mediaFolder = true");
    assert_eq!(all.value("files.ahead"), None);
    assert!(
        all.lost("applications.flvplayback.clientSideBuffer")
            .contains("less than a second")
    );
    assert!(
        all.lost("applications.flvplayback.mediaFolder")
            .contains("true or false")
    );
}

#[test]
fn who_asked_for_logins_is_not_open() {
    let all = with(
        "name = 'live', authentication = { rtmp = { type = 'adobe',
        encoderAgents = { 'FMLE/3.0' }, usersFile = '/etc/crtmpserver/conf.d/users.lua' } }",
    );
    let users = ["/etc/crtmpserver/conf.d/users.lua", "conf.d/users.lua"];
    let users = Item::File(users.map(str::to_owned).to_vec());
    assert_eq!(all.value("publish.users"), Some(&users));
    assert_eq!(all.value("publish.networks"), None);
    let all = with("name = 'live', authentication = { rtmp = { type = 'adobe' } }");
    assert_eq!(all.value("publish.networks"), Some(&list(&[])));
    assert!(all.lost("authentication").contains("nobody"));
    let all = with(
        "name = 'live', authentication = { http = {}, rtmp = { type = 'basic', usersFile = 7 } }",
    );
    assert_eq!(all.value("publish.networks"), Some(&list(&[])));
    assert!(
        all.lost("applications.live.authentication.http")
            .contains("misspelt")
    );
    // Nobody asked: it is told, and not opened.
    let all = with("name = 'flvplayback'");
    assert_eq!(all.value("publish.networks"), None);
    assert!(all.lost("applications.flvplayback").contains("everybody"));
    let all = with("name = 'live', allowDuplicateInboundNetworkStreams = true");
    assert_eq!(
        all.value("publish.takeover"),
        Some(&Item::Text("always".to_owned()))
    );
}

#[test]
fn the_log_has_the_level_of_the_loudest() {
    let level = |levels: &str| {
        let all = translated(&format!(
            "configuration = {{ logAppenders = {{ {levels} }} }}"
        ));
        match all.value("log.level") {
            Some(Item::Text(level)) => level.clone(),
            None => "as it is".to_owned(),
            other => panic!("{other:?}"),
        }
    };
    let one = "{ name = 'c', type = 'console', level = ";
    assert_eq!(level(&format!("{one} 0 }}")), "error");
    assert_eq!(level(&format!("{one} 1 }}, {one} 2 }}")), "warn");
    assert_eq!(
        level(&format!("{one} 2 }}, {one} 6, fileName = 'x' }}")),
        "as it is"
    );
    assert_eq!(level("{ level = 'much' }"), "as it is");
    assert_eq!(level(""), "as it is");
}

#[test]
fn a_table_or_nothing() {
    let globals =
        |source: &str| run("c.lua", source.as_bytes(), &["configuration"], Nothing).unwrap();
    let outcome = globals("print('no list') x = 1");
    let error = configuration(&outcome.globals, &outcome.printed).unwrap_err();
    assert!(
        error.contains("no table `configuration`") && error.contains("no list"),
        "{error}"
    );
    let outcome = globals("configuration = 'x'");
    assert!(
        configuration(&outcome.globals, "")
            .unwrap_err()
            .contains("a text")
    );
    for odd in [
        "{ applications = 7, logAppenders = true, daemon = {} }",
        "{ 1, 2, 3, [true] = print }",
        "{ applications = { 7, { name = {} }, { name = 'x', acceptors = 1, aliases = 2, authentication = 3, mediaStorage = 4 } } }",
    ] {
        let all = translated(&format!("configuration = {odd}"));
        assert!(all.warnings().count() > 0, "{odd}");
    }
}

#[test]
fn a_file_for_people_is_written() {
    let settings = [
        Setting {
            key: "log.level",
            value: Item::Text("a\"b\\c\n".to_owned()),
            from: "x\ny".to_owned(),
        },
        Setting {
            key: "applications",
            value: list(&["live"]),
            from: "applications.live".to_owned(),
        },
        Setting {
            key: "aliases",
            value: Item::Names([("v.o~d".to_owned(), "live".to_owned())].into()),
            from: "applications.live.aliases".to_owned(),
        },
    ];
    let note = |from: &str, kind, text: &str| Note {
        from: from.to_owned(),
        kind,
        text: text.to_owned(),
    };
    let notes = [
        note("daemon", NoteKind::Otherwise, &"word ".repeat(60)),
        note("one", NoteKind::Without, "is not here"),
        note("two", NoteKind::Without, "is not here"),
    ];
    let text = toml(&["Made here.".to_owned()], &settings, &notes);
    let expected = "# Made here.

# from applications.live
applications = [\"live\"]

[log]
# from x y
level = \"a\\\"b\\\\c\\u000A\"

[aliases]
# from applications.live.aliases
\"v.o~d\" = \"live\"

# What the original had, and this server has not:
#   one, two: is not here

# What has another form here, or goes without saying:
";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.lines().all(|line| line.len() <= 115), "{text}");
}

#[test]
fn logins_are_names_and_passwords() {
    let users = |source: &str| {
        let outcome = run("u.lua", source.as_bytes(), LOGIN_GLOBALS, Nothing).unwrap();
        logins(&outcome.globals)
    };
    let (all, wrong) = users("users = { ann = 'a', [7] = 'b', bob = true }").unwrap();
    let names: Vec<&str> = all.iter().map(|login| login.name.as_str()).collect();
    assert_eq!((names, wrong.len()), (vec!["7", "ann"], 1));
    assert!(users("x = 1").is_err() && users("users = 1").is_err());
    let (_, wrong) = users(include_str!("../../tests/original/single/users.lua")).unwrap();
    assert!(
        matches!(&wrong[..], [one] if one.starts_with("realms: ") && one.contains("listen.rtsp")),
        "{wrong:?}"
    );
    let (_, wrong) = users("users = { ann = 'a' }; realms = {}").unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn streams_come_from_other_servers_and_go_there() {
    let all = translated(include_str!("../../tests/original/single/crtmpserver.lua"));
    let text = |text: &str| Item::Text(text.to_owned());
    let rows = |key: &str| match all.value(key) {
        Some(Item::Rows(rows)) => rows.iter().map(|(_, row)| row.clone()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let pull = vec![
        ("stream", text("flvplayback/news")),
        ("uri", text("rtmp://studio.example.org/live/news?key=a")),
        ("tc_url", text("rtmp://studio.example.org/live")),
        ("page_url", text("http://studio.example.org/")),
        ("swf_url", text("http://studio.example.org/player.swf")),
        ("flash_ver", text("MAC 10,1,82,76")),
    ];
    let camera = vec![
        ("stream", text("flvplayback/camera")),
        (
            "uri",
            text("rtsp://ann:secret%20word@camera.example.org/stream1"),
        ),
    ];
    assert_eq!(rows("pull"), [pull, camera]);
    let pushes = [
        vec![
            ("stream", text("proxypublish/news")),
            ("uri", text("rtmp://relay.example.org/live")),
            ("target", text("news-again")),
            ("flash_ver", text("FMLE/3.0 (compatible; FMSc/1.0)")),
        ],
        vec![
            ("stream", text("proxypublish/*")),
            ("uri", text("rtmp://ann:secret@archive.example.org/record")),
            ("type", text("record")),
        ],
    ];
    assert_eq!(rows("push"), pushes);
    // A password is never told.
    assert!(all.notes.iter().all(|note| !note.text.contains("ann:")));
    let file = toml(&[], &all.settings, &all.notes);
    assert!(
        file.matches("\n[[pull]]\n").count() == 2 && file.matches("\n[[push]]\n").count() == 2,
        "{file}"
    );
    let all = with("name = 'proxypublish', externalStreams = {
        { uri = 'rtmp://a/b/c', localStreamName = 'x' }, { uri = 'rtmp://a/b/d', localStreamName = 'x' },
        { uri = 'rtmpe://a/b/c', localStreamName = 'y' }, { uri = 'rtmp://a/b/c' }, { localStreamName = 'z' },
        { uri = 'rtmp://a/b/e', localStreamName = 'w', httpProxy = 'self' } },
        targetServers = { { targetUri = 'rtmp://a/b', targetStreamName = 'n' } }");
    let at = |n: u32| {
        all.lost(&format!("applications.proxypublish.externalStreams[{n}]"))
            .to_owned()
    };
    assert!(at(2).contains("there already") && at(3).contains("not spoken"));
    assert!(at(4).contains("localStreamName") && at(5).contains("no uri"));
    assert!(
        all.lost("applications.proxypublish.externalStreams[6].httpProxy")
            .contains("straight")
    );
    let target = "applications.proxypublish.targetServers[1].targetStreamName";
    assert!(all.lost(target).contains("many streams"));
}

#[test]
fn encoders_that_speak_no_rtmp_are_taken() {
    let all = with(
        "name = 'flvplayback', acceptors = {
        { ip = '0.0.0.0', port = 6666, protocol = 'inboundLiveFlv', waitForMetadata = true },
        { ip = '127.0.0.1', port = 6667, protocol = 'inboundLiveFlv', localStreamName = 'studio' },
        { ip = '127.0.0.1', port = 9999, protocol = 'inboundTcpTs' },
        { ip = '239.1.2.3', port = 5000, protocol = 'inboundUdpTs', localStreamName = 'camera' },
        { ip = '127.0.0.1', port = 1935, protocol = 'inboundTcpTs' },
        { ip = '0.0.0.0', port = 5544, protocol = 'inboundRtsp', localStreamName = 'x', waitForMetadata = true } }",
    );
    let text = |text: &str| Item::Text(text.to_owned());
    let rows = |key: &str| match all.value(key) {
        Some(Item::Rows(rows)) => rows.iter().map(|(_, row)| row.clone()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let application = ("application", text("flvplayback"));
    let flv = [
        vec![
            ("address", text("0.0.0.0:6666")),
            application.clone(),
            ("wait_for_metadata", Item::Flag(true)),
        ],
        vec![
            ("address", text("127.0.0.1:6667")),
            application.clone(),
            ("stream", text("studio")),
        ],
    ];
    assert_eq!(rows("listen.liveflv"), flv);
    let ts = [
        vec![
            ("address", text("tcp://127.0.0.1:9999")),
            application.clone(),
            ("stream", text("ts-9999")),
        ],
        vec![
            ("address", text("udp://239.1.2.3:5000")),
            application.clone(),
            ("stream", text("camera")),
        ],
    ];
    assert_eq!(rows("listen.ts"), ts);
    let rtsp = vec![("address", text("0.0.0.0:5544")), application];
    assert_eq!(rows("listen.rtsp"), [rtsp]);
    let at = |n: u32| format!("applications.flvplayback.acceptors[{n}]");
    assert!(all.lost(&at(1)).contains("everybody"));
    assert!(all.otherwise(&at(3)).contains("ts-9999"));
    assert!(all.lost(&at(5)).contains("taken"));
    assert!(all.lost(&at(6)).contains("played"));
    assert_eq!(all.note(&at(2)), None);
}
