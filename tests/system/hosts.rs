//! The list of hosts as the public meets it: on the operator's own web server, and when a mirror is
//! drained.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::daemon::{Cluster, Server, binary, mirror_keys};
use crate::hls::fetch;
use crate::media::programme;
use crate::programs::{nginx_program, publish};
use crate::viewer::Viewer;
use crate::world::{Ended, Process, World, free_ports, get, wait_for, wait_port};

/// The configuration that the document shows, with the addresses of this test.
fn nginx(world: &World, port: u16, master: u16) -> Process {
    let document = include_str!("../../docs/cluster.md");
    let (_, shown) = document.split_once("```nginx\n").expect("an example");
    let (shown, _) = shown.split_once("```").expect("its end");
    let (http, server) = shown.split_once("# in server { }").expect("two parts");
    let cache = world.path("nginx-cache");
    let dir = world.path("").display().to_string();
    let here = |text: &str| {
        text.replace("/var/cache/nginx/cluster", &cache.display().to_string())
            .replace("192.0.2.1:8080", &format!("127.0.0.1:{master}"))
    };
    let (http, server) = (here(http), here(server));
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
        .concat();
    let configuration = world.write(
        "nginx.conf",
        &format!(
            "daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log stderr info;
events {{ worker_connections 256; }}
http {{
access_log {dir}/access.log;
{temporary}
{http}
server {{
listen 127.0.0.1:{port};
{server}
}}
}}
"
        ),
    );
    let mut command = nginx_program();
    command
        .arg("-p")
        .arg(world.path(""))
        .arg("-c")
        .arg(configuration);
    let process = world.start("nginx", &mut command);
    wait_port(port);
    process
}

fn hosts(port: u16) -> Option<Vec<u16>> {
    let (status, body) = get(port, "/cluster.json")?;
    assert_eq!(status, 200, "{body}");
    let list: Value = serde_json::from_str(&body).expect("a list");
    let port = |h: &Value| {
        let url = h["http"].as_str()?;
        url.rsplit(':').next()?.parse().ok()
    };
    let mut ports: Vec<u16> = list["hosts"].as_array()?.iter().filter_map(port).collect();
    ports.sort_unstable();
    Some(ports)
}

pub(crate) fn nginx_passes_on_the_masters_list(world: &World) {
    let mut cluster = Cluster::start(world, 2);
    let mut all: Vec<u16> = cluster.mirrors.iter().map(|m| m.http).collect();
    all.sort_unstable();
    let [port] = free_ports();
    let _nginx = nginx(world, port, cluster.master.http);
    let lists = |wanted: &[u16]| {
        wait_for(&format!("nginx has {wanted:?}"), || {
            (hosts(port)? == wanted).then_some(())
        });
    };
    lists(&all);
    // A mirror that is added is there a moment later.
    let keys = mirror_keys(cluster.master.rtmp, &world.path("secret"));
    let late = Server::start(world, "late", &keys);
    let mut more = all.clone();
    more.push(late.http);
    more.sort_unstable();
    lists(&more);
    // Without its master, nginx has the last list.
    cluster.master.process.kill();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert_eq!(hosts(port).expect("an answer"), more);
        crate::world::pause(300);
    }
    // The master is back, and knows them all again.
    drop(late);
    cluster.master.kill_and_restart(world);
    lists(&all);
}

/// A mirror that an operator gives orders to, beside another one; both have the stream.
struct Drained {
    cluster: Cluster,
    process: Process,
    socket: PathBuf,
    http: u16,
    _encoder: Process,
}

