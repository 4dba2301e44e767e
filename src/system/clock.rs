//! The processor time of a thread.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Processor time that the calling thread has used so far; zero where the system does not tell.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_waiting_does_not() {
        let before = thread_cpu_time();
        let mut n = 0_u64;
        while thread_cpu_time() == before {
            n = n.wrapping_add(1);
        }
        assert!(thread_cpu_time() > before);
    }
}
