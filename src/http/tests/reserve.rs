//! When viewers have all connections that they may have.

use super::*;

const BOUNDS: AdmissionLimits = AdmissionLimits {
    connections: 16,
    descriptors: usize::MAX,
    pending: 50,
    pending_per_address: 50,
};

#[tokio::test]
async fn the_last_connections_answer_and_are_no_viewers() {
    let site = Site::new(Limits::default());
    let _source = site.publish("x");
    site.door.admission.set_limits(BOUNDS);
    let come = || site.door.admission.admit([192, 0, 2, 1].into()).unwrap();
    let mut others: Vec<_> = (0..14).map(|_| come()).collect();

    for path in ["/live/x.flv", "/files/x.mp4"] {
        let answer = site.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(
            answer.to_lowercase().contains("\r\nretry-after: 2\r\n"),
            "{answer}"
        );
        assert!(answer.contains("\"code\":\"full\""), "{answer}");
    }
    let refused = crate::cluster::Refusal::Full.code();
    assert!(site.web.metrics.render().contains(&format!(
        "crtmpserver_viewers_refused_total{{reason=\"{refused}\"}} 2\n"
    )));
    // Nobody stays who asks for something else, as often as players of HLS may ask.
    for path in ["/healthz", "/metrics", "/cluster.json", "/live/none.m3u8"] {
        let answer = site
            .ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        assert!(!answer.contains("\"code\":\"full\""), "{answer}");
        assert!(
            answer.to_lowercase().contains("\r\nconnection: close\r\n"),
            "{answer}"
        );
    }

    // The reserve has its bound, too.
    while site.door.admission.connections() > 14 {
        sleep(Duration::from_millis(2)).await;
    }
    let reserve = [come(), come()];
    let mut client = TcpStream::connect(site.address).await.unwrap();
    let mut answer = [0];
    let read = timeout(PATIENCE, client.read(&mut answer)).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert_eq!(site.web.metrics.refusals("max_connections"), 1);

    // A viewer leaves, and the next one comes in.
    drop(reserve);
    others.pop();
    let mut viewer = site.watch("x").await;
    expect(&mut viewer, &flv_file_header(true, true)).await;
}
