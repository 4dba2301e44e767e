//! Both ends over a real connection.

use std::time::{Duration, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;

const CA: &[u8] = include_bytes!("../../tests/tls/ca.pem");
const SERVER: &[u8] = include_bytes!("../../tests/tls/server.pem");
const SERVER_KEY: &[u8] = include_bytes!("../../tests/tls/server.key");
const OTHER: &[u8] = include_bytes!("../../tests/tls/other.pem");
const OTHER_KEY: &[u8] = include_bytes!("../../tests/tls/other.key");
const WILD: &[u8] = include_bytes!("../../tests/tls/wild.pem");
const WILD_KEY: &[u8] = include_bytes!("../../tests/tls/wild.key");
const ENDED: &[u8] = include_bytes!("../../tests/tls/ended.pem");
const ENDED_KEY: &[u8] = include_bytes!("../../tests/tls/ended.key");

fn certificate(chain: &[u8], key: &[u8]) -> Certificate {
    Certificate::from_pem(chain, key).unwrap()
}

/// Two sockets of the system, with small buffers.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    SockRef::from(&listener).set_send_buffer_size(8192).unwrap();
    let client = tokio::net::TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(8192).unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(client.connect(address), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// Both ends of one in TLS.
async fn made(
    acceptor: &Acceptor,
    connector: &Connector,
    host: &str,
) -> (io::Result<Socket>, io::Result<Socket>) {
    let (client, server) = pair().await;
    tokio::join!(
        connector.connect(client, host),
        acceptor.accept(server.into())
    )
}

fn ends() -> (Acceptor, Connector) {
    (
        Acceptor::new(&certificate(SERVER, SERVER_KEY)).unwrap(),
        Connector::new(Some(CA)).unwrap(),
    )
}

#[tokio::test]
async fn bytes_pass_in_both_directions_and_the_end_is_told() {
    let (acceptor, connector) = ends();
    let (client, server) = made(&acceptor, &connector, "localhost").await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    assert!(client.is_secure() && server.is_secure());
    let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let reader = tokio::spawn(async move {
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        client.write_all(b"thanks").await.unwrap();
        client.shutdown().await.unwrap();
        got
    });
    server.write_all(&sent).await.unwrap();
    server.shutdown().await.unwrap();
    let mut answer = String::new();
    server.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "thanks");
    assert_eq!(reader.await.unwrap(), sent);
}

#[tokio::test]
async fn what_waits_for_a_peer_that_reads_nothing_is_bounded() {
    let (acceptor, connector) = ends();
    let (client, server) = made(&acceptor, &connector, "127.0.0.1").await;
    let (client, server) = (client.unwrap(), server.unwrap());
    let block = vec![7; 100_000];
    let mut taken = 0;
    while let Ok(n) = server.send(&[IoSlice::new(&block)]) {
        assert!(n <= TLS_BACKLOG, "took {n} bytes at once");
        taken += n;
        assert!(taken < 64 << 20, "takes without end");
    }
    assert_eq!(server.flush().unwrap_err().kind(), ErrorKind::WouldBlock);
    // All that was taken comes, once it is read, without anybody sending more.
    let mut got = 0;
    let mut buffer = vec![0; 65_536];
    while got < taken {
        match client.try_read(&mut buffer) {
            Ok(n) => got += n,
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::WouldBlock);
                if server.flush().is_err() {
                    server.writable().await.unwrap();
                } else {
                    client.readable().await.unwrap();
                }
            }
        }
    }
    assert_eq!(got, taken);
    assert!(server.flush().is_ok());
}

#[tokio::test]
async fn a_peer_that_only_closes_its_socket_ends_the_stream() {
    let (acceptor, connector) = ends();
    let (client, server) = made(&acceptor, &connector, "localhost").await;
    let server = server.unwrap();
    // What the server sent of its own accord is read: left there, it would make a reset of the end.
    let client = client.unwrap();
    client.tcp.readable().await.unwrap();
    let idle = client.try_read(&mut [0; 16]).unwrap_err();
    assert_eq!(idle.kind(), ErrorKind::WouldBlock);
    drop(client);
    let read = loop {
        server.readable().await.unwrap();
        match server.try_read(&mut [0; 16]) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            read => break read,
        }
    };
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test]
async fn only_the_certificate_of_the_right_name_is_believed() {
    let (acceptor, connector) = ends();
    let (client, server) = made(&acceptor, &connector, "elsewhere.example.org").await;
    assert!(client.is_err() && server.is_err());
    let strangers = Connector::new(Some(OTHER)).unwrap();
    let (client, server) = made(&acceptor, &strangers, "localhost").await;
    let told = explain(&client.unwrap_err());
    assert!(
        told.contains("an authority that is not known here"),
        "{told}"
    );
    let told = explain(&server.unwrap_err());
    assert!(told.contains("does not believe the certificate"), "{told}");

    let ended = Acceptor::new(&certificate(ENDED, ENDED_KEY)).unwrap();
    let (client, _) = made(&ended, &connector, "localhost").await;
    let told = explain(&client.unwrap_err());
    assert!(told.contains("xpired"), "{told}");
}

