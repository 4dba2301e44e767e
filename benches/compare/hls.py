#!/usr/bin/env python3
"""What it costs to send one segment of HLS to many viewers, beside nginx with the same file, on one core.

    cargo build --release --bin crtmpserver
    benches/compare/hls.py                       # a thousand viewers, five rounds of each in turn
    benches/compare/hls.py --viewers 200 --rounds 3

A round: so many connections stand, all ask for the segment at once, and the server's own processor time is
taken until the last byte has come. Beside it, in turn: a bare sender, which has the bytes in memory and does
nothing but send them, the same with no more waiting in the kernel than crtmpserver lets wait there, and nginx
with the very bytes in a file that the system has in memory, with sendfile and without. Needs two cores, ffmpeg, and Debian's nginx-light. Not a test: it measures, and machines differ;
compare within one table only.
"""

import argparse
import os
import re
import select
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
OUT = ROOT / "target" / "compare"
SERVER_CORE, LOAD_CORE = 0, 1
TCP_NOTSENT_LOWAT = 25  # of linux/tcp.h
UNSENT = 128 * 1024  # `NOTSENT_LOWAT` of src/limits.rs

NGINX = """
user root; worker_processes 1; worker_rlimit_nofile 20000; daemon off;
pid {dir}/nginx-hls.pid; error_log {dir}/nginx-hls.err error;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 100000; types {{ video/mp4 m4s; }}
  server {{ listen 127.0.0.1:{with_sendfile} backlog=4096; root {dir}/hls; sendfile on; tcp_nopush on; }}
  server {{ listen 127.0.0.1:{without} backlog=4096; root {dir}/hls; sendfile off; }}
}}
"""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(core, words, log):
    file = open(OUT / log, "w")
    words = ["taskset", "-c", str(core)] + [str(word) for word in words]
    return subprocess.Popen(words, stdout=file, stderr=file, stdin=subprocess.DEVNULL)


