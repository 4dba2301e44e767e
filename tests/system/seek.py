#!/usr/bin/python3
"""Plays an MP4 over HTTP with GStreamer from a key frame on: seek.py URL SECONDS

Writes the hash of each picture from the key frame before SECONDS to the end.
"""

import hashlib
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst

url, seconds = sys.argv[1], float(sys.argv[2])
Gst.init(None)
pipeline = Gst.parse_launch(
    f"souphttpsrc location={url} ! qtdemux name=in in.video_0 ! queue ! appsink name=out sync=false max-buffers=4"
)
out = pipeline.get_by_name("out")
pipeline.set_state(Gst.State.PAUSED)
state, _, _ = pipeline.get_state(20 * Gst.SECOND)
assert state == Gst.StateChangeReturn.SUCCESS, state
flags = Gst.SeekFlags.FLUSH | Gst.SeekFlags.KEY_UNIT | Gst.SeekFlags.SNAP_BEFORE
assert pipeline.seek_simple(Gst.Format.TIME, flags, int(seconds * Gst.SECOND)), "it does not seek"
pipeline.get_state(20 * Gst.SECOND)
pipeline.set_state(Gst.State.PLAYING)
while sample := out.emit("try-pull-sample", 20 * Gst.SECOND):
    buffer = sample.get_buffer()
    print(hashlib.md5(buffer.extract_dup(0, buffer.get_size())).hexdigest(), flush=True)
assert out.get_property("eos"), "it does not end"
pipeline.set_state(Gst.State.NULL)
