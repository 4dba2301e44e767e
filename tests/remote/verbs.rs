//! The verbs of the command line, over the control socket and over TCP: pulls and pushes made by them, and
//! what becomes of those.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PATIENCE, Server, encoder, free, one, spawn};

/// A line over TCP, and its answer.
fn line(socket: &mut TcpStream, text: &str) -> Value {
    socket.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    serde_json::from_slice(&answer).unwrap()
}

/// What a refused verb said.
fn failed(done: &Value) -> &str {
    assert_eq!(done["status"], "FAIL", "{done}");
    done["description"].as_str().unwrap()
}

#[test]
fn what_is_asked_for_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (origin, here) = (free(), free());
    let there = Server::start(dir.path(), "origin", origin, "");
    let _encoder = encoder(origin);
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    let keys = format!("[server]\nstate = {state:?}\n");
    let server = Server::start(dir.path(), "here", here, &keys);
    let uri = format!("uri=rtmp://ann:hunter2@127.0.0.1:{origin}/live/source?keyword-77");
    let done = server.done(&["pullStream", &uri, "localStreamName=mine", "ttl=5"]);
    let id = done["data"]["configId"].as_u64().unwrap();
    let row = server.until_one("live/mine", "state", "live");
    assert_eq!(
        (row["id"].as_u64(), &row["origin"]),
        (Some(id), &"runtime".into())
    );
    let back = format!("uri=rtmp://127.0.0.1:{origin}/live");
    server.done(&[
        "pushStream",
        &back,
        "localStreamName=mine",
        "targetStreamName=key-4711",
    ]);
    there.until_streams("it arrives", |all| all.contains("live/key-4711"));
    server.done(&["pullStream", "uri=rtmp://127.0.0.1:1/live/x", "keepAlive=0"]);
    server.until("it was tried once", |answer| {
        one(answer, "live/x").is_null()
    });
    let mine = "localStreamName=mine";
    let file = state.join("remotes.json");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // SIGKILL
    drop(server);
    let server = Server::start(dir.path(), "here", here, &keys);
    let row = server.until_one("live/mine", "direction", "pull");
    assert_eq!(row["id"].as_u64(), Some(id));
    server.until_streams("it is there again", |all| all.contains("live/mine"));
    server.until("both are", |answer| {
        let rows = answer["remotes"].as_array().unwrap();
        rows.len() == 2 && rows.iter().all(|row| row["state"] == "live")
    });
    let list = server.done(&["listConfig"]);
    assert_eq!(list["data"]["pull"][0]["localStreamName"], "mine");
    assert_eq!(list["data"]["push"][0]["targetStreamType"], "live");
    let info = server.done(&["getStreamInfo", mine]);
    assert_eq!(info["data"]["pullSettings"]["configId"], id, "{info}");
    let streams = server.done(&["listStreams"]);
    let shown = format!("{list}{info}{streams}{}", server.log());
    for secret in ["hunter2", "keyword-77", "key-4711"] {
        assert!(!shown.contains(secret), "{shown}");
    }

    // The push by its number, for now: it is connected anew.
    let all = streams["data"].as_array().unwrap();
    let push = all.iter().find(|row| row["type"] == "ONR").unwrap();
    let number = format!("id={}", push["uniqueId"]);
    server.done(&["shutdownStream", &number, "permanently=0"]);
    server.until("it is connected anew", |answer| {
        let rows = answer["remotes"].as_array().unwrap();
        let push = rows.iter().find(|row| row["direction"] == "push");
        push.is_some_and(|row| row["connections"].as_u64() > Some(1) && row["state"] == "live")
    });
    // And for good.
    let config = format!("id={}", push["pushSettings"]["configId"]);
    server.done(&["removeConfig", &config]);
    server.done(&["shutdownStream", mine]);
    server.until_streams("nothing waits", |all| !all.contains("live/mine"));
    let running = server.done(&["isStreamRunning", mine]);
    assert_eq!(running["data"]["isRunning"], false);
    let list = server.done(&["listConfig"])["data"].clone();
    assert_eq!(list["pull"], Value::Array(Vec::new()), "{list}");
    assert_eq!(list["push"], Value::Array(Vec::new()), "{list}");
    assert!(!server.log().contains("remote-name-taken"));

    // What cannot be read is set aside.
    drop(server);
    fs::write(&file, "{ hunter2").unwrap();
    let server = Server::start(dir.path(), "here", here, &keys);
    assert_eq!(
        server.json(&["remotes"])["remotes"],
        Value::Array(Vec::new())
    );
    assert!(state.join("remotes.json.broken").exists());
    let log = server.log();
    assert!(
        log.contains("remotes-state") && !log.contains("hunter2"),
        "{log}"
    );
}

