//! The questions a driver asks, and the answers it passes on.
//!
//! Encoders log in only after their `connect` was rejected, so the one question that must not be
//! answered "yes" too early is [`Policy::on_connect`]. The right to publish or play is asked again
//! at each publish and play.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use super::{Applications, FileError, Networks, Secret, is_key};
#[cfg(feature = "publish")]
use super::{
    Users,
    keys::{Holders, Keys},
    login::Logins,
};
use crate::media::{StreamName, check_name};
use crate::rtmp::adobe;

/// What [`Policy`] is made of.
pub struct PolicyConfig {
    /// The applications there are.
    pub applications: Applications,
    /// Who may publish; `None` on a mirror.
    pub publishers: Option<Publishers>,
    /// Who may play, and read over HTTP, beside proven mirrors.
    pub play: Networks,
    /// A master: whoever is neither a mirror, nor listed, nor logged in is not even connected.
    pub closed: bool,
    /// The secret shared with mirrors.
    pub secret: Option<Secret>,
}

/// Who may publish.
#[derive(Debug, Clone, Default)]
pub struct Publishers {
    /// The file of users, read again when it changes.
    pub users: Option<std::path::PathBuf>,
    /// The file of stream keys, read again when it changes.
    pub keys: Option<std::path::PathBuf>,
    /// Who may publish without a login.
    pub networks: Networks,
}

/// What a peer says of itself in `connect`.
#[derive(Debug, Clone, Copy)]
pub struct Connect<'a> {
    /// The application, without its query.
    pub app: &'a str,
    /// What followed the application's `?`.
    pub query: Option<&'a str>,
    /// `flashVer`; empty when absent.
    pub flash_ver: &'a str,
    /// `type`: ffmpeg and librtmp send `nonprivate` when they mean to publish.
    pub connect_type: Option<&'a str>,
    /// Whether it says that it is a mirror (`crtmpMirror`); it has yet to prove it.
    pub claims_mirror: bool,
    /// Its address.
    pub peer: IpAddr,
}

/// Who a peer has shown to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Identity {
    /// It has shown nothing.
    #[default]
    Nobody,
    /// It logged in as this user.
    Publisher(Arc<str>),
    /// It publishes by the stream key of this label, and may nothing else.
    Key(Arc<str>),
    /// It proved the mirrors' secret. The driver says so after [`Secret::verify_mirror`].
    Mirror,
}

impl Identity {
    /// The user's name, the credential that takeover compares.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Publisher(user) => Some(user),
            Self::Nobody | Self::Key(_) | Self::Mirror => None,
        }
    }

    /// Whether this is a proven mirror.
    #[must_use]
    pub const fn is_mirror(&self) -> bool {
        matches!(self, Self::Mirror)
    }
}

/// The answer to a `connect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Connected.
    Accept {
        /// The application, aliases resolved.
        app: Arc<str>,
        /// Who it is.
        identity: Identity,
    },
    /// `_error` with this code and description, `close`, end of the connection.
    Reject(Refusal),
}

/// Why, in words for the peer and as a stable code for the log and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `code` of the status object.
    pub code: &'static str,
    /// `description` of the status object.
    pub description: String,
    /// For the log line and the metric label.
    pub reason: Reason,
}

/// The stable code of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No such application.
    UnknownApp,
    /// A mirror, where there is no secret for mirrors.
    NoMirrors,
    /// First step of a login: told that it needs one. No failure.
    LoginNeeded,
    /// Second step of a login: got its challenge. No failure.
    LoginChallenged,
    /// Wrong user, wrong password, or an answer to no challenge of ours.
    LoginFailed,
    /// Too many failures from there; not even looked at.
    LoginBlocked,
    /// The system gives no random bytes for a challenge.
    LoginUnavailable,
    /// Publishing needs a login, and there was none.
    NoLogin,
    /// Publishing needs a stream key, and there was none, or a wrong one.
    NoKey,
    /// Not in a network that may connect, play or publish.
    NotListed,
    /// A mirror takes no publishers.
    Mirror,
}

