//! The program as a whole, against other people's programs: ffmpeg, rtmpdump, GStreamer, nginx.
//!
//! These tests run when `SYSTEM_TESTS` is set (`tests/run` sets it); without it, or when a
//! program that one needs is not there, they are reported as ignored. Each leaves its logs in
//! `target/test-logs/system/NAME`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic outside its test functions too"
)]

mod abuse;
mod cameras;
mod cluster;
mod control;
mod daemon;
mod files;
mod foreign;
mod hls;
mod hosts;
mod keys;
mod login;
mod media;
mod network;
mod original;
mod power;
mod process;
mod programs;
mod recording;
mod reload;
mod remote;
mod standalone;
mod survive;
mod tls;
mod verbs;
mod viewer;
mod ways;
mod world;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::programs::{newer_ffmpeg, present};
use crate::world::World;

/// A test: its name, the programs that it needs, what it does.
type Test = (&'static str, &'static [&'static str], fn(&World));

const FFMPEG: &str = "ffmpeg";
const RTMPDUMP: &str = "rtmpdump";
const GSTREAMER: &str = "gst-launch-1.0";
const NGINX: &str = "nginx";
const NGINX_RTMP: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
/// Stands for the right to make network namespaces.
const NAMESPACES: &str = "a network namespace";
/// Stands for the path of the newer ffmpeg.
const NEWER_FFMPEG: &str = "newer ffmpeg";
/// Stands for GStreamer's RTSP server, and GStreamer for Python.
const RTSP_SERVER: &str = "GStreamer's RTSP server for Python";
/// Stands for GStreamer's rtspclientsink.
const RTSP_CLIENT: &str = "GStreamer's RTSP client";
/// Stands for the path of a python that has the m3u8 package.
const M3U8: &str = "python with m3u8";

/// The table of the tests: each by its path, which is its name, and what it needs.
macro_rules! tests {
    ($($first:ident $(:: $next:ident)+ [$($need:expr),*];)*) => {
        &[$((
            concat!(stringify!($first) $(, "::", stringify!($next))+),
            &[$($need),*],
            $first $(:: $next)+,
        )),*]
    };
}

const TESTS: &[Test] = tests! {
    foreign::receivers_see_what_was_sent [FFMPEG, RTMPDUMP, GSTREAMER, NGINX, NGINX_RTMP];
    foreign::pictures_tell_their_number [FFMPEG];
    foreign::a_missing_packet_is_noticed [FFMPEG];
    process::it_prints_its_table_and_that_it_is_ready [];
    process::signals_end_it_cleanly [FFMPEG];
    process::a_second_signal_ends_it_at_once [FFMPEG];
    process::a_port_in_use_is_one_line [];
    process::a_bad_file_is_one_line [];
    process::the_demo_runs_by_itself [FFMPEG];
    original::debians_folder_serves_with_its_users [FFMPEG];
    login::ffmpeg_with_the_right_password [FFMPEG];
    login::ffmpeg_with_wrong_passwords [FFMPEG];
    login::librtmp_with_the_right_password [FFMPEG, GSTREAMER];
    login::librtmp_with_the_wrong_password [FFMPEG, GSTREAMER];
    keys::a_key_publishes_and_is_shown_nowhere [FFMPEG];
    keys::revoked_keys_end_their_publishers [FFMPEG];
    keys::keys_and_logins_live_beside_each_other [FFMPEG];
    keys::a_key_publishes_over_rtsp [FFMPEG];
    login::without_users_and_networks_nobody_publishes [FFMPEG];
    reload::nobody_notices_and_logins_change [FFMPEG];
    standalone::every_receiver_gets_every_packet [FFMPEG, RTMPDUMP, GSTREAMER];
    standalone::the_first_picture_comes_at_once [FFMPEG];
    standalone::hevc_passes [FFMPEG, NEWER_FFMPEG];
    standalone::av1_passes [FFMPEG, NEWER_FFMPEG];
    standalone::pages_answer [FFMPEG];
    standalone::time_passes_the_field_of_24_bits [FFMPEG];
    standalone::wrong_names_are_answered [FFMPEG];
    remote::a_pull_comes_back_whoever_was_killed [FFMPEG, NGINX, NGINX_RTMP];
    remote::a_push_comes_back_whoever_was_killed [FFMPEG, NGINX, NGINX_RTMP];
    remote::a_push_goes_on_behind_a_pause [FFMPEG, NGINX, NGINX_RTMP];
    remote::a_push_logs_in [FFMPEG];
    remote::a_pull_in_tls_checks_its_source [FFMPEG];
    remote::a_mirror_pushes [FFMPEG, NGINX, NGINX_RTMP];
    verbs::a_pull_and_a_push_survive_a_kill [FFMPEG, NGINX, NGINX_RTMP];
    verbs::a_mirror_pushes_and_pulls_nothing [FFMPEG];
    files::every_player_gets_every_packet [FFMPEG, RTMPDUMP, GSTREAMER];
    files::players_seek [FFMPEG, RTMPDUMP];
    files::gstreamer_seeks_over_http [FFMPEG, RTSP_SERVER];
    files::hls_has_every_packet [FFMPEG];
    files::http_serves_parts [FFMPEG];
    standalone::no_list [FFMPEG];
    files::other_codecs [FFMPEG, NEWER_FFMPEG];
    files::bad_files_are_refused_and_hurt_nobody [FFMPEG];
    recording::the_rule_records_every_packet [FFMPEG];
    recording::killed_at_any_moment [FFMPEG];
    power::lost [FFMPEG, "ffprobe", "cc"];
    recording::a_full_disk_stops_the_recording_alone [NAMESPACES, FFMPEG];
    recording::a_disk_that_stands_still_costs_its_recording_alone [FFMPEG];
    recording::publishers_may_ask_for_it [FFMPEG];
    recording::a_reload_changes_the_rule_and_no_stream [FFMPEG];
    cluster::two_mirrors_pass_every_packet [FFMPEG, RTMPDUMP, GSTREAMER];
    cluster::hevc_passes [FFMPEG, NEWER_FFMPEG];
    cluster::av1_passes [FFMPEG, NEWER_FFMPEG];
    cluster::a_mirror_refuses_publishers [FFMPEG];
    cluster::a_mirrors_binary_cannot_publish [];
    cluster::a_master_plays_to_mirrors_alone [FFMPEG];
    cluster::a_wrong_secret_is_no_mirror [FFMPEG];
    cluster::a_mirror_of_a_mirror [FFMPEG];
    cluster::nginx_as_master [FFMPEG, NGINX, NGINX_RTMP];
    cluster::nginx_pulls_from_us [FFMPEG, NGINX, NGINX_RTMP];
    hosts::nginx_passes_on_the_masters_list [NGINX];
    hosts::an_operator_drains_a_mirror [FFMPEG];
    hosts::hls_players_are_led_away [FFMPEG];
    network::machines_list_each_other [NAMESPACES, FFMPEG];
    network::a_mirror_is_listed_once_it_has_an_address [NAMESPACES];
    control::an_operator_sees_and_ends_them [FFMPEG];
    control::recordings [FFMPEG];
    hls::ffmpeg_and_gstreamer_play_it [FFMPEG, GSTREAMER];
    hls::independent_parsers_agree [FFMPEG, M3U8];
    hls::answers_are_for_caches_and_pages [FFMPEG];
    hls::mirrors::whenever_they_began [FFMPEG];
    hls::mirrors::through_epochs [FFMPEG];
    hls::mirrors::a_player_may_change_mirrors [FFMPEG];
    hls::hevc [FFMPEG, NEWER_FFMPEG];
    hls::av1_and_opus [FFMPEG, NEWER_FFMPEG];
    hls::mirrors::sound_alone [FFMPEG];
    hls::a_thousand_players [FFMPEG];
    hls::a_mirror_without_its_master_cannot_know [];
    survive::the_master_is_killed_and_restarted [FFMPEG];
    survive::the_encoder_is_cut_and_comes_back [FFMPEG];
    survive::a_clean_end_is_an_end_after_the_grace [FFMPEG];
    survive::a_second_encoder_waits_for_the_first_to_fall_silent [FFMPEG];
    survive::a_half_open_encoder_is_found [FFMPEG];
    survive::a_viewer_that_hangs_hurts_nobody [FFMPEG];
    abuse::broken_handshakes [FFMPEG];
    abuse::hostile_chunks [FFMPEG];
    abuse::hostile_values [FFMPEG];
    abuse::floods [FFMPEG];
    abuse::a_thousand_silent_connections [FFMPEG];
    abuse::a_hostile_master [];
    abuse::descriptors_run_out [FFMPEG];
    abuse::viewers_that_take_too_little_are_told_of_once [];
    tls::encoders_and_viewers_use_it [FFMPEG, "curl"];
    tls::ffmpeg_checks_who_the_server_is [FFMPEG];
    tls::files_come_over_it [FFMPEG];
    tls::a_mirror_checks_who_its_master_is [FFMPEG];
    tls::what_is_wrong_with_a_certificate_is_told_before_anything_opens [];
    ways::live_flv_is_passed_on [FFMPEG];
    ways::mpeg_ts_over_tcp [FFMPEG, GSTREAMER];
    ways::mpeg_ts_over_udp [FFMPEG, GSTREAMER];
    ways::hevc_over_mpeg_ts [FFMPEG, NEWER_FFMPEG];
    ways::operators_kick_and_reload_them [FFMPEG];
    ways::rtsp_announce [FFMPEG];
    ways::rtsp_announce_by_gstreamer [FFMPEG, GSTREAMER, RTSP_CLIENT];
    ways::all_is_recorded_and_mirrored [FFMPEG];
    ways::rtsp_with_reordered_pictures [FFMPEG];
    cameras::a_camera_is_pulled_on_its_connection [FFMPEG, RTSP_SERVER];
    cameras::a_camera_is_pulled_in_datagrams [FFMPEG, RTSP_SERVER];
    cameras::a_camera_in_tls_is_pulled [FFMPEG, RTSP_SERVER];
    cameras::a_camera_of_h265_is_pulled [FFMPEG, NEWER_FFMPEG, RTSP_SERVER];
    ways::rubbish_hurts_nobody [FFMPEG];
};

fn main() {
    let mut arguments = Arguments::from_args();
    // Most of a test is waiting in real time.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    let wanted = std::env::var_os("SYSTEM_TESTS").is_some();
    let trials = TESTS
        .iter()
        .map(|&(name, needs, run)| {
            Trial::ignorable_test(name, move || {
                if !wanted {
                    return Ok(Completion::ignored_with("SYSTEM_TESTS is not set"));
                }
                for program in needs {
                    let there = match *program {
                        NAMESPACES => network::namespaces(),
                        NEWER_FFMPEG => present(&newer_ffmpeg()),
                        RTSP_SERVER => cameras::present(),
                        RTSP_CLIENT => ways::has_rtsp_client(),
                        M3U8 => present(&hls::parser()),
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
