//! What somebody wants pulled or pushed, as it is written, and what it comes to.
//!
//! The configuration's `[[pull]]` and `[[push]]`, the verbs of the command line and the state file all
//! have the one form [`Wish`].

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::secret::{Password, without};
use crate::auth::Applications;
use crate::limits::MAX_REMOTE_URL;
use crate::media::StreamName;
use crate::rtmp::server::PublishKind;

/// As it is written.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wish {
    /// The stream here: `APP/NAME`, or of a push `APP/*`.
    pub stream: String,
    /// The other server, and the application or the stream there.
    pub uri: String,
    /// Of a push: the name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Password>,
    /// Of a push: `live`, `record` or `append`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Login: user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Login: password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// Login: the file whose first line is the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// `tcUrl` instead of the one made of the URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tc_url: Option<String>,
    /// `pageUrl`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_url: Option<String>,
    /// `swfUrl`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swf_url: Option<String>,
    /// `flashVer`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flash_ver: Option<String>,
    /// Of a pull over RTSP: `tcp` or `udp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// The authorities that an `rtmps://` or `rtsps://` server is believed by; without it those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wish({:?})", self.stream)
    }
}

/// Which way the media goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the other server to here.
    Pull,
    /// From here to the other server.
    Push,
}

impl Direction {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

/// Streams of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// One.
    One(StreamName),
    /// All of an application.
    All(String),
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => name.fmt(f),
            Self::All(app) => write!(f, "{app}/*"),
        }
    }
}

/// Where a password is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hidden {
    /// Here.
    Word(Password),
    /// On the first line of this file; read for each connection.
    File(PathBuf),
}

/// A wish that can be tried.
#[derive(Clone, PartialEq, Eq)]
pub struct Spec {
    /// Which way.
    pub direction: Direction,
    /// The stream here.
    pub local: Local,
    /// The other server.
    pub address: Address,
    /// The application there, with the query of the address when that names no stream; of RTSP empty, as there
    /// the address names it all.
    pub app: String,
    /// The stream there, with the query of the address when it is from there; `None`: each has its own
    /// name.
    pub name: Option<String>,
    /// Of a push, what the other server is to do with it.
    pub kind: PublishKind,
    /// As whom.
    pub login: Option<(String, Hidden)>,
    /// As it was written.
    pub wish: Wish,
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `live/event <- rtmp://host:1935/live/event`, and nothing that is secret.
impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.direction {
            Direction::Pull => "<-",
            Direction::Push => "->",
        };
        write!(f, "{} {arrow} {}", self.local, self.shown())
    }
}

/// What is wrong with a wish: the key, and what would be right. It never repeats the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct Wrong {
    /// The key, as the configuration spells it.
    pub key: &'static str,
    /// A sentence.
    pub message: String,
}

fn wrong(key: &'static str, message: impl Into<String>) -> Wrong {
    Wrong {
        key,
        message: message.into(),
    }
}

/// How an address is written.
const fn form(direction: Direction) -> &'static str {
    match direction {
        Direction::Pull => "\"rtmp://HOST/APPLICATION/STREAM\", or rtmps://, rtsp://",
        Direction::Push => "\"rtmp://HOST/APPLICATION\", or rtmps://",
    }
}

