//! The program as a whole, against other people's programs: ffmpeg, rtmpdump, GStreamer, nginx.
//!
//! These tests run when `CRTMPSERVER_SYSTEM_TESTS` is set (`tests/run` sets it); without it, or when a
//! program that one needs is not there, they are reported as ignored. Each leaves its logs in
//! `target/test-logs/system/NAME`.
#![expect(
    dead_code,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic outside its test functions too"
)]

mod foreign;
mod media;
mod programs;
mod world;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::programs::{newer_ffmpeg, present};
use crate::world::World;

/// A test: its name, the programs that it needs, what it does.
type Test = (&'static str, &'static [&'static str], fn(&World));

const TESTS: &[Test] = &[
    (
        "foreign::pictures_tell_their_number",
        &["ffmpeg"],
        foreign::pictures_tell_their_number,
    ),
    (
        "foreign::a_missing_packet_is_noticed",
        &["ffmpeg"],
        foreign::a_missing_packet_is_noticed,
    ),
    (
        "foreign::receivers_see_what_was_sent",
        &["ffmpeg", "rtmpdump", "gst-launch-1.0", NGINX_RTMP, "nginx"],
        foreign::receivers_see_what_was_sent,
    ),
];

const NGINX_RTMP: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
/// Stands for the path of the newer ffmpeg.
const NEWER_FFMPEG: &str = "newer ffmpeg";

fn main() {
    let mut arguments = Arguments::from_args();
    // Most of a test is waiting in real time.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    let wanted = std::env::var_os("CRTMPSERVER_SYSTEM_TESTS").is_some();
    let trials = TESTS
        .iter()
        .map(|&(name, needs, run)| {
            Trial::ignorable_test(name, move || {
                if !wanted {
                    return Ok(Completion::ignored_with(
                        "CRTMPSERVER_SYSTEM_TESTS is not set",
                    ));
                }
                for program in needs {
                    let there = match *program {
                        NEWER_FFMPEG => present(&newer_ffmpeg()),
                        other => present(other),
                    };
                    if !there {
                        return Ok(Completion::ignored_with(format!("{program} is not here")));
                    }
                }
                run(&World::new(&name.replace("::", "-")));
                Ok(Completion::Completed)
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
