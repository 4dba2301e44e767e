//! Everything that is not a stream, on hyper and axum.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::get;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::yield_now;
use tokio::time::timeout_at;
use tower_service::Service;

use super::cluster;
use super::flv;
use super::head::{METHODS, Method, flv_stream, method_of};
use super::hls;
use super::page::{self, FRAMED, Links, POLICY, Row};
use super::prefixed::Prefixed;
use super::via::via;
use super::{Connection, Web, assets, state};
use crate::cluster::Via;
use crate::limits::{
    HTTP_FAREWELL, HTTP_KEEP_ALIVE, HTTP_LAST_ANSWER, HTTP_LIFETIME, MAX_HTTP_HEAD,
    MAX_HTTP_HEADERS,
};
use crate::media::StreamName;
use crate::net::{Admitted, Shard};
use crate::relay::{State as StreamState, StreamInfo};
use crate::transport::Socket;

/// Media files are below this.
const FILES: &str = "/files/";

/// How serving pages ended.
pub(super) enum After {
    /// The connection is closed, for this reason.
    Closed(&'static str),
    /// A request for a stream came; it is answered by the engine, and is the last one.
    Flv(Socket, flv::Wanted),
}

/// A request that was for a stream.
type Wanted = Rc<RefCell<Option<flv::Wanted>>>;

/// Serves requests until the connection ends or a stream is wanted. `read` begins with the head of
/// the first request.
pub(super) async fn serve(connection: &Connection, read: Bytes, socket: Socket) -> After {
    let metrics = Arc::clone(&connection.web.metrics);
    let wanted = Wanted::default();
    let thinking = Rc::default();
    let life = Life::new(Instant::now());
    let router = router(&connection.web)
        .layer(Extension(Local(connection.local)))
        .layer(Extension(life.clone()));
    let service = Pages {
        router,
        web: Arc::clone(&connection.web),
        shard: Rc::clone(&connection.shard),
        peer: connection.peer,
        secure: connection.secure,
        admitted: Rc::clone(&connection.admitted),
        life: life.clone(),
        thinking: Rc::clone(&thinking),
        wanted: Rc::clone(&wanted),
    };
    let mut hyper = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_KEEP_ALIVE)
        .max_buf_size(MAX_HTTP_HEAD)
        .max_headers(MAX_HTTP_HEADERS)
        .serve_connection(TokioIo::new(Prefixed::new(read, socket, metrics)), service);
    let mut stopping = std::pin::pin!(connection.shard.stopping());
    let mut is_last = false;
    let served = loop {
        let until = life.until();
        let serving = poll_fn(|cx| hyper.poll_without_shutdown(cx));
        let served = tokio::select! {
            served = timeout_at(until.into(), serving) => served,
            () = &mut stopping => {
                // An answer that is on its way comes to its end, but nobody waits for one that is not.
                if !thinking.get() {
                    Pin::new(&mut hyper).graceful_shutdown();
                    let rest = poll_fn(|cx| hyper.poll_without_shutdown(cx));
                    let _ = timeout_at(farewell(&connection.shard).into(), rest).await;
                }
                return After::Closed("stopping");
            }
        };
        match served {
            Err(_) if life.until() > until => {} // a file is on its way
            // What is on its way comes to its end; who reads playlist after playlist is told.
            Err(_) if !is_last => {
                is_last = true;
                Pin::new(&mut hyper).graceful_shutdown();
                life.end_within(HTTP_LAST_ANSWER);
            }
            served => break served,
        }
    };
    let wanted = wanted.borrow_mut().take();
    match (wanted, served) {
        (Some(wanted), _) => {
            let socket = hyper.into_parts().io.into_inner().socket;
            After::Flv(socket, wanted)
        }
        (None, Ok(Ok(()))) => After::Closed("answered"),
        (None, Ok(Err(e))) if e.is_timeout() => After::Closed("keep-alive-timeout"),
        (None, Ok(Err(e))) if e.is_parse() => After::Closed("bad-request"),
        (None, Ok(Err(_))) => After::Closed("peer-gone"),
        (None, Err(_late)) => After::Closed("lifetime"),
    }
}

/// How long a connection may last: [`HTTP_LIFETIME`] from its beginning, or from the last part of a file
/// that its peer took.
#[derive(Debug, Clone)]
pub(super) struct Life(Arc<Mutex<Instant>>);

