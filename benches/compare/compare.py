#!/usr/bin/env python3
"""Compares this server with nginx-rtmp and with a bare sender, one core each, the load on another.

    cargo build --release --bins --example floor
    benches/compare/compare.py cpu                  # three interleaved rounds, a table
    benches/compare/compare.py all --rounds 3
    benches/compare/compare.py cpu --peers ours-low,floor-frame --viewers 500 --seconds 6

Modes: cpu, scale, memory, join, latency, stalled, streams, files, saturation, all. Results are added to
target/compare/results.jsonl, from which `compare.py table` makes the tables again. Needs two cores,
taskset (util-linux), and Debian's nginx-light and libnginx-mod-rtmp for the peer. Not a test: it
measures, and machines differ; compare within one table only.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
OUT = ROOT / "target" / "compare"
FILMS = Path(os.environ.get("COMPARE_FILMS", OUT / "films"))
SERVER_CORE, LOAD_CORE = "0", "1"
STREAM = "x"


def free_ports(count):
    """Ports that nobody has now: what listens on a fixed one may be somebody else's."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


PORT, HTTP, MASTER = free_ports(3)

NGINX = """
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
user root; worker_processes 1; worker_rlimit_nofile 20000; daemon off;
pid {dir}/nginx.pid; error_log {dir}/nginx.err error;
events {{ worker_connections 16384; }}
rtmp_auto_push off;
rtmp {{
  access_log off;
  server {{
    listen 127.0.0.1:{port}; chunk_size 4096; ping 10m;
    application live {{ live on; }}
    application vod {{ play {films}; }}
  }}
}}
"""


def ours(latency, protocol="rtmp"):
    def command(_):
        words = [str(TARGET / "crtmpserver"), "--allow-root", "--rtmp", f"127.0.0.1:{PORT}",
                 "--http", f"127.0.0.1:{HTTP}", "--set", "server.threads=1", "--log", "error",
                 "--set", f'files.folders=["{FILMS}"]']
        return words + (["--set", f'relay.latency="{latency}"'] if latency else [])
    return {"command": command, "protocol": protocol}


def nginx(_):
    conf = OUT / "nginx.conf"
    conf.write_text(NGINX.format(dir=OUT, port=PORT, films=FILMS))
    return ["nginx", "-c", str(conf)]


def floor(every):
    return {"protocol": "raw", "command": lambda bitrate: [
        str(TARGET / "examples" / "floor"), f"127.0.0.1:{PORT}", every, str(bitrate)]}


def mirror(_):
    """A mirror of this server, merging nothing; its master is started by `Peer`."""
    secret = OUT / "mirror.secret"
    if not secret.exists():
        subprocess.run([TARGET / "crtmpserver", "secret", secret], check=True)
    return [str(TARGET / "crtmpserver"), "--allow-root", "--role", "mirror",
            "--master", f"rtmp://127.0.0.1:{MASTER}", "--rtmp", f"127.0.0.1:{PORT}",
            "--set", "listen.http=[]", "--set", f'mirror.secret_file="{secret}"',
            "--set", "server.threads=1", "--set", 'relay.latency="0s"', "--log", "error"]


def master():
    return [str(TARGET / "crtmpserver"), "--allow-root", "--role", "master",
            "--rtmp", f"127.0.0.1:{MASTER}", "--set", "listen.http=[]",
            "--set", f'master.secret_file="{OUT / "mirror.secret"}"',
            "--set", 'publish.networks=["loopback"]', "--set", "server.threads=1",
            "--set", 'relay.latency="0s"', "--log", "error"]


PEERS = {
    "ours-mirror": {"command": mirror, "protocol": "rtmp", "master": master},
    "ours-low": ours("0s"), "ours-auto": ours("auto"), "ours-350ms": ours("350ms"),
    "ours-flv": ours("0s", "flv"), "ours": ours(None),
    "nginx": {"command": nginx, "protocol": "rtmp"},
    "floor-frame": floor("frame"), "floor-40ms": floor("40"), "floor-350ms": floor("350"),
}


