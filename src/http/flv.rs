//! `/APP/STREAM.flv`: the answer, and the viewer behind it.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::head::{METHODS, Method};
use super::refused::{RETRY_AFTER, SIBLING, refused};
use super::{Connection, Missing, Web};
use crate::bridge::{flv_file_header, flv_notice, moving};
use crate::cluster::{Place, Refusal, Refused, Via};
use crate::limits::{HTTP_FAREWELL, MAX_HTTP_HEAD};
use crate::media::{NameError, Rendition, StreamName};
use crate::net::{Admitted, Ending, Outlet, OutletEvent, Play, Wish};
use crate::relay::{Protocol as Watching, Stream};
use crate::telemetry::logging::limited;
use crate::telemetry::metrics::Protocol;
use crate::telemetry::repeats::repeated;
use crate::transport::Socket;

/// A page of any origin may play: there are no cookies here that could be misused.
pub(super) const ANY_ORIGIN: (&str, &str) = ("Access-Control-Allow-Origin", "*");
/// After this long a stream has shown whether it has audio and video.
const SETTLED: Duration = Duration::from_secs(3);

/// A request for a stream.
pub(super) struct Wanted {
    pub(super) method: Method,
    pub(super) via: Via,
    pub(super) name: Result<StreamName, NameError>,
}

/// What a request for a stream gets.
pub(super) enum Decision {
    /// These bytes, then the end; with the reason for the metrics.
    Answer(Bytes, &'static str),
    /// The stream, and the viewer's place.
    Play(Arc<Stream>, Place),
}

/// Decides without waiting for anything.
pub(super) fn decide(web: &Web, wanted: Wanted, admitted: &Admitted, peer: IpAddr) -> Decision {
    let Wanted { method, via, name } = wanted;
    let refuse = |status, fields: &[(&str, &str)], text: &str, reason| {
        let fields: Vec<_> = [ANY_ORIGIN].iter().chain(fields).copied().collect();
        Decision::Answer(plain(status, &fields, text, method), reason)
    };
    match method {
        Method::Get | Method::Head => {}
        Method::Options => {
            let fields = [
                ANY_ORIGIN,
                ("Allow", METHODS),
                ("Access-Control-Allow-Methods", METHODS),
                ("Access-Control-Allow-Headers", "*"),
                ("Access-Control-Max-Age", "86400"),
            ];
            return Decision::Answer(response(204, &fields, ""), "answered");
        }
        Method::Other => {
            return refuse(
                405,
                &[("Allow", METHODS)],
                "A stream can only be read.\n",
                "bad-method",
            );
        }
    }
    let name = match name {
        Ok(name) => (web.meant)(&name),
        Err(e) => {
            return refuse(400, &[], &format!("No such stream: {e}.\n"), "bad-name");
        }
    };
    match web.hub.get(&name) {
        Some(_) if method == Method::Head => match web.cluster.would_admit(via) {
            Ok(()) => Decision::Answer(response(200, &HEADERS, ""), "answered"),
            Err(why) => Decision::Answer(elsewhere(&why, method), why.why.code()),
        },
        Some(stream) => {
            let kbit = stream.info(Instant::now()).kbit_per_second;
            let room = may_watch(web, admitted, via, peer);
            match room.and_then(|()| web.cluster.admit(kbit, via)) {
                Ok(place) => Decision::Play(stream, place),
                Err(why) => {
                    let code = why.why.code();
                    web.metrics.sent_elsewhere(code);
                    Decision::Answer(elsewhere(&why, method), code)
                }
            }
        }
        None => match (web.missing)(&name) {
            Missing::NotLive => {
                let text = format!("The stream {name} is not live.\n");
                refuse(404, &[], &text, "not-live")
            }
            Missing::NoMaster { retry_after } => {
                let seconds = retry_after.as_secs().max(1).to_string();
                refuse(
                    503,
                    &[("Retry-After", &seconds)],
                    "This mirror has no connection to its master just now.\n",
                    "no-master",
                )
            }
        },
    }
}

/// Whether this connection may become a viewer's: those of the reserve are for whoever does not watch.
pub(super) fn may_watch(
    web: &Web,
    admitted: &Admitted,
    via: Via,
    peer: IpAddr,
) -> Result<(), Refused> {
    admitted.may_watch().map_err(|full| {
        repeated(full.label(), peer, Instant::now(), || {
            tracing::info!(
                %peer, code = full.label(),
                "a viewer is sent elsewhere: viewers have all connections that they may ({})", full.bound()
            );
        });
        Refused {
            why: Refusal::Full,
            sibling: web.cluster.sibling(via),
        }
    })
}

/// What a viewer hears who is not taken.
fn elsewhere(why: &Refused, method: Method) -> Bytes {
    let (body, sibling) = refused(why);
    let length = body.len().to_string();
    let mut fields = vec![
        ANY_ORIGIN,
        ("Access-Control-Expose-Headers", EXPOSED),
        ("Content-Type", "application/json"),
        ("Content-Length", &*length),
        ("X-Content-Type-Options", "nosniff"),
        ("Retry-After", RETRY_AFTER),
    ];
    if let Some(url) = sibling {
        fields.push((SIBLING, url));
    }
    let shown = if method == Method::Head { "" } else { &body };
    response(503, &fields, shown)
}

/// What a page of another origin may read of [`elsewhere`].
const EXPOSED: &str = "Retry-After, X-Crtmpserver-Sibling";

const HEADERS: [(&str, &str); 3] = [
    ANY_ORIGIN,
    ("Content-Type", "video/x-flv"),
    ("X-Content-Type-Options", "nosniff"),
];

/// A small answer of text; without the text for HEAD.
pub(super) fn plain(status: u16, fields: &[(&str, &str)], text: &str, method: Method) -> Bytes {
    let length = text.len().to_string();
    let mut all = vec![
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", &*length),
        ("X-Content-Type-Options", "nosniff"),
    ];
    all.extend_from_slice(fields);
    let body = if method == Method::Head { "" } else { text };
    response(status, &all, body)
}

/// The head of an answer that ends its connection, and what follows it.
fn response(status: u16, fields: &[(&str, &str)], body: &str) -> Bytes {
    let phrase = axum::http::StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or_default();
    let mut out = format!("HTTP/1.1 {status} {phrase}\r\nCache-Control: no-store\r\n");
    for (name, value) in fields {
        // Writing to a `String` does not fail.
        let _ = write!(out, "{name}: {value}\r\n");
    }
    out.push_str("Connection: close\r\n\r\n");
    out.push_str(body);
    out.into()
}

/// Why a viewer watches no more.
#[derive(Clone, Copy)]
enum Over {
    /// The sending side is over.
    Ended(Ending),
    /// Something else, by the label of the metrics.
    As(&'static str),
}

impl Over {
    const fn label(self) -> &'static str {
        match self {
            Self::Ended(ending) => ending.label(),
            Self::As(label) => label,
        }
    }
}

impl Connection {
    /// Plays until one side ends it; why.
    pub(super) async fn watch(
        &self,
        socket: Socket,
        stream: &Arc<Stream>,
        via: Via,
    ) -> &'static str {
        let asked = Instant::now();
        let outlet = Outlet::new(socket, &self.shard, Protocol::Flv);
        let registered = outlet.register(self.peer);
        outlet.control(response(200, &HEADERS, ""));
        let info = stream.info(asked);
        let settled = asked.saturating_duration_since(info.since) > SETTLED
            && (info.audio.is_some() || info.video.is_some());
        outlet.control(flv_file_header(
            !settled || info.audio.is_some(),
            !settled || info.video.is_some(),
        ));
        let play = Play {
            form: Rendition::FlvPlain,
            message_stream: 1,
            join: (self.web.join)(),
            watching: Watching::Flv,
            asked,
            announce: None,
        };
        let Ok(playing) = outlet.play(stream, play) else {
            return "peer-gone";
        };
        // Viewers come and go by the thousand: the metrics count them, the log is for what is wrong.
        tracing::debug!(protocol = "flv", peer = %self.peer, stream = %stream.name(), "playing");
        let over = self.until_over(&outlet, via).await;
        let reason = over.label();
        let takes = match reason {
            "stream-ended" | "drained" => true,
            "stopping" => Box::pin(outlet.catch_up(self.shard.due_until())).await,
            _ => false,
        };
        drop(playing);
        if takes {
            Box::pin(outlet.finish(HTTP_FAREWELL)).await;
        }
        let totals = outlet.totals();
        if let Over::Ended(ending) = over
            && ending.is_notable()
        {
            limited(reason, Instant::now(), || {
                tracing::warn!(
                    stream = %stream.name(), id = registered.id(), peer = %self.peer, code = reason,
                    sent = totals.bytes, skipped = totals.skipped, "connection closed: {}", ending.meaning()
                );
            });
        }
        tracing::debug!(
            protocol = "flv", peer = %self.peer, stream = %stream.name(), reason,
            seconds = asked.elapsed().as_secs(), bytes = totals.bytes, frames = totals.frames,
            skipped = totals.skipped, "stopped playing"
        );
        reason
    }

