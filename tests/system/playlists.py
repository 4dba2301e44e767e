"""Reads playlists with the m3u8 package and says what it found, one word and value a line; for the system tests.

    playlists.py URL        the multivariant playlist's address
"""

import sys

import m3u8

top = m3u8.load(sys.argv[1])
assert top.is_variant and len(top.playlists) == 1, "no multivariant playlist with one variant"
variant = top.playlists[0]
info = variant.stream_info
assert top.is_independent_segments
assert info.bandwidth >= info.average_bandwidth > 0
print("codecs", info.codecs)
print("bandwidth", info.bandwidth)
if info.resolution:
    print("resolution", "%dx%d" % info.resolution)
assert info.pathway_id and top.content_steering.pathway_id == info.pathway_id
print("steering", top.content_steering.uri)

media = m3u8.load(variant.absolute_uri)
assert not media.is_variant and media.segments
assert media.is_independent_segments and media.version == 7
print("target", media.target_duration)
print("sequence", media.media_sequence)
print("discontinuity", media.discontinuity_sequence)
print("over", media.is_endlist)
before = None
for segment in media.segments:
    assert round(segment.duration) <= media.target_duration
    assert segment.init_section and segment.init_section.uri.endswith(".mp4")
    assert segment.program_date_time.tzinfo is not None
    if before is not None and not segment.discontinuity:
        step = (segment.program_date_time - before.program_date_time).total_seconds()
        assert abs(step - before.duration) < 0.0015, "dates and durations do not agree"
    if segment.discontinuity:
        assert segment.init_section.uri != before.init_section.uri
    print("segment", segment.uri, segment.init_section.uri, segment.duration, int(bool(segment.discontinuity)))
    before = segment
