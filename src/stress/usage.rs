//! What processes cost, from `/proc`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;

/// Of some processes together at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// CPU time of all threads that are alive.
    #[serde(skip)]
    pub cpu: Duration,
    /// Proportional set size, KiB.
    pub pss_kib: u64,
    /// Memory of all TCP sockets of the machine, KiB.
    pub tcp_kib: u64,
}

impl Usage {
    /// As of now; zeros for what cannot be read.
    #[must_use]
    pub fn of(pids: &[u32]) -> Self {
        let mut usage = Self {
            tcp_kib: tcp(&fs::read_to_string("/proc/net/sockstat").unwrap_or_default()),
            ..Self::default()
        };
        for pid in pids {
            let dir = Path::new("/proc").join(pid.to_string());
            let tasks = fs::read_dir(dir.join("task")).into_iter().flatten();
            for task in tasks.flatten() {
                let text = fs::read_to_string(task.path().join("schedstat"));
                usage.cpu = usage
                    .cpu
                    .saturating_add(run_time(&text.unwrap_or_default()));
            }
            let text = fs::read_to_string(dir.join("smaps_rollup")).unwrap_or_default();
            usage.pss_kib = usage.pss_kib.saturating_add(pss(&text));
        }
        usage
    }
}

/// The first number of `schedstat`: ns on a CPU.
fn run_time(text: &str) -> Duration {
    let first = text.split_whitespace().next();
    Duration::from_nanos(first.and_then(|n| n.parse().ok()).unwrap_or_default())
}

fn pss(text: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix("Pss:"));
    let number = line.and_then(|l| l.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).unwrap_or_default()
}

/// `TCP: … mem PAGES`
fn tcp(text: &str) -> u64 {
    let line = text.lines().find(|l| l.starts_with("TCP:"));
    let mut words = line.unwrap_or_default().split_whitespace();
    let pages = words.by_ref().skip_while(|w| *w != "mem").nth(1);
    let pages: u64 = pages.and_then(|n| n.parse().ok()).unwrap_or_default();
    pages.saturating_mul(4)
}

/// CPU time of this process so far.
pub(super) fn own_cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Duration::ZERO;
    };
    let time = |t: nix::sys::time::TimeVal| {
        let micros = t
            .tv_sec()
            .saturating_mul(1_000_000)
            .saturating_add(t.tv_usec());
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    };
    time(usage.user_time()).saturating_add(time(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_read() {
        assert_eq!(run_time("1234567 99 3\n"), Duration::from_nanos(1_234_567));
        assert_eq!(run_time(""), Duration::ZERO);
        assert_eq!(
            pss("a-b ---p\nRss: 9 kB\nPss:    512 kB\nPss_Dirty: 1 kB\n"),
            512
        );
        assert_eq!(
            tcp("sockets: used 5\nTCP: inuse 1 orphan 0 tw 0 alloc 3 mem 10\n"),
            40
        );
        let me = Usage::of(&[std::process::id()]);
        assert!(me.pss_kib > 0 && me.cpu > Duration::ZERO);
        assert!(own_cpu() > Duration::ZERO);
        assert_eq!(Usage::of(&[u32::MAX]).pss_kib, 0);
    }
}
