#!/usr/bin/python3
"""A server of RTSP as cameras are one, with GStreamer's: camera.py PORT FILE [basic|digest USER PASSWORD [PEM KEY]]

FILE (FLV with H.264, or an MP4 with H.265, and AAC) is at rtsp://127.0.0.1:PORT/live, in real time. Sessions that
are not asked about for 2 s end. With a certificate it speaks TLS. Says who comes and what is asked.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer

FLV = (
    "( filesrc location={} ! flvdemux name=in "
    "in.video ! queue ! h264parse ! rtph264pay name=pay0 pt=96 "
    "in.audio ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97 )"
)
MP4 = (
    "( filesrc location={} ! qtdemux name=in "
    "in.video_0 ! queue ! h265parse ! rtph265pay name=pay0 pt=98 "
    "in.audio_0 ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97 )"
)


def say(*words):
    print(*words, flush=True)


def comes(_server, client):
    say("CLIENT")
    client.connect("new-session", lambda _client, session: session.set_timeout(2))
    client.connect("play-request", lambda _client, _context: say("PLAY"))
    client.connect("teardown-request", lambda _client, _context: say("TEARDOWN"))


def main():
    port, file, *login = sys.argv[1:]
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch((MP4 if file.endswith(".mp4") else FLV).format(file))
    if login:
        method, user, password, *files = login
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", user)
        auth = GstRtspServer.RTSPAuth.new()
        if method == "digest":
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            auth.add_digest(user, password, token)
        else:
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        if files:
            auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(*files))
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        for what in ("access", "construct"):
            permissions.add_permission_for_role(user, "media.factory." + what, True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/live", factory)
    server.connect("client-connected", comes)
    pool = server.get_session_pool()
    GLib.timeout_add(500, lambda: pool.cleanup() >= 0)
    if server.attach(None) == 0:
        sys.exit("the port is taken")
    say("READY")
    GLib.MainLoop().run()


main()