class Peer:
    """A running server with its publisher."""

    def __init__(self, name, bitrate=1_000_000, streams=1, warm=3, films=False):
        self.name, self.streams, self.films = name, streams, films
        peer = PEERS[name]
        self.protocol = peer["protocol"]
        self.log = open(OUT / f"{name}.log", "w")
        command = peer["command"](bitrate)
        above = peer.get("master")
        self.master = above and self.start(SERVER_CORE, above())
        self.server = self.start(SERVER_CORE, command)
        self.wait_for_port()
        self.pids = [self.server.pid] + self.children(self.server.pid)
        self.publisher = None
        if self.protocol != "raw" and not films:
            self.publisher = self.start(LOAD_CORE, self.stress(
                f"rtmp://127.0.0.1:{MASTER if above else PORT}/live/{STREAM}", "-n", 0,
                "--publishers", streams,
                "--duration", "24h", "--bitrate", bitrate))
        time.sleep(warm)

    def start(self, core, words, first=False):
        words = ["taskset", "-c", core] + [str(w) for w in words]
        if first and os.geteuid() == 0:
            words = ["chrt", "--fifo", "1"] + words
        return subprocess.Popen(words, stdout=self.log, stderr=self.log)

    @staticmethod
    def children(pid):
        time.sleep(0.2)
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(p) for p in text.split()]

    def wait_for_port(self):
        for _ in range(100):
            if self.server.poll() is not None:
                sys.exit(f"{self.name} did not start, see {self.log.name}")
            try:
                socket.create_connection(("127.0.0.1", PORT), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        sys.exit(f"{self.name} does not listen")

    @staticmethod
    def stress(url, *arguments):
        return [TARGET / "crtmpserver", "stress", url, *arguments]

    def url(self):
        if self.films:
            return f"rtmp://127.0.0.1:{PORT}/vod/film"
        return {"rtmp": f"rtmp://127.0.0.1:{PORT}/live/{STREAM}",
                "flv": f"http://127.0.0.1:{HTTP}/live/{STREAM}.flv",
                "raw": f"raw://127.0.0.1:{PORT}"}[self.protocol]

    def load(self, viewers, *arguments, first=False):
        """One run of stress; its report. `first`: before everything else on its core, whatever runs
        there already (a time slice of those who watch would count as the server's)."""
        file = OUT / "report.json"
        file.unlink(missing_ok=True)
        pids = [w for pid in self.pids for w in ("--pid", pid)]
        words = self.stress(self.url(), "-n", viewers, "--streams", self.streams,
                            "--json", file, *pids, *arguments)
        self.start(LOAD_CORE, words, first).wait()
        if not file.exists():
            sys.exit(f"stress failed on {self.name}, see {self.log.name}")
        return json.loads(file.read_text())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in filter(None, (self.publisher, self.server, self.master)):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.log.close()
        time.sleep(0.5)


def late(report, part):
    """How late pictures were, ms; None where their frames say nothing of it."""
    return (report["video_late_ms"] or {}).get(part)


def mode_cpu(name, o):
    with Peer(name) as peer:
        r = peer.load(o.viewers or 1000, "--duration", f"{o.seconds}s")
    return {"cpu_s_per_gbit": r["server"]["cpu_seconds_per_gbit"],
            "core_percent": r["server"]["cpu_percent"], "mbit_s": r["mbit_per_second"],
            "slowest_mbit_s": r["viewer_mbit_per_second"]["min"],
            "lost": r["checked"]["missing"], "disconnected": r["disconnected"],
            "late_p50_ms": late(r, "p50"), "late_p99_ms": late(r, "p99"),
            "load_core_percent": r["own_cpu_percent"]}


def mode_scale(name, o):
    """What a viewer costs among few and among many."""
    cost = {}
    with Peer(name) as peer:
        for viewers in (100, 1000, 8000):
            r = peer.load(viewers, "--duration", f"{o.seconds}s", "--ramp", 1000, "--settle", "3s")
            cost[viewers] = r["server"]["cpu_seconds_per_gbit"]
            if r["disconnected"] or r["failed"]:
                sys.exit(f"{name}: not all of {viewers} viewers stayed")
    return {"cpu_s_per_gbit_100": cost[100], "cpu_s_per_gbit_1000": cost[1000],
            "cpu_s_per_gbit_8000": cost[8000], "8000_to_100": cost[8000] / cost[100],
            "8000_to_1000": cost[8000] / cost[1000], "mbit_s": r["mbit_per_second"],
            "lost": r["checked"]["missing"]}


def mode_memory(name, o):
    """Slope from 100 to 1000 viewers, the log already full."""
    with Peer(name, warm=0) as peer:
        others = peer.start(LOAD_CORE, peer.stress(peer.url(), "-n", 8, "--duration", "1h"))
        time.sleep(o.warm)
        few = peer.load(100, "--duration", "5s")["server"]["end"]["pss_kib"]
        many = peer.load(1000, "--duration", "5s")["server"]["end"]["pss_kib"]
        others.terminate()
        others.wait()
    return {"kib_per_viewer": (many - few) / 900, "kib_100": few, "kib_1000": many}


def mode_join(name, o):
    with Peer(name) as peer:
        watching = peer.start(LOAD_CORE, peer.stress(peer.url(), "-n", 500, "--duration", "1h"))
        time.sleep(5)
        r = peer.load(100, "--ramp", 23, "--pause", 0, "--settle", "0", "--duration", "1s",
                      first=True)  # what it waits for is the server, not those who watch beside it
        watching.terminate()
        watching.wait()
    key = r["key_frame_ms"]
    return {"key_p50_ms": key["p50"], "key_p99_ms": key["p99"], "key_max_ms": key["max"],
            "join_p99_ms": r["join_ms"]["p99"], "failed": r["failed"]}


def mode_latency(name, o):
    with Peer(name) as peer:
        r = peer.load(100, "--check", 100, "--pause", 0, "--duration", f"{o.seconds}s")
    v, a = r["video_late_ms"], r["audio_late_ms"]
    return {"video_p50_ms": v["p50"], "video_p99_ms": v["p99"], "video_max_ms": v["max"],
            "audio_p99_ms": a["p99"], "missing": r["checked"]["missing"],
            "cpu_s_per_gbit": r["server"]["cpu_seconds_per_gbit"]}


def mode_stalled(name, o):
    with Peer(name, bitrate=4_000_000, warm=0) as peer:
        # What the log and its wire forms take is there already, and so are others that watch.
        others = peer.start(LOAD_CORE, peer.stress(peer.url(), "-n", 8, "--duration", "1h"))
        time.sleep(o.warm)
        r = peer.load(58, "--stalled", 50, "--settle", "1s", "--duration", "40s")
        others.terminate()
        others.wait()
    s = r["server"]
    return {"grown_mib": (s["most"]["pss_kib"] - s["before"]["pss_kib"]) / 1024,
            "kernel_mib": (s["most"]["tcp_kib"] - s["before"]["tcp_kib"]) / 1024,
            "disconnected": r["disconnected"], "missing": r["checked"]["missing"]}


def mode_saturation(name, o):
    """More viewers of 4 Mbit/s until they no longer get it all."""
    best, viewers = None, o.viewers or FULL[name]
    while viewers < 15_000:
        with Peer(name, bitrate=4_000_000) as peer:
            r = peer.load(viewers, "--duration", f"{o.seconds}s", "--settle", "5s", "--ramp", 400)
        each = r["viewer_mbit_per_second"]
        row = {"viewers": viewers, "gbit_s": r["mbit_per_second"] / 1000, "p1_mbit_s": each.get("p1", 0),
               "cpu_s_per_gbit": r["server"]["cpu_seconds_per_gbit"],
               "core_percent": r["server"]["cpu_percent"], "lost": r["checked"]["missing"],
               "load_core_percent": r["own_cpu_percent"]}
        print("   ", json.dumps(row), flush=True)
        if r["disconnected"] or r["mbit_per_second"] < 0.975 * 4 * viewers or each.get("p1", 0) < 0.93 * 4:
            break
        best, viewers = row, int(viewers * 1.15)
    return best or {"viewers": 0}


def mode_streams(name, o):
    with Peer(name, streams=500, warm=o.warm) as peer:
        r = peer.load(500, "--duration", f"{o.seconds}s")
    return {"cpu_s_per_gbit": r["server"]["cpu_seconds_per_gbit"],
            "core_percent": r["server"]["cpu_percent"], "mbit_s": r["mbit_per_second"],
            "missing": r["checked"]["missing"], "load_core_percent": r["own_cpu_percent"]}


def films(count, seconds=60):
    """So many FLV files of 1 Mbit/s, each with blocks of its own; in the page cache afterwards."""
    FILMS.mkdir(parents=True, exist_ok=True)
    first = FILMS / "film-1.flv"
    if not first.exists():
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=25",
                        "-f", "lavfi", "-i", "sine=r=44100", "-t", str(seconds), "-c:v", "libx264",
                        "-preset", "ultrafast", "-b:v", "936k", "-minrate", "936k", "-maxrate", "936k",
                        "-bufsize", "500k", "-nal-hrd", "cbr", "-g", "50", "-c:a", "aac", "-b:a", "64k",
                        first], check=True)
    content = first.read_bytes()
    for n in range(2, count + 1):
        film = FILMS / f"film-{n}.flv"
        if not film.exists():
            film.write_bytes(content)
        film.read_bytes()


