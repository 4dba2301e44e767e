//! RTMPS and HTTPS, with the clients that people have.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::daemon::{Server, binary, master_keys, mirror_keys, secret, users};
use crate::files;
use crate::media::{FRAME_HASHES, Packets, programme};
use crate::programs::{publish, watch, watched};
use crate::world::{World, free_ports, wait_for};

/// Certificates that only the tests believe.
fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(name)
}

/// Puts a certificate where the server looks for it.
fn show(world: &World, name: &str) {
    for end in ["pem", "key"] {
        let text = fs::read_to_string(fixture(&format!("{name}.{end}"))).unwrap();
        world.write(&format!("shown.{end}"), &text);
    }
}

const TLS: &str = "[tls]\ncertificate = \"shown.pem\"\nkey = \"shown.key\"\n";

/// A server that speaks TLS too, on the ports that come with it: RTMPS and HTTPS.
fn secure(world: &World, name: &str, keys: &str) -> (Server, u16, u16) {
    let [rtmps, https] = free_ports();
    let listen = format!("rtmps = [\"127.0.0.1:{rtmps}\"]\nhttps = [\"127.0.0.1:{https}\"]");
    let server = Server::launch_with(world, name, &binary(), &format!("{keys}{TLS}"), &listen);
    (server, rtmps, https)
}

/// Asks with curl, which believes the authority of the tests; what it got, or what it said.
fn curl(world: &World, name: &str, url: &str, more: &[&str]) -> Result<String, String> {
    let mut command = Command::new("curl");
    command
        .args([
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "20",
            "--cacert",
        ])
        .arg(fixture("ca.pem"))
        .args(more)
        .arg(url);
    let ended = world.run(name, &mut command, Duration::from_secs(30));
    if ended.status.success() {
        Ok(ended.out)
    } else {
        Err(ended.err)
    }
}

pub(crate) fn encoders_and_viewers_use_it(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    show(world, "server");
    let keys = format!("[publish]\nusers = {:?}\n", users(world));
    let (mut server, rtmps, https) = secure(world, "standalone", &keys);
    server.wait_ready();
    let login = server.login_url("live/event");
    let login = login
        .replace("rtmp://", "rtmps://")
        .replace(&server.rtmp.to_string(), &rtmps.to_string());
    let _encoder = publish(world, "encoder", &programme(), &login);
    server.wait_live("live/event");
    let rtmp = watch(
        world,
        "rtmps",
        &format!("rtmps://127.0.0.1:{rtmps}/live/event"),
    );
    let base = format!("https://127.0.0.1:{https}");
    let flv = watch(world, "flv", &format!("{base}/live/event.flv"));
    let hls = watch(world, "hls", &format!("{base}/live/event.m3u8"));
    let plain = watch(world, "plain", &server.rtmp_url("live/event"));

    // Whoever asks over HTTPS is sent to addresses in HTTPS, and the list of hosts has them.
    let list = curl(world, "list", &format!("{base}/cluster.json"), &[]).unwrap();
    assert!(
        list.contains(&format!("\"https\":\"https://127.0.0.1:{https}\"")),
        "{list}"
    );
    for more in [
        ["--http1.1"].as_slice(),
        &["--http2"],
        &["--tls-max", "1.2"],
    ] {
        assert!(
            curl(world, "page", &base, more)
                .unwrap()
                .contains("live/event")
        );
    }
    let spoken = curl(world, "no-tls", &format!("http://127.0.0.1:{https}/"), &[]).unwrap_err();
    assert!(!spoken.is_empty());

    // A new certificate: those who watch notice nothing, those who come see the new one.
    watched(&flv, 60);
    show(world, "other");
    server.process.signal(Signal::SIGHUP);
    wait_for("the other certificate", || {
        let said = server.process.said();
        said.contains("is another one: for other.example.org")
            .then_some(())
    });
    let refused = curl(world, "refused", &base, &[]).unwrap_err();
    assert!(refused.contains("SSL"), "{refused}");
    let to = format!("other.example.org:{https}:127.0.0.1");
    let other = format!("https://other.example.org:{https}/healthz");
    curl(world, "believed", &other, &["--resolve", &to]).unwrap();
    // One that cannot be used is refused, and the one before goes on.
    fs::copy(fixture("server.key"), world.path("shown.key")).unwrap();
    server.process.signal(Signal::SIGHUP);
    wait_for("the refusal", || {
        let said = server.process.said();
        said.contains("the key does not fit the certificate")
            .then_some(())
    });
    curl(world, "still", &other, &["--resolve", &to]).unwrap();
    for watcher in [&rtmp, &flv, &hls, &plain] {
        watched(watcher, 200).assert_part_of(&source, 200);
    }
    let said = server.process.said();
    assert!(said.contains("does not speak TLS"), "{said}");
    server.process.signal(Signal::SIGTERM);
    assert!(server.process.wait(Duration::from_secs(20)).success());
}

