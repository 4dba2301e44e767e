//! One connection to another server, with the login if it wants one.

use std::fs;
use std::path::Path;

use tokio::task::spawn_blocking;

use super::address::Address;
use super::trouble::Trouble;
use super::wish::{Direction, Hidden, Spec};
use crate::auth::read_private;
use crate::limits::Limits;
use crate::rtmp::adobe;
use crate::rtmp::client::{ClientConfig, Event};
use crate::rtmp::handshake::ClientMode;
use crate::rtmp::session::caps::Caps;
use crate::rtmp_client::{Ended, Session};
use crate::system::random;
use crate::transport::Connector;

/// What a pull calls itself.
pub(super) const PLAYER: &str = concat!("crtmpserver/", env!("CARGO_PKG_VERSION"));
/// What a push calls itself: servers with Adobe logins tell encoders by such a name.
const ENCODER: &str = concat!(
    "FMLE/3.0 (compatible; crtmpserver/",
    env!("CARGO_PKG_VERSION"),
    ")"
);
/// An Adobe login takes three connections.
const LOGIN_STEPS: usize = 3;
/// The window that is announced, bytes.
const WINDOW: u32 = 2_500_000;
/// Chunk size of what is sent: what encoders use, and every server understands.
const CHUNK_SIZE: u32 = 4096;

/// Where to go: what the wish says, or where another server sends.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) address: Address,
    pub(super) app: String,
    /// It is not what the wish says.
    pub(super) moved: bool,
}

impl Place {
    pub(super) fn of(spec: &Spec) -> Self {
        Self {
            address: spec.address.clone(),
            app: spec.app.clone(),
            moved: false,
        }
    }

    /// Where a server sends, to the same stream. From TLS nobody is led out of it.
    pub(super) fn elsewhere(&self, to: Address, spec: &Spec) -> Result<Self, Trouble> {
        if self.address.rtsp != to.rtsp || self.address.tls && !to.tls {
            return Err(Trouble::BadRedirect);
        }
        let app = to.path.trim_end_matches('/');
        // Some servers name the stream too.
        let name = spec.name.as_deref().unwrap_or_default();
        let app = app
            .strip_suffix(name)
            .and_then(|app| app.strip_suffix('/'))
            .unwrap_or(app);
        let (own, own_query) = split(&self.app);
        let app = if app.is_empty() { own } else { app };
        let query = to.query.as_deref().or(own_query);
        Ok(Self {
            app: query.map_or_else(|| app.to_owned(), |query| format!("{app}?{query}")),
            address: Address { login: None, ..to },
            moved: true,
        })
    }
}

/// An application and its query.
fn split(app: &str) -> (&str, Option<&str>) {
    app.split_once('?')
        .map_or((app, None), |(app, query)| (app, Some(query)))
}

/// What of a wish is in files.
pub(super) struct Files {
    pub(super) password: Option<String>,
    pub(super) connector: Option<Connector>,
}

/// Off the event loop: a file system may hang, and reading the system's authorities takes a while.
pub(super) async fn files(spec: &Spec, tls: bool) -> Result<Files, Trouble> {
    let word = spec.login.as_ref().map(|(_, hidden)| hidden.clone());
    let ca_file = spec.wish.ca_file.clone();
    let read = spawn_blocking(move || {
        let password = match word {
            None => None,
            Some(Hidden::Word(word)) => Some(word.reveal().to_owned()),
            Some(Hidden::File(path)) => Some(first_line(&path)?),
        };
        let connector = tls.then(|| authorities(ca_file.as_deref())).transpose()?;
        Ok(Files {
            password,
            connector,
        })
    });
    read.await.unwrap_or_else(|e| {
        Err(Trouble::File {
            path: "".into(),
            error: e.to_string(),
        })
    })
}

/// The password of a file.
///
/// # Errors
/// It cannot be read, or has none.
pub(super) fn first_line(path: &Path) -> Result<String, Trouble> {
    let fail = |error: String| Trouble::File {
        path: path.to_owned(),
        error,
    };
    let file = read_private(path).map_err(|e| fail(e.message))?;
    let line = file.text.lines().next().unwrap_or_default().trim_end();
    if line.is_empty() {
        return Err(fail("has no password on its first line".to_owned()));
    }
    Ok(line.to_owned())
}

