//! Pushes and pulls in TLS: they go to nobody whose certificate they cannot believe.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(name)
}

/// A source of RTSP in TLS, with this certificate.
fn source_in_tls(name: &str, say: impl Fn(&str) -> Said + Send + Clone + 'static) -> u16 {
    let shown = CertificateDer::from_pem_file(fixture(&format!("{name}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture(&format!("{name}.key"))).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![shown], key);
    let config = Arc::new(config.unwrap());
    fake(move |socket| {
        let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        let _ = answers(StreamOwned::new(tls, socket), &say);
    })
}

/// Their rows, in this order: those with nothing said are live, and the others `remote-tls`, and say why.
fn assert_checked(server: &Server, said: &[&str]) {
    let answer = server.until("each has come to something", |answer| {
        let mut cases = said.iter().enumerate();
        cases.all(|(at, said)| {
            let row = &answer["remotes"][at];
            // More than once: what was not believed before is not believed later.
            let failed = row["failures"].as_u64() > Some(1);
            (row["state"] == "live") || !said.is_empty() && failed
        })
    });
    for (at, said) in said.iter().enumerate() {
        let row = &answer["remotes"][at];
        if said.is_empty() {
            assert_eq!(
                (&row["state"], &row["failures"]),
                (&"live".into(), &0.into()),
                "{row}"
            );
        } else {
            assert_eq!(
                (&row["code"], &row["connections"]),
                (&"remote-tls".into(), &0.into()),
                "{row}"
            );
            assert!(row.to_string().contains(said), "{row}");
        }
    }
}

#[test]
fn a_push_in_tls_checks_its_target() {
    let dir = tempfile::tempdir().unwrap();
    let (there, rtmps, wrong) = (free(), free(), free());
    let listen = |port: u16| format!("rtmps = [\"127.0.0.1:{port}\"]");
    let shows = |name: &str| {
        let [pem, key] = ["pem", "key"].map(|end| fixture(&format!("{name}.{end}")));
        format!("[tls]\ncertificate = {pem:?}\nkey = {key:?}\n")
    };
    let target = Server::start_with(
        dir.path(),
        "target",
        there,
        &listen(rtmps),
        &shows("server"),
    );
    let other = Server::start_with(dir.path(), "other", free(), &listen(wrong), &shows("other"));
    let ca = |name: &str| format!("ca_file = {:?}\n", fixture(name));
    let mut keys = String::new();
    for (name, port, ca) in [
        ("good", rtmps, ca("ca.pem")),
        ("stranger", rtmps, ca("vain.pem")),
        ("system", rtmps, String::new()),
        ("name", wrong, ca("ca.pem")),
    ] {
        keys += &format!(
            "[[push]]\nstream = \"live/source\"\nuri = \"rtmps://localhost:{port}/live\"\ntarget = \"{name}\"\n{ca}"
        );
    }
    let here = free();
    let server = Server::start(dir.path(), "here", here, &keys);
    let _encoder = encoder(here);
    let unknown = "authority that is not known";
    assert_checked(&server, &["", unknown, unknown, "other.example.org"]);
    target.until_streams("the push is there", |streams| streams.contains("live/good"));
    for target in [&target, &other] {
        let (_, streams) = target.ask(&["streams"]);
        let mut wrong = ["stranger", "system", "name"].iter();
        assert!(!wrong.any(|name| streams.contains(name)), "{streams}");
    }
}

#[test]
fn a_camera_in_tls_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let camera = |name: &str| source_in_tls(name, |method| plays(method, H264, &[]));
    let [good, ended, other] = ["server", "ended", "other"].map(camera);
    let ca = |name: &str| format!("ca_file = {:?}\n", fixture(name));
    let mut keys = String::from("[limits]\npublish_timeout = \"5m\"\n");
    for (name, port, more) in [
        ("good", good, ca("ca.pem")),
        ("stranger", good, ca("vain.pem")),
        ("system", good, String::new()),
        ("ended", ended, ca("ca.pem")),
        ("name", other, ca("ca.pem")),
    ] {
        keys += &format!(
            "[[pull]]\nstream = \"live/{name}\"\nuri = \"rtsps://ann:hunter2@localhost:{port}/live\"\n{more}"
        );
    }
    let server = Server::start(dir.path(), "here", free(), &keys);
    let unknown = "authority that is not known";
    let said = ["", unknown, unknown, "expired", "other.example.org"];
    assert_checked(&server, &said);
    assert!(!server.log().contains("hunter2"), "{}", server.log());
}
