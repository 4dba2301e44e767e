//! The steps of an Adobe login on the server's side, and the users file they need.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use subtle::ConstantTimeEq;

use super::FileError;
use super::challenge::{ChallengeError, Challenges};
use super::failures::Failures;
use super::files::Stamp;
use super::policy::Reason;
use super::users::Users;
use crate::limits::MAX_NAME;
use crate::rtmp::adobe;
use crate::telemetry::logging::{Escaped, limited};

/// The state of all logins.
pub(super) struct Logins {
    /// `None`: the users were given, and stay.
    path: Option<PathBuf>,
    known: Mutex<Known>,
    /// Outlives an exchange of the rules: what is half done goes on, what failed stays counted.
    book: Arc<Mutex<Book>>,
}

struct Known {
    users: Users,
    /// The version of the file that was looked at last, good or bad.
    stamp: Option<Stamp>,
}

impl Logins {
    /// Reads the file; `before` are the logins that these take the place of.
    pub(super) fn open(
        path: &Path,
        before: Option<&Self>,
        now: Instant,
    ) -> Result<Self, FileError> {
        // What this warns of was among the warnings of the configuration.
        let (users, _, stamp) = Users::read_stamped(path)?;
        let mut logins = match before {
            Some(before) => Self::with_book(users, Arc::clone(&before.book)),
            None => Self::of(users, now).map_err(|message| FileError::new(path, message))?,
        };
        logins.path = Some(path.to_owned());
        lock(&logins.known).stamp = Some(stamp);
        Ok(logins)
    }

