//! Asking the cloud for the public address: the metadata service of EC2, which OpenStack has too.
//!
//! Two small requests over plain HTTP to a fixed address, within [`METADATA_TIMEOUT`]. EC2 wants a token
//! first (its version 2); who does not know tokens is asked without. Whatever the answer, it is no more
//! than a claim: the master looks at it as at any other.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cluster::address::is_public;
use crate::limits::{MAX_METADATA, METADATA_TIMEOUT};

/// Where clouds have their metadata service.
const USUAL: &str = "169.254.169.254:80";
/// Bytes of a token.
const MAX_TOKEN: usize = 1024;

/// Where, and when, to ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Cloud {
    /// Never.
    #[default]
    Silent,
    /// At 169.254.169.254, where clouds have it, when this end of the connection to the master is a private address.
    Usual,
    /// At this `host:port`.
    At(String),
}

impl Cloud {
    /// Whom to ask, from this end of the connection to the master.
    pub(super) fn to_ask(&self, local: IpAddr) -> Option<String> {
        let ip = local.to_canonical();
        match self {
            Self::Silent => None,
            // On loopback there is no cloud, and a public address is seen by the master.
            Self::Usual => (!is_public(ip) && !ip.is_loopback()).then(|| USUAL.to_owned()),
            Self::At(address) => Some(address.clone()),
        }
    }
}

/// The public address, if there is one and the service says so in time.
pub(super) async fn public_ip(service: &str) -> Option<IpAddr> {
    timeout(METADATA_TIMEOUT, ask(service)).await.ok()?
}

async fn ask(service: &str) -> Option<IpAddr> {
    let wish = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\n";
    let token = request(service, "PUT", "/latest/api/token", wish).await?;
    let fields = match token {
        Answer::Good(token) if is_token(&token) => {
            format!("X-aws-ec2-metadata-token: {token}\r\n")
        }
        _ => String::new(),
    };
    match request(service, "GET", "/latest/meta-data/public-ipv4", &fields).await? {
        Answer::Good(text) => text.trim().parse().ok().filter(|ip| is_public(*ip)),
        Answer::Bad => None,
    }
}

fn is_token(text: &str) -> bool {
    (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// 200, with this body.
    Good(String),
    /// Anything else.
    Bad,
}

/// `None` when nobody is there, or speaks something else.
async fn request(service: &str, method: &str, path: &str, fields: &str) -> Option<Answer> {
    let mut socket = TcpStream::connect(service).await.ok()?;
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {service}\r\nConnection: close\r\n{fields}\r\n");
    socket.write_all(head.as_bytes()).await.ok()?;
    let mut bytes = Vec::new();
    let mut piece = [0; 1024];
    loop {
        if let Some(answer) = parse(&bytes, false)? {
            return Some(answer);
        }
        match socket.read(&mut piece).await.ok()? {
            0 => return parse(&bytes, true)?,
            n => bytes.extend_from_slice(piece.get(..n)?),
        }
        if bytes.len() > MAX_METADATA {
            return None;
        }
    }
}

/// `None` for what is no HTTP, `Some(None)` while it is not complete; `over` when nothing follows.
#[expect(
    clippy::option_option,
    reason = "no answer, not yet an answer, an answer"
)]
fn parse(bytes: &[u8], over: bool) -> Option<Option<Answer>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(bytes).ok()? else {
        return if over { None } else { Some(None) };
    };
    let body = bytes.get(head..)?;
    let length = response.headers.iter().find_map(|field| {
        let named = field.name.eq_ignore_ascii_case("content-length");
        let text = std::str::from_utf8(field.value).ok()?;
        named.then(|| text.trim().parse::<usize>().ok())?
    });
    let body = match length {
        Some(length) if body.len() >= length => body.get(..length)?,
        Some(_) if over => return None,
        None if over => body,
        _ => return Some(None),
    };
    Some(Some(match response.code {
        Some(200) => Answer::Good(std::str::from_utf8(body).ok()?.to_owned()),
        _ => Answer::Bad,
    }))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A service that answers each request by its first line; what it was asked, in order.
    async fn service(
        answers: impl Fn(&str) -> Option<&'static str> + Send + 'static,
    ) -> (String, tokio::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, asked) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(socket.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap();
                let answer = answers(&request);
                tell.try_send(request).unwrap_or_default();
                match answer {
                    Some(answer) => drop(socket.write_all(answer.as_bytes()).await),
                    // It takes the request and says nothing, for ever.
                    None => std::mem::forget(socket),
                }
            }
        });
        (address, asked)
    }

    #[tokio::test]
    async fn ec2_wants_a_token() {
        let (address, mut asked) = service(|request| {
            Some(if request.starts_with("PUT /latest/api/token ") {
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc=="
            } else if request.contains("X-aws-ec2-metadata-token: abc==\r\n") {
                "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n203.0.113.5"
            } else {
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
            })
        })
        .await;
        let ip = public_ip(&address).await;
        assert_eq!(ip, Some("203.0.113.5".parse().unwrap()));
        let first = asked.recv().await.unwrap();
        assert!(
            first.contains("X-aws-ec2-metadata-token-ttl-seconds: 60\r\n"),
            "{first}"
        );
    }

    #[tokio::test]
    async fn openstack_knows_no_tokens_and_may_have_no_address() {
        for (body, ip) in [
            (
                "HTTP/1.1 200 OK\r\n\r\n198.51.100.7\n",
                Some("198.51.100.7"),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", None),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\n\r\n10.0.0.5", None),
            ("HTTP/1.1 200 OK\r\n\r\n<html>", None),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n198.51.100.7",
                None,
            ),
            ("SSH-2.0-x\r\n", None),
        ] {
            let (address, _asked) = service(move |request| {
                Some(if request.starts_with("PUT ") {
                    "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n"
                } else {
                    body
                })
            })
            .await;
            assert_eq!(
                public_ip(&address).await,
                ip.map(|ip| ip.parse().unwrap()),
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn whoever_does_not_answer_is_not_waited_for() {
        let (address, _asked) = service(|_| None).await;
        assert_eq!(public_ip(&address).await, None);
        assert_eq!(public_ip("127.0.0.1:1").await, None);
        static ENDLESS: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let endless = ENDLESS
            .get_or_init(|| format!("HTTP/1.1 200 OK\r\n\r\n{}", "1".repeat(2 * MAX_METADATA)));
        let (address, _asked) = service(|_| Some(endless)).await;
        assert_eq!(public_ip(&address).await, None);
    }

    #[test]
    fn the_cloud_is_asked_from_private_networks_alone() {
        let ask = |cloud: &Cloud, local: &str| cloud.to_ask(local.parse().unwrap());
        assert_eq!(ask(&Cloud::Usual, "10.0.0.5").as_deref(), Some(USUAL));
        assert_eq!(
            ask(&Cloud::Usual, "::ffff:10.0.0.5").as_deref(),
            Some(USUAL)
        );
        assert_eq!(ask(&Cloud::Usual, "203.0.113.5"), None);
        assert_eq!(ask(&Cloud::Usual, "127.0.0.1"), None);
        assert_eq!(ask(&Cloud::Silent, "10.0.0.5"), None);
        let at = Cloud::At("x:1".into());
        assert_eq!(ask(&at, "127.0.0.1").as_deref(), Some("x:1"));
    }
}
