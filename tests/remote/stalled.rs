//! A target that agrees to everything and then takes nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crtmpserver::rtmp::server::{Event, Output};

use super::*;

/// What it does, and what was done to it.
#[derive(Default)]
struct Target {
    /// It takes what comes.
    takes: AtomicBool,
    /// Publishers that it agreed with.
    agreed: AtomicUsize,
    /// Frames that it took.
    taken: AtomicUsize,
    /// Those of which it takes nothing: it hangs up on nobody.
    held: Mutex<Vec<TcpStream>>,
}

impl Target {
    fn start(self: &Arc<Self>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Little is in the system's hands, so that it is soon full.
        socket2::SockRef::from(&listener)
            .set_recv_buffer_size(4096)
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let this = Arc::clone(self);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, this) = (socket.unwrap(), Arc::clone(&this));
                std::thread::spawn(move || this.serve(socket));
            }
        });
        port
    }

    /// `None` when the connection is over.
    fn serve(&self, mut socket: TcpStream) -> Option<()> {
        let mut machine = server_machine();
        let mut bytes = [0; 4096];
        loop {
            let read = socket.read(&mut bytes).ok().filter(|n| *n > 0)?;
            machine.feed(&bytes[..read], Instant::now());
            while let Some(output) = machine.poll() {
                match output {
                    Output::Write(bytes) => socket.write_all(&bytes).ok()?,
                    Output::Event(Event::Connect(_)) => machine.accept_connect(vec![]),
                    Output::Event(Event::Publish { stream, .. }) => {
                        machine.accept_publish(stream);
                        self.agreed.fetch_add(1, Ordering::SeqCst);
                    }
                    Output::Event(Event::Media { .. }) => {
                        if !self.takes.load(Ordering::SeqCst) {
                            self.held.lock().unwrap().push(socket);
                            return None;
                        }
                        self.taken.fetch_add(1, Ordering::SeqCst);
                    }
                    Output::Event(_) => {}
                    Output::Close(_) => return None,
                }
            }
        }
    }
}

/// The push to the server on this port.
fn push_to(answer: &Value, port: u16) -> Value {
    let rows = answer["remotes"].as_array().cloned().unwrap_or_default();
    let there = format!(":{port}/");
    let of = |row: &&Value| {
        row["remote"]
            .as_str()
            .is_some_and(|uri| uri.contains(&there))
    };
    rows.iter().find(of).cloned().unwrap_or_default()
}

/// Resident memory at its highest, KiB.
fn highest_memory(process: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|n| n.parse().ok()).unwrap()
}

#[test]
fn a_target_that_takes_nothing_is_left_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (free(), free());
    let good = Server::start(dir.path(), "target", there, "");
    let target = Arc::new(Target::default());
    let stalls = target.start();
    let push = |port: u16, name: &str| {
        format!(
            "[[push]]\nstream = \"live/source\"\nuri = \"rtmp://127.0.0.1:{port}/live/{name}\"\n"
        )
    };
    let keys = format!(
        "[limits]\nsend_timeout = \"2s\"\n{}{}",
        push(stalls, "stalled"),
        push(there, "pushed")
    );
    let server = Server::start(dir.path(), "here", here, &keys);
    let _encoder = encoder(here);
    let row = |answer: &Value| push_to(answer, stalls);
    server.until("it carries", |answer| {
        push_to(answer, there)["state"] == "live"
    });
    let before = highest_memory(&server._process);
    server.until("it is given up", |answer| {
        // By the system, whose buffers have no end to speak of here, or by the push, once they are full.
        let code = &row(answer)["code"];
        code == "remote-lost" || code == "remote-silent"
    });
    let begun = Instant::now();
    while target.agreed.load(Ordering::SeqCst) < 2 {
        assert!(begun.elapsed() < PATIENCE, "nobody came again");
        std::thread::sleep(Duration::from_millis(20));
    }
    // What it did not take is nowhere: neither is the server larger, nor was the other push held up.
    let grown = highest_memory(&server._process).saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more");
    let other = push_to(&server.json(&["remotes"]), there);
    assert_eq!(
        (&other["failures"], &other["skipped"], &other["state"]),
        (&0.into(), &0.into(), &"live".into()),
        "{other}"
    );
    let (_, streams) = good.ask(&["streams"]);
    assert!(streams.contains("live/pushed"), "{streams}");
    // Once it takes what comes, all is well.
    target.takes.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    while target.taken.load(Ordering::SeqCst) < 200 {
        assert!(begun.elapsed() < PATIENCE, "nothing comes");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.until("it is live", |answer| row(answer)["state"] == "live");
}