#[tokio::test]
async fn a_new_certificate_is_for_those_who_come_later() {
    let (acceptor, connector) = ends();
    let http = acceptor.speaking("http/1.1");
    let (before, kept) = made(&http, &connector, "localhost").await;
    let (mut before, mut kept) = (before.unwrap(), kept.unwrap());
    assert!(
        !acceptor.renew(&certificate(SERVER, SERVER_KEY)),
        "the same"
    );
    assert!(acceptor.renew(&certificate(OTHER, OTHER_KEY)));
    let (after, _) = made(&http, &connector, "localhost").await;
    assert!(after.is_err(), "it is for another name now");
    let (after, _) = made(&http, &connector, "other.example.org").await;
    assert!(after.is_ok());
    kept.write_all(b"still here").await.unwrap();
    let mut still = [0; 10];
    before.read_exact(&mut still).await.unwrap();
    assert_eq!(&still, b"still here");
}

#[tokio::test]
async fn whoever_speaks_no_tls_is_told_of() {
    let (acceptor, connector) = ends();
    let (mut client, server) = pair().await;
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let told = explain(&acceptor.accept(server.into()).await.unwrap_err());
    assert!(told.contains("does not speak TLS"), "{told}");

    let (client, mut server) = pair().await;
    server
        .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .await
        .unwrap();
    let told = explain(&connector.connect(client, "localhost").await.unwrap_err());
    assert!(told.contains("does not speak TLS"), "{told}");

    let (client, server) = pair().await;
    drop(client);
    assert!(is_gone(&acceptor.accept(server.into()).await.unwrap_err()));

    // Nor does a handshake that never ends hold anything but its own future.
    let (_silent, server) = pair().await;
    let accepting = acceptor.accept(server.into());
    assert!(timeout(Duration::from_millis(50), accepting).await.is_err());
}

#[test]
fn files_that_are_of_no_use_are_told_apart() {
    let error = |chain, key| Certificate::from_pem(chain, key).unwrap_err();
    assert_eq!(error(b"", SERVER_KEY), CertificateError::NoCertificate);
    assert_eq!(
        error(SERVER_KEY, SERVER_KEY),
        CertificateError::NoCertificate
    );
    assert_eq!(error(SERVER, SERVER), CertificateError::NoKey);
    assert_eq!(error(SERVER, OTHER_KEY), CertificateError::Mismatch);
    assert!(error(SERVER, b"").is_of_key());
    let many = SERVER.repeat(20);
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for chain in [many.as_slice(), broken] {
        assert!(
            matches!(error(chain, SERVER_KEY), CertificateError::Unreadable(_)),
            "{:?}",
            error(chain, SERVER_KEY)
        );
    }
    let both = [SERVER_KEY, SERVER].concat();
    assert_eq!(certificate(&both, &both), certificate(SERVER, SERVER_KEY));
    assert_eq!(Connector::new(Some(b"")).unwrap_err(), CaError::None);
}

#[test]
fn a_certificate_tells_its_names_and_its_dates() {
    let good = certificate(SERVER, SERVER_KEY);
    let summary = good.summary();
    assert!(
        summary.starts_with("for localhost, 127.0.0.1, until 21"),
        "{summary}"
    );
    let end = UNIX_EPOCH + Duration::from_secs(good.ends());
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(good.warning(end - 30 * day), None);
    let warned = |at| good.warning(at).unwrap();
    assert!(warned(end - day).contains("renew it and reload before that"));
    assert!(warned(end).starts_with("the certificate ended at 21"));
    assert!(warned(UNIX_EPOCH).contains("this machine's clock is wrong"));
    let ended = certificate(ENDED, ENDED_KEY).warning(std::time::SystemTime::now());
    assert!(ended.unwrap().contains("ended at 2026-"));
}

#[test]
fn a_certificate_is_for_its_hosts_alone() {
    let server = certificate(SERVER, SERVER_KEY);
    assert_eq!(server.hosts(), "localhost, 127.0.0.1");
    let wild = certificate(WILD, WILD_KEY);
    for (of, host, fits) in [
        (&server, "localhost", true),
        (&server, "LocalHost", true),
        (&server, "a.localhost", false),
        (&server, "127.0.0.1", true),
        (&server, "127.0.0.2", false),
        (&server, "::1", false),
        (&server, "a b", false),
        (&wild, "a.M.example.org", true),
        (&wild, "192-0-2-1.m.example.org", true),
        (&wild, "a.b.m.example.org", false),
        (&wild, "m.example.org", false),
        (&wild, "203-0-113-5.example.net", true),
        (&wild, "192.0.2.1", false),
    ] {
        assert_eq!(of.is_for(host), fits, "{host}");
    }
}
