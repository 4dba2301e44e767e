//! What servers say of each other, over HTTP.

use super::*;
use crate::cluster::Standing;
use crate::rtmp::mirror::host::Announcement;

fn body(answer: &str) -> serde_json::Value {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains("access-control-allow-origin: *"),
        "any page may ask: {head}"
    );
    serde_json::from_str(body).unwrap()
}

fn standing(host: &str) -> Standing {
    Standing {
        role: "standalone",
        public: true,
        announcement: Announcement {
            host: host.into(),
            rtmp: Some(1935),
            http: Some(8080),
            ..Announcement::default()
        },
        ..Standing::default()
    }
}

#[tokio::test]
async fn a_standalone_lists_itself_where_it_was_found() {
    let site = Site::new(Limits::default());
    site.web.cluster.set_standing(standing(""));
    let answer = site.get("/cluster.json").await;
    assert!(
        answer.contains("cache-control: public, max-age=2"),
        "{answer}"
    );
    let list = body(&answer);
    assert_eq!(list["version"], 1);
    assert_eq!(list["role"], "standalone");
    let host = &list["hosts"][0];
    assert_eq!(host["http"], "http://a.example:8080");
    assert_eq!(host["rtmp"], "rtmp://a.example:1935");
    assert_eq!(
        (&host["state"], &host["weight"], &host["id"]),
        (&"ready".into(), &100.into(), &list["id"])
    );
    // What a browser would not take for a host is not shown to others either.
    let request = "GET /cluster.json HTTP/1.1\r\nHost: \"><script>\r\nConnection: close\r\n\r\n";
    let list = body(&site.ask(request).await);
    let url = list["hosts"][0]["http"].as_str().unwrap();
    assert_eq!(url, format!("http://{}", site.address));
}

#[tokio::test]
async fn pages_of_other_origins_may_ask_whether_they_may_ask() {
    let site = Site::new(Limits::default());
    for path in ["/cluster.json", "/steering.json", "/live/event.json"] {
        let ask = |method: &str| {
            format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        };
        let answer = site.ask(&ask("OPTIONS")).await;
        assert!(answer.starts_with("HTTP/1.1 204 "), "{path}: {answer}");
        for field in [
            "access-control-allow-origin: *",
            "access-control-allow-methods: GET",
            "access-control-allow-headers: *",
        ] {
            assert!(answer.contains(field), "{path}: {answer}");
        }
        let answer = site.ask(&ask("DELETE")).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{path}: {answer}");
        assert!(answer.contains("allow: GET"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_host_that_is_configured_is_the_one_that_is_listed() {
    let site = Site::new(Limits::default());
    site.web.cluster.set_standing(standing("tv.example.org"));
    let answer = site.get("/cluster.json").await;
    // The same for all: something in front keeps one for all.
    assert!(!answer.contains("vary: "), "{answer}");
    let list = body(&answer);
    assert_eq!(list["hosts"][0]["http"], "http://tv.example.org:8080");
    let mut nobody = standing("");
    nobody.public = false;
    site.web.cluster.set_standing(nobody);
    sleep(Duration::from_millis(600)).await; // the list is kept for half a second
    let list = body(&site.get("/cluster.json").await);
    assert_eq!(list["hosts"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn hls_players_are_steered() {
    let site = Site::new(Limits::default());
    site.web.cluster.set_standing(standing("tv.example.org"));
    let answer = site
        .get("/steering.json?_HLS_pathway=%22x%22&_HLS_throughput=5000000")
        .await;
    assert!(answer.contains("cache-control: no-store"), "{answer}");
    let document = body(&answer);
    let id = site.web.cluster.id();
    assert_eq!(
        document,
        serde_json::json!({ "VERSION": 1, "TTL": 5, "PATHWAY-PRIORITY": [id] })
    );
}
