#!/usr/bin/env python3
"""Changes a server while a client keeps it busy with TLS requests, and counts every answer that was not whole.

Owns the phases: quiet, reloads, upgrades, each as long as its changes take, with 64
connections of wrk that never rest. wrk counts a connection that ends inside an answer
or before one, a status that is not 2xx or 3xx, and two seconds without an answer; it
opens a new connection where `Connection: close` asked for it. The servers are those of
changes.py. Exits 1 when Tollgate lost anything.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "edge"))

import gateway  # noqa: E402  (compare/ is importable from here on)
import account  # noqa: E402
import measure  # noqa: E402
import peers  # noqa: E402
import table  # noqa: E402
from servers import SERVERS, ChangesBench, Server  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tollgate", default=gateway.TOLLGATE, metavar="PATH")
    parser.add_argument("--origin", default=str(peers.ROOT / "target" / "debug" / "origin"), metavar="PATH")
    parser.add_argument("--servers", default=",".join(SERVERS), help="with commas")
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--upgrades", type=int, default=4)
    parser.add_argument("--every", type=float, default=2.5, help="seconds from one reload to the next; twice that for upgrades")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    account.adopt()
    report: dict = {"machine": measure.machine(), "servers": {}}
    with FastOrigin(args.tollgate, args.origin, ceiling=10) as bench:
        for name in args.servers.split(","):
            with SERVERS[name](bench) as server:
                report["servers"][name] = phases(server, args)
    print(told(report))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
    ours = report["servers"].get("tollgate", {})
    return 1 if any(phase["errors"] for phase in ours.values()) else 0


class FastOrigin(ChangesBench):
    """The comparison's origin: what is asked for is the servers' speed."""

    def start_origin(self) -> subprocess.Popen[bytes]:
        return peers.Bench.start_origin(self)


def phases(server: Server, args: argparse.Namespace) -> dict:
    load(server, 2)
    quiet = load(server, max(4, args.every * args.reloads / 5))
    reloads = changed(server, "reload", args.reloads, args.every)
    upgrades = changed(server, "upgrade", args.upgrades, 2 * args.every)
    return {"quiet": quiet, "reloads": reloads, "upgrades": upgrades}


def changed(server: Server, kind: str, count: int, every: float) -> dict:
    process = begin(server, every * (count + 1))
    began, took = time.monotonic(), []
    for nth in range(count):
        time.sleep(max(0, began + every * (nth + 0.5) - time.monotonic()))
        took.append(server.change(kind).serves)
    if process.poll() is not None:
        raise peers.PeerFailed(f"{count} changes of {server.name} took longer than the load; give more with --every")
    return {**ended(process), "changes": count, "slowest_change_ms": max(took) * 1e3}


def load(server: Server, seconds: float) -> dict:
    return ended(begin(server, seconds))


def begin(server: Server, seconds: float) -> subprocess.Popen[str]:
    command = ["taskset", "-c", peers.GENERATOR_CPU, "wrk", "-t1", "-c64", f"-d{round(seconds)}s",
               "-s", str(peers.HERE / "wrk_report.lua"), f"https://127.0.0.1:{server.tls}/"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process: subprocess.Popen[str]) -> dict:
    text, _ = process.communicate(timeout=600)
    report = next((line for line in text.splitlines() if line.startswith("REPORT ")), None)
    if not report:
        raise peers.PeerFailed(f"wrk ended without a report: {text}")
    return json.loads(report.removeprefix("REPORT "))


def told(report: dict) -> str:
    rows = [["", "phase", "changes", "requests", "failed", "p50 ms", "p99 ms", "p99 by quiet", "slowest change ms"]]
    for name, run in report["servers"].items():
        for phase, one in run.items():
            rows.append([
                name, phase, str(one.get("changes", 0)), f"{one['requests']:,}", str(one["errors"]), f"{one['p50_us'] / 1e3:.1f}",
                f"{one['p99_us'] / 1e3:.1f}", f"{one['p99_us'] / max(1, run['quiet']['p99_us']):.2f}", f"{one.get('slowest_change_ms', 0):.0f}",
            ])
    machine = report["machine"]
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['date']}\n{table.align(rows)}"


if __name__ == "__main__":
    gateway.run("saturated", main)
