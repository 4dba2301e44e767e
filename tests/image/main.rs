//! The disk images: built by `image/build`, booted under QEMU without hardware acceleration, seen from
//! a network of their own that stands for the world.
//!
//! These tests run when `IMAGE_TESTS` is set (`tests/run` sets it), as root; without it, or when a program
//! that they need is not there, they are reported as ignored. `IMAGE_TESTS=full` runs those too that boot
//! the very disk by its own boot loaders, or many machines. What can be used again is kept in
//! `target/image`. Each test leaves its logs in `target/test-logs/system/NAME`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic outside its test functions too"
)]

#[path = "../system/daemon.rs"]
#[expect(dead_code, reason = "the system tests use more of it")]
mod daemon;
mod disk;
mod lab;
mod login;
mod machine;
mod master;
#[path = "../system/media.rs"]
#[expect(dead_code, reason = "the system tests use more of it")]
mod media;
mod mirror;
mod phases;
#[path = "../system/programs.rs"]
#[expect(dead_code, reason = "the system tests use more of it")]
mod programs;
mod recipe;
mod seed;
mod trouble;
#[path = "../system/world.rs"]
#[expect(dead_code, reason = "the system tests use more of it")]
mod world;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::programs::present;
use crate::world::World;

/// When a test runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// With all the others.
    Always,
    /// In `tests/run full`.
    Full,
}
use When::{Always, Full};

/// A test: its name, when it runs, what it does.
type Test = (&'static str, When, fn(&World));

const TESTS: &[Test] = &[
    (
        "recipe::what_is_missing_is_said",
        Always,
        recipe::what_is_missing_is_said,
    ),
    (
        "recipe::what_is_on_the_disk",
        Always,
        recipe::what_is_on_the_disk,
    ),
    (
        "mirror::two_of_the_same_file",
        Always,
        mirror::two_of_the_same_file,
    ),
    ("phases::of_the_program", Always, phases::of_the_program),
    (
        "mirror::told_another_master",
        Always,
        mirror::told_another_master,
    ),
    (
        "trouble::one_after_the_other",
        Always,
        trouble::one_after_the_other,
    ),
    ("trouble::a_full_disk", Always, trouble::a_full_disk),
    (
        "master::takes_a_publisher",
        Always,
        master::takes_a_publisher,
    ),
    ("disk::boots_by_uefi", Full, disk::boots_by_uefi),
    ("disk::boots_by_bios", Full, disk::boots_by_bios),
    (
        "seed::user_data_names_the_master",
        Full,
        seed::user_data_names_the_master,
    ),
    (
        "seed::user_data_that_is_none",
        Full,
        seed::user_data_that_is_none,
    ),
    (
        "seed::user_data_that_never_comes",
        Full,
        seed::user_data_that_never_comes,
    ),
    (
        "login::for_who_has_the_key",
        Full,
        login::for_who_has_the_key,
    ),
    ("mirror::ten_at_once", Full, mirror::ten_at_once),
    ("phases::of_a_boot", Full, phases::of_a_boot),
    (
        "recipe::the_same_bytes_again",
        Full,
        recipe::the_same_bytes_again,
    ),
];

/// What the tests drive, all of Debian.
const NEEDS: [&str; 13] = [
    "qemu-system-x86_64",
    "qemu-img",
    "mmdebstrap",
    "unshare",
    "dnsmasq",
    "ip",
    "debugfs",
    "sfdisk",
    "mcopy",
    "strip",
    "ssh",
    "ffmpeg",
    "python3",
];

fn main() {
    let mut arguments = Arguments::from_args();
    // Two processors are what there is for sure, and a machine without acceleration takes one.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let obstacle = obstacle();
    let full = std::env::var("IMAGE_TESTS").is_ok_and(|mode| mode == "full");
    let trials = TESTS
        .iter()
        .map(|&(name, when, run)| {
            let obstacle = obstacle
                .clone()
                .or_else(|| (when == Full && !full).then(|| "only in tests/run full".to_owned()));
            Trial::ignorable_test(name, move || {
                if let Some(obstacle) = obstacle {
                    return Ok(Completion::ignored_with(obstacle));
                }
                // A thread of its own: it goes into the network of its machines.
                let world = World::new(&format!("image-{}", name.replace("::", "-")));
                let thread = std::thread::Builder::new().name(name.to_owned());
                match thread.spawn(move || run(&world)).unwrap().join() {
                    Ok(()) => Ok(Completion::Completed),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// Why the tests cannot run here, if they cannot.
fn obstacle() -> Option<String> {
    if std::env::var_os("IMAGE_TESTS").is_none() {
        return Some("IMAGE_TESTS is not set".into());
    }
    if !nix::unistd::geteuid().is_root() {
        return Some("only root may build an image".into());
    }
    if cfg!(not(target_arch = "x86_64")) {
        return Some("the images are for x86-64".into());
    }
    if let Some(program) = NEEDS.iter().find(|program| !present(program)) {
        return Some(format!("{program} is not here"));
    }
    // As root in a container there may be no right to make networks or to mount.
    for (what, script) in [
        ("mount", "mount -t tmpfs tmpfs /mnt"),
        (
            "make a network",
            "ip link add probe type bridge && ip tuntap add probe0 mode tap",
        ),
    ] {
        let probe = ["--mount", "--net", "--fork", "sh", "-ec", script];
        let made = std::process::Command::new("unshare").args(probe).output();
        if !made.is_ok_and(|done| done.status.success()) {
            return Some(format!("this machine lets nobody {what}"));
        }
    }
    let missing = recipe::PROGRAMS
        .iter()
        .find(|p| !recipe::programs().join(p).exists());
    missing.map(|program| {
        format!(
            "{} is not built",
            recipe::programs().join(program).display()
        )
    })
}
