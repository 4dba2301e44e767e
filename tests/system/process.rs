//! Start and stop: what an operator sees.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::daemon::{Server, binary, standalone};
use crate::media::programme;
use crate::programs::publish;
use crate::viewer::Viewer;
use crate::world::{World, wait_for};

pub(crate) fn it_prints_its_table_and_that_it_is_ready(world: &World) {
    let server = standalone(world, "30s");
    let said = wait_for("the ready line", || {
        let said = server.process.said();
        said.to_lowercase().contains("ready").then_some(said)
    });
    for word in [
        "127.0.0.1",
        &server.rtmp.to_string(),
        &server.http.to_string(),
        "rtmp",
        "http",
        "live",
    ] {
        assert!(said.to_lowercase().contains(word), "no {word} in:\n{said}");
    }
}

pub(crate) fn signals_end_it_cleanly(world: &World) {
    for (name, signal) in [("term", Signal::SIGTERM), ("int", Signal::SIGINT)] {
        let keys = "[server]\nstop_grace = \"3s\"\n";
        let mut server = Server::start(world, name, keys);
        let url = server.rtmp_url("live/event");
        let _encoder = publish(world, &format!("encoder-{name}"), &programme(), &url);
        server.wait_live("live/event");
        let viewer = Viewer::open(world, &format!("viewer-{name}"), server.http, "live/event");
        viewer.wait_pictures(20);
        let begun = Instant::now();
        server.process.signal(signal);
        let status = server.process.wait(Duration::from_secs(10));
        assert!(status.success(), "{status}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        wait_for("the viewer's end", || viewer.ended());
    }
}

pub(crate) fn a_second_signal_ends_it_at_once(world: &World) {
    let mut server = Server::start(world, "standalone", "[server]\nstop_grace = \"60s\"\n");
    let url = server.rtmp_url("live/event");
    let _encoder = publish(world, "encoder", &programme(), &url);
    server.wait_live("live/event");
    let _viewer = Viewer::open(world, "viewer", server.http, "live/event");
    server.process.signal(Signal::SIGTERM);
    crate::world::pause(300);
    let begun = Instant::now();
    server.process.signal(Signal::SIGTERM);
    server.process.wait(Duration::from_secs(10));
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

pub(crate) fn a_port_in_use_is_one_line(world: &World) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let [http] = crate::world::free_ports();
    let mut command = Command::new(binary());
    command
        .arg("--allow-root")
        .arg("--rtmp")
        .arg(format!("127.0.0.1:{port}"))
        .arg("--http")
        .arg(format!("127.0.0.1:{http}"));
    let ended = world.run("standalone", &mut command, Duration::from_secs(10));
    assert_eq!(ended.status.code(), Some(71), "{}", ended.err);
    let lines: Vec<&str> = ended
        .err
        .lines()
        .filter(|line| line.contains(&port.to_string()) && !line.starts_with("$ "))
        .collect();
    assert_eq!(lines.len(), 1, "{}", ended.err);
}

pub(crate) fn a_bad_file_is_one_line(world: &World) {
    let file = world.write("bad.toml", "rol = \"master\"\n");
    for arguments in [vec![], vec!["check"]] {
        let mut command = Command::new(binary());
        command.args(&arguments).arg(&file);
        let name = format!("bad-{}", arguments.len());
        let ended = world.run(&name, &mut command, Duration::from_secs(10));
        assert_eq!(ended.status.code(), Some(78), "{}", ended.err);
        let lines: Vec<&str> = ended.err.lines().filter(|l| !l.starts_with("$ ")).collect();
        assert_eq!(lines.len(), 1, "{}", ended.err);
        assert!(
            lines[0].contains("bad.toml") && lines[0].contains("role"),
            "{}",
            lines[0]
        );
    }
}

pub(crate) fn the_demo_runs_by_itself(world: &World) {
    let mut command = Command::new(binary());
    command.arg("demo");
    let mut demo = world.start("demo", &mut command);
    let text = wait_for("the demo prints its addresses", || {
        let said = demo.stdout();
        (said.matches("watch mirror-").count() >= 4).then_some(said)
    });
    for n in 1..=2 {
        let page = format!("page mirror-{n} http://127.0.0.1:");
        assert!(text.lines().any(|l| l.starts_with(&page)), "{text}");
    }
    let mut flv = 0;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["watch", mirror, url] = words[..] else {
            continue;
        };
        assert!(mirror == "mirror-1" || mirror == "mirror-2");
        if let Some(rest) = url.strip_prefix("http://") {
            flv += 1;
            let (host, stream) = rest.split_once('/').unwrap();
            let port = host.rsplit_once(':').unwrap().1.parse().unwrap();
            let name = format!("viewer-{flv}");
            wait_for("the demo's stream is live", || {
                let (status, page) = crate::world::get(port, "/")?;
                let name = stream.trim_end_matches(".flv");
                (status == 200 && page.contains(name)).then_some(())
            });
            let viewer = Viewer::open(world, &name, port, stream.trim_end_matches(".flv"));
            // More than one round of the loop: its seam is in it.
            viewer.wait_pictures(230);
            viewer.assert_sane();
            let numbers = viewer.numbers(world);
            let whole = numbers.windows(2).all(|w| w[1] == (w[0] + 1) % 200);
            assert!(whole, "{numbers:?}");
        } else {
            assert!(url.starts_with("rtmp://"), "{url}");
        }
    }
    assert_eq!(flv, 2, "{text}");
    demo.signal(Signal::SIGINT);
    assert!(demo.wait(Duration::from_secs(10)).success());
}
