//! Media that only this connection gets: a part of a file, which its task reads a little ahead of time.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::{Outlet, State};
use crate::limits::FILE_PATIENCE;
use crate::system::give_up_after;

/// What waits to be sent. The driver gives more when it has gone, so there is little.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Each with the message stream that it is for.
    queue: VecDeque<(u32, Bytes)>,
    /// The queue has emptied, and the driver was not told yet.
    sent: bool,
}

impl Own {
    pub(super) const fn take_sent(&mut self) -> bool {
        std::mem::replace(&mut self.sent, false)
    }
}

impl State {
    /// Begins with what waits, when nothing else is under way and no control bytes go before it.
    pub(super) fn begin_own(&mut self) {
        if !self.is_flushed() || self.finishing {
            return;
        }
        let Some(own) = &mut self.own else { return };
        let Some((_, next)) = own.queue.pop_front() else {
            return;
        };
        own.sent = own.queue.is_empty();
        self.totals.frames = self.totals.frames.saturating_add(1);
        let [rest, _] = &mut self.rest;
        *rest = next;
    }
}

impl Outlet {
    /// Sends whole RTMP messages behind the control bytes that are queued, and tells when they are on
    /// their way ([`super::OutletEvent::Sent`]): only then there should be more, or the queue grows.
    /// From the first time on the peer has more patience than others: a viewer who pauses a film reads
    /// nothing for a while, and a live stream would have gone on without him.
    pub fn send(&self, message_stream: u32, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.state.borrow_mut();
        if state.own.is_none() {
            let _ = give_up_after(&self.socket, FILE_PATIENCE);
        }
        let own = state.own.get_or_insert_default();
        own.queue.push_back((message_stream, bytes));
        self.hand_over(&mut state);
    }

    /// Forgets what waits in [`Outlet::send`]'s queue for a message stream, but for what is begun.
    pub fn forget_queued(&self, message_stream: u32) {
        if let Some(own) = &mut self.state.borrow_mut().own {
            own.queue.retain(|(stream, _)| *stream != message_stream);
        }
    }

    /// Whether something waits in [`Outlet::send`]'s queue.
    #[must_use]
    pub fn has_queued(&self) -> bool {
        let state = self.state.borrow();
        state.own.as_ref().is_some_and(|own| !own.queue.is_empty())
    }

    /// How long the socket may take nothing.
    pub(super) fn allowed_silence(&self) -> Duration {
        let limit = self.shard.limits().send_timeout;
        let state = self.state.borrow();
        // Whoever plays a live stream too has the patience of one.
        if state.own.is_some() && state.players.is_empty() {
            limit.max(FILE_PATIENCE)
        } else {
            limit
        }
    }
}
