//! Who may connect at all: connections in all, and logins that are not finished.
//!
//! A login is unfinished from accept until the peer has shown that it is worth keeping (its HTTP
//! request is read, its RTMP session plays or publishes). Only those are limited per address: a
//! thousand viewers may share one.
//!
//! The last connections are a reserve that viewers cannot take: whoever comes into it may log in, publish,
//! be a mirror or ask for a page, but not watch ([`Admitted::may_watch`]). Otherwise a crowd would lock out
//! the encoder that comes back, and whoever asks whether the server is well.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::socket::owner;
use crate::limits::RESERVED_CONNECTIONS;

/// The bounds of [`Admission`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections that the process has descriptors for.
    pub descriptors: usize,
    /// Unfinished logins in all.
    pub pending: usize,
    /// Unfinished logins of one address, or of one /64 in IPv6.
    pub pending_per_address: usize,
}

impl AdmissionLimits {
    /// How many connections there may be, and what is to be said when there are as many.
    fn most(&self) -> (usize, Refusal) {
        if self.descriptors < self.connections {
            (self.descriptors, Refusal::Descriptors)
        } else {
            (self.connections, Refusal::Full)
        }
    }

    /// How many of them viewers may have.
    fn open(&self) -> usize {
        let (most, _) = self.most();
        most.saturating_sub(RESERVED_CONNECTIONS.min(most / 8))
    }
}

/// Why a connection was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// As many connections as are allowed.
    #[error("the server has as many connections as it may (limits.max_connections)")]
    Full,
    /// As many connections as there are descriptors for.
    #[error(
        "the limit of open files leaves room for no more connections; raise it (LimitNOFILE= of the service, ulimit -n in a shell)"
    )]
    Descriptors,
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
            Self::Descriptors => "descriptors",
            Self::Pending => "max_pending",
            Self::PendingAddress => "max_pending_per_address",
        }
    }

    /// The same for people: what to raise.
    #[must_use]
    pub const fn bound(self) -> &'static str {
        match self {
            Self::Full => "limits.max_connections",
            Self::Descriptors => "the limit of open files: LimitNOFILE=, ulimit -n",
            Self::Pending => "limits.max_pending",
            Self::PendingAddress => "limits.max_pending_per_address",
        }
    }
}

#[derive(Debug)]
struct State {
    limits: AdmissionLimits,
    connections: usize,
    /// Those of them that are in the reserve.
    reserved: usize,
    pending: usize,
    /// Only owners with unfinished logins: never more entries than `limits.pending` ever was.
    by_owner: HashMap<IpAddr, usize>,
}

impl State {
    /// See [`Admission::open`].
    fn open(&self) -> (usize, usize) {
        let used = self.connections.saturating_sub(self.reserved);
        (used, self.limits.open())
    }

    /// Whether there is room for one more outside the reserve.
    fn has_open(&self) -> bool {
        let (used, most) = self.open();
        used < most
    }
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
                reserved: 0,
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

    /// Connections outside the reserve, and how many of those there may be: then viewers are turned away.
    #[must_use]
    pub fn open(&self) -> (usize, usize) {
        self.lock().open()
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
        let (most, full) = limits.most();
        if state.connections >= most {
            return Err(full);
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
        let reserved = !state.has_open();
        state.connections = state.connections.saturating_add(1);
        state.reserved = state.reserved.saturating_add(reserved.into());
        drop(state);
        Ok(Admitted {
            admission: Arc::clone(self),
            owner,
            pending: AtomicBool::new(true),
            reserved: AtomicBool::new(reserved),
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
    reserved: AtomicBool,
}

impl Admitted {
    /// The login is finished: from now on only the total counts this connection. Idempotent.
    pub fn login_done(&self) {
        if self.pending.swap(false, Ordering::Relaxed) {
            let mut state = self.admission.lock();
            Self::release_pending(&mut state, self.owner);
        }
    }

    /// Whether this connection may watch. One of the reserve may not, unless another has made room
    /// outside it since: then it takes that.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn may_watch(&self) -> Result<(), Refusal> {
        if !self.reserved.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut state = self.admission.lock();
        if !state.has_open() {
            return Err(state.limits.most().1);
        }
        if self.reserved.swap(false, Ordering::Relaxed) {
            state.reserved = state.reserved.saturating_sub(1);
        }
        Ok(())
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
        if *self.reserved.get_mut() {
            state.reserved = state.reserved.saturating_sub(1);
        }
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
            descriptors: usize::MAX,
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
    fn viewers_never_take_the_reserve() {
        let admission = Admission::new(limits(100, 1000, 1000));
        let come = || admission.admit(ip(1));
        let mut viewers: Vec<_> = (0..88).map(|_| come().unwrap()).collect();
        assert!(viewers.iter().all(|viewer| viewer.may_watch().is_ok()));
        let mut encoders: Vec<_> = (0..12).map(|_| come().unwrap()).collect();
        for encoder in &encoders {
            assert_eq!(encoder.may_watch(), Err(Refusal::Full));
        }
        assert_eq!(admission.open(), (88, 88));
        assert_eq!(come().unwrap_err(), Refusal::Full, "the reserve is bounded");
        // A viewer goes, and one of the reserve takes its place; the encoder that comes has the other.
        viewers.pop();
        let late = encoders.pop().unwrap();
        assert_eq!((late.may_watch(), late.may_watch()), (Ok(()), Ok(())));
        let encoder = come().unwrap();
        assert_eq!(encoder.may_watch(), Err(Refusal::Full));
        // Who goes out of the reserve leaves no room for a viewer.
        drop(encoder);
        assert_eq!(come().unwrap().may_watch(), Err(Refusal::Full));
        drop((viewers, encoders, late));
        assert_eq!((admission.connections(), admission.lock().reserved), (0, 0));
    }

    #[test]
    fn the_reserve_is_an_eighth_and_never_more_than_its_limit() {
        let open = |connections| limits(connections, 1, 1).open();
        assert_eq!((open(0), open(1), open(7), open(8)), (0, 1, 7, 7));
        assert_eq!(open(16_384), 16_384 - RESERVED_CONNECTIONS);
        assert_eq!(open(usize::MAX), usize::MAX - RESERVED_CONNECTIONS);
    }

    #[test]
    fn too_few_descriptors_are_called_so() {
        let bounds = AdmissionLimits {
            descriptors: 9,
            ..limits(10, 100, 100)
        };
        let admission = Admission::new(bounds);
        let all: Vec<_> = (0..9).map(|n| admission.admit(ip(n)).unwrap()).collect();
        assert_eq!(all[8].may_watch(), Err(Refusal::Descriptors));
        assert_eq!(admission.admit(ip(9)).unwrap_err(), Refusal::Descriptors);
        admission.set_limits(AdmissionLimits {
            descriptors: 10,
            ..bounds
        });
        let _last = admission.admit(ip(9)).unwrap();
        assert_eq!(admission.admit(ip(10)).unwrap_err(), Refusal::Full);
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