impl Spec {
    /// Looks at a wish. Files are not opened.
    ///
    /// # Errors
    /// [`Wrong`], the first thing that is.
    pub fn new(direction: Direction, wish: Wish, known: &Applications) -> Result<Self, Wrong> {
        let local = local(direction, &wish.stream, known)?;
        if wish.uri.is_empty() {
            let why = format!("is missing; write {}", form(direction));
            return Err(wrong("uri", why));
        }
        let mut address: Address = wish
            .uri
            .parse()
            .map_err(|why: String| wrong("uri", format!("{why}; write {}", form(direction))))?;
        let from_uri = address.login.take();
        over_rtsp(direction, &wish, &address)?;
        let login = login(&wish, from_uri, &address)?;
        let (app, name) = match direction {
            Direction::Pull => {
                for (key, given) in [
                    ("target", wish.target.is_some()),
                    ("type", wish.kind.is_some()),
                ] {
                    if given {
                        return Err(wrong(key, "is for a push; remove it"));
                    }
                }
                let (app, name) = address.path.rsplit_once('/').unwrap_or(("", ""));
                if !address.rtsp && (app.is_empty() || name.is_empty()) {
                    let why = "names no stream; write \"rtmp://HOST/APPLICATION/STREAM\"";
                    return Err(wrong("uri", why));
                }
                if address.rtsp {
                    (String::new(), None)
                } else {
                    (app.to_owned(), Some(with_query(name, &address)))
                }
            }
            Direction::Push => there(&address, &wish, &local)?,
        };
        let kind = match wish.kind.as_deref() {
            None => PublishKind::Live,
            Some(word @ ("live" | "record" | "append")) => PublishKind::parse(Some(word)),
            Some(_) => return Err(wrong("type", "is none of live, record, append")),
        };
        if wish.ca_file.is_some() && !address.tls {
            return Err(wrong(
                "ca_file",
                "is for a server in TLS; write rtmps:// or rtsps://, or remove it",
            ));
        }
        for (key, text) in [
            ("tc_url", &wish.tc_url),
            ("page_url", &wish.page_url),
            ("swf_url", &wish.swf_url),
            ("flash_ver", &wish.flash_ver),
        ] {
            let text = text.as_deref().unwrap_or_default();
            if text.len() > MAX_REMOTE_URL || text.chars().any(char::is_control) {
                return Err(wrong(
                    key,
                    format!("has a control character, or more than {MAX_REMOTE_URL} bytes"),
                ));
            }
        }
        Ok(Self {
            direction,
            local,
            address,
            app,
            name,
            kind,
            login,
            wish,
        })
    }

    /// Whether media shall come in datagrams.
    #[must_use]
    pub fn datagrams(&self) -> bool {
        self.wish.transport.as_deref() == Some("udp")
    }

    /// The other side for people, without what is secret there: no login and no query, and of a push
    /// neither what follows the first part of the path, as a stream key may be there.
    #[must_use]
    pub fn shown(&self) -> String {
        let address = &self.address;
        match self.direction {
            Direction::Pull => address.to_string(),
            Direction::Push => {
                let (first, rest) = address.path.split_once('/').unwrap_or((&address.path, ""));
                let more = if rest.is_empty() { "" } else { "/..." };
                format!("{}/{first}{more}", address.server())
            }
        }
    }

    /// A sentence in which the other server may have repeated what is secret, without it.
    #[must_use]
    pub fn without_secrets(&self, text: &str) -> String {
        let local = match &self.local {
            Local::One(name) => name.name(),
            Local::All(_) => "",
        };
        let named = self
            .name
            .as_deref()
            .filter(|_| self.direction == Direction::Push);
        // Longer ones first: one may be a part of another.
        let mut secrets: Vec<&str> = vec![self.address.query.as_deref().unwrap_or_default()];
        secrets.extend(named.filter(|name| *name != local));
        secrets.extend(
            named
                .and_then(|n| n.split('?').next())
                .filter(|n| *n != local),
        );
        secrets.extend(
            self.address
                .path
                .split_once('/')
                .map(|(_, rest)| rest)
                .filter(|_| named.is_some()),
        );
        secrets.extend(self.address.secret_parts());
        if let Some((_, Hidden::Word(word))) = &self.login {
            secrets.push(word.reveal());
        }
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        without(text, secrets)
    }
}

fn local(direction: Direction, text: &str, known: &Applications) -> Result<Local, Wrong> {
    let right = "write \"APPLICATION/STREAM\", such as \"live/event\"";
    if text.is_empty() {
        return Err(wrong("stream", format!("is missing; {right}")));
    }
    let Some((first, _)) = text.split_once('/') else {
        return Err(wrong("stream", format!("{text:?} is no stream; {right}")));
    };
    let Some((app, name)) = known.split(text) else {
        let app = first;
        let why = format!("{app:?} is not in the list of applications; add it there");
        return Err(wrong("stream", why));
    };
    if name == "*" && direction == Direction::Push {
        return Ok(Local::All(app.to_string()));
    }
    let name = StreamName::new(app, name);
    name.map(Local::One)
        .map_err(|e| wrong("stream", format!("{text:?}: {e}; {right}")))
}