    /// The viewer should go to another server.
    fn please_move(&self, via: Via) -> Bytes {
        let cluster = &self.web.cluster;
        let base = cluster.sibling(via).map(|sibling| sibling.base);
        let left = cluster.draining().map(|drain| drain.left(Instant::now()));
        flv_notice(moving(base.as_deref(), left))
    }

    async fn until_over(&self, outlet: &Outlet, via: Via) -> Over {
        let mut stopping = std::pin::pin!(self.shard.stopping());
        let mut unasked = 0_usize;
        loop {
            tokio::select! {
                event = outlet.drive() => match event {
                    OutletEvent::Ended { .. } => return Over::As("stream-ended"),
                    OutletEvent::Closed(ending) => return Over::Ended(ending),
                    OutletEvent::Wished(Wish::Kick) => return Over::As("kicked"),
                    OutletEvent::Wished(Wish::Leave) => return Over::As("drained"),
                    OutletEvent::Wished(Wish::Move) => outlet.control(self.please_move(via)),
                    OutletEvent::Room | OutletEvent::Sent => {}
                },
                ready = poll_fn(|cx| outlet.poll_readable(cx)) => {
                    if ready.is_err() {
                        return Over::Ended(Ending::Gone);
                    }
                    match self.shard.read(outlet.socket(), <[u8]>::len) {
                        Ok(n @ 1..) => {
                            self.count_in(n);
                            unasked = unasked.saturating_add(n);
                            if unasked > MAX_HTTP_HEAD {
                                return Over::As("unasked-input");
                            }
                        }
                        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                        Ok(0) | Err(_) => return Over::Ended(Ending::Gone),
                    }
                }
                () = &mut stopping => return Over::As("stopping"),
            }
        }
    }
}