/// Whom to believe.
///
/// # Errors
/// The file cannot be read, or there is no authority in it.
pub(super) fn authorities(ca_file: Option<&Path>) -> Result<Connector, Trouble> {
    let Some(path) = ca_file else {
        return Connector::new(None).map_err(|e| Trouble::File {
            path: "/etc/ssl/certs".into(),
            error: e.to_string(),
        });
    };
    let fail = |error: String| Trouble::File {
        path: path.to_owned(),
        error,
    };
    let meta = fs::metadata(path).map_err(|e| fail(e.to_string()))?;
    if !meta.is_file() {
        return Err(fail("is not a regular file".to_owned()));
    }
    let pem = read_private(path).map_err(|e| fail(e.message))?;
    Connector::new(Some(pem.text.as_bytes())).map_err(|e| fail(e.to_string()))
}

/// Connects, and logs in when that is asked for.
///
/// # Errors
/// [`Trouble`]; [`Trouble::Moved`] when the server sends elsewhere.
pub(super) async fn connect(
    spec: &Spec,
    place: &Place,
    limits: Limits,
) -> Result<(Session, Caps), Trouble> {
    let files = files(spec, place.address.tls).await?;
    let mut login = String::new();
    for _ in 0..LOGIN_STEPS {
        let config = config(spec, place, limits, &login)?;
        let (at, connector) = (place.address.place(), files.connector.as_ref());
        let mut session = Session::dial_with(&at, connector, config).await?;
        let refusal = loop {
            match session.next().await? {
                Event::Connected { caps, .. } => return Ok((session, caps)),
                Event::Rejected {
                    redirect: None,
                    description,
                    code,
                    ..
                } => {
                    break (description, code);
                }
                event => {
                    if let Some(trouble) = Trouble::of(&event) {
                        return Err(trouble);
                    }
                }
            }
        };
        let (description, code) = refusal;
        let asks = description.contains("authmod=adobe");
        let user = spec.login.as_ref().map(|(user, _)| user.as_str());
        // Where another server was sent to, the login goes along: it shows the password to nobody.
        let Some((user, password)) = user.zip(files.password.as_deref()) else {
            return Err(if asks {
                Trouble::NoLogin
            } else {
                Trouble::Refused { code, description }
            });
        };
        let nonce: [u8; 8] = random().map_err(Ended::from)?;
        let nonce = format!("{:016x}", u64::from_be_bytes(nonce));
        login = match adobe::answer(user, password, &description, &nonce) {
            Some(answer) => answer,
            None if asks => return Err(Trouble::Login),
            None => return Err(Trouble::Refused { code, description }),
        };
    }
    Err(Trouble::Login)
}

fn config(
    spec: &Spec,
    place: &Place,
    limits: Limits,
    login: &str,
) -> Result<ClientConfig, Trouble> {
    let app = match split(&place.app) {
        (app, None) => format!("{app}{login}"),
        (app, Some(query)) => format!("{app}?{query}{}", login.replacen('?', "&", 1)),
    };
    let wish = &spec.wish;
    let tc_url = match &wish.tc_url {
        Some(url) if !place.moved => format!("{url}{login}"),
        _ => format!("{}/{app}", place.address.server()),
    };
    let push = spec.direction == Direction::Push;
    let agent = wish.flash_ver.as_deref();
    Ok(ClientConfig {
        limits,
        app,
        tc_url,
        flash_ver: agent
            .unwrap_or(if push { ENCODER } else { PLAYER })
            .to_owned(),
        swf_url: wish.swf_url.clone(),
        page_url: wish.page_url.clone(),
        extra: Vec::new(),
        encoder: push,
        relay: true,
        subscribe: !push,
        chunk_size: CHUNK_SIZE,
        window: WINDOW,
        handshake: ClientMode::Digest,
        random: random().map_err(Ended::from)?,
    })
}