impl Drained {
    fn new(world: &World) -> Self {
        let cluster = Cluster::start(world, 1);
        let socket = world.path("drained.sock");
        let keys = mirror_keys(cluster.master.rtmp, &world.path("secret"));
        let [rtmp, http] = free_ports();
        let file = world.write(
            "drained.toml",
            &format!(
                "{keys}
[listen]
rtmp = [\"127.0.0.1:{rtmp}\"]
http = [\"127.0.0.1:{http}\"]
control = \"{}\"
",
                socket.display()
            ),
        );
        let mut command = Command::new(binary());
        command.arg("--allow-root").arg(&file).env("NO_COLOR", "1");
        let process = world.start("drained", &mut command);
        wait_for("it is ready", || {
            (get(http, "/healthz")?.0 == 200).then_some(())
        });
        let url = cluster.master.login_url("live/event");
        let encoder = publish(world, "encoder", &programme(), &url);
        for port in [http, cluster.mirrors[0].http] {
            wait_for("the stream is there", || {
                get(port, "/")?.1.contains("live/event").then_some(())
            });
        }
        Self {
            cluster,
            process,
            socket,
            http,
            _encoder: encoder,
        }
    }

    fn ctl(&self, world: &World, words: &[&str]) -> Ended {
        let mut command = Command::new(binary());
        command.arg("ctl").arg("--socket").arg(&self.socket);
        command.args(words);
        world.run(words[0], &mut command, Duration::from_secs(30))
    }
}

/// Players of HLS are led to the other mirror by the steering document; new ones are turned away; and whoever
/// reads on has new segments until the deadline, and none behind it.
pub(crate) fn hls_players_are_led_away(world: &World) {
    let mut site = Drained::new(world);
    let (http, other) = (site.http, site.cluster.mirrors[0].http);
    let top = wait_for("a playlist", || {
        let top = fetch(http, "/live/event.m3u8");
        (top.status == 200).then_some(top)
    });
    let top = String::from_utf8(top.body).expect("text");
    let own = top
        .split("PATHWAY-ID=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a pathway")
        .to_owned();
    let media = top.lines().find(|line| line.starts_with("event/"));
    let media = format!("/live/{}", media.expect("a playlist of its own"));
    let steering = |port: u16| -> Value {
        let path = format!("/steering.json?_HLS_pathway=%22{own}%22");
        let answer = fetch(port, &path);
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("access-control-allow-origin: *"));
        serde_json::from_slice(&answer.body).expect("a steering document")
    };
    let newest = |path: &str| -> Option<u64> {
        let answer = fetch(http, path);
        assert_eq!(answer.status, 200, "{}", answer.head);
        let text = String::from_utf8(answer.body).ok()?;
        let last = text.lines().rfind(|line| line.ends_with(".m4s"))?;
        last.trim_end_matches(".m4s")
            .rsplit('-')
            .next()?
            .parse()
            .ok()
    };
    assert_eq!(steering(http)["PATHWAY-PRIORITY"][0], *own);
    let before = newest(&media).expect("a segment");
    let viewers = |wanted: &str| {
        wait_for("the viewers", || {
            let rows = site.ctl(world, &["viewers"]).out;
            rows.contains(wanted).then_some(())
        });
    };
    viewers(" hls ");

    let done = site.ctl(world, &["drain", "--deadline", "12s"]);
    assert!(done.status.success(), "{}", done.err);
    let document = wait_for("it leads away", || {
        let document = steering(http);
        (document["PATHWAY-PRIORITY"][0] != *own).then_some(document)
    });
    assert_eq!(
        document["PATHWAY-PRIORITY"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(document["TTL"], 1);
    let clone = &document["PATHWAY-CLONES"][0];
    assert_eq!(clone["BASE-ID"], *own);
    assert_eq!(clone["ID"], document["PATHWAY-PRIORITY"][0]);
    let host = format!("127.0.0.1:{other}");
    assert_eq!(clone["URI-REPLACEMENT"]["HOST"], *host);
    // The player goes there with the same path, and its token.
    assert_eq!(fetch(other, &media).status, 200);
    // Nobody new comes in, with a playlist that is kept somewhere either.
    for path in [
        "/live/event.m3u8",
        "/live/event/media.m3u8?s=0123456789abcdef",
    ] {
        let refused = fetch(http, path);
        assert_eq!(refused.status, 503, "{path}");
        let sibling = format!("x-crtmpserver-sibling: http://{host}");
        assert!(refused.head.contains(&sibling), "{}", refused.head);
        assert!(refused.head.contains("retry-after: 2"), "{}", refused.head);
    }
    // Who is there has its segments,
    wait_for("a new segment", || (newest(&media)? > before).then_some(()));
    // until the time is over.
    let over = wait_for("the deadline", || {
        let answer = fetch(http, &media);
        (answer.status == 503).then_some(answer)
    });
    let body: Value = serde_json::from_slice(&over.body).expect("JSON");
    assert_eq!(body["code"], "draining");
    assert_eq!(body["sibling"], *format!("http://{host}"));
    assert!(site.process.running(), "it stays up");
    let status = site.ctl(world, &["undrain"]);
    assert!(status.status.success(), "{}", status.err);
    assert_eq!(fetch(http, &media).status, 200);
}

pub(crate) fn an_operator_drains_a_mirror(world: &World) {
    let mut site = Drained::new(world);
    let http = site.http;
    let viewer = Viewer::open(world, "viewer", http, "live/event");
    viewer.wait_pictures(25);
    let ctl = |words: &[&str]| site.ctl(world, words);
    // It takes the time that it has, as this viewer does not know the word; then it is ended.
    let begun = Instant::now();
    let done = ctl(&["drain", "--wait", "--deadline", "2s"]);
    assert!(done.status.success(), "{}", done.err);
    let told = "nobody watches here, 1 viewer had not moved in time and got no more";
    assert!(done.out.contains(told), "{}", done.out);
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert_eq!(get(http, "/healthz").expect("an answer").0, 503);
    let status = ctl(&["status"]);
    assert!(
        status.out.contains("NO VIEWERS: it is drained"),
        "{}",
        status.out
    );
    let (code, body) = get(http, "/live/event.flv").expect("an answer");
    assert_eq!(code, 503, "{body}");
    assert!(
        body.contains(&site.cluster.mirrors[0].http.to_string()),
        "{body}"
    );
    assert!(ctl(&["undrain"]).status.success());
    assert_eq!(ctl(&["undrain"]).status.code(), Some(1));
    wait_for("it is ready again", || {
        (get(http, "/healthz")?.0 == 200).then_some(())
    });
    // And the end, where that is wanted: at once, as nobody watches.
    let done = ctl(&["drain", "--wait", "--exit"]);
    assert!(done.status.success(), "{}", done.err);
    assert!(site.process.wait(Duration::from_secs(30)).success());
}