impl Reason {
    /// As the log and the metrics spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownApp => "unknown-app",
            Self::NoMirrors => "no-mirrors",
            Self::LoginNeeded => "login-needed",
            Self::LoginChallenged => "login-challenged",
            Self::LoginFailed => "login-failed",
            Self::LoginBlocked => "login-blocked",
            Self::LoginUnavailable => "login-unavailable",
            Self::NoLogin => "no-login",
            Self::NoKey => "no-key",
            Self::NotListed => "not-listed",
            Self::Mirror => "mirror-takes-no-publisher",
        }
    }

    /// Whether it deserves no further line above debug: an ordinary step of a login, or a failure of
    /// one, which the policy has logged with what the peer is not told.
    #[must_use]
    pub const fn is_login_step(self) -> bool {
        matches!(
            self,
            Self::LoginNeeded
                | Self::LoginChallenged
                | Self::LoginFailed
                | Self::LoginBlocked
                | Self::LoginUnavailable
        )
    }
}

const CONNECT_REJECTED: &str = "NetConnection.Connect.Rejected";
const INVALID_APP: &str = "NetConnection.Connect.InvalidApp";
const BAD_NAME: &str = "NetStream.Publish.BadName";
const PLAY_FAILED: &str = "NetStream.Play.Failed";

/// Who may do what. One for the whole process; every shard asks the same.
///
/// Its rules can be exchanged while it is asked ([`Policy::prepare`], [`Policy::adopt`]): who was let
/// in stays, who asks from then on meets the new ones.
pub struct Policy {
    rules: RwLock<Arc<Rules>>,
    #[cfg(feature = "publish")]
    holders: Holders,
}

/// Rules that a policy can adopt; everything that they need has been read.
pub struct NewRules(Rules);

struct Rules {
    applications: Applications,
    play: Networks,
    publish: Option<Networks>,
    closed: bool,
    secret: Option<Secret>,
    #[cfg(feature = "publish")]
    logins: Option<Logins>,
    #[cfg(feature = "publish")]
    keys: Option<Keys>,
}

impl Policy {
    /// Reads the users file, when there is one. `now` begins the policy's own time.
    ///
    /// # Errors
    /// The users file cannot be read or has bad lines, or the system gives no random bytes.
    pub fn new(config: PolicyConfig, now: Instant) -> Result<Self, FileError> {
        Ok(Self::of(Rules::read(config, None, now)?))
    }

    /// With users that are no file's: for the demo and for tests. `users` of the configuration is
    /// not read.
    ///
    /// # Errors
    /// The system gives no random bytes.
    #[cfg(feature = "publish")]
    pub fn with_users(config: PolicyConfig, users: Users, now: Instant) -> Result<Self, String> {
        Ok(Self::of(Rules {
            logins: Some(Logins::of(users, now)?),
            ..Rules::without_users(config)
        }))
    }

    fn of(rules: Rules) -> Self {
        Self {
            rules: RwLock::new(Arc::new(rules)),
            #[cfg(feature = "publish")]
            holders: Holders::default(),
        }
    }

    fn rules(&self) -> Arc<Rules> {
        // What is in the lock is exchanged whole.
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads what other rules need, the users file again in any case. Nothing changes yet.
    ///
    /// # Errors
    /// As [`Policy::new`].
    pub fn prepare(&self, config: PolicyConfig, now: Instant) -> Result<NewRules, FileError> {
        Rules::read(config, Some(&self.rules()), now).map(NewRules)
    }

    /// From now on these rules hold. Logins that are half done go on, and failures stay counted. Says
    /// which of the files with secrets have other contents than before.
    pub fn adopt(&self, new: NewRules) -> Contents {
        let old = self.rules();
        let contents = Contents {
            secret: match (&old.secret, &new.0.secret) {
                (Some(old), Some(new)) => !old.is_same(new),
                _ => false,
            },
            #[cfg(feature = "publish")]
            users: match (&old.logins, &new.0.logins) {
                (Some(old), Some(new)) if !old.has_same_users(new) => Some(new.count()),
                _ => None,
            },
            #[cfg(feature = "publish")]
            keys: match (&old.keys, &new.0.keys) {
                (Some(old), Some(new)) if !old.has_same_keys(new) => Some(new.count()),
                _ => None,
            },
            #[cfg(not(feature = "publish"))]
            users: None,
            #[cfg(not(feature = "publish"))]
            keys: None,
        };
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new.0);
        #[cfg(feature = "publish")]
        self.holders.settle(self.rules().keys.as_ref());
        contents
    }

