#!/usr/bin/env python3
"""Tells whose instructions and which system calls a request costs, duty by duty.

Owns who a function belongs to, and the count of system calls; how instructions are
counted is callgrind.py's. Code that the compiler put into another function counts
where it was put: small parts of ours are in Pingora's column, and the other way round.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict

import callgrind
import duties
import peers
import signing
import table

DUTIES = ("plain", "tls", "unbound", "handshake")
# The first that matches. What has no name of its own is libc's or the linker's.
OWNERS = (
    ("ours", r"tollgate::|pingora_proxy::pipe::"),
    ("Pingora", r"pingora_\w+::"),
    ("tokio", r"\b(tokio|mio|futures_\w+)::"),
    ("http, httparse", r"\b(http|httparse|h2|bytes)::"),
    ("std and others", r"\b(core|alloc|std|hashbrown|parking_lot\w*|arc_swap|dashmap|once_cell|smallvec|ahash|memchr|itoa)::|^__rustc::"),
    ("mimalloc", r"^_?mi_"),
    ("libc", r"^_*(mem(cpy|move|set|cmp|chr)|str|malloc|free|int_free|clock_gettime|clock_nanosleep|getpeername|pthread|send|recv|epoll|libc|ieee754|float|udiv|pow)|^_int_"),
    ("BoringSSL", r"."),
)


def main():
    release = peers.ROOT / "target" / "release"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tollgate", default=str(release / "tollgate"), metavar="PATH")
    parser.add_argument("--bare", default=str(release / "examples" / "bare_pingora"), metavar="PATH")
    parser.add_argument("--duties", default=",".join(DUTIES), help=f"of {','.join(DUTIES)} (default: all)")
    parser.add_argument("--system-calls", action="store_true", help="only those: seconds instead of minutes")
    args = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    chosen = args.duties.split(",")
    binaries = {"nginx": "nginx", "bare": args.bare, "tollgate": args.tollgate}
    with peers.Bench(binaries, signing.texts) as bench:
        print(system_calls(bench, chosen))
        if not args.system_calls:
            print("\n" + instructions(bench, chosen))


def instructions(bench, chosen):
    names = ("bare", "tollgate")
    found = callgrind.measure_instructions(bench, names, chosen, lambda line: print(line, file=sys.stderr))
    rows = [["instructions per request", *(owner for owner, _ in OWNERS), "all"]]
    for duty, cells in found.items():
        for name in names:
            sums = by_owner(callgrind.functions(cells[name]["runs"]))
            told = [f"{sums[owner]:.0f}" for owner, _ in OWNERS]
            rows.append([f"{duty}, {name}", *told, f"{cells[name]['per_request']:.0f}"])
    return table.align(rows)


def by_owner(costs):
    sums = defaultdict(float)
    for name, cost in costs.items():
        sums[owner(name)] += cost
    return sums


def owner(name):
    # Whose code it is, not whose type it is for: `<tollgate::Io as tokio::AsyncRead>` is
    # ours, `Core<tollgate::Task>` tokio's.
    outer = re.sub(r"<(?!.* as ).*", "", name) if not name.startswith("<") else name
    return next(owner for owner, pattern in OWNERS if re.search(pattern, outer))


def system_calls(bench, chosen):
    counted, names = {}, ("bare", "tollgate")
    for name in names:
        running = bench.start(name)
        for duty in chosen:
            counted[duty, name] = of_each_request(bench, running, duty)
        bench.stop(running)
    calls = sorted({call for cell in counted.values() for call in cell})
    rows = [["system calls per request", *calls, "all"]]
    for duty in chosen:
        for name in names:
            cell = counted[duty, name]
            rows.append([f"{duty}, {name}", *(f"{cell[call]:.2f}" if cell[call] else "" for call in calls),
                         f"{sum(cell.values()):.2f}"])
    return table.align(rows)


def of_each_request(bench, running, duty):
    """Failed ones too. Those of threads that only sleep are not a request's."""
    duties.exactly(COUNT // 10, duty, bench, running)
    out = bench.dir / f"strace.{running.name}.{duty}"
    strace = subprocess.Popen(["strace", "-f", "-c", "-o", out, "-p", str(running.pid)], stderr=subprocess.DEVNULL)
    bench.children.append(strace)
    attached(running.pid)
    duties.exactly(COUNT, duty, bench, running)
    bench.children.remove(strace)
    peers.stop(strace, patience=5)
    found = Counter()
    for line in out.read_text().splitlines():
        words = line.split()
        if len(words) >= 5 and words[3].isdigit() and words[-1] not in ("total", "clock_nanosleep"):
            found[words[-1]] = int(words[3]) / COUNT
    return Counter({call: each for call, each in found.items() if each >= 0.05})


def attached(pid):
    """Waits until every thread is traced."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        states = [open(f"/proc/{pid}/task/{task}/status").read() for task in os.listdir(f"/proc/{pid}/task")]
        if all(re.search(r"TracerPid:\t[1-9]", state) for state in states):
            return
        time.sleep(0.02)
    sys.exit("where: strace did not attach")


COUNT = 1000

if __name__ == "__main__":
    main()
