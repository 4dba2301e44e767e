//! What pulls and pushes say of themselves on the wire, and what they make of a server that asks for a
//! login, sends elsewhere or refuses a name.

use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crtmpserver::amf::Value as Amf;
use crtmpserver::rtmp::adobe;
use crtmpserver::rtmp::server::{self, ConnectRequest, Event, Output, PublishKind};
use crtmpserver::rtmp::status::code;

use super::*;

/// What a `connect` is refused with: description, and where to go instead.
type No = (String, Option<Amf>);

/// What was asked of a server.
#[derive(Debug, Clone, PartialEq)]
enum Asked {
    Publish(String, Option<String>, PublishKind),
    Play(String, Option<String>),
}

type Says = dyn Fn(usize, &ConnectRequest) -> Option<No> + Send + Sync;

/// Another server, which notes what it hears.
struct Peer {
    /// What it says to a `connect`, of which it has heard so many before; `None` is yes.
    says: Box<Says>,
    /// So many names it does not take yet.
    refuses: AtomicUsize,
    connects: Mutex<Vec<ConnectRequest>>,
    asked: Mutex<Vec<Asked>>,
}

impl Peer {
    fn start(
        refuses: usize,
        says: impl Fn(usize, &ConnectRequest) -> Option<No> + Send + Sync + 'static,
    ) -> (Arc<Self>, u16) {
        let peer = Arc::new(Self {
            says: Box::new(says),
            refuses: AtomicUsize::new(refuses),
            connects: Mutex::default(),
            asked: Mutex::default(),
        });
        let this = Arc::clone(&peer);
        let port = fake(move |socket| {
            let _ = this.serve(socket);
        });
        (peer, port)
    }

