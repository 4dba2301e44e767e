//! The packages in a real Debian: systemd as process 1 in a container, `apt install` from a repository
//! made of them, ffmpeg from outside.
//!
//! These tests run when `APPLIANCE_TESTS` is set (`tests/run` sets it), as root; without it, or when a
//! program that they need is not there, they are reported as ignored. The root of the container is made
//! once and kept in `target/appliance`. Each test leaves its logs in `target/test-logs/system/NAME`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic outside its test functions too"
)]

mod activation;
mod clone;
mod cloud;
mod container;
mod event;
mod image;
mod install;
mod life;
mod live;
mod machine;
#[path = "../system/media.rs"]
mod media;
mod mirror;
mod page;
mod prefix;
mod profile;
#[path = "../system/programs.rs"]
#[expect(dead_code, reason = "the system tests use more of it")]
mod programs;
mod reload;
mod survive;
mod trouble;
#[path = "../system/viewer.rs"]
#[expect(dead_code, reason = "the system tests use more of it")]
mod viewer;
#[path = "../system/world.rs"]
#[expect(dead_code, reason = "the system tests use more of it")]
mod world;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::programs::present;
use crate::world::World;

/// A test: its name and what it does.
type Test = (&'static str, fn(&World));

const TESTS: &[Test] = &[
    (
        "install::lintian_has_no_complaint",
        install::lintian_has_no_complaint,
    ),
    (
        "install::a_repository_has_the_key_that_it_is_given",
        install::a_repository_has_the_key_that_it_is_given,
    ),
    (
        "install::by_name_and_it_serves",
        install::by_name_and_it_serves,
    ),
    (
        "install::users_come_and_the_door_opens",
        install::users_come_and_the_door_opens,
    ),
    ("activation::from_cold", activation::from_cold),
    ("activation::whatever_subset", activation::whatever_subset),
    (
        "activation::a_name_that_nobody_knows",
        activation::a_name_that_nobody_knows,
    ),
    ("survive::killed_under_load", survive::killed_under_load),
    ("survive::stopped_under_load", survive::stopped_under_load),
    ("survive::a_shard_hangs", survive::a_shard_hangs),
    (
        "reload::good_and_bad_without_a_lost_packet",
        reload::good_and_bad_without_a_lost_packet,
    ),
    (
        "life::an_upgrade_keeps_edits_and_refuses_nobody",
        life::an_upgrade_keeps_edits_and_refuses_nobody,
    ),
    (
        "life::a_configuration_that_became_wrong",
        life::a_configuration_that_became_wrong,
    ),
    (
        "life::one_takes_the_place_of_the_other",
        life::one_takes_the_place_of_the_other,
    ),
    ("life::removed_and_purged", life::removed_and_purged),
    ("mirror::it_cannot_publish", mirror::it_cannot_publish),
    ("mirror::its_one_setting", mirror::its_one_setting),
    (
        "clone::a_saved_server_started_twice",
        clone::a_saved_server_started_twice,
    ),
    (
        "cloud::stock_servers_become_master_and_mirror",
        cloud::stock_servers_become_master_and_mirror,
    ),
    (
        "profile::a_master_connects_to_nowhere",
        profile::a_master_connects_to_nowhere,
    ),
    (
        "profile::the_firewall_opens_the_ports_of_the_role",
        profile::the_firewall_opens_the_ports_of_the_role,
    ),
    (
        "trouble::two_services_on_one_port",
        trouble::two_services_on_one_port,
    ),
    (
        "trouble::files_that_cannot_be_read",
        trouble::files_that_cannot_be_read,
    ),
    ("trouble::a_full_disk", trouble::a_full_disk),
    ("prefix::there_and_away_again", prefix::there_and_away_again),
    ("page::what_it_shows_works", page::what_it_shows_works),
    (
        "page::a_mirror_with_a_certificate",
        page::a_mirror_with_a_certificate,
    ),
    ("event::from_zero_to_teardown", event::from_zero_to_teardown),
    (
        "container::closed_until_there_are_users",
        container::closed_until_there_are_users,
    ),
    (
        "container::a_mirror_as_kubernetes_starts_it",
        container::a_mirror_as_kubernetes_starts_it,
    ),
    (
        "container::the_same_packages_make_the_same_bytes",
        container::the_same_packages_make_the_same_bytes,
    ),
];

/// What the tests drive, all of Debian.
const NEEDS: [&str; 10] = [
    "mmdebstrap",
    "systemd-nspawn",
    "nsenter",
    "ip",
    "lintian",
    "apt-ftparchive",
    "gpg",
    "strip",
    "ffmpeg",
    "python3",
];

fn main() {
    let mut arguments = Arguments::from_args();
    // Most of a test is waiting in real time.
    arguments.test_threads = arguments.test_threads.or(Some(3));
    let obstacle = obstacle();
    let trials = TESTS
        .iter()
        .map(|&(name, run)| {
            let obstacle = obstacle.clone().or_else(|| {
                let lacks = |program: &&&str| !present(program);
                let missing = container::NEEDS.iter().find(lacks)?;
                let wanted = name.starts_with("container::");
                wanted.then(|| format!("{missing} is not here"))
            });
            Trial::ignorable_test(name, move || {
                if let Some(obstacle) = obstacle {
                    return Ok(Completion::ignored_with(obstacle));
                }
                // A thread of its own: it goes into the network of its machine.
                let world = World::new(&format!("appliance-{}", name.replace("::", "-")));
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
    if std::env::var_os("APPLIANCE_TESTS").is_none() {
        return Some("APPLIANCE_TESTS is not set".into());
    }
    if !nix::unistd::geteuid().is_root() {
        return Some("only root may boot a container".into());
    }
    if let Some(program) = NEEDS.iter().find(|program| !present(program)) {
        return Some(format!("{program} is not here"));
    }
    // As root in a container there may be no right to make another.
    let probe = [
        "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "true",
    ];
    let made = std::process::Command::new("unshare").args(probe).output();
    if !made.is_ok_and(|done| done.status.success()) {
        return Some("this machine lets nobody make a container".into());
    }
    let missing = image::PROGRAMS
        .iter()
        .find(|p| !image::programs().join(p).exists());
    missing.map(|program| format!("{} is not built", image::programs().join(program).display()))
}
