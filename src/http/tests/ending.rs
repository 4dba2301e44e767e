//! How connections end: by the clock, and when the server stops.

use super::*;

#[tokio::test]
async fn an_answer_on_its_way_comes_to_its_end_when_the_server_stops() {
    let site = Site::new(Limits::default());
    let _sources: Vec<_> = (0..400)
        .map(|n| site.publish(&format!("stream-{n}")))
        .collect();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut slow = socket.connect(site.address).await.unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let head = read_head(&mut slow).await.to_ascii_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let length: u64 = length.unwrap().parse().unwrap();
    let sent = || site.web.metrics.traffic(Protocol::Http).bytes_out.get();
    assert!(sent() < length, "it is there already, and proves nothing");
    // Another one waits for its next request.
    let mut idle = site.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    read_head(&mut idle).await;

    let finish = site.door.shards.finish(PATIENCE);
    let read = async {
        let (mut body, mut rest) = (Vec::new(), Vec::new());
        timeout(PATIENCE, slow.read_to_end(&mut body))
            .await
            .unwrap()
            .unwrap();
        timeout(PATIENCE, idle.read_to_end(&mut rest))
            .await
            .unwrap()
            .unwrap();
        body.len() as u64
    };
    let (dropped, read) = tokio::join!(finish, read);
    assert_eq!((dropped, read), (0, length));
}

#[tokio::test]
async fn a_head_has_one_deadline_however_it_drips() {
    let site = Site::new(Limits::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (mut client, (socket, peer)) = (client.unwrap(), accepted.unwrap());
    let socket = socket.into_std().unwrap();
    let admitted = site.door.admission.admit(peer.ip()).unwrap();
    let web = Arc::clone(&site.web);
    site.door
        .shards
        .spawn(0, move |shard| {
            let socket = TcpStream::from_std(socket).unwrap().into();
            let at = Instant::now() - HTTP_HEAD_TIMEOUT + Duration::from_millis(200);
            let local = address;
            connection(
                shard,
                Incoming {
                    socket,
                    peer,
                    local,
                    at,
                    admitted,
                },
                web,
            )
        })
        .await
        .unwrap();
    let dripping = async {
        while client.write_all(b"G").await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, dripping).await.unwrap();
    let http = site.web.metrics.traffic(Protocol::Http);
    closed(http, "head-timeout").await;
}
