#!/usr/bin/env python3
"""Holds a limit per key to its number with 1,048,576 keys at once: two requests an hour each.

Owns three rounds in which every key comes once, in an order that nobody guesses: in
the first two nobody may be refused, in the third nobody may pass. Over HTTP, so that
the whole way is in it. Exits 1 when one request is refused that should have passed,
or more than 1 % beyond those that should have.
"""

import argparse
import sys
import time

from bench import RELEASE, LimitsBench  # first: the other load tests' modules are importable from here on

import duties
import gateway
import limits
import measure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tollgate", default=RELEASE, metavar="PATH")
    args = parser.parse_args()
    with LimitsBench(args.tollgate) as bench:
        running = bench.serve("million.yaml.in")
        start = measure.rss_mb(running.pid)
        wrong = [one_round(bench, running, name, status) for name, status in ROUNDS]
        counted = gateway.metrics(bench.metrics_port)
        print(f"memory: {start:.1f} MB before, {measure.rss_mb(running.pid):.1f} MB after; "
              f"forgotten: {gateway.total(counted, 'tollgate_limit_overflowed_total')} keys")
    falsely_refused, beyond = wrong[0] + wrong[1], wrong[2]
    error = beyond / (2 * limits.KEYS)
    print(f"{limits.KEYS} keys, {2 * limits.KEYS} requests to be let through: {falsely_refused} of them refused (target 0), "
          f"{beyond} more let through, {error:+.2%} (target 1 %)")
    return 1 if falsely_refused or error > 0.01 else 0


def one_round(bench, running, name, status):
    """How many answers were not as they must be."""
    command = ["wrk", "-t1", "-c64", "-d600s", "-s", str(duties.HERE / "wrk_keys.lua"),
               f"http://127.0.0.1:{running.plain}/", "--", "0", str(limits.KEYS), status]
    began, before = time.monotonic(), measure.cpu_ns(running.pid)
    report = duties.generate(command, bench, 600)
    seconds, cpu = time.monotonic() - began, (measure.cpu_ns(running.pid) - before) / 1e3 / report["requests"]
    print(f"{name}: {report['requests']} requests in {seconds:.0f} s, {cpu:.1f} µs of CPU each, "
          f"{report['errors']} not {status}", file=sys.stderr)
    return report["errors"]


ROUNDS = [("first round", "200"), ("second round", "200"), ("third round", "429")]

if __name__ == "__main__":
    gateway.run("million", main)