    /// The applications there are.
    #[must_use]
    pub fn applications(&self) -> Applications {
        self.rules().applications.clone()
    }

    /// The stream that a name means, which may begin with an alias.
    #[must_use]
    pub fn meant(&self, name: &StreamName) -> StreamName {
        self.rules().applications.meant(name)
    }

    /// Whether this peer is connected, and as whom. A login in its last step reads the users file
    /// when that changed.
    #[must_use]
    pub fn on_connect(&self, connect: &Connect<'_>, now: Instant) -> Decision {
        self.rules().on_connect(connect, now)
    }

    /// Whether this peer may publish.
    ///
    /// # Errors
    /// The refusal to send.
    pub fn may_publish(&self, identity: &Identity, peer: IpAddr) -> Result<(), Refusal> {
        self.rules().may_publish(identity, peer)
    }

    /// Whether names may be stream keys: here, or, on a mirror, on its master.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        let rules = self.rules();
        rules.publish.is_none() || rules.has_keys()
    }

    /// Whether this peer may play over RTMP.
    ///
    /// # Errors
    /// The refusal to send.
    pub fn may_play(&self, identity: &Identity, peer: IpAddr) -> Result<(), Refusal> {
        if identity.is_mirror() || self.may_read(peer) {
            return Ok(());
        }
        let text = "This server plays to its mirrors and listed networks only.";
        Err(refusal(PLAY_FAILED, text, Reason::NotListed))
    }

    /// Whether this peer may play, and read anything else, over HTTP; else 403.
    #[must_use]
    pub fn may_read(&self, peer: IpAddr) -> bool {
        self.rules().play.contains(peer)
    }

    /// The secret shared with mirrors, where there is one.
    #[must_use]
    pub fn secret(&self) -> Option<Secret> {
        self.rules().secret.clone()
    }

    /// Whether there is one.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.rules().secret.is_some()
    }
}

/// Files whose contents changed while their names did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// The mirrors' secret is another one.
    pub secret: bool,
    /// The users are others: how many there are now.
    pub users: Option<usize>,
    /// The stream keys are others: how many there are now.
    pub keys: Option<usize>,
}