/// ffmpeg with an authority of its own: what its certificate says is checked by whoever watches and by
/// whoever publishes.
pub(crate) fn ffmpeg_checks_who_the_server_is(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    show(world, "server");
    let (server, rtmps, https) = secure(world, "standalone", "");
    server.wait_ready();
    let authority = fixture("ca.pem").display().to_string();
    let checked = ["-tls_verify", "1", "-ca_file", &authority];
    let encode = |name: &str, url: &str| {
        let mut command = Command::new("ffmpeg");
        command
            .args(["-hide_banner", "-loglevel", "verbose", "-re"])
            .args(["-stream_loop", "-1", "-i"])
            .arg(programme())
            .args(["-t", "300", "-c", "copy", "-f", "flv"])
            .args(checked)
            .arg(url);
        world.start(name, &mut command)
    };
    let look = |name: &str, url: &str| {
        let mut command = Command::new("ffmpeg");
        command
            .args(["-hide_banner", "-loglevel", "verbose"])
            .args(checked)
            .args(["-i", url])
            .args(FRAME_HASHES)
            .arg("-");
        world.start(name, &mut command)
    };
    let rtmp = |stream: &str| format!("rtmps://localhost:{rtmps}/live/{stream}");
    let http = |end: &str| format!("https://localhost:{https}/live/event.{end}");
    let _encoder = encode("encoder", &rtmp("event"));
    server.wait_live("live/event");
    let watchers = [
        look("rtmps", &rtmp("event")),
        look("flv", &http("flv")),
        look("hls", &http("m3u8")),
    ];
    for watcher in &watchers {
        watched(watcher, 100).assert_part_of(&source, 100);
    }
    // Another authority's; then one of the right authority, for another host.
    for (other, told) in [
        ("stranger", "is another one: for localhost, 127.0.0.1"),
        ("other", "is another one: for other.example.org"),
    ] {
        show(world, other);
        server.process.signal(Signal::SIGHUP);
        wait_for("the other certificate", || {
            server.process.said().contains(told).then_some(())
        });
        let refused = [
            encode(&format!("encoder-{other}"), &rtmp("more")),
            look(&format!("rtmps-{other}"), &rtmp("event")),
            look(&format!("https-{other}"), &http("flv")),
        ];
        for mut client in refused {
            assert!(!client.wait(Duration::from_secs(60)).success(), "{other}");
            let said = client.stderr().to_lowercase();
            assert!(said.contains("certificate"), "{other}: {said}");
        }
    }
    assert!(!server.process.said().contains("live/more"));
    watched(&watchers[0], 200).assert_part_of(&source, 200);
}

pub(crate) fn files_come_over_it(world: &World) {
    show(world, "server");
    let folder = world.path("media");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(programme(), folder.join("film.flv")).unwrap();
    let keys = format!("[files]\nfolders = [{:?}]\n", folder.display().to_string());
    let (server, rtmps, https) = secure(world, "standalone", &keys);
    server.wait_ready();
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    for (name, url) in [
        ("rtmps", format!("rtmps://127.0.0.1:{rtmps}/vod/film")),
        ("https", format!("https://127.0.0.1:{https}/files/film.flv")),
        (
            "hls",
            format!("https://127.0.0.1:{https}/files/film.flv.m3u8"),
        ),
    ] {
        let got = files::watched(world, "ffmpeg", name, &[], &url);
        assert_eq!(got.video.packets, source.video.packets, "{name}");
        assert_eq!(got.audio.packets, source.audio.packets, "{name}");
    }
}

pub(crate) fn a_mirror_checks_who_its_master_is(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    show(world, "other");
    let secret = secret(world, "secret");
    let (master, rtmps, _) = secure(world, "master", &master_keys(&users(world), &secret));
    master.wait_ready();
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &master.login_url("live/event"),
    );
    let keys = mirror_keys(master.rtmp, &secret)
        .replace("rtmp://127.0.0.1", "rtmps://localhost")
        .replace(&format!(":{}\"", master.rtmp), &format!(":{rtmps}\""))
        .replace(
            "[mirror]",
            &format!("[mirror]\nca_file = {:?}", fixture("ca.pem")),
        );
    let mirror = Server::launch(world, "mirror", &binary(), &keys);
    wait_for("the mirror to say that this is not its master", || {
        let said = mirror.process.said();
        said.contains("no TLS with localhost").then_some(())
    });
    let health = crate::world::get(mirror.http, "/healthz").unwrap();
    assert!(health.0 == 503 && health.1.contains("TLS"), "{health:?}");
    // The right certificate heals it, without anybody touching the mirror.
    show(world, "server");
    master.process.signal(Signal::SIGHUP);
    mirror.wait_live("live/event");
    let viewer = watch(world, "viewer", &mirror.rtmp_url("live/event"));
    watched(&viewer, 150).assert_part_of(&source, 150);
}

pub(crate) fn what_is_wrong_with_a_certificate_is_told_before_anything_opens(world: &World) {
    let check = |name: &str, certificate: &str, key: &str| {
        let text = format!(
            "[listen]\nhttps = [\"127.0.0.1:1\"]\n[tls]\ncertificate = {:?}\nkey = {:?}\n",
            fixture(certificate),
            fixture(key)
        );
        let file = world.write(&format!("{name}.toml"), &text);
        let mut command = Command::new(binary());
        let ended = world.run(
            name,
            command.arg("check").arg(file),
            Duration::from_secs(20),
        );
        (ended.status.code(), ended.out + &ended.err)
    };
    let (code, said) = check("mismatch", "server.pem", "other.key");
    assert!(
        code == Some(78) && said.contains("tls.certificate") && said.contains("does not fit"),
        "{said}"
    );
    let (code, said) = check("no-key", "server.pem", "server.pem");
    assert!(
        code == Some(78) && said.contains("tls.key") && said.contains("no private key"),
        "{said}"
    );
    let (code, said) = check("missing", "nobody-made-it", "server.key");
    assert!(
        code == Some(78) && said.contains("nobody-made-it"),
        "{said}"
    );
    let (code, said) = check("ended", "ended.pem", "ended.key");
    assert!(
        code == Some(0) && said.contains("the certificate ended at 2026-"),
        "{said}"
    );
    let (code, said) = check("good", "server.pem", "server.key");
    assert!(
        code == Some(0) && said.contains("for localhost, 127.0.0.1, until 21"),
        "{said}"
    );
}
