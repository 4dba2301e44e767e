//! By what right somebody publishes: a stream key, a login, its address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{BAD_NAME, Connect, Identity, Policy, Reason, Refusal, Rules, refusal};
use crate::auth::keys::{Grant, HeldKey, KeyGrant, Keys, Seen};
use crate::auth::{is_key, masked_refused};
use crate::system::wall_ms;
use crate::telemetry::repeats::repeated;

/// What follows the application's `?` where an encoder with a key shares its address with one that logs
/// in: `rtmp://HOST/live?key`.
const BY_KEY: &str = "key";
/// To a key that is none, or no more, from where everybody may publish.
const NO_SUCH_KEY: &str = "There is no such stream key.";

impl Policy {
    /// By what right this peer publishes, if it may: by a stream key, which is the name then, or as
    /// [`Policy::may_publish`] says. Reads the file of keys when that changed. A refusal for want of a
    /// key is logged here, with what the peer is not told.
    ///
    /// # Errors
    /// The refusal to send; it is the same for a wrong key, one that has ended, and any other name.
    pub fn grant(
        &self,
        identity: &Identity,
        (app, name): (&str, &str),
        peer: IpAddr,
        now: Instant,
    ) -> Result<Grant, Refusal> {
        self.tick();
        self.rules().grant(identity, (app, name), peer, now)
    }

    /// Keeps a key that was granted for as long as somebody publishes by it; `tell` is called, from any
    /// thread, when it is revoked.
    pub fn hold(&self, key: &KeyGrant, tell: Box<dyn Fn() + Send + Sync>) -> HeldKey {
        let held = self.holders.hold(key.verifier, tell);
        // It may have been revoked since it was granted.
        self.holders.settle(self.rules().keys.as_ref());
        held
    }

    /// To be called once a second: reads the file of stream keys when it changed, and tells those whose
    /// keys are no more.
    pub fn tick(&self) {
        let rules = self.rules();
        if let Some(keys) = &rules.keys
            && keys.refresh()
        {
            self.holders.settle(Some(keys));
        }
    }
}

impl Rules {
    fn grant(
        &self,
        identity: &Identity,
        (app, name): (&str, &str),
        peer: IpAddr,
        now: Instant,
    ) -> Result<Grant, Refusal> {
        let keys = self.keys.as_ref();
        let found = keys.and_then(|keys| keys.find((app, &self.applications), name));
        if let (Some(keys), Some(key)) = (&self.keys, &found) {
            if key.is_good(wall_ms()) {
                keys.succeeded(peer);
                return Ok(Grant::Key {
                    key: KeyGrant {
                        label: Arc::clone(&key.label),
                        verifier: key.verifier,
                    },
                    stream: key.stream.clone(),
                });
            }
            repeated("key-ended", peer, now, || {
                tracing::warn!(
                    %peer, stream = %key.stream, code = "key-ended",
                    "publish refused: the stream key {} has come to its end", key.label
                );
            });
        }
        let refused = match self.may_publish(identity, peer) {
            // A key never becomes the name of a stream, whoever sends it.
            Ok(()) if is_key(name) => refusal(BAD_NAME, NO_SUCH_KEY, Reason::NoKey),
            Ok(()) => return Ok(Grant::Named),
            Err(refused) => refused,
        };
        if let Some(keys) = self.keys.as_ref().filter(|_| found.is_none()) {
            if self.has_users() && !is_key(name) {
                keys.note_login(peer, now);
            }
            let failures = keys.failed(peer, now);
            repeated("no-key", peer, now, || {
                tracing::warn!(
                    %peer, code = "no-key", failures, app,
                    "publish refused: its name, {}, is no stream key", masked_refused(name, true)
                );
            });
        }
        Err(refused)
    }

    /// Whether an encoder is connected without a login, as it may have a key.
    pub(super) fn may_have_key(&self, app: &str, connect: &Connect<'_>, now: Instant) -> bool {
        let seen = Seen {
            at: now,
            wall_ms: wall_ms(),
        };
        let asked = connect.query == Some(BY_KEY) || !self.has_users();
        let lets_in =
            |keys: &Keys| keys.lets_in((app, &self.applications), connect.peer, asked, seen);
        self.keys.as_ref().is_some_and(lets_in)
    }
}