#[test]
fn what_is_wrong_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let keys = format!("[server]\nstate = {:?}\n", dir.path());
    let server = Server::start(dir.path(), "here", free(), &keys);
    let uri = format!("uri=rtmp://127.0.0.1:{}/live/source", free());
    let back = "uri=rtmp://127.0.0.1:1/live";
    let mine = "localStreamName=mine";
    server.done(&["pullStream", &uri, mine]);
    for (words, part) in [
        (&["pullStream", &uri, mine][..], "is pulled already"),
        (&["pullStream", "uri=http://x/y/z"], "rtmp://"),
        (&["pullStream", &uri, "colour=1"], "colour is not known"),
        (
            &["pullStream", &uri, "targetStreamName=x"],
            "targetstreamname is not known",
        ),
        (
            &["pullStream", &uri, "localStreamName=../x"],
            "localStreamName: ",
        ),
        (
            &["pushStream", back, mine, "targetStreamType=loud"],
            "targetStreamType: ",
        ),
        (&["pushStream", back, "targetStreamName=x"], "many streams"),
        (&["pushStream", back, mine, "keepAlive=yes"], "1 or 0"),
        (&["removeConfig", "id=4711"], "recording 4711"),
        (&["removeConfig", "id=2000004711"], "recording 2000004711"),
        (&["removeConfig", "id=-1"], "is no number"),
        (&["record", "localStreamName=none"], "no stream live/none"),
        (&["getStreamInfo"], "is missing"),
        (&["shutdownServer"], "SIGTERM"),
    ] {
        let done = server.verb(words);
        assert!(failed(&done).contains(part), "{words:?}: {done}");
    }
}

