#!/usr/bin/env python3
"""Compares new TLS connections behind PROXY headers with those without: what each costs.

Owns the cells (full handshake and resumed, with and without a header) and two ways
to count: user instructions by callgrind (50 and 250 connections; the difference by
200), and the kernel's account of CPU time over slices in random order, back and
forth, whose ratios are taken round by round. A connection is all of it: accept,
header, handshake, one request to the origin, its answer, close. Exits 1 when
instructions with a header are above the target.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from statistics import median

import gateway
import callgrind
import measure
import peers
import table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tollgate", default=gateway.TOLLGATE, metavar="PATH")
    parser.add_argument("--rounds", type=int, default=20, help="of CPU time, each two slices per cell (default 20)")
    parser.add_argument("--slice", type=int, default=400, help="connections of a slice (default 400)")
    args = parser.parse_args()
    with gateway.EdgeBench(args.tollgate) as bench:
        instructions = {cell: per_connection(bench, *cell) for cell in CELLS}
        rounds = timed(bench, args)
    print(told(instructions, rounds))
    return 1 if any(instructions[kind, True] > TARGET * instructions[kind, False] for kind in KINDS) else 0


def connections(bench, running, kind, proxy, count):
    """Exactly so many connections of a cell, or raises."""
    flags = [*(["--proxy"] if proxy else []), *(["--resume"] if kind == "resumed" else [])]
    port = bench.proxied if proxy else running.tls
    done = subprocess.run(
        ["taskset", "-c", peers.GENERATOR_CPU, sys.executable, str(gateway.HERE / "new_connections.py"),
         "--port", str(port), "--count", str(count), *flags],
        capture_output=True, text=True, timeout=600, env={**os.environ, "OPENSSL_CONF": bench.openssl_conf},
    )
    report = json.loads(done.stdout.removeprefix("REPORT ") or "null")
    if not report or report["resumed"] != (count - 1 if kind == "resumed" else 0):
        raise peers.PeerFailed(f"{kind}, proxy {proxy}: {report} {done.stderr}")
    return report


def per_connection(bench, kind, proxy):
    """User instructions of one connection."""
    few, many = ((count, callgrind.total(counted(bench, kind, proxy, count))) for count in RUNS)
    found = (many[1] - few[1]) / (many[0] - few[0])
    print(f"{kind}, {'with' if proxy else 'without'} PROXY: {found:.0f} instructions", file=sys.stderr)
    return found


def counted(bench, kind, proxy, count):
    out = bench.dir / f"callgrind.{kind}.{proxy}.{count}"
    wrapper = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--fair-sched=yes", "--quiet"]
    running = bench.start("tollgate", wrapper, patience=90)
    connections(bench, running, kind, proxy, count)
    if not bench.stop(running, patience=60) or not out.exists():
        raise peers.PeerFailed(f"callgrind dumped nothing:\n{bench.output('tollgate')}")
    return out


def timed(bench, args):
    """`[{cell: (CPU µs per connection, p50 µs)}]`, one entry a round."""
    running = bench.start("tollgate")
    for cell in CELLS:
        connections(bench, running, *cell, args.slice)
    return [one_round(bench, running, args.slice) for _ in range(args.rounds)]


def one_round(bench, running, count):
    order = random.sample(CELLS, len(CELLS))
    slices = {cell: [] for cell in CELLS}
    for cell in [*order, *reversed(order)]:
        before = measure.cpu_ns(running.pid)
        report = connections(bench, running, *cell, count)
        slices[cell].append(((measure.cpu_ns(running.pid) - before) / 1e3 / count, report["p50_us"]))
    return {cell: [sum(figures) / 2 for figures in zip(*of_cell)] for cell, of_cell in slices.items()}


def told(instructions, rounds):
    rows = [["per new connection", "without PROXY", "with PROXY", "with / without", "target"]]
    for kind in KINDS:
        without, having = instructions[kind, False], instructions[kind, True]
        cells = [f"{without:.0f}", f"{having:.0f}", f"{having / without:.3f}", f"{TARGET}"]
        rows.append([f"{kind}: user instructions", *cells])
        for nth, what in enumerate(("CPU µs", "connect to answer, p50 µs")):
            costs = [[one[kind, proxy][nth] for one in rounds] for proxy in (False, True)]
            ratios = [b / a for a, b in zip(*costs)]
            low, high = table.bootstrap(ratios)
            told = f"{median(ratios):.3f} [{low:.3f} {high:.3f}]"
            rows.append([f"{kind}: {what}", *(f"{median(cost):.0f}" for cost in costs), told, f"{TARGET}"])
    return table.align(rows)


KINDS = ("full", "resumed")
CELLS = [(kind, proxy) for kind in KINDS for proxy in (False, True)]
RUNS = (50, 250)
TARGET = 1.03

if __name__ == "__main__":
    gateway.run("proxy_cost", main)
