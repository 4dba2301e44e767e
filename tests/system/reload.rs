//! SIGHUP while ffmpeg publishes and watches.

use std::time::Duration;

use crate::daemon::{PASSWORD, Server, USER, set_password, users};
use crate::media::{Packets, programme};
use crate::programs::{publish, watch, watched};
use crate::viewer::Viewer;
use crate::world::{World, free_ports, wait_for};

pub(crate) fn nobody_notices_and_logins_change(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let file = users(world);
    let keys = format!("[publish]\nusers = {file:?}\n");
    let mut server = Server::start(world, "standalone", &keys);
    let url = server.login_url("live/event");
    let _encoder = publish(world, "encoder", &programme(), &url);
    server.wait_live("live/event");
    let rtmp = watch(world, "rtmp", &server.rtmp_url("live/event"));
    let flv = Viewer::open(world, "flv", server.http, "live/event");
    flv.wait_pictures(20);

    // A password, limits, times and the port of RTMP: all at once, and once more back and forth.
    set_password(&file, "another-horse-8");
    let [elsewhere] = free_ports();
    let more = format!(
        "{keys}[limits]\nsend_timeout = \"7s\"\nmax_connections = 100\n[relay]\ngrace = \"9s\"\nlatency = \"0s\"\n"
    );
    let before = server.rtmp;
    for (keys, port) in [(&more, elsewhere), (&keys, before), (&more, elsewhere)] {
        let count = server
            .process
            .said()
            .matches("configuration read again")
            .count();
        server.reload(world, keys, port);
        wait_for("the reload", || {
            let said = server.process.said();
            (said.matches("configuration read again").count() > count).then_some(())
        });
        flv.wait_more(10);
    }
    // A broken one is refused, and what ran goes on.
    server.reload(world, &format!("{keys}[relay]\ngrace = 5\n"), elsewhere);
    wait_for("the refusal", || {
        let said = server.process.said();
        said.contains("reload refused, what ran goes on")
            .then_some(())
    });

    let login = |name: &str, password: &str| {
        let url = format!("rtmp://{USER}:{password}@127.0.0.1:{elsewhere}/live/{name}");
        publish(world, name, &programme(), &url)
    };
    let mut old = login("old-password", PASSWORD);
    assert!(!old.wait(Duration::from_secs(60)).success(), "it came in");
    assert!(old.stderr().contains("authfailed"), "{}", old.stderr());
    let _new = login("new-password", "another-horse-8");
    server.wait_live("live/new-password");

    flv.wait_more(50);
    flv.assert_sane();
    let numbers = flv.numbers(world);
    let whole = numbers.windows(2).all(|w| w[1] == (w[0] + 1) % 200);
    assert!(whole, "{numbers:?}");
    assert!(flv.ended().is_none());
    watched(&rtmp, 100).assert_part_of(&source, 100);
}