/// What cameras take as a login may be anywhere in their addresses.
#[test]
fn a_camera_s_login_is_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let keys = format!("[server]\nstate = {:?}\n", dir.path());
    let server = Server::start(dir.path(), "here", free(), &keys);
    let uri = "uri=rtsp://ann:hunter2@127.0.0.1:1/live/user=ann&password=keyword-77.sdp?k=key-4711";
    let nameless = server.verb(&["pullStream", uri]);
    assert!(failed(&nameless).contains("localStreamName="), "{nameless}");
    let udp = "transport=udp";
    let door = "localStreamName=door";
    let done = server.done(&["pullStream", uri, door, udp, "forceTcp=1", "tcUrl=x"]);
    assert_eq!(done["data"]["splitURI"]["scheme"], "rtsp", "{done}");
    let bad = server.verb(&["pullStream", uri, "localStreamName=other", "transport=x"]);
    assert!(failed(&bad).starts_with("transport: "), "{bad}");
    server.until_one("live/door", "code", "remote-unreachable");
    let list = server.done(&["listConfig"]);
    let shown = format!("{nameless}{done}{bad}{list}{}", server.log());
    for secret in ["hunter2", "keyword-77", "key-4711"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn an_encoder_s_stream_is_recorded_and_ended() {
    let dir = tempfile::tempdir().unwrap();
    let rtmp = free();
    let folder = dir.path().join("recordings");
    fs::create_dir(&folder).unwrap();
    let keys = format!("[record]\nfolder = {folder:?}\nmin_free = \"0B\"\n");
    let server = Server::start(dir.path(), "here", rtmp, &keys);
    let _encoder = encoder(rtmp);
    server.until_streams("it is live", |all| all.contains("live/source"));
    let source = "localStreamName=source";
    let begun = server.done(&["record", source, "pathToFile=talks/one.mp4", "overwrite=1"]);
    let id = format!("id={}", begun["data"]["configId"]);
    let again = server.verb(&["record", source]);
    assert!(failed(&again).contains("already"), "{again}");
    let list = server.done(&["listConfig"]);
    assert_eq!(list["data"]["record"][0]["localStreamName"], "source");
    let file = folder.join("talks/one.mp4");
    let begun = Instant::now();
    loop {
        let info = server.done(&["getConfigInfo", &id]);
        if info["data"]["bytesCount"].as_u64() > Some(0) {
            assert_eq!(info["data"]["pathToFile"], "talks/one.mp4");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{info}");
        std::thread::sleep(Duration::from_millis(50));
    }
    server.done(&["removeConfig", &id]);
    while !file.exists()
        || !server.done(&["listConfig"])["data"]["record"]
            .as_array()
            .unwrap()
            .is_empty()
    {
        assert!(begun.elapsed() < PATIENCE, "{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let outside = server.verb(&["record", source, "pathToFile=/elsewhere/x.mp4"]);
    assert!(failed(&outside).contains("record.folder"), "{outside}");

    // Its connection ends.
    let gone = server.done(&["shutdownStream", source]);
    assert!(gone["description"].as_str().unwrap().contains("publisher"));
    let none = server.verb(&["shutdownStream", "localStreamName=none"]);
    assert!(failed(&none).contains("no stream live/none"), "{none}");
}

#[test]
fn the_port_speaks_as_it_always_did() {
    let dir = tempfile::tempdir().unwrap();
    let (rtmp, port) = (free(), free());
    let listen = format!("cli = [\"127.0.0.1:{port}\"]");
    let server = Server::start_with(dir.path(), "here", rtmp, &listen, "");
    assert!(server.log().contains("inboundJsonCli"), "{}", server.log());
    let status = server.json(&["status"]);
    let listeners = status["status"]["listeners"].as_array().unwrap();
    assert!(listeners.iter().any(|l| l["protocol"] == "cli"), "{status}");
    let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut socket = connect();
    let said = line(&mut socket, "version\r\n");
    assert_eq!(said["data"]["releaseNumber"], env!("CARGO_PKG_VERSION"));
    // In pieces, in any case, ended in any way, and more than one at once.
    socket.write_all(b"GetStr").unwrap();
    let said = line(&mut socket, "eamsCount\n\r\n");
    assert_eq!(said["data"]["streamCount"], 0);
    let said = line(&mut socket, "getStreamsCount\rgetConnectionsCount\r\n");
    assert_eq!(said["description"], "Active streams count");
    let said = line(&mut socket, "");
    assert_eq!(said["description"], "Active connections count");
    // As the original said it, byte for byte.
    socket
        .write_all(b"isStreamRunning localStreamName=a/b\n")
        .unwrap();
    let expected = b"{\"data\":{\"isRunning\":false},\"description\":\"Stream status\",\"status\":\"SUCCESS\"}\r\n\r\n";
    let mut bytes = vec![0; expected.len()];
    socket.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, expected);
    for bad in [
        "pullStream",
        "dance now=1",
        "listStreams word",
        "setLogLevel level=9",
    ] {
        assert!(!failed(&line(&mut socket, &format!("{bad}\n"))).is_empty());
    }
    let help = line(&mut socket, "help\n");
    let help = help["data"].as_array().unwrap().clone();
    assert!(help.len() > 20);
    // Whatever is listed is known, and what only looks is done.
    for entry in &help {
        let verb = entry["command"].as_str().unwrap();
        let asks = [
            "list",
            "getStreamsCount",
            "getConnectionsCount",
            "clientsConnected",
        ];
        let said = match verb {
            "quit" => continue,
            _ => line(&mut socket, &format!("{verb}\r\n")),
        };
        if asks.iter().any(|start| verb.starts_with(start)) {
            assert_eq!(said["status"], "SUCCESS", "{verb}: {said}");
        }
        let text = said["description"].as_str().unwrap();
        assert!(!text.contains("no such verb"), "{verb}: {said}");
    }
    assert_eq!(
        line(&mut socket, "setLogLevel level=4\n")["status"],
        "SUCCESS"
    );
    assert_eq!(line(&mut socket, "quit\n")["description"], "Bye!");
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    // Neither a page of a browser, in TLS or not, nor a line without end comes any further.
    for bad in [
        &b"POST / HTTP/1.1\r\nHost: x\r\n\r\nsetLogLevel level=0\r\n"[..],
        b"Host: x\r\nsetLogLevel level=0\r\n",
        b"\x16\x03\x01\x02\x00\x01\nsetLogLevel level=0\r\n",
        &[b'x'; 9000],
    ] {
        let mut socket = connect();
        // It may be closed before all of it is sent,
        let _sent = socket.write_all(bad);
        let mut said = Vec::new();
        // and then the end is a reset.
        let _end = socket.read_to_end(&mut said);
        let said = String::from_utf8(said).unwrap();
        assert!(said.matches("FAIL").count() <= 1, "{said}");
        assert!(!said.contains("SUCCESS"), "{said}");
    }
    assert!(
        !server.log().contains("has level error"),
        "{}",
        server.log()
    );
    // One too many is told so.
    let mut all: Vec<TcpStream> = (0..16).map(|_| connect()).collect();
    for socket in &mut all {
        assert_eq!(line(socket, "version\n")["status"], "SUCCESS");
    }
    let refused = line(&mut connect(), "");
    assert!(failed(&refused).contains("too many"), "{refused}");
}

#[test]
fn a_configuration_of_the_original_opens_the_port() {
    let dir = tempfile::tempdir().unwrap();
    let (rtmp, port, other) = (free(), free(), free());
    let file = dir.path().join("crtmpserver.lua");
    let acceptor = |ip: &str, port: u16, protocol: &str| {
        format!("{{ ip = '{ip}', port = {port}, protocol = '{protocol}' }},")
    };
    let text = format!(
        "configuration = {{ applications = {{
            {{ name = 'appselector', acceptors = {{ {} }} }},
            {{ name = 'live' }},
            {{ name = 'admin', acceptors = {{ {} {} }} }} }} }}",
        acceptor("127.0.0.1", rtmp, "inboundRtmp"),
        acceptor("127.0.0.1", port, "inboundJsonCli"),
        acceptor("0.0.0.0", other, "inboundJsonCli"),
    );
    fs::write(&file, text).unwrap();
    let socket = dir.path().join("here.sock");
    let control = format!("listen.control={}", socket.display());
    let more = ["--set", "listen.http=[]", "--set", &control];
    let server = Server {
        _process: spawn(dir.path(), "here", &file, &more),
        dir: dir.path().to_owned(),
        name: "here".to_owned(),
    };
    server.until("it answers", |answer| answer["ok"] == true);
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(line(&mut socket, "listConfig\n")["status"], "SUCCESS");
    // Where it was open to everybody it is where scripts of this machine look for it.
    let mut socket = TcpStream::connect(("127.0.0.1", other)).unwrap();
    assert_eq!(line(&mut socket, "version\n")["status"], "SUCCESS");
    let log = server.log();
    assert!(
        log.contains(&format!("is on 127.0.0.1:{other} alone")),
        "{log}"
    );
    let status = server.json(&["status"]);
    let listeners = status["status"]["listeners"].as_array().unwrap();
    let open = listeners.iter().filter(|l| l["protocol"] == "cli");
    let open: Vec<_> = open.map(|l| &l["address"]).collect();
    assert_eq!(open.len(), 2, "{status}");
    for address in open {
        assert!(address.as_str().unwrap().starts_with("127.0.0.1:"));
    }
}