impl Life {
    fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(later(now))))
    }

    fn until(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the next answer is to be the last: peers that ask again and again hear of it before the end,
    /// so that no request of theirs crosses it.
    fn is_nearly_over(&self) -> bool {
        let now = Instant::now();
        self.until().saturating_duration_since(now) < HTTP_KEEP_ALIVE
    }

    /// So much is left; more, when the peer takes another part of a file.
    fn end_within(&self, rest: Duration) {
        let now = Instant::now();
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *until = now.checked_add(rest).unwrap_or(now);
    }

    /// The peer took a part of a file.
    #[cfg_attr(
        not(feature = "publish"),
        expect(dead_code, reason = "there are no files")
    )]
    pub(super) fn extend(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = later(Instant::now());
    }
}

/// Until when an answer may go on when the server stops.
fn farewell(shard: &Shard) -> Instant {
    let now = Instant::now();
    let end = now.checked_add(HTTP_FAREWELL).unwrap_or(now);
    end.min(shard.due_until())
}

fn later(now: Instant) -> Instant {
    now.checked_add(HTTP_LIFETIME).unwrap_or(now)
}

/// Our side of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local(pub(super) SocketAddr);

/// The request was for a stream: hyper ends without an answer and gives the socket back.
#[derive(Debug, thiserror::Error)]
#[error("the engine answers this request")]
struct HandBack;

#[derive(Clone)]
struct Pages {
    router: Router,
    web: Arc<Web>,
    shard: Rc<Shard>,
    peer: SocketAddr,
    secure: bool,
    admitted: Rc<Admitted>,
    life: Life,
    /// Whether a request is there that has no answer yet.
    thinking: Rc<Cell<bool>>,
    wanted: Wanted,
}

impl hyper::service::Service<Request<Incoming>> for Pages {
    type Response = Response<Body>;
    type Error = HandBack;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>>>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if self.secure {
            // As a proxy in front of this server would say it.
            let fields = request.headers_mut();
            fields.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        }
        if let Some(name) = flv_stream(request.uri().path()) {
            self.wanted.replace(Some(flv::Wanted {
                method: method_of(request.method().as_str()),
                via: via(request.headers()),
                name,
            }));
            return Box::pin(async { Err(HandBack) });
        }
        // The reserve is for many who ask one thing, and not for those who stay: a player of HLS asks every
        // few seconds, and a file takes as long as it is watched.
        let reserved = self.admitted.may_watch().is_err();
        if reserved && request.uri().path().starts_with(FILES) {
            let refused = flv::may_watch(
                &self.web,
                &self.admitted,
                via(request.headers()),
                self.peer.ip(),
            );
            if let Err(why) = refused {
                let answer = ending(true, hls::refuse(&self.web, &why));
                return Box::pin(async { Ok(answer) });
            }
        }
        let is_last = reserved || self.life.is_nearly_over();
        let thinking = Rc::clone(&self.thinking);
        thinking.set(true);
        if let Some(asked) = hls::asked(request.uri().path()) {
            let (head, _) = request.into_parts();
            let rest = hls::Request {
                method: method_of(head.method.as_str()),
                query: head.uri.query().map(str::to_owned),
                fields: head.headers,
                peer: self.peer,
            };
            let answer = hls::answer(Arc::clone(&self.web), Rc::clone(&self.shard), asked, rest);
            return Box::pin(async move {
                yield_now().await;
                let answer = answer.await;
                thinking.set(false);
                Ok(ending(is_last, answer))
            });
        }
        let mut router = self.router.clone();
        Box::pin(async move {
            // Pipelined requests are there all at once, and hyper takes the next one without a pause:
            // everybody else's sockets get their turn between two of them.
            yield_now().await;
            let answer: Result<_, Infallible> = router.call(request.map(Body::new)).await;
            thinking.set(false);
            match answer {
                Ok(mut answer) => {
                    secure(answer.headers_mut());
                    Ok(ending(is_last, answer))
                }
                Err(never) => match never {},
            }
        })
    }
}

