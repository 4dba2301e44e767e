//! `live/event` as most tests have it: an encoder on the machine itself, viewers outside of it.

use crate::machine::{INSIDE, Machine};
use crate::media::programme;
use crate::programs::{publish, watch_with};
use crate::world::{Process, World, wait_for};

/// Publishes the programme as `live/event`, and waits until it is live.
pub(crate) fn encoder(world: &World, name: &str) -> Process {
    let encoder = publish(world, name, &programme(), "rtmp://127.0.0.1/live/event");
    wait_live("live/event");
    encoder
}

/// Two who watch it from outside, over RTMP and over HTTP.
pub(crate) fn outside(world: &World, machine: &Machine<'_>) -> [Process; 2] {
    let ffmpeg = machine.ffmpeg_outside();
    [
        ("rtmp", format!("rtmp://{INSIDE}/live/event")),
        ("http", format!("http://{INSIDE}:8080/live/event.flv")),
    ]
    .map(|(name, url)| watch_with(world, &ffmpeg, name, &url))
}

/// Waits until a stream is live, as its page says.
pub(crate) fn wait_live(stream: &str) {
    wait_for("the stream is live", || {
        let (_, page) = crate::world::get(8080, "/")?;
        page.contains(stream).then_some(())
    });
}