def processor_time(pid):
    """Of a process with its threads and children, seconds."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return total / 1e9 + sum(processor_time(child) for child in children)


def memory(pid, what="VmRSS"):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(what + r":\s+(\d+)", text).group(1))


def bare_sender(port, file, unsent):
    """Answers whatever is asked with one file, from memory; of what it costs nearly all is the system's.
    `unsent` bytes may wait in the kernel for each peer, 0 for as many as it likes."""
    body = Path(file).read_bytes()
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    whole = memoryview(head + body)
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    poll, peers = select.epoll(), {}
    poll.register(listener, select.EPOLLIN)
    while True:
        for fd, events in poll.poll():
            if fd == listener.fileno():
                peer, _ = listener.accept()
                peer.setblocking(False)
                if unsent:
                    peer.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, unsent)
                peers[peer.fileno()] = [peer, None]
                poll.register(peer, select.EPOLLIN)
                continue
            peer, left = peers[fd]
            try:
                if left is None:
                    asked = peer.recv(4096)
                    if not asked:
                        raise ConnectionError
                    left = memoryview(head) if asked.startswith(b"HEAD") else whole
                left = left[peer.send(left):]
            except BlockingIOError:
                pass
            except ConnectionError:
                poll.unregister(fd)
                peers.pop(fd)[0].close()
                continue
            done = not left
            peers[fd][1] = None if done else left
            poll.modify(fd, select.EPOLLIN if done else select.EPOLLOUT)


def fetch(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.read()


class Crowd:
    """Connections that stand."""

    def __init__(self, port, path, count):
        self.path, self.sockets = path, []
        self.bytes = bytearray(1 << 20)
        for _ in range(count):
            s = socket.create_connection(("127.0.0.1", port), 30)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Each asks for something small, so that it is no stranger.
            s.sendall(self.request("HEAD"))
            head = b""
            while b"\r\n\r\n" not in head:
                head += s.recv(4096)
            if b" 200 " not in head:
                sys.exit(f"no segment: {head!r}")
            s.setblocking(False)
            self.sockets.append(s)

    def request(self, method, path=None):
        return f"{method} {path or self.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    def round(self, paths=None):
        """All ask at once; how many bytes came."""
        poll = select.epoll()
        left = {}
        for n, s in enumerate(self.sockets):
            s.send(self.request("GET", paths and paths[n]))
            poll.register(s, select.EPOLLIN)
            left[s.fileno()] = (s, None)
        total = 0
        while left:
            for fd, _ in poll.poll(30) or sys.exit("nothing comes any more"):
                s, rest = left[fd]
                if rest is None:
                    head = s.recv(4096)
                    end = head.index(b"\r\n\r\n") + 4
                    if b" 200 " not in head[:16]:
                        sys.exit(f"refused: {head[:end]!r}")
                    length = int(re.search(rb"content-length: (\d+)", head[:end].lower()).group(1))
                    total += len(head)
                    rest = length + end - len(head)
                else:
                    # Nobody looks at them: the kernel need not copy them.
                    try:
                        n = s.recv_into(self.bytes, min(rest, len(self.bytes)), socket.MSG_TRUNC)
                    except BlockingIOError:
                        continue
                    if n == 0:
                        sys.exit("closed before its end")
                    total += n
                    rest -= n
                left[fd] = (s, rest)
                if rest == 0:
                    poll.unregister(fd)
                    del left[fd]
        poll.close()
        return total

    def close(self):
        for s in self.sockets:
            s.close()


def programme(bitrate):
    file = OUT / f"programme-{bitrate}.flv"
    if not file.exists():
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25",
             "-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", "12", "-c:v", "libx264",
             "-preset", "ultrafast", "-b:v", bitrate, "-minrate", bitrate, "-maxrate", bitrate,
             "-bufsize", bitrate, "-x264-params", "nal-hrd=cbr", "-g", "50", "-pix_fmt", "yuv420p",
             "-c:a", "aac", "-f", "flv", file], check=True, stdin=subprocess.DEVNULL)
    return file


def spread(values):
    return f"{statistics.median(values):.3g} ({min(values):.3g}–{max(values):.3g})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bitrate", default="4M")
    parser.add_argument("--bare", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        port, file, unsent = options.bare
        bare_sender(int(port), file, int(unsent))
    (OUT / "hls").mkdir(parents=True, exist_ok=True)
    source = programme(options.bitrate)
    rtmp, http, with_sendfile, without, bare, bounded = free_ports(6)
    os.sched_setaffinity(0, {LOAD_CORE})
    running = []
    try:
        ours = start(SERVER_CORE, [
            TARGET / "crtmpserver", "--allow-root", "--rtmp", f"127.0.0.1:{rtmp}", "--http",
            f"127.0.0.1:{http}", "--set", "server.threads=1", "--set", "hls.window=60",
            "--log", "error"], "hls-ours.log")
        running.append(ours)
        conf = OUT / "nginx-hls.conf"
        conf.write_text(NGINX.format(dir=OUT, with_sendfile=with_sendfile, without=without))
        nginx = start(SERVER_CORE, ["nginx", "-c", conf], "hls-nginx.log")
        running.append(nginx)
        time.sleep(1)
        running.append(start(LOAD_CORE, [
            "ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", source, "-c", "copy",
            "-f", "flv", f"rtmp://127.0.0.1:{rtmp}/live/x"], "hls-encoder.log"))
        time.sleep(8)
        names = re.findall(r"^\S+\.m4s$", fetch(http, "/live/x/media.m3u8").decode(), re.M)
        name = names[-1]
        segment = fetch(http, f"/live/x/{name}")
        (OUT / "hls" / name).write_bytes(segment)
        senders = []
        for port, unsent in ((bare, 0), (bounded, UNSENT)):
            words = [sys.executable, __file__, "--bare", port, OUT / "hls" / name, unsent]
            senders.append(start(SERVER_CORE, words, f"hls-bare-{unsent}.log"))
            running.append(senders[-1])
        time.sleep(1)
        places = {
            "crtmpserver": (ours, http, f"/live/x/{name}"),
            "a bare sender": (senders[0], bare, f"/{name}"),
            "the same, 128 KiB unsent": (senders[1], bounded, f"/{name}"),
            "nginx, sendfile": (nginx, with_sendfile, f"/{name}"),
            "nginx, sendfile off": (nginx, without, f"/{name}"),
        }
        cost = {server: [] for server in places}
        wall = {server: [] for server in places}
        playlists, grown = [], []
        for turn in range(options.rounds + 1):  # the first one is for the caches
            for server, (process, port, path) in places.items():
                own = process is ours
                if own:
                    before = memory(ours.pid)
                    Path(f"/proc/{ours.pid}/clear_refs").write_text("5")  # the peak begins anew
                crowd = Crowd(port, path, options.viewers)
                spent, begun = processor_time(process.pid), time.monotonic()
                total = crowd.round()
                took = time.monotonic() - begun
                spent = processor_time(process.pid) - spent
                if own:
                    peak = memory(ours.pid, "VmHWM") - before
                    paths = [f"/live/x/media.m3u8?s={n:016x}" for n in range(options.viewers)]
                    lists = processor_time(process.pid)
                    crowd.round(paths)
                    lists = processor_time(process.pid) - lists
                crowd.close()
                if turn:
                    cost[server].append(spent / (total / 1e9))
                    wall[server].append(took)
                    if own:
                        playlists.append(lists / options.viewers * 1e6)
                        grown.append(peak / options.viewers)
        print(f"one segment of {len(segment)} bytes to {options.viewers} viewers, {options.rounds} rounds, one core\n")
        print("| server | CPU seconds per GB | to the bare sender | to the bounded one | to nginx with sendfile | to nginx without | until the last byte, s |")
        print("|---|---|---|---|---|---|---|")
        for server in places:
            ratios = [statistics.median(a / b for a, b in zip(cost[server], cost[other]))
                      for other in list(places)[1:]]
            ratios = " | ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"| {server} | {spread(cost[server])} | {ratios} | {spread(wall[server])} |")
        print(f"\na playlist: {spread(playlists)} µs of CPU; at the peak {spread(grown)} KiB of memory for each viewer")
    finally:
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


if __name__ == "__main__":
    main()
