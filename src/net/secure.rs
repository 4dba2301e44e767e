//! TLS before anything else, on listeners that ask for it.

use std::io::ErrorKind;
use std::time::Instant;

use tokio::time::timeout_at;

use super::listener::Incoming;
use super::shards::Shard;
use crate::telemetry::metrics::Protocol;
use crate::telemetry::repeats::repeated;
use crate::transport::{Acceptor, explain, is_gone};

impl Incoming {
    /// The same connection in TLS. `None` when the client did not get there within the handshake's
    /// time; that is counted and logged.
    pub async fn secured(
        self,
        shard: &Shard,
        acceptor: &Acceptor,
        protocol: Protocol,
    ) -> Option<Self> {
        let Self {
            socket,
            peer,
            local,
            at,
            admitted,
        } = self;
        let deadline = at
            .checked_add(shard.limits().handshake_timeout)
            .unwrap_or(at);
        let accepted = tokio::select! {
            accepted = timeout_at(deadline.into(), acceptor.accept(socket)) => accepted,
            () = shard.stopping() => {
                shard.metrics().traffic(protocol).closed("stopping");
                return None;
            }
        };
        let error = match accepted {
            Ok(Ok(socket)) => {
                return Some(Self {
                    socket,
                    peer,
                    local,
                    at,
                    admitted,
                });
            }
            Ok(Err(error)) => error,
            Err(_late) => ErrorKind::TimedOut.into(),
        };
        let traffic = shard.metrics().traffic(protocol);
        if is_gone(&error) {
            // Browsers open connections that they do not need, and scanners leave at once.
            traffic.closed("peer-gone");
            tracing::debug!(%peer, listener = %local, "left before TLS was made");
            return None;
        }
        traffic.closed("tls");
        repeated("tls", peer.ip(), Instant::now(), || {
            tracing::info!(
                %peer, listener = %local, protocol = protocol.label(), code = "tls",
                "no TLS was made: {}", explain(&error)
            );
        });
        None
    }
}
