//! The program as a service: sockets that it is given, what it tells its service manager, as whom it
//! runs. What only root can see is skipped, with that reason, when somebody else runs it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic outside its test functions too"
)]

mod activation;
mod control;
mod notify;
mod privileges;
mod world;

use libtest_mimic::{Arguments, Completion, Trial};
use nix::unistd::geteuid;

/// Whether it needs root.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    Root,
}

type Test = (&'static str, Needs, fn());

const TESTS: &[Test] = &[
    (
        "activation::a_connection_that_came_before_the_program_is_served",
        Needs::Nothing,
        activation::a_connection_that_came_before_the_program_is_served,
    ),
    (
        "activation::what_was_not_passed_is_bound",
        Needs::Nothing,
        activation::what_was_not_passed_is_bound,
    ),
    (
        "activation::descriptors_that_are_meant_for_another_process_are_left_alone",
        Needs::Nothing,
        activation::descriptors_that_are_meant_for_another_process_are_left_alone,
    ),
    (
        "activation::what_is_wrong_with_a_socket_is_one_sentence_and_78",
        Needs::Nothing,
        activation::what_is_wrong_with_a_socket_is_one_sentence_and_78,
    ),
    (
        "control::a_question_that_came_before_the_program_is_answered",
        Needs::Nothing,
        control::a_question_that_came_before_the_program_is_answered,
    ),
    (
        "control::it_belongs_to_whom_the_server_becomes",
        Needs::Root,
        control::it_belongs_to_whom_the_server_becomes,
    ),
    #[cfg(feature = "publish")]
    (
        "notify::a_standalone_tells_its_life",
        Needs::Nothing,
        notify::a_standalone_tells_its_life,
    ),
    (
        "notify::a_mirror_is_ready_without_its_master",
        Needs::Nothing,
        notify::a_mirror_is_ready_without_its_master,
    ),
    (
        "notify::a_start_that_fails_leaves_its_reason",
        Needs::Nothing,
        notify::a_start_that_fails_leaves_its_reason,
    ),
    (
        "notify::a_thread_that_stands_still_is_told_and_stops_the_feeding",
        Needs::Root,
        notify::a_thread_that_stands_still_is_told_and_stops_the_feeding,
    ),
    (
        "notify::journald_gets_a_priority_with_the_reason",
        Needs::Nothing,
        notify::journald_gets_a_priority_with_the_reason,
    ),
    (
        "privileges::a_named_user_takes_ports_as_root_and_is_that_user_then",
        Needs::Root,
        privileges::a_named_user_takes_ports_as_root_and_is_that_user_then,
    ),
    (
        "privileges::numbers_need_no_entry",
        Needs::Root,
        privileges::numbers_need_no_entry,
    ),
    (
        "privileges::root_is_refused_and_what_is_to_be_typed_works",
        Needs::Root,
        privileges::root_is_refused_and_what_is_to_be_typed_works,
    ),
    (
        "privileges::root_that_is_allowed_is_told_loudly",
        Needs::Root,
        privileges::root_that_is_allowed_is_told_loudly,
    ),
    (
        "privileges::a_wrong_name_is_one_line_and_leaves_nothing_bound",
        Needs::Root,
        privileges::a_wrong_name_is_one_line_and_leaves_nothing_bound,
    ),
    (
        "privileges::files_that_cannot_be_read_again_are_named",
        Needs::Root,
        privileges::files_that_cannot_be_read_again_are_named,
    ),
    (
        "privileges::another_user_than_root_is_only_itself",
        Needs::Root,
        privileges::another_user_than_root_is_only_itself,
    ),
    (
        "privileges::a_capability_for_a_port_is_given_up_after_it",
        Needs::Root,
        privileges::a_capability_for_a_port_is_given_up_after_it,
    ),
];

fn main() {
    let trials = TESTS
        .iter()
        .map(|&(name, needs, run)| {
            Trial::ignorable_test(name, move || {
                if needs == Needs::Root && !geteuid().is_root() {
                    return Ok(Completion::ignored_with("only root can see this"));
                }
                run();
                Ok(Completion::Completed)
            })
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
