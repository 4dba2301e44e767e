//! A publisher and tails on threads of their own: no frame is lost, no wake-up is missed.

use std::sync::{Condvar, Mutex};
use std::thread;

use super::*;

const FRAMES: u32 = 20_000;

/// Sleeps until it is woken.
#[derive(Default)]
struct Sleeper {
    woken: Mutex<bool>,
    condition: Condvar,
}

impl Wake for Sleeper {
    fn wake(&self) {
        *self.woken.lock().unwrap() = true;
        self.condition.notify_one();
    }
}

impl Sleeper {
    /// Fails when nobody wakes it: that is the wake-up that went missing.
    fn sleep(&self) {
        let woken = self.woken.lock().unwrap();
        let (mut woken, timeout) = self
            .condition
            .wait_timeout_while(woken, Duration::from_secs(20), |woken| !*woken)
            .unwrap();
        assert!(!timeout.timed_out(), "slept through a wake-up");
        *woken = false;
    }
}

#[test]
fn every_tail_sees_every_frame() {
    let config = HubConfig {
        log_frames: 2 * FRAMES as usize,
        log_time: Duration::from_secs(1000),
        ..HubConfig::default()
    };
    let rig = Rig::with(config);
    let mut publisher = rig.publish();
    publisher.push(key(0, "0"), rig.now).unwrap();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let stream = Arc::clone(publisher.stream());
            let sleeper = Arc::new(Sleeper::default());
            let mut tail = Tail::new(stream, Arc::clone(&sleeper) as Arc<dyn Wake>);
            let mut cursor = tail.join(JoinMode::default(), rig.now);
            thread::spawn(move || {
                let mut next = 0;
                loop {
                    match tail.current(&mut cursor) {
                        Next::Frame(frame) => {
                            assert_eq!(frame.payload, next.to_string().as_bytes());
                            next += 1;
                            cursor.advance();
                        }
                        Next::Idle => {
                            sleeper.sleep();
                            tail.refresh();
                        }
                        Next::Ended => return next,
                    }
                }
            })
        })
        .collect();
    for number in 1..FRAMES {
        let parts = inter(number / 100, &number.to_string());
        publisher.push(parts, rig.now).unwrap();
        if number % 64 == 0 {
            thread::yield_now();
        }
    }
    publisher.end();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), FRAMES);
    }
}