    pub(super) fn of(users: Users, now: Instant) -> Result<Self, String> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| no_random(&e))?;
        Ok(Self::with_book(
            users,
            Arc::new(Mutex::new(Book::new(key, now))),
        ))
    }

    const fn with_book(users: Users, book: Arc<Mutex<Book>>) -> Self {
        Self {
            path: None,
            known: Mutex::new(Known { users, stamp: None }),
            book,
        }
    }

    /// Whether the same users have the same passwords.
    pub(super) fn has_same_users(&self, other: &Self) -> bool {
        let (here, there) = (lock(&self.known), lock(&other.known));
        here.users.is_same(&there.users)
    }

    /// How many users there are.
    pub(super) fn count(&self) -> usize {
        lock(&self.known).users.len()
    }

    /// One step: the user who is logged in, or the description to reject with.
    pub(super) fn step(
        &self,
        query: &adobe::Query<'_>,
        peer: IpAddr,
        now: Instant,
    ) -> Result<Arc<str>, (String, Reason)> {
        let mut random = [0; 16];
        if let Err(e) = getrandom::fill(&mut random) {
            tracing::error!(code = "login-unavailable", "{}", no_random(&e));
            return Err((adobe::AUTH_FAILED.to_owned(), Reason::LoginUnavailable));
        }
        let mut known = lock(&self.known);
        self.reload(&mut known);
        let at = Moment { peer, random, now };
        let outcome = lock(&self.book).step(&known.users, query, &at);
        drop(known);
        outcome.answer(query, peer, now)
    }

    /// Reads the file again when it changed; a bad one keeps the users there were.
    fn reload(&self, known: &mut Known) {
        let Some(path) = &self.path else { return };
        let stamp = Stamp::read(path);
        if stamp == known.stamp {
            return;
        }
        known.stamp = stamp;
        match Users::read_stamped(path) {
            Ok((users, warning, stamp)) => {
                if let Some(warning) = warning {
                    tracing::warn!(code = "users", "{warning}");
                }
                tracing::info!(
                    code = "users",
                    users = users.len(),
                    "read {} again",
                    path.display()
                );
                known.users = users;
                known.stamp = Some(stamp);
            }
            Err(e) => tracing::error!(code = "users", "the users stay as they were: {e}"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is complete before anything that could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_random(error: &getrandom::Error) -> String {
    format!("the system gives no random bytes: {error}")
}

/// What a step came to; the wire tells less than the log.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// No user was given.
    NeedUser,
    /// The challenge to answer.
    Challenge { salt: String, challenge: String },
    /// The password was right.
    Welcome(Arc<str>),
    /// It was not, or there is no such user.
    Wrong {
        failures: u32,
        pause_s: u64,
        known: bool,
    },
    /// It was never a question.
    Stale {
        error: ChallengeError,
        failures: u32,
    },
    /// Not looked at.
    Blocked { seconds: u64 },
}

impl Outcome {
    /// The answer for the wire, with one log line for each failure. (What the peer is not told stands
    /// there: whether there is such a user.)
    fn answer(
        self,
        query: &adobe::Query<'_>,
        peer: IpAddr,
        now: Instant,
    ) -> Result<Arc<str>, (String, Reason)> {
        let user = query.user.unwrap_or_default();
        let failed = |reason| Err((adobe::AUTH_FAILED.to_owned(), reason));
        match self {
            Self::NeedUser => Err((adobe::NEED_AUTH.to_owned(), Reason::LoginNeeded)),
            Self::Challenge { salt, challenge } => Err((
                adobe::challenge_description(user, &salt, &challenge, &challenge),
                Reason::LoginChallenged,
            )),
            Self::Welcome(user) => {
                tracing::info!(%peer, user = %Escaped(&user), "logged in");
                Ok(user)
            }
            Self::Wrong {
                failures,
                pause_s,
                known,
            } => {
                let why = if known {
                    "wrong password"
                } else {
                    "no such user"
                };
                limited("login-failed", now, || {
                    tracing::warn!(%peer, user = %Escaped(user), code = "login-failed", failures, pause_s, "login failed: {why}");
                });
                failed(Reason::LoginFailed)
            }
            Self::Stale { error, failures } => {
                limited("login-failed", now, || {
                    tracing::warn!(%peer, user = %Escaped(user), code = "login-failed", failures, "login failed: {error}");
                });
                failed(Reason::LoginFailed)
            }
            Self::Blocked { seconds } => {
                tracing::debug!(%peer, user = %Escaped(user), code = "login-blocked", seconds, "login not looked at: too many failures before");
                failed(Reason::LoginBlocked)
            }
        }
    }
}

/// What a step depends on beside what the client sent.
struct Moment {
    peer: IpAddr,
    random: [u8; 16],
    now: Instant,
}

/// The pure part: challenges given and failures counted.
struct Book {
    challenges: Challenges,
    failures: Failures,
}

impl Book {
    fn new(key: [u8; 32], now: Instant) -> Self {
        Self {
            challenges: Challenges::new(key, now),
            failures: Failures::default(),
        }
    }

    fn step(&mut self, users: &Users, query: &adobe::Query<'_>, at: &Moment) -> Outcome {
        let Moment { peer, random, now } = *at;
        let Some(user) = query.user.filter(|user| user.len() <= MAX_NAME) else {
            return Outcome::NeedUser;
        };
        let (credentials, known) = users.credentials(user);
        let (Some(challenge), Some(response)) = (query.challenge, query.response) else {
            return Outcome::Challenge {
                challenge: self.challenges.issue(user, peer, random, now),
                salt: credentials.salt,
            };
        };
        if let Some(pause) = self.failures.pause(peer, user, now) {
            return Outcome::Blocked {
                seconds: pause.as_secs().saturating_add(1),
            };
        }
        let opaque = query.opaque.unwrap_or_default();
        let ticket = self.challenges.check(opaque, user, peer, now);
        let right = adobe::response(&credentials.verifier, opaque, challenge);
        let equal = bool::from(right.as_bytes().ct_eq(response.as_bytes()));
        let spent = match ticket {
            Ok(ticket) if known && equal => self.challenges.spend(ticket, now),
            Ok(_) => {
                let (pause, failures) = self.failures.failed(peer, user, now);
                return Outcome::Wrong {
                    failures,
                    pause_s: pause.as_secs(),
                    known,
                };
            }
            Err(error) => Err(error),
        };
        match spent {
            Ok(()) => {
                self.failures.succeeded(peer, user);
                Outcome::Welcome(user.into())
            }
            Err(error) => Outcome::Stale {
                error,
                failures: self.failures.failed(peer, user, now).1,
            },
        }
    }
}

#[cfg(test)]
mod tests;