def mode_files(name, o):
    """500 viewers of as many films."""
    films(o.viewers or 500)
    with Peer(name, streams=o.viewers or 500, warm=1, films=True) as peer:
        r = peer.load(o.viewers or 500, "--duration", f"{o.seconds}s", "--settle", "8s", "--check", 0)
    return {"cpu_s_per_gbit": r["server"]["cpu_seconds_per_gbit"],
            "core_percent": r["server"]["cpu_percent"], "mbit_s": r["mbit_per_second"],
            "slowest_mbit_s": r["viewer_mbit_per_second"]["min"], "failed": r["failed"],
            "disconnected": r["disconnected"], "pss_mib": r["server"]["end"]["pss_kib"] / 1024,
            "load_core_percent": r["own_cpu_percent"]}


REAL = ["ours-low", "ours-350ms", "nginx"]
# Where the search for the last viewer begins; below what each can do on any machine of this kind.
FULL = {"ours-low": 3800, "ours-350ms": 6000, "ours-auto": 6000, "nginx": 1800,
        "floor-frame": 1700, "floor-350ms": 6000}
FLOORS = ["floor-frame", "floor-40ms", "floor-350ms"]
MODES = {
    "cpu": (mode_cpu, ["ours-low", "ours-auto", "ours-350ms", "ours-flv", "nginx"] + FLOORS),
    "scale": (mode_scale, ["ours-350ms"]),
    "memory": (mode_memory, ["ours-low", "ours-flv", "nginx"]),
    "join": (mode_join, ["ours-low", "ours-350ms", "nginx"]),
    "latency": (mode_latency, ["ours-low", "ours-auto", "ours-mirror", "nginx"]),
    "stalled": (mode_stalled, ["ours-low", "nginx"]),
    "streams": (mode_streams, ["ours-low", "nginx"]),
    "files": (mode_files, ["ours", "nginx"]),
    "saturation": (mode_saturation, REAL + ["floor-frame", "floor-350ms"]),
}