    fn connects(&self) -> Vec<ConnectRequest> {
        self.connects.lock().unwrap().clone()
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// `None` when the connection is over.
    fn serve(&self, mut socket: TcpStream) -> Option<()> {
        let mut machine = server_machine();
        let mut bytes = [0; 4096];
        loop {
            let read = socket.read(&mut bytes).ok().filter(|n| *n > 0)?;
            machine.feed(&bytes[..read], Instant::now());
            let mut plays = None;
            while let Some(output) = machine.poll() {
                match output {
                    Output::Write(bytes) => socket.write_all(&bytes).ok()?,
                    Output::Event(event) => plays = plays.or(self.event(event, &mut machine)),
                    Output::Close(_) => {
                        // What it said last must arrive, whatever is on the way to it.
                        socket.shutdown(Shutdown::Write).ok()?;
                        while socket.read(&mut bytes).ok()? > 0 {}
                        return None;
                    }
                }
            }
            if let Some(stream) = plays {
                socket.write_all(&sound(stream)).ok()?;
            }
        }
    }

    /// The message stream that is to be played, if that is what was asked.
    fn event(&self, event: Event, machine: &mut server::Server) -> Option<u32> {
        match event {
            Event::Connect(request) => {
                let mut connects = self.connects.lock().unwrap();
                let no = (self.says)(connects.len(), &request);
                connects.push(*request);
                match no {
                    None => machine.accept_connect(vec![]),
                    Some((text, to)) => machine.reject_connect(code::CONNECT_REJECTED, &text, to),
                }
            }
            Event::Publish {
                stream,
                name,
                query,
                kind,
            } => {
                let text = format!("{name} is taken");
                let asked = Asked::Publish(name, query, kind);
                self.asked.lock().unwrap().push(asked);
                let less = |n: usize| n.checked_sub(1);
                let (set, get) = (Ordering::SeqCst, Ordering::SeqCst);
                if self.refuses.fetch_update(set, get, less).is_ok() {
                    machine.reject_publish(stream, code::PUBLISH_BAD_NAME, &text);
                } else {
                    machine.accept_publish(stream);
                }
            }
            Event::Play {
                stream,
                name,
                query,
                ..
            } => {
                self.asked.lock().unwrap().push(Asked::Play(name, query));
                machine.accept_play(stream);
                return Some(stream);
            }
            _ => {}
        }
        None
    }
}

/// A bit of MP3 for a player.
fn sound(stream: u32) -> BytesMut {
    let mut out = BytesMut::new();
    let message = Message {
        chunk_stream: 6,
        kind: kind::AUDIO,
        timestamp: 0,
        stream,
        payload: vec![0x2f, 0xff, 0xfb, 0x90, 0x64].into(),
    };
    ChunkWriter::new().write(&mut out, &message);
    out
}

fn yes(_: usize, _: &ConnectRequest) -> Option<No> {
    None
}

fn table(what: &str, name: &str, uri: &str, more: &str) -> String {
    format!("[[{what}]]\nstream = \"live/{name}\"\nuri = \"{uri}\"\n{more}")
}

const WORDS: &str = "tc_url = \"rtmp://tc.example.net/as/it/likes?token=77\"\n\
    page_url = \"https://page.example.net/watch\"\nswf_url = \"https://page.example.net/player.swf\"\n\
    flash_ver = \"LNX 11,1,102,55\"\n";

/// What a `connect` has of [`WORDS`].
fn words(request: &ConnectRequest) -> [Option<&str>; 4] {
    let ConnectRequest {
        tc_url,
        page_url,
        swf_url,
        flash_ver,
        ..
    } = request;
    [tc_url, page_url, swf_url, flash_ver].map(|word| word.as_deref())
}

#[test]
fn they_say_of_themselves_what_is_wished() {
    let dir = tempfile::tempdir().unwrap();
    let (plain_push, at_plain_push) = Peer::start(0, yes);
    let (push, at_push) = Peer::start(0, yes);
    let (plain_pull, at_plain_pull) = Peer::start(0, yes);
    let (pull, at_pull) = Peer::start(0, yes);
    let at = |port: u16, path: &str| format!("rtmp://127.0.0.1:{port}/{path}");
    let keys = table(
        "push",
        "source",
        &at(at_plain_push, "app"),
        "type = \"append\"\n",
    ) + &table(
        "push",
        "source",
        &at(at_push, "app/more?key=1"),
        &format!("target = \"there?auth=2\"\ntype = \"record\"\n{WORDS}"),
    ) + &table("pull", "plain", &at(at_plain_pull, "app/name?key=1"), "")
        + &table("pull", "other", &at(at_pull, "app/name"), WORDS);
    let here = free();
    let server = Server::start(dir.path(), "here", here, &keys);
    let _encoder = encoder(here);
    server.until("all are live", |answer| {
        let rows = answer["remotes"].as_array().unwrap();
        rows.len() == 4 && rows.iter().all(|row| row["state"] == "live")
    });
    let program = concat!("crtmpserver/", env!("CARGO_PKG_VERSION"));
    let wished = [
        Some("rtmp://tc.example.net/as/it/likes?token=77"),
        Some("https://page.example.net/watch"),
        Some("https://page.example.net/player.swf"),
        Some("LNX 11,1,102,55"),
    ];
    let encoder_of = format!("FMLE/3.0 (compatible; {program})");
    let name = |name: &str| name.to_owned();

    let said = &plain_push.connects()[0];
    let url = at(at_plain_push, "app");
    assert_eq!(words(said), [Some(&*url), None, None, Some(&*encoder_of)]);
    assert_eq!(
        (&*said.app, said.connect_type.as_deref()),
        ("app", Some("nonprivate"))
    );
    let asked = Asked::Publish(name("source"), None, PublishKind::Append);
    assert_eq!(plain_push.asked(), [asked]);

    let said = &push.connects()[0];
    assert_eq!(words(said), wished);
    assert_eq!(
        (&*said.app, said.query.as_deref()),
        ("app/more", Some("key=1"))
    );
    let asked = Asked::Publish(name("there"), Some(name("auth=2")), PublishKind::Record);
    assert_eq!(push.asked(), [asked]);

    let said = &plain_pull.connects()[0];
    let url = at(at_plain_pull, "app");
    assert_eq!(words(said), [Some(&*url), None, None, Some(program)]);
    assert_eq!((&*said.app, said.connect_type.as_deref()), ("app", None));
    let asked = Asked::Play(name("name"), Some(name("key=1")));
    assert_eq!(plain_pull.asked(), [asked]);

    assert_eq!(words(&pull.connects()[0]), wished);
    assert_eq!(pull.asked(), [Asked::Play(name("name"), None)]);
    assert!(!server.log().contains("token=77"), "{}", server.log());
}

#[test]
fn a_push_goes_where_it_is_sent_and_asks_again_for_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let (there, at_there) = Peer::start(1, yes);
    // Once only: after the failure it begins where the wish says.
    let (first, at_first) = Peer::start(0, move |before, _| {
        let to = format!("rtmp://127.0.0.1:{at_there}/moved");
        (before == 0).then(|| (String::from("elsewhere"), Some(status::redirect(&to))))
    });
    let uri = format!("rtmp://127.0.0.1:{at_first}/app");
    let more = format!("target = \"secret-name\"\ntype = \"append\"\n{WORDS}");
    let (here, http) = (free(), free());
    let listen = format!("http = [\"127.0.0.1:{http}\"]");
    let keys = table("push", "source", &uri, &more);
    let server = Server::start_with(dir.path(), "here", here, &listen, &keys);
    let _encoder = encoder(here);
    let row = server.until_one("live/source", "state", "live");
    assert_eq!(
        (&row["code"], &row["failures"]),
        (&"remote-refused".into(), &1.into())
    );
    assert!(row.to_string().contains("*** is taken"), "{row}");
    // The trouble is over, and still known.
    let page = figures::page(http);
    let trouble = figures::of(&page, "trouble", "push", "live/source");
    assert_eq!(trouble, [("remote-refused", "0")]);

