#!/usr/bin/env python3
"""Holds a gateway to its limit: 100 orders a second, 20 at once after a pause.

Owns the order of the load scripts (k6, wrk paced, wrk as fast as it can) and the
reckoning after each: what the script was answered is what the gateway's metrics
count, and each 429 stands in the access log once, with the limit's name. Does not
own what must hold of the answers: the scripts do (../k6/rate_limit.js and
../wrk/rate_limit.lua). Exits 1 when anything is not as it must be.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time

from bench import DEBUG, LOADTEST, LimitsBench  # first: the other load tests' modules are importable from here on

import gateway
import peers


def main():
    args = arguments()
    refuse_to_start(args)
    with LimitsBench(args.tollgate) as bench:
        running = bench.serve("orders.yaml.in")
        bench.reckon()
        found = {name: one(name, args, bench, running) for name in SCRIPTS if SCRIPTS[name][0] in args.tools}
    for name, wrong in found.items():
        print(f"{name}: {'; '.join(wrong) or 'all as it must be'}")
    return 1 if any(found.values()) else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tollgate", default=DEBUG, metavar="PATH", help="any build will do (default: of `make build`)")
    parser.add_argument("--k6", default="k6", metavar="PATH")
    parser.add_argument("--quick", action="store_true", help="half a minute instead of a minute and a half")
    parser.add_argument("--tools", type=lambda text: text.split(","), default=["k6", "wrk"], help="k6, wrk (default: both)")
    return parser.parse_args()


def refuse_to_start(args):
    needed = {"nginx": "nginx", "openssl": "openssl", **{tool: args.k6 if tool == "k6" else tool for tool in args.tools}}
    if missing := [path for path in needed.values() if not shutil.which(path)]:
        sys.exit(f"rate_limit: missing {', '.join(missing)}; loadtest/README.md says where each comes from")


def one(name, args, bench, running):
    """Everything that was wrong with a script and the gateway's account of it."""
    print(f"== {name}", file=sys.stderr)
    time.sleep(REFILL)
    ended, answered = SCRIPTS[name][1](args, bench, f"http://127.0.0.1:{running.plain}/orders")
    account = bench.reckon()
    print(f"{name}: answered {answered}, the gateway says {account}")
    wrong = [f"the script ended with {ended}"] if ended else []
    # wrk leaves without reading the answers to its last requests.
    unread = UNREAD if SCRIPTS[name][0] == "wrk" else 0
    for what in ("admitted", "refused"):
        if not 0 <= account[what] - answered[what] <= unread:
            wrong.append(f"{account[what]} {what} by the metrics, {answered[what]} answers")
    if account["logged"] + account["dropped"] != account["refused"]:
        wrong.append(f"{account['refused']} refused, but {account['logged']} 429 logged and {account['dropped']} lines dropped")
    if account["dropped"] and name != FASTEST:
        wrong.append(f"{account['dropped']} lines of the access log were dropped")
    if account["strange"]:
        wrong.append(f"logged without the limit's name, or twice: {account['strange'][:3]}")
    return wrong


def k6(args, bench, url):
    summary = bench.dir / "k6.json"
    shorter = ["-e", "STEADY=5", "-e", "OVERLOAD=5"] if args.quick else []
    command = [args.k6, "run", "--quiet", "--no-usage-report", "-e", f"TARGET={url}", *shorter,
               "--summary-export", str(summary), str(LOADTEST / "k6" / "rate_limit.js")]
    done = subprocess.run(["taskset", "-c", peers.GENERATOR_CPU, *command], timeout=120)
    metrics = json.loads(summary.read_text())["metrics"] if summary.exists() else {}
    counted = {"admitted": "good", "refused": "refused"}
    return done.returncode, {what: int(metrics.get(name, {}).get("count", 0)) for what, name in counted.items()}


def wrk(args, url, seconds, pause):
    command = ["wrk", "-t1", "-c15", f"-d{seconds}s", "-s", str(LOADTEST / "wrk" / "rate_limit.lua"), url,
               "--", "100", "20", str(pause)]
    done = subprocess.run(["taskset", "-c", peers.GENERATOR_CPU, *command], capture_output=True, text=True, timeout=120)
    report = next((line for line in done.stdout.splitlines() if line.startswith("REPORT ")), None)
    if report is None:
        raise peers.PeerFailed(f"wrk: {done.stdout}{done.stderr}")
    print(report, file=sys.stderr)
    return done.returncode, {what: json.loads(report[7:])[what] for what in ("admitted", "refused")}


def wrk_paced(args, _bench, url):
    return wrk(args, url, 5 if args.quick else 15, 100)


def wrk_fast(args, _bench, url):
    return wrk(args, url, 3 if args.quick else 10, 0)


FASTEST = "wrk, as fast as it can"
SCRIPTS = {
    "k6": ("k6", k6),
    "wrk, 150 a second": ("wrk", wrk_paced),
    FASTEST: ("wrk", wrk_fast),
}
# Seconds in which the whole burst comes back.
REFILL = 1
# One for each connection of wrk.
UNREAD = 15

if __name__ == "__main__":
    gateway.run("rate_limit", main)
