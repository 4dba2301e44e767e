#!/usr/bin/env python3
"""Draws where a running process spends its time, as a flame graph.

    benches/compare/flame.py PID SECONDS OUT.svg ["TITLE"]

Needs perf (linux-perf) and the right to use it. Each box is a function, as wide as its share of the
samples; below it stands who called it. Boxes under half a percent are left out.
"""

import html
import re
import subprocess
import sys
import tempfile

WIDTH, ROW, LEAST = 1200, 16, 0.005


def samples(pid, seconds):
    """Stacks, outermost first, with their counts."""
    with tempfile.NamedTemporaryFile() as data:
        subprocess.run(["perf", "record", "-q", "-F", "499", "--call-graph", "dwarf,8192", "-p", pid,
                        "-o", data.name, "--", "sleep", seconds], check=True)
        text = subprocess.run(["perf", "script", "-i", data.name, "-F", "comm,ip,sym"],
                              check=True, capture_output=True, text=True).stdout
    stacks = {}
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.strip()]
        if not lines:
            continue
        frames = [short(line.strip().split(" ", 1)[-1]) for line in lines[1:]]
        frames = [f for f in frames if f and f != "[unknown]"]
        key = tuple([lines[0].strip()] + frames[::-1])
        stacks[key] = stacks.get(key, 0) + 1
    return stacks


def short(name):
    """A function without its hash, its generics and the paths of its types."""
    name = re.sub(r"::h[0-9a-f]{16}$", "", name)
    while (fewer := re.sub(r"<[^<>]*>", "", name)) != name:
        name = fewer
    parts = [p for p in name.strip(":").split("::") if p and p != "{{closure}}"]
    return "::".join(parts[-2:])


def tree(stacks):
    root = {"n": 0, "below": {}}
    for stack, count in stacks.items():
        node = root
        node["n"] += count
        for frame in stack:
            node = node["below"].setdefault(frame, {"n": 0, "below": {}})
            node["n"] += count
    return root


def boxes(node, total, x=0.0, depth=0):
    for name, below in sorted(node["below"].items()):
        width = below["n"] / total
        if width >= LEAST:
            yield name, x, width, depth
            yield from boxes(below, total, x, depth + 1)
        x += width


def main():
    pid, seconds, out = sys.argv[1:4]
    title = sys.argv[4] if len(sys.argv) > 4 else f"process {pid}"
    root = tree(samples(pid, seconds))
    drawn = list(boxes(root, root["n"]))
    height = (max(d for *_, d in drawn) + 3) * ROW
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
             f'font-family="monospace" font-size="11">',
             f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
             f'<text x="4" y="{ROW - 4}">{html.escape(title)}, {root["n"]} samples</text>']
    for name, x, width, depth in drawn:
        left, wide = x * WIDTH, width * WIDTH
        top = height - (depth + 1) * ROW
        # Of the kernel or of the program: by the looks of the name.
        fill = "#e8b27d" if "::" not in name else "#8fb8de"
        label = html.escape(name[: int(wide / 6.8)]) if wide > 30 else ""
        lines.append(f'<g><title>{html.escape(name)} {width:.1%}</title>'
                     f'<rect x="{left:.1f}" y="{top}" width="{max(wide - 0.5, 0.5):.1f}" '
                     f'height="{ROW - 1}" fill="{fill}"/>'
                     f'<text x="{left + 2:.1f}" y="{top + ROW - 5}">{label}</text></g>')
    lines.append("</svg>\n")
    with open(out, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))


if __name__ == "__main__":
    main()
