#!/usr/bin/env python3
"""How long /metrics takes with ten thousand series, and whether requests notice.

Owns the configuration, the scrapes and the turns: requests at a fixed rate (`load`, open
loop) in slices with a scrape each second and in slices without. Exits 1 when a request
failed or the rate was not held, never for a time.
"""

import argparse
import json
import subprocess
import threading
import time
import urllib.request
from statistics import median

from variants import VariantBench, fragment  # first: others are importable then

import gateway
import measure
import peers
import table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tollgate", default=str(peers.ROOT / "target" / "release" / "tollgate"), metavar="PATH")
    parser.add_argument("--load", default=str(peers.ROOT / "target" / "debug" / "load"), metavar="PATH")
    parser.add_argument("--upstreams", type=int, default=1_000, help="ten series each")
    parser.add_argument("--rate", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=8, help="each of two slices of 4 s")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    with VariantBench({"nginx": "nginx", "tollgate": args.tollgate}, "tollgate", configuration(args.upstreams)) as bench:
        running = bench.start("tollgate", patience=60)
        report = {"machine": measure.machine(), **measured(bench, running, args)}
    print(json.dumps(report, indent=1))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
    return 1 if report["wrong"] else 0


def measured(bench, running, args):
    scrapes, sizes, cpu = [], [], measure.cpu_ns(running.pid)
    for _ in range(60):
        took, text = scrape(bench.metrics)
        scrapes.append(took)
        sizes.append(len(text))
    cpu = (measure.cpu_ns(running.pid) - cpu) / 1e6 / 60
    slices, wrong = {"with": [], "without": []}, []
    for nth in range(args.rounds):
        for kind in ("with", "without") if nth % 2 else ("without", "with"):
            one, said = slice_of(bench, running, args, kind == "with")
            slices[kind].append(one)
            wrong += said
    p99 = {kind: [one["p99"] for one in of_kind] for kind, of_kind in slices.items()}
    by = [a / b for a, b in zip(p99["with"], p99["without"])]
    return {
        "series": text.count(b"\n") - text.count(b"\n#"), "bytes": max(sizes),
        "scrape_ms": {"median": median(scrapes), "p99": sorted(scrapes)[-1], "least": min(scrapes), "cpu": cpu},
        "p99_us": {kind: median(of_kind) for kind, of_kind in p99.items()},
        "p99_by": median(by), "p99_by_95": table.bootstrap(by), "wrong": wrong,
    }


def slice_of(bench, running, args, scraping):
    over = threading.Event()
    thread = threading.Thread(target=scraped, args=(bench.metrics, over if scraping else None))
    thread.start()
    command = ["taskset", "-c", peers.GENERATOR_CPU, args.load, "--rate", str(args.rate), "--duration", "4s",
               "--connections", "32", f"http://127.0.0.1:{running.plain}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    over.set()
    thread.join()
    wrong = done.stderr.strip().splitlines() if done.returncode else []
    return json.loads(done.stdout)["latency_us"], wrong


def scraped(port, over):
    while over and not over.is_set():
        scrape(port)
        over.wait(1)


def scrape(port):
    """Milliseconds, and the text."""
    began = time.monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        text = page.read()
    return (time.monotonic() - began) * 1e3, text


def configuration(upstreams):
    """So many upstreams and as many routes; those nobody asks say ten gauges each."""

    def added(_proxy, folder, bench):
        lines = "".join(f"  - {{ name: u{nth}, endpoints: [{{ address: \"127.0.0.1:{bench.origin_port}\" }}] }}\n" for nth in range(upstreams))
        fragment(folder, f"upstreams:\n{lines}")
        return {"LIMITS": "", "LIMITED": ""}

    return added


if __name__ == "__main__":
    gateway.run("scrape", main)