/// Says of the last answer that it is.
fn ending(is_last: bool, mut answer: Response<Body>) -> Response<Body> {
    if is_last {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
    answer
}

/// The fields of every answer, but for those that it has its own of.
fn secure(fields: &mut HeaderMap) {
    let mut set = |name: HeaderName, value: &str| {
        if let (Ok(value), false) = (HeaderValue::from_str(value), fields.contains_key(&name)) {
            fields.insert(name, value);
        }
    };
    set(header::CONTENT_SECURITY_POLICY, &POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::CACHE_CONTROL, "no-store");
}

fn router(web: &Arc<Web>) -> Router {
    let router = Router::new();
    #[cfg(feature = "publish")]
    let router = router.merge(super::files::routes());
    router
        .route("/", get(start))
        .route("/cluster.json", get(cluster::list).options(preflight))
        .route("/steering.json", get(cluster::steering).options(preflight))
        .route("/watch/{app}/{*name}", get(watch))
        .route("/watch/", get(async || Redirect::to("/")))
        .route("/player/{name}", get(assets::serve).options(preflight))
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .fallback(other)
        .with_state(Arc::clone(web))
}

async fn start(
    State(web): State<Arc<Web>>,
    Extension(Local(local)): Extension<Local>,
    fields: HeaderMap,
) -> Html<String> {
    let links = links(&web, local, &fields);
    let now = Instant::now();
    let streams = web.hub.list(now);
    let rows: Vec<_> = streams.iter().map(|stream| row(stream, now)).collect();
    Html(page::start(
        &rows,
        &links,
        &web.troubles(),
        web.lists_files(),
    ))
}

/// A stream that is not here may come: its page is there already, and the player waits.
async fn watch(
    State(web): State<Arc<Web>>,
    Extension(Local(local)): Extension<Local>,
    Path((app, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    fields: HeaderMap,
) -> Response<Body> {
    let name = match StreamName::new(&app, &name) {
        Ok(name) => name,
        Err(e) => {
            let page = page::message(
                "No such stream",
                &format!("That is no name of a stream: {e}."),
            );
            return (StatusCode::NOT_FOUND, Html(page)).into_response();
        }
    };
    let links = links(&web, local, &fields);
    let now = Instant::now();
    let stream = web.hub.get(&(web.meant)(&name));
    let row = stream.map(|stream| row(&stream.info(now), now));
    let embedded =
        query.is_some_and(|q| q.split('&').any(|p| p.split('=').next() == Some("embed")));
    let mut answer = Html(page::watch(
        &name.to_string(),
        row.as_ref(),
        &links,
        embedded,
    ))
    .into_response();
    if let (true, Ok(policy)) = (embedded, HeaderValue::from_str(&FRAMED)) {
        answer
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

pub(super) fn links(web: &Web, local: SocketAddr, fields: &HeaderMap) -> Links {
    let field = fields.get(header::HOST).and_then(|h| h.to_str().ok());
    let (host, authority) = field
        .and_then(page::host_of)
        .unwrap_or_else(|| (host(local), local.to_string()));
    Links {
        host,
        authority,
        secure: via(fields) == Via::Https,
        rtmp_port: (web.rtmp_port)(),
    }
}

fn row(stream: &StreamInfo, now: Instant) -> Row {
    Row {
        name: stream.name.to_string(),
        waiting: match stream.state {
            StreamState::Live => None,
            StreamState::Waiting { since } => Some(now.saturating_duration_since(since)),
            StreamState::Ended => Some(Duration::ZERO),
        },
        viewers: [stream.rtmp_viewers, stream.flv_viewers, stream.hls_viewers]
            .iter()
            .sum(),
        mirrors: stream.mirror_viewers,
        kilobits: stream.kbit_per_second,
        codecs: [stream.video, stream.audio]
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect(),
    }
}

/// An address as a URL has it.
pub(super) fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

async fn healthz(State(web): State<Arc<Web>>) -> impl IntoResponse {
    let troubles = web.troubles();
    let ready = troubles.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut body = serde_json::json!({ "ready": ready, "troubles": troubles });
    let notes = web.health.notes();
    if let (false, Some(fields)) = (notes.is_empty(), body.as_object_mut()) {
        fields.insert("notes".to_owned(), notes.into());
    }
    (status, axum::Json(body))
}

async fn metrics(State(web): State<Arc<Web>>) -> impl IntoResponse {
    const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, FORMAT)], web.metrics.render())
}

/// A page of another origin asks whether it may ask.
async fn preflight() -> Response<Body> {
    hls::preflight()
}

/// The state of a stream, or nothing.
async fn other(State(web): State<Arc<Web>>, request: Request<Body>) -> Response<Body> {
    let Some(name) = state::asked(request.uri().path()) else {
        return not_found().await.into_response();
    };
    match method_of(request.method().as_str()) {
        Method::Get | Method::Head => {}
        Method::Options => return preflight().await,
        Method::Other => {
            let fields = [(header::ALLOW, METHODS)];
            return (StatusCode::METHOD_NOT_ALLOWED, fields).into_response();
        }
    }
    let (status, body) = match name {
        Ok(name) => state::state(&web, &(web.meant)(&name), Instant::now()),
        Err(e) => (
            StatusCode::BAD_REQUEST,
            serde_json::json!({ "message": e.to_string() }).to_string(),
        ),
    };
    let fields = [
        (header::CONTENT_TYPE, "application/json"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, fields, body).into_response()
}

pub(super) async fn not_found() -> impl IntoResponse {
    let page = page::message("Not found", "There is nothing at this address.");
    // A page of another origin may read that it is not there, instead of knowing of an error and no more.
    let fields = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    (StatusCode::NOT_FOUND, fields, Html(page))
}
