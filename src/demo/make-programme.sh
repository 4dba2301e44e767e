#!/usr/bin/env bash
# Makes programme.flv, what the demo's encoder sends in a loop. Run it by hand when the programme is
# to change, and commit the result; nothing runs it at build time.
#
# Needs ffmpeg with libx264 and drawtext, python3, and a sans bold font (Debian: fonts-dejavu-core).
#
# - 8 s, 640x360, 25 frames a second, H.264 main profile, no B-frames, a closed GOP each second:
#   200 frames are 8 whole GOPs.
# - AAC-LC 48 kHz stereo: 375 frames of 1024 samples are 8 s exactly. They are cut out of the middle
#   of a longer run of the same sound, so the encoder's priming is not in them and the tone passes the
#   seam: 440 Hz, with 880 Hz for 80 ms at each full second.
# - The loop is therefore 8000 ms: the next round begins 8000 ms after this one, and no time is left
#   over. There is no end-of-sequence tag and no duration in the metadata.
# - The picture shows the frame's number in the loop (0 to 199) as digits and, in its bottom row of
#   ten squares of 64x64, as bits: a white one that is always there, bit 7 to bit 0 (white is 1), and
#   a parity square that makes the number of white ones among these nine odd.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

bits=""
parity="1"
# Frame n's bit k, as an expression of ffmpeg's.
for k in 7 6 5 4 3 2 1 0; do
    bit="mod(floor(n/$((1 << k))),2)"
    bits+=",drawbox=x=$(((8 - k) * 64)):y=296:w=64:h=64:color=white:t=fill:enable='$bit'"
    parity+="+$bit"
done

ffmpeg -hide_banner -loglevel error -y \
    -f lavfi -i "gradients=s=640x360:r=25:c0=0x10243a:c1=0x1f4e5f:x0=0:y0=0:x1=640:y1=296:n=2,trim=end_frame=1
        ,loop=loop=-1:size=1,setpts=N/25/TB" \
    -f lavfi -i "color=c=0xffb000:s=6x16:r=25" \
    -filter_complex "[0:v]drawtext=font='DejaVu Sans\:bold':text='crtmpserver demo':x=24:y=20:fontsize=28:fontcolor=0xd0e4ee
        ,drawtext=font='DejaVu Sans Mono\:bold':text='%{eif\:n\:d\:3}':x=(w-tw)/2:y=84:fontsize=128:fontcolor=white
        ,drawtext=font='DejaVu Sans Mono\:bold':text='second %{eif\:floor(n/25)+1\:d\:1} of 8':x=(w-tw)/2:y=216:fontsize=24:fontcolor=0xd0e4ee
        ,drawbox=x=0:y=264:w=640:h=16:color=0x0a1722:t=fill
        ,drawbox=x=0:y=296:w=640:h=64:color=black:t=fill
        ,drawbox=x=0:y=296:w=64:h=64:color=white:t=fill
        $bits
        ,drawbox=x=576:y=296:w=64:h=64:color=white:t=fill:enable='mod($parity,2)'[still]
        ;[still][1:v]overlay=x='n*634/199':y=264" \
    -frames:v 200 -pix_fmt yuv420p -c:v libx264 -profile:v main -preset veryslow -crf 24 -bf 0 -refs 2 \
    -g 25 -keyint_min 25 -sc_threshold 0 -x264-params open-gop=0:no-info=1 -threads 1 \
    -f h264 "$work/video.h264"

# Three rounds of the sound; the second one is cut out below.
ffmpeg -hide_banner -loglevel error -y \
    -f lavfi -i "aevalsrc='0.12*sin(2*PI*440*t)+0.18*sin(2*PI*880*t)*lt(mod(t\,1)\,0.08)*sin(PI*mod(t\,1)/0.08)':s=48000:d=24" \
    -ac 2 -c:a aac -b:a 64k -f adts "$work/audio.aac"

# Frame 0 holds the encoder's priming and frame k what is heard from (k - 1) * 1024 samples on, so the
# second round (8 s to 16 s) is frames 376 to 750.
python3 - "$work" <<'CUT'
import sys
data = open(sys.argv[1] + "/audio.aac", "rb").read()
frames, at = [], 0
while at < len(data):
    assert data[at] == 0xFF and data[at + 1] & 0xF0 == 0xF0, "no ADTS header"
    size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    frames.append(data[at:at + size])
    at += size
open(sys.argv[1] + "/loop.aac", "wb").write(b"".join(frames[376:376 + 375]))
CUT

# By way of a file that has the AAC configuration in its head: straight from ADTS, ffmpeg would write
# an empty sequence header first and the true one behind the first picture.
ffmpeg -hide_banner -loglevel error -y -i "$work/loop.aac" -c copy -bsf:a aac_adtstoasc "$work/loop.m4a"
ffmpeg -hide_banner -loglevel error -y -framerate 25 -i "$work/video.h264" -i "$work/loop.m4a" \
    -map 0:v -map 1:a -c copy -fflags +bitexact -map_metadata -1 \
    -flvflags no_sequence_end+no_duration_filesize programme.flv
ls -l programme.flv
