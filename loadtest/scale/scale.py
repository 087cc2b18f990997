#!/usr/bin/env python3
"""What a request costs where there is much of something: routes, endpoints, spans.

Owns the rounds: the variants of a scenario all run, take turns in slices of a second in
random order and back, and are compared inside a round; instructions are counted under
callgrind. Exits 1 when a request failed, never for a figure.
"""

import argparse
import http.server
import json
import random
import re
import subprocess
import threading
from contextlib import ExitStack
from statistics import median

import variants  # first: others are importable then
from variants import HERE, ROUTES, SCENARIOS, VariantBench

import callgrind
import gateway
import duties
import measure
import peers
import table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)} (default: all)")
    parser.add_argument("--tollgate", default=str(peers.ROOT / "target" / "release" / "tollgate"), metavar="PATH")
    parser.add_argument("--peers", default="tollgate", help="with commas: tollgate, nginx (which has no spans)")
    parser.add_argument("--blocks", type=int, default=8, help="of two slices for each variant; 0: none")
    parser.add_argument("--instructions", action="store_true", help="under callgrind as well")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    binaries = {"nginx": "nginx", "tollgate": args.tollgate}
    report, failed = {"machine": measure.machine()}, 0
    for name in args.scenarios or SCENARIOS:
        for peer in args.peers.split(","):
            if name == "tracing" and peer != "tollgate":
                continue
            found = scenario(name, peer, binaries, args)
            failed += sum(one["errors"] for one in found.values())
            report[f"{name}, {peer}"] = found
            print(f"\n{name}, {peer}\n{told(found)}", flush=True)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
    print(f"\n{report['machine']['cpu']}, {report['machine']['date']}; {failed} requests failed")
    return 1 if failed else 0


def scenario(name, peer, binaries, args):
    path, added = SCENARIOS[name]
    with ExitStack() as stack, Collector() as collector:
        benches = {}
        for variant, what in added.items():
            bench = benches[variant] = VariantBench(binaries, peer, what)
            bench.collector = collector.port
            stack.enter_context(bench)
        found = {variant: {"errors": 0} for variant in benches}
        if args.instructions:
            for variant, bench in benches.items():
                found[variant]["instructions"] = instructions(bench, peer, path)
        running = {variant: bench.start(peer, patience=60) for variant, bench in benches.items()}
        for variant, one in running.items():
            found[variant]["pss_mb"] = measure.rss_mb(one.pid)
        blocks = [block(benches, running, path) for _ in range(args.blocks)]
        if blocks:
            reckon(found, blocks)
        return found


def block(benches, running, path):
    """Two slices of each variant: `{variant: [slice, slice]}`."""
    order = list(benches)
    random.shuffle(order)
    slices = {variant: [] for variant in order}
    for variant in order + order[::-1]:
        window = measure.Window(running[variant].pid, benches[variant].origin.pid)
        command = ["wrk", "-t1", "-c64", "-d1s", "-s", str(HERE / "paths.lua"), f"http://127.0.0.1:{running[variant].plain}/",
                   "--", path, str(ROUTES)]
        slices[variant].append({**duties.generate(command, benches[variant], 1), **window.close()})
    return slices


def reckon(found, blocks):
    base = next(iter(found))
    for variant, figures in found.items():
        costs = [(table.cost(one[variant]), table.cost(one[base])) for one in blocks]
        more, by = [a - b for a, b in costs], [a / b for a, b in costs]
        slices = [one for each in blocks for one in each[variant]]
        figures |= {
            "cpu_us": median(a for a, _ in costs), "more_us": median(more), "more_95": table.bootstrap(more),
            "by": median(by), "by_95": table.bootstrap(by), "errors": sum(one["errors"] for one in slices),
            "requests": sum(one["requests"] for one in slices), "foreign_cpu": median(one["foreign_cpu"] for one in slices),
        }


def instructions(bench, peer, path):
    """Of one request, from a shorter run and a longer one, over the same paths."""
    totals = {}
    for count in (500, 2500):
        out = bench.dir / f"callgrind.{count}"
        wrapper = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--separate-threads=no", "--fair-sched=yes", "--quiet"]
        running = bench.start(peer, wrapper, patience=600)
        paths = bench.dir / "paths"
        dice = random.Random(0)
        urls = (f"http://127.0.0.1:{running.plain}{path.replace('#', str(dice.randrange(ROUTES)))}\n" for _ in range(500))
        paths.write_text("".join(urls))
        done = subprocess.run(["h2load", "--h1", f"-n{count}", "-c8", "-t1", "-Hx-key: 7", f"--input-file={paths}"], capture_output=True, text=True, timeout=600)
        if not re.search(rf"\b{count} succeeded", done.stdout):
            raise duties.GeneratorFailed(f"h2load: {done.stdout}{done.stderr}")
        if not bench.stop(running, patience=120):
            raise peers.PeerFailed("it did not end on SIGINT, so callgrind dumped nothing")
        totals[count] = callgrind.total(out)
    return (totals[2500] - totals[500]) / 2000


class Collector(threading.Thread):
    """Takes whatever spans come, and forgets them; a context manager."""

    def __init__(self):
        super().__init__(daemon=True)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                """Nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port

    def run(self):
        self.server.serve_forever()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def told(found):
    base = next(iter(found.values()))
    rows = [["", "CPU µs/request", "more [95 %]", "by the first [95 %]", "instructions", "by the first", "Pss MiB", "requests", "failed"]]
    for variant, one in found.items():
        cells = ["-"] * 3
        if "cpu_us" in one:
            cells = [f"{one['cpu_us']:.2f}", f"{one['more_us']:+.2f} [{one['more_95'][0]:+.2f} {one['more_95'][1]:+.2f}]",
                     f"{one['by']:.3f} [{one['by_95'][0]:.3f} {one['by_95'][1]:.3f}]"]
        count = one.get("instructions")
        cells += [f"{count:,.0f}", f"{count / base['instructions']:.3f}"] if count else ["-", "-"]
        rows.append([variant, *cells, f"{one['pss_mb']:.0f}", f"{one.get('requests', 0):,}", str(one["errors"])])
    return table.align(rows)


if __name__ == "__main__":
    gateway.run("scale", main)