impl Rules {
    /// `before` are the rules that hold now: their logins are taken along.
    #[cfg_attr(
        not(feature = "publish"),
        expect(clippy::unnecessary_wraps, reason = "a mirror has no file of users")
    )]
    fn read(config: PolicyConfig, before: Option<&Self>, now: Instant) -> Result<Self, FileError> {
        #[cfg(feature = "publish")]
        let logins = match config.publishers.as_ref().and_then(|p| p.users.as_deref()) {
            Some(path) => {
                let before = before.and_then(|rules| rules.logins.as_ref());
                Some(Logins::open(path, before, now)?)
            }
            None => None,
        };
        #[cfg(feature = "publish")]
        let keys = match config.publishers.as_ref().and_then(|p| p.keys.as_deref()) {
            Some(path) => {
                let before = before.and_then(|rules| rules.keys.as_ref());
                Some(Keys::open(path, before)?)
            }
            None => None,
        };
        #[cfg(not(feature = "publish"))]
        let _ = (before, now);
        Ok(Self {
            #[cfg(feature = "publish")]
            logins,
            #[cfg(feature = "publish")]
            keys,
            ..Self::without_users(config)
        })
    }

    fn without_users(config: PolicyConfig) -> Self {
        Self {
            applications: config.applications,
            play: config.play,
            publish: config.publishers.map(|p| p.networks),
            closed: config.closed,
            secret: config.secret,
            #[cfg(feature = "publish")]
            logins: None,
            #[cfg(feature = "publish")]
            keys: None,
        }
    }

    fn on_connect(&self, connect: &Connect<'_>, now: Instant) -> Decision {
        let mirror = connect.claims_mirror && self.secret.is_some();
        // A mirror takes the applications that its master has, whatever they are called; and a
        // control connection belongs to none.
        let any = mirror || self.publish.is_none();
        let Some(app) = self.application(connect.app, any) else {
            if connect.claims_mirror {
                return reject(
                    CONNECT_REJECTED,
                    "This server serves no mirrors: it has no secret for them (master.secret_file).",
                    Reason::NoMirrors,
                );
            }
            return reject(
                INVALID_APP,
                "There is no such application on this server.",
                Reason::UnknownApp,
            );
        };
        let accept = |identity| Decision::Accept {
            app: app.clone(),
            identity,
        };
        let peer = connect.peer;
        let Some(publish) = &self.publish else {
            return accept(Identity::Nobody);
        };
        if mirror {
            return accept(Identity::Nobody);
        }
        #[cfg(feature = "publish")]
        if let Some(logins) = &self.logins
            && let Some(query) = connect.query.and_then(adobe::Query::parse)
        {
            return match logins.step(&query, peer, now) {
                Ok(user) => {
                    if let Some(keys) = &self.keys {
                        keys.note_login(peer, now);
                    }
                    accept(Identity::Publisher(user))
                }
                Err((description, reason)) => reject(CONNECT_REJECTED, &description, reason),
            };
        }
        #[cfg(not(feature = "publish"))]
        let _ = now;
        if publish.contains(peer) {
            return accept(Identity::Nobody);
        }
        let stranger = self.closed && !self.play.contains(peer);
        // What it may do without a login is asked again when it publishes or plays.
        #[cfg(feature = "publish")]
        if (stranger || is_encoder(connect)) && self.may_have_key(&app, connect, now) {
            return accept(Identity::Nobody);
        }
        if self.has_users() && (stranger || is_encoder(connect)) {
            return reject(CONNECT_REJECTED, adobe::NEED_AUTH, Reason::LoginNeeded);
        }
        if stranger {
            return reject(
                CONNECT_REJECTED,
                "This master serves its mirrors and listed networks only.",
                Reason::NotListed,
            );
        }
        accept(Identity::Nobody)
    }

    fn application(&self, name: &str, any: bool) -> Option<Arc<str>> {
        let known = self.applications.resolve(name).cloned();
        // A mirror would show it to everybody.
        let fits = any && check_name(name).is_ok() && !is_key(name);
        known.or_else(|| fits.then(|| Arc::from(name)))
    }

    fn may_publish(&self, identity: &Identity, peer: IpAddr) -> Result<(), Refusal> {
        let Some(networks) = &self.publish else {
            return Err(refusal(
                BAD_NAME,
                "This server is a mirror and takes no publisher. Publish to its master.",
                Reason::Mirror,
            ));
        };
        if identity.user().is_some() || networks.contains(peer) {
            return Ok(());
        }
        if self.has_keys() {
            let text = if self.has_users() {
                "Publishing here needs a stream key, or a user and a password."
            } else {
                "Publishing here needs a stream key."
            };
            Err(refusal(BAD_NAME, text, Reason::NoKey))
        } else if self.has_users() {
            let text = "Publishing here needs a user and a password.";
            Err(refusal(BAD_NAME, text, Reason::NoLogin))
        } else {
            let text = "Publishing is not open to your address, and this server has no users.";
            Err(refusal(BAD_NAME, text, Reason::NotListed))
        }
    }

    #[cfg(feature = "publish")]
    const fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    #[cfg(not(feature = "publish"))]
    const fn has_keys(&self) -> bool {
        false
    }

    #[cfg(feature = "publish")]
    const fn has_users(&self) -> bool {
        self.logins.is_some()
    }

    #[cfg(not(feature = "publish"))]
    const fn has_users(&self) -> bool {
        false
    }
}

/// Whether a peer declares itself an encoder: by `type`, or by the `flashVer` of encoders that send
/// none. A wrong guess costs an encoder its login, or a player one rejected connection, never safety:
/// publishing is asked again.
fn is_encoder(connect: &Connect<'_>) -> bool {
    const AGENTS: [&str; 4] = ["fmle/", "fme/", "wirecast", "obs"];
    let agent = connect.flash_ver.as_bytes();
    let begins = |with: &str| {
        agent
            .get(..with.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(with.as_bytes()))
    };
    connect.connect_type == Some("nonprivate") || AGENTS.into_iter().any(begins)
}

fn refusal(code: &'static str, description: &str, reason: Reason) -> Refusal {
    Refusal {
        code,
        description: description.to_owned(),
        reason,
    }
}

fn reject(code: &'static str, description: &str, reason: Reason) -> Decision {
    Decision::Reject(refusal(code, description, reason))
}

#[cfg(feature = "publish")]
mod granting;
#[cfg(test)]
mod tests;
