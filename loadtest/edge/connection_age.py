#!/usr/bin/env python3
"""Counts failed requests while connections reach their age, many times each.

Owns the order of a run: a gateway with `max_age: 1s`, three groups of clients
(HTTP/1 in cleartext, with TLS, HTTP/2) that do as they are asked by `Connection:
close` and GOAWAY, and the gateway's own account beside theirs. The clients are
in aged_clients.py. Exits 1 when a request failed or the accounts differ.
"""

import argparse
import json
import subprocess
import sys

import gateway
import peers
import table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tollgate", default=gateway.TOLLGATE, metavar="PATH")
    parser.add_argument("--requests", type=int, default=150_000, help="in all, a third of each kind (default 150000)")
    parser.add_argument("--max-age", default="1s", help="of a connection, as the configuration says it (default 1s)")
    args = parser.parse_args()
    with gateway.EdgeBench(args.tollgate, f"{{ max_age: {args.max_age} }}") as bench:
        running = bench.start("tollgate")
        before = account(bench)
        ports = {"http1": running.plain, "https1": running.tls, "http2": running.tls}
        clients = {kind: child(bench, kind, port, args.requests // 3) for kind, port in ports.items()}
        reports = {kind: json.loads(one.communicate(timeout=600)[0]) for kind, one in clients.items()}
        after, early = account(bench), {one: bench.ended_early(one) for one in ("plain", "tls")}
    served = {what: after[what] - before[what] for what in after}
    print(told(reports, served, early))
    return 0 if all(good(report) for report in reports.values()) and agree(reports, served) else 1


def child(bench, kind, port, count):
    command = [
        "taskset", "-c", peers.GENERATOR_CPU, sys.executable, str(gateway.HERE / "aged_clients.py"),
        "--kind", kind, "--port", str(port), "--count", str(count),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    bench.children.append(process)
    return process


def account(bench):
    """What the gateway counted so far, on all listeners."""
    return {
        "requests": bench.total("tollgate_requests_total"),
        "answered 2xx": bench.total("tollgate_requests_total", 'status="2xx"'),
        "connections": bench.total("tollgate_connections_total"),
        "cut": bench.total("tollgate_connections_ended_early_total", 'reason="max_age_cut"'),
        "ended early": bench.total("tollgate_connections_ended_early_total"),
    }


def good(report):
    return not report["failed"] and report["untold"] == 0


def agree(reports, served):
    return served["answered 2xx"] == sum(report["requests"] for report in reports.values()) and not served["cut"]


def told(reports, served, early):
    columns = ["requests", "connections", "asked", "retryable", "untold", "failed"]
    rows = [["", *COLUMNS]]
    for kind, report in reports.items():
        cells = [report[column] for column in columns[:-1]] + [len(report["failed"])]
        rows.append([kind, *map(str, cells), f"{report['seconds']:.0f}"])
    counted = ", ".join(f"{what} {count}" for what, count in served.items())
    failures = [f"{kind}: {why}" for kind, report in reports.items() for why in report["failed"][:10]]
    return "\n".join([table.align(rows), f"gateway: {counted} {early}", *failures])


COLUMNS = ["requests", "connections", "asked to end", "retryable", "ended untold", "failed", "seconds"]

if __name__ == "__main__":
    gateway.run("connection_age", main)
