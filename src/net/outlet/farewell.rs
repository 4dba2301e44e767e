//! The end of a connection: what is due goes out first, within a time.

use std::future::poll_fn;
use std::io;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::{Outlet, Pace};
use crate::limits::{READ_TURN, STOP_STALL};

impl Outlet {
    /// Sends what there is of its streams by now, as far as the socket takes it until then; whether it
    /// took all. For a connection that the server ends. A socket that takes nothing for [`STOP_STALL`] is
    /// given up before that time: those who wait for the next start would wait for it, too.
    pub async fn catch_up(&self, until: Instant) -> bool {
        {
            let mut state = self.state.borrow_mut();
            for player in &state.players {
                player.refresh();
            }
            self.hand_over(&mut state);
        }
        let begun = Instant::now();
        while self.is_behind() {
            let until = self
                .given_up(begun)
                .map_or(until, |given_up| until.min(given_up));
            let step = poll_fn(|cx| self.poll_step(cx));
            if timeout_at(until.into(), step).await.is_err() {
                return !self.is_behind();
            }
        }
        true
    }

    /// When its socket has taken nothing for too long, counted from `begun` at the earliest; `None` as
    /// long as it takes something.
    fn given_up(&self, begun: Instant) -> Option<Instant> {
        match self.state.borrow().pace {
            Pace::Blocked { since, .. } => since.max(begun).checked_add(STOP_STALL),
            Pace::Current | Pace::Behind => None,
        }
    }

    fn is_behind(&self) -> bool {
        let state = self.state.borrow();
        state.pace != Pace::Current && state.ending.is_none()
    }

    /// Sends what is queued and begun, but no frame more; then tells the peer that nothing follows,
    /// and reads what it still says, so that closing does not cost it the last bytes. For a
    /// connection that the server ends; takes `within` at most.
    pub async fn finish(&self, within: Duration) {
        self.state.borrow_mut().finishing = true;
        let all = async {
            while !self.state.borrow().is_flushed() {
                if self.state.borrow().ending.is_some() {
                    return;
                }
                poll_fn(|cx| self.poll_step(cx)).await;
            }
            loop {
                match self.socket.close() {
                    Ok(()) => return self.drain().await,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
                if self.socket.writable().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(within, all).await;
    }

    /// Reads and forgets until the peer closes, or has sent a turn's worth.
    async fn drain(&self) {
        let mut budget = READ_TURN;
        while self.socket.readable().await.is_ok() {
            match self.shard.read(&self.socket, <[u8]>::len) {
                Ok(n) if n > 0 && budget > 0 => budget = budget.saturating_sub(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}
