//! Who may connect at all: connections in all, and logins that are not finished.
//!
//! A login is unfinished from accept until the peer has shown that it is worth keeping (its HTTP
//! request is read, its RTMP session plays or publishes). Only those are limited per address: a
//! thousand viewers may share one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::socket::owner;

/// The bounds of [`Admission`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Connections in all.
    pub connections: usize,
    /// Unfinished logins in all.
    pub pending: usize,
    /// Unfinished logins of one address, or of one /64 in IPv6.
    pub pending_per_address: usize,
}

/// Why a connection was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// As many connections as are allowed.
    #[error("the server has as many connections as it may (limits.max_connections)")]
    Full,
    /// As many unfinished logins as are allowed.
    #[error("too many connections have not finished their login (limits.max_pending)")]
    Pending,
    /// As many unfinished logins of this address as are allowed.
    #[error(
        "too many connections of one address have not finished their login (limits.max_pending_per_address)"
    )]
    PendingAddress,
}

impl Refusal {
    /// The label of the metrics and the field of the log.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Full => "max_connections",
            Self::Pending => "max_pending",
            Self::PendingAddress => "max_pending_per_address",
        }
    }
}

#[derive(Debug)]
struct State {
    limits: AdmissionLimits,
    connections: usize,
    pending: usize,
    /// Only owners with unfinished logins: never more entries than `limits.pending` ever was.
    by_owner: HashMap<IpAddr, usize>,
}

/// The count of what is connected; shared by all listeners.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
}

impl Admission {
    /// Nobody is connected.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                limits,
                connections: 0,
                pending: 0,
                by_owner: HashMap::new(),
            }),
        })
    }

    /// New bounds for those who come from now on.
    pub fn set_limits(&self, limits: AdmissionLimits) {
        self.lock().limits = limits;
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.lock().connections
    }

    /// Logins that are not finished.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.lock().pending
    }

    /// Lets one more in; dropping what is returned lets it out.
    ///
    /// # Errors
    /// [`Refusal`] names the bound that is reached; nothing is counted then.
    pub fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<Admitted, Refusal> {
        let owner = owner(ip);
        let mut state = self.lock();
        let limits = state.limits;
        if state.connections >= limits.connections {
            return Err(Refusal::Full);
        }
        if state.pending >= limits.pending {
            return Err(Refusal::Pending);
        }
        let of_owner = state.by_owner.get(&owner).copied().unwrap_or(0);
        if of_owner >= limits.pending_per_address {
            return Err(Refusal::PendingAddress);
        }
        state.by_owner.insert(owner, of_owner.saturating_add(1));
        state.pending = state.pending.saturating_add(1);
        state.connections = state.connections.saturating_add(1);
        drop(state);
        Ok(Admitted {
            admission: Arc::clone(self),
            owner,
            pending: AtomicBool::new(true),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection that was let in; its place is free again when this is dropped.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    owner: IpAddr,
    pending: AtomicBool,
}

impl Admitted {
    /// The login is finished: from now on only the total counts this connection. Idempotent.
    pub fn login_done(&self) {
        if self.pending.swap(false, Ordering::Relaxed) {
            let mut state = self.admission.lock();
            Self::release_pending(&mut state, self.owner);
        }
    }

    fn release_pending(state: &mut State, owner: IpAddr) {
        state.pending = state.pending.saturating_sub(1);
        if let Some(n) = state.by_owner.get_mut(&owner) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                state.by_owner.remove(&owner);
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        state.connections = state.connections.saturating_sub(1);
        if *self.pending.get_mut() {
            Self::release_pending(&mut state, self.owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: usize, pending: usize, pending_per_address: usize) -> AdmissionLimits {
        AdmissionLimits {
            connections,
            pending,
            pending_per_address,
        }
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn each_bound_holds_at_the_limit_and_not_before() {
        let full = Admission::new(limits(2, 10, 10));
        let a = full.admit(ip(1)).unwrap();
        let b = full.admit(ip(2)).unwrap();
        b.login_done();
        assert_eq!(full.admit(ip(3)).unwrap_err(), Refusal::Full);
        drop(a);
        assert!(full.admit(ip(3)).is_ok());

        let pending = Admission::new(limits(100, 2, 10));
        let a = pending.admit(ip(1)).unwrap();
        let _b = pending.admit(ip(2)).unwrap();
        assert_eq!(pending.admit(ip(3)).unwrap_err(), Refusal::Pending);
        a.login_done();
        a.login_done();
        let _c = pending.admit(ip(3)).unwrap();
        assert_eq!(pending.admit(ip(4)).unwrap_err(), Refusal::Pending);

        let address = Admission::new(limits(100, 100, 2));
        let a = address.admit("2001:db8::1".parse().unwrap()).unwrap();
        let _b = address.admit("2001:db8::2".parse().unwrap()).unwrap();
        let same = "2001:db8::ffff".parse().unwrap();
        assert_eq!(address.admit(same).unwrap_err(), Refusal::PendingAddress);
        let _other = address.admit("2001:db8:0:1::1".parse().unwrap()).unwrap();
        a.login_done();
        assert!(address.admit(same).is_ok());
    }

    #[test]
    fn nothing_is_left_when_all_are_gone() {
        let admission = Admission::new(limits(1000, 1000, 1000));
        let all: Vec<_> = (0..200).map(|n| admission.admit(ip(n)).unwrap()).collect();
        all.iter().step_by(2).for_each(Admitted::login_done);
        assert_eq!((admission.connections(), admission.pending()), (200, 100));
        drop(all);
        assert_eq!((admission.connections(), admission.pending()), (0, 0));
        assert!(admission.lock().by_owner.is_empty());
    }
}