def table(mode, rows):
    """Median of the rounds, and (least to most) behind it."""
    peers = list(dict.fromkeys(r["peer"] for r in rows))
    keys = list(dict.fromkeys(k for r in rows for k in r["figures"]))
    values = {(p, k): [r["figures"][k] for r in rows if r["peer"] == p and r["figures"].get(k) is not None]
              for p in peers for k in keys}
    ratio = "cpu_s_per_gbit" in keys
    print(f"\n#### {mode}\n")
    head = ["peer", "rounds"] + keys
    head += ["x floor-frame", "x floor-350ms"] if ratio else []
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for p in peers:
        cells = [p, str(sum(r["peer"] == p for r in rows))]
        for k in keys:
            v = values[p, k]
            cells.append(f"{statistics.median(v):.4g} ({min(v):.4g}–{max(v):.4g})" if v else "")
        for base in ("floor-frame", "floor-350ms") if ratio else ():
            floor_values = values.get((base, "cpu_s_per_gbit"))
            mine = values[p, "cpu_s_per_gbit"]
            cells.append(f"{statistics.median(mine) / statistics.median(floor_values):.2f}"
                         if floor_values and mine else "")
        print("| " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("mode", choices=[*MODES, "all", "table"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=12)
    parser.add_argument("--viewers", type=int)
    parser.add_argument("--warm", type=int, default=25, help="seconds until the log is full")
    parser.add_argument("--peers", help="comma-separated: " + ", ".join(PEERS))
    o = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    results = OUT / "results.jsonl"
    if o.mode == "table":
        rows = [json.loads(line) for line in results.read_text().splitlines()]
        for mode in MODES:
            if chosen := [r for r in rows if r["mode"] == mode]:
                table(mode, chosen)
        return
    for mode in MODES if o.mode == "all" else [o.mode]:
        measure, peers = MODES[mode]
        rows = []
        for n in range(o.rounds):
            for name in o.peers.split(",") if o.peers else peers:
                figures = measure(name, o)
                row = {"mode": mode, "peer": name, "round": n + 1, "figures": figures,
                       "load_average": os.getloadavg()[0], "at": time.strftime("%F %T")}
                rows.append(row)
                print(mode, name, json.dumps(figures), flush=True)
                with results.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        table(mode, rows)


if __name__ == "__main__":
    main()