    let said = there.connects();
    let url = format!("rtmp://127.0.0.1:{at_there}/moved");
    assert_eq!(said.len(), 1);
    // What it is to say of the address is of the first server's alone.
    assert_eq!(
        (&*said[0].app, said[0].tc_url.as_ref()),
        ("moved", Some(&url))
    );
    assert_eq!(words(&said[0])[1..], words(&first.connects()[0])[1..]);
    let asked = Asked::Publish("secret-name".to_owned(), None, PublishKind::Append);
    assert_eq!(there.asked(), std::slice::from_ref(&asked));
    assert_eq!((first.connects().len(), first.asked()), (2, vec![asked]));
    let shown = server.log() + &page;
    assert!(!shown.contains("secret-name"), "{shown}");
}

const SALT: &str = "s4lt==";
const CHALLENGE: &str = "ch+1==";
const OPAQUE: &str = "op/q==";

/// Asks for the Adobe login of ann, correct-horse.
fn asks(_: usize, request: &ConnectRequest) -> Option<No> {
    let query = request.query.as_deref().and_then(adobe::Query::parse);
    let text = match query {
        None => adobe::NEED_AUTH.to_owned(),
        Some(adobe::Query {
            challenge: Some(challenge),
            response: Some(response),
            ..
        }) => {
            let verifier = adobe::verifier("ann", SALT, "correct-horse");
            if adobe::response(&verifier, OPAQUE, challenge) == response {
                return None;
            }
            adobe::AUTH_FAILED.to_owned()
        }
        Some(_) => adobe::challenge_description("ann", SALT, CHALLENGE, OPAQUE),
    };
    Some((text, None))
}

#[test]
fn a_pull_logs_in() {
    let dir = tempfile::tempdir().unwrap();
    let (good, at_good) = Peer::start(0, asks);
    let (_bad, at_bad) = Peer::start(0, asks);
    let word = dir.path().join("word");
    fs::write(&word, "correct-horse\n").unwrap();
    let at = |login: &str, port: u16| format!("rtmp://{login}127.0.0.1:{port}/app/name");
    let in_file = format!("user = \"ann\"\npassword_file = {word:?}\n{WORDS}");
    let keys = table("pull", "good", &at("", at_good), &in_file)
        + &table("pull", "in-uri", &at("ann:correct-horse@", at_bad), "")
        + &table("pull", "wrong", &at("ann:incorrect-horse@", at_bad), "")
        + &table("pull", "without", &at("", at_bad), "");
    let server = Server::start(dir.path(), "here", free(), &keys);
    for (name, key, value, said) in [
        ("good", "state", "live", "\"failures\":0"),
        ("in-uri", "state", "live", "\"failures\":0"),
        (
            "wrong",
            "code",
            "remote-login",
            "does not take this user and password",
        ),
        ("without", "code", "remote-login", "wants a login"),
    ] {
        let row = server.until_one(&format!("live/{name}"), key, value);
        assert!(row.to_string().contains(said), "{row}");
    }
    // Three steps, each of them with what a pull says of itself.
    let said = good.connects();
    assert_eq!(said.len(), 3);
    let wished = "rtmp://tc.example.net/as/it/likes?token=77";
    for request in &said {
        let url = request.tc_url.as_deref().unwrap();
        assert!(url.starts_with(wished), "{url}");
        assert_eq!(words(request)[3], Some("LNX 11,1,102,55"));
    }
    assert_eq!(good.asked(), [Asked::Play("name".to_owned(), None)]);
    let shown = server.log() + &server.json(&["remotes"]).to_string();
    for secret in ["correct-horse", "incorrect-horse"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
