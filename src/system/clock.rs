//! The wall clock, and the processor time of a thread.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Processor time that the calling thread has used so far; zero where the system does not tell.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Unix time, milliseconds; 0 for a clock that stands before 1970.
#[must_use]
pub fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Microseconds of the monotonic clock, as service managers count them; 0 where there is none.
#[must_use]
pub fn monotonic_us() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(Duration::from)
        .map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
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
