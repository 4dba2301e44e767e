//! The harness against nginx alone: what the tests rely on is true of somebody else's server, so a
//! failure of another test is ours.

use crate::media::{Packets, picture_numbers, programme};
use crate::programs::{gstreamer, nginx, publish, rtmpdump, watch, watched};
use crate::world::{World, free_ports};

pub(crate) fn receivers_see_what_was_sent(world: &World) {
    let [port] = free_ports();
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    assert_eq!(source.video.packets.len(), 200);
    assert_eq!(source.audio.packets.len(), 375);
    let _nginx = nginx(world, port, "application live { live on; wait_key on; }");
    let url = format!("rtmp://127.0.0.1:{port}/live/event");
    let _encoder = publish(world, "encoder", &programme(), &url);
    let viewer = watch(world, "viewer", &url);
    watched(&viewer, 60).assert_part_of(&source, 60);
    rtmpdump(world, "rtmpdump", &url, 4).assert_part_of(&source, 50);
    gstreamer(world, "gst", &url, 4).assert_part_of(&source, 50);
}

pub(crate) fn pictures_tell_their_number(world: &World) {
    let numbers = picture_numbers(world, "numbers", &programme());
    let wanted: Vec<Option<u8>> = (0..200).map(Some).collect();
    assert_eq!(numbers, wanted);
}

/// The comparison itself must be able to fail.
pub(crate) fn a_missing_packet_is_noticed(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    source.assert_part_of(&source, 200);
    let fails = |change: &dyn Fn(&mut Packets)| {
        let mut other = source.clone();
        change(&mut other);
        let quiet = std::panic::AssertUnwindSafe(|| other.assert_part_of(&source, 150));
        assert!(std::panic::catch_unwind(quiet).is_err());
    };
    fails(&|p| drop(p.video.packets.remove(30)));
    fails(&|p| p.audio.packets.swap(30, 31));
    fails(&|p| drop(p.video.packets.drain(..3)));
    fails(&|p| p.video.configuration = Some("x".to_owned()));
    fails(&|p| p.video.times[50] = 0);
    fails(&|p| p.video.packets.truncate(149));
}
