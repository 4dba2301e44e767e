//! A few threads that do what may wait for a disk. They begin with the first job.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::limits::MAX_FILE_JOBS;

type Job = Box<dyn FnOnce() + Send>;

/// So many jobs wait already, or the system gives no thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much waits for the disks")]
pub(super) struct Full;

/// The threads; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Pool {
    name: &'static str,
    most: usize,
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    over: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "State({} jobs, {} threads)",
            self.jobs.len(),
            self.threads
        )
    }
}

impl Pool {
    /// With at most so many threads of this name.
    pub(super) fn new(name: &'static str, most: usize) -> Self {
        Self {
            name,
            most,
            queue: Arc::default(),
        }
    }

    /// Lets a thread do this, in the order in which jobs come.
    pub(super) fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Full> {
        let mut state = self.queue.state();
        if state.jobs.len() >= MAX_FILE_JOBS {
            return Err(Full);
        }
        if state.idle == 0 && state.threads < self.most {
            let queue = Arc::clone(&self.queue);
            let begun = std::thread::Builder::new()
                .name(self.name.to_owned())
                .spawn(move || queue.work());
            match begun {
                Ok(_) => state.threads = state.threads.saturating_add(1),
                Err(_) if state.threads == 0 => return Err(Full),
                Err(_) => {} // the others do it
            }
        }
        state.jobs.push_back(Box::new(job));
        drop(state);
        self.queue.changed.notify_one();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.state().over = true;
        self.queue.changed.notify_all();
    }
}

impl Queue {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // What a job was to answer is dropped with it, which its asker notices.
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    tracing::error!(code = "defect", "a job about a file was lost to a defect");
                }
                state = self.state();
                continue;
            }
            if state.over {
                return;
            }
            state.idle = state.idle.saturating_add(1);
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle = state.idle.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn jobs_are_done_and_those_that_fail_cost_themselves_alone() {
        let pool = Pool::new("test", 2);
        let (tell, told) = mpsc::channel();
        for n in 0..100 {
            let tell = tell.clone();
            pool.submit(move || {
                assert!(n != 50, "a job may fail");
                tell.send(n).unwrap();
            })
            .unwrap();
        }
        drop(tell);
        let mut done: Vec<i32> = told.iter().collect();
        done.sort_unstable();
        let expected: Vec<i32> = (0..100).filter(|n| *n != 50).collect();
        assert_eq!(done, expected);
        assert!(pool.queue.state().threads <= 2);
    }

    #[test]
    fn what_waits_is_bounded() {
        let pool = Pool::new("test", 1);
        let (hold, held) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        pool.submit(move || {
            begin.send(()).unwrap();
            let _ = held.recv();
        })
        .unwrap();
        begun.recv().unwrap();
        for _ in 0..MAX_FILE_JOBS {
            pool.submit(|| ()).unwrap();
        }
        assert_eq!(pool.submit(|| ()), Err(Full));
        drop(hold);
    }
}