/// What goes with RTSP alone, and what does not go with it.
fn over_rtsp(direction: Direction, wish: &Wish, address: &Address) -> Result<(), Wrong> {
    if !address.rtsp {
        return match wish.transport {
            Some(_) => Err(wrong(
                "transport",
                "is for a pull of an rtsp:// address; remove it",
            )),
            None => Ok(()),
        };
    }
    if direction == Direction::Push {
        let why = "is RTSP, over which nothing is pushed; write \"rtmp://HOST/APPLICATION\"";
        return Err(wrong("uri", why));
    }
    for (key, given) in [
        ("tc_url", &wish.tc_url),
        ("page_url", &wish.page_url),
        ("swf_url", &wish.swf_url),
        ("flash_ver", &wish.flash_ver),
    ] {
        if given.is_some() {
            return Err(wrong(key, "says nothing over RTSP; remove it"));
        }
    }
    match wish.transport.as_deref() {
        Some("udp") if address.tls => Err(wrong(
            "transport",
            "cannot be \"udp\" for rtsps://, whose media come in TLS; remove it",
        )),
        None | Some("tcp" | "udp") => Ok(()),
        Some(_) => Err(wrong("transport", "is neither \"tcp\" nor \"udp\"")),
    }
}

fn login(
    wish: &Wish,
    from_uri: Option<(String, Password)>,
    address: &Address,
) -> Result<Option<(String, Hidden)>, Wrong> {
    let word = match (&wish.password, &wish.password_file) {
        (Some(_), Some(_)) => {
            return Err(wrong(
                "password_file",
                "is there beside password; remove one of the two",
            ));
        }
        (Some(word), None) => Some(Hidden::Word(word.clone())),
        (None, Some(path)) => Some(Hidden::File(path.clone())),
        (None, None) => None,
    };
    let login = match (from_uri, &wish.user, word) {
        (None, None, None) => None,
        (None, Some(user), Some(word)) => Some((user.clone(), word)),
        (Some((user, in_uri)), None, None) => Some((user, Hidden::Word(in_uri))),
        // A user in the address, and the password somewhere else.
        (Some((user, in_uri)), None, Some(word)) if in_uri.reveal().is_empty() => {
            Some((user, word))
        }
        (Some(_), _, _) => {
            return Err(wrong(
                "user",
                "the login is in the uri already; remove one of the two",
            ));
        }
        (None, Some(_), None) => {
            return Err(wrong(
                "user",
                "has no password; write password or password_file",
            ));
        }
        (None, None, Some(_)) => {
            return Err(wrong("user", "is missing; the password is nobody's"));
        }
    };
    // RTSP sends a digest of it, or base64.
    let in_address = |user: &str| !address.rtsp && user.contains(['&', '?', '#']);
    if let Some((user, _)) = &login
        && (user.is_empty() || in_address(user) || user.chars().any(char::is_control))
    {
        return Err(wrong(
            "user",
            "is empty, or has one of & ? #, which this login cannot send",
        ));
    }
    Ok(login)
}

fn with_query(text: &str, address: &Address) -> String {
    match &address.query {
        Some(query) => format!("{text}?{query}"),
        None => text.to_owned(),
    }
}

/// Application and stream of a push.
fn there(address: &Address, wish: &Wish, local: &Local) -> Result<(String, Option<String>), Wrong> {
    let path = address.path.as_str();
    if path.is_empty() {
        let why = "names no application; write \"rtmp://HOST/APPLICATION\"";
        return Err(wrong("uri", why));
    }
    let Local::One(name) = local else {
        return match wish.target {
            Some(_) => Err(wrong(
                "target",
                "many streams cannot have one name; remove it",
            )),
            None => Ok((with_query(path, address), None)),
        };
    };
    let (app, target) = match (&wish.target, path.rsplit_once('/')) {
        (Some(target), _) => (with_query(path, address), target.reveal().to_owned()),
        (None, Some((app, name))) if !app.is_empty() && !name.is_empty() => {
            (app.to_owned(), with_query(name, address))
        }
        (None, _) => (with_query(path, address), name.name().to_owned()),
    };
    let good = !target.is_empty()
        && target.len() <= MAX_REMOTE_URL
        && !target.chars().any(char::is_control);
    if !good {
        let key = if wish.target.is_some() {
            "target"
        } else {
            "uri"
        };
        let why =
            format!("the name there has 1 to {MAX_REMOTE_URL} bytes, and no control character");
        return Err(wrong(key, why));
    }
    Ok((app, Some(target)))
}

#[cfg(test)]
mod tests;
