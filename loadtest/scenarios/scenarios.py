#!/usr/bin/env python3
"""Runs the load scenarios: each against a gateway and three zones of its own.

Owns which scenarios there are, how long each takes in its bounded form, and the
reckoning: what k6, wrk or `load` were answered is what the gateway logged, request by
request. What must hold of the answers is in the scripts (../k6, ../wrk) and in `load`'s
gates. Exits 1 when anything is not as it must be.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bench import LOADTEST, ZONES, Events, Gateway, Memory, ScenarioBench, peers  # first: others are importable then

import account
import gateway as edge


def main() -> int:
    args = arguments()
    refuse_to_start(args)
    account.adopt()
    found: dict[str, list[str]] = {}
    with ScenarioBench(args.tollgate, args.origin) as bench:
        for name in args.scenarios:
            began = time.monotonic()
            with Gateway(bench, name) as gateway:
                found[name] = SCENARIOS[name](Run(name, args, bench, gateway))
            print(f"{name} ({time.monotonic() - began:.0f} s): {'; '.join(found[name]) or 'all as it must be'}", flush=True)
    return 1 if any(found.values()) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    debug = peers.ROOT / "target" / "debug"
    parser.add_argument("--tollgate", default=str(debug / "tollgate"), metavar="PATH", help="any build will do")
    parser.add_argument("--origin", default=str(debug / "origin"), metavar="PATH")
    parser.add_argument("--load", default=str(debug / "load"), metavar="PATH")
    parser.add_argument("--k6", default="k6", metavar="PATH")
    parser.add_argument("--full", action="store_true",
                        help="the scripts' own lengths, rates and times: for a release build; the soak takes four hours")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="for k6, as SOAK=3600; again for another")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)} (default: all)")
    args = parser.parse_args()
    args.scenarios = args.scenarios or list(SCENARIOS)
    if unknown := set(args.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; write some of {', '.join(SCENARIOS)}")
    return args


def refuse_to_start(args: argparse.Namespace) -> None:
    needed = [args.tollgate, args.origin, args.load, args.k6, "wrk", "openssl"]
    if missing := [path for path in needed if not shutil.which(path)]:
        sys.exit(f"scenarios: missing {', '.join(missing)}; loadtest/README.md says where each comes from")


class Run:
    """One scenario: its gateway, and what was wrong."""

    def __init__(self, name: str, args: argparse.Namespace, bench: ScenarioBench, gateway: Gateway) -> None:
        self.name, self.args, self.bench, self.gateway = name, args, bench, gateway

    def k6(self, bounded: dict[str, int], **settings: str) -> list[str]:
        """Runs the script of this name, with the settings of its bounded form unless all of it is asked for."""
        summary = self.bench.dir / f"{self.name}.json"
        with Events(self.bench, self.gateway) as events:
            settings |= {"TARGET": f"http://127.0.0.1:{self.gateway.plain}", "EVENTS": events.url}
            given = settings if self.args.full else {**BOUNDED, **bounded, **settings}
            pairs = [f"{name}={value}" for name, value in given.items()] + self.args.set
            command = [self.args.k6, "run", "--quiet", "--no-usage-report", "--summary-export", str(summary)]
            command += [part for pair in pairs for part in ("-e", pair)]
            ended = subprocess.run([*command, str(LOADTEST / "k6" / f"{self.name}.js")], check=False).returncode
        metrics = json.loads(summary.read_text())["metrics"] if summary.exists() else {}
        counted = {what: int(metrics.get(what, {}).get("count", 0)) for what in ("good", "refused", "strange")}
        return ([f"k6 ended with {ended}"] if ended else []) + self.reckoned(counted)

    def reckoned(self, counted: dict[str, int]) -> list[str]:
        """Where the gateway's account is another one: answers by the script, and lines of the log."""
        wanted = +Counter({200: counted["good"], 429: counted.get("refused", 0)})
        logged = self.gateway.settled(wanted)
        print(f"{self.name}: answered {counted}, the gateway logged {dict(logged)}", flush=True)
        return [] if logged == wanted else [f"{dict(wanted)} by the answers, {dict(logged)} by the access log"]

    def metric(self, name: str, *having: str) -> int:
        return edge.total(edge.metrics(self.gateway.metrics), name, *having)

    def load(self, port: int, *options: str) -> tuple[list[str], dict]:
        """Runs our own generator: what was wrong, and its report."""
        gates = ["--insecure", "--p99", f"{PATIENT}ms", "--late", f"{PATIENT}ms"]
        command = [self.args.load, *gates, *options, f"https://127.0.0.1:{port}/load/{self.name}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        print(f"{self.name}: {done.stdout.strip()}", flush=True)
        wrong = done.stderr.splitlines()
        if done.returncode == 0 or wrong:
            report = json.loads(done.stdout or "{}")
        else:
            wrong, report = [f"load ended with {done.returncode}"], {}
        return wrong, report

    def wrk(self, script: str, path: str, *arguments: str) -> list[str]:
        command = ["wrk", "-t1", "-c10", "-d3s", "-s", str(LOADTEST / "wrk" / script)]
        command += [f"http://127.0.0.1:{self.gateway.plain}{path}", "--", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        report = next((line for line in done.stdout.splitlines() if line.startswith("REPORT ")), done.stdout + done.stderr)
        print(f"{self.name}: {report}", flush=True)
        return [f"{script} ended with {done.returncode}"] if done.returncode else []


def baseline(run: Run) -> list[str]:
    return run.k6({"STEADY": 5, "DOUBLE": 3})


def zone_failover(run: Run) -> list[str]:
    wrong = run.k6({"BEFORE": 3, "LOST": 4, "ELSEWHERE": 3, "RETURNING": 8, "BACK": 2})
    attempts = run.metric("tollgate_zone_attempts_total", f'zone="{ZONES[0]}"')
    others = run.metric("tollgate_zone_attempts_total") - attempts
    return wrong if attempts and others else [*wrong, f"{attempts} attempts at home and {others} elsewhere by the metrics"]


def changes(run: Run) -> list[str]:
    return run.k6({"QUIET": 2, "RELOADS": 6, "UPGRADES": 2, "CHANGING": 14})


def signed(run: Run) -> list[str]:
    jwks = f"http://127.0.0.1:{run.gateway.metrics}/jwks.json"
    wrong = run.k6({"SECONDS": 4}, JWKS=jwks, ISSUER="https://gateway.test", UNSIGNED="/load/unsigned")
    made = run.metric("tollgate_jwt_signed_total")
    return wrong if made else [*wrong, "no token was signed by the metrics"]


def soak(run: Run) -> list[str]:
    with Memory(run.gateway) as memory:
        wrong = run.k6({"SOAK": 16})
    if len(memory.samples) < 8:
        return [*wrong, "too short for its memory to be judged"]
    warm, last = memory.told()
    print(f"soak: {warm:.1f} MiB in its second quarter, {last:.1f} in the last; each twelfth: {memory.curve()}", flush=True)
    grown = last > warm * 1.05 + 5
    return [*wrong, f"memory grew from {warm:.1f} to {last:.1f} MiB"] if grown else wrong


def fixed_rate(run: Run) -> list[str]:
    """Two tenants behind a load balancer, each through an endpoint of its own."""
    options = ["--rate", "200", "--duration", "5s", "--connections", "20", "--from", "10.1.0.0/16"]
    options += ["--vpce", "vpce-0123456789abcdef0", "--vpce", "vpce-11111111111111111"]
    wrong, report = run.load(run.gateway.proxied, *options)
    wrong += run.reckoned({"good": sum(report.get("statuses", {}).values())})
    tenants = {name: run.metric("tollgate_tenant_requests_total", f'tenant="{name}"') for name in ("billing", "search")}
    print(f"fixed_rate: by the metrics {tenants}", flush=True)
    if sum(tenants.values()) != report.get("sent") or min(tenants.values()) < 400:
        wrong.append(f"tenants by the metrics: {tenants}")
    return wrong


def churn(run: Run) -> list[str]:
    """A new connection for each request, while a thousand that asked once do nothing."""
    options = ["--rate", "40", "--duration", "5s", "--requests-per-connection", "1", "--idle", "1000"]
    wrong, report = run.load(run.gateway.tls, *options)
    wrong += run.reckoned({"good": sum(report.get("statuses", {}).values()) + 1000})
    accepted = run.metric("tollgate_connections_total", 'listener="tls"')
    return wrong if accepted >= 1200 else [*wrong, f"{accepted} connections by the metrics"]


def wrk(run: Run) -> list[str]:
    wrong = run.wrk("baseline.lua", "/load/wrk", str(PATIENT), "100")
    return wrong + run.wrk("signed.lua", "/load/signed", "https://gateway.test")


SCENARIOS: dict[str, Callable[[Run], list[str]]] = {
    "baseline": baseline,
    "zone_failover": zone_failover,
    "changes": changes,
    "signed": signed,
    "soak": soak,
    "fixed_rate": fixed_rate,
    "churn": churn,
    "wrk": wrk,
}
# Milliseconds for 99 of 100: others may compile on the same machine, and this is a debug
# build. What must hold of a release on a machine of its own is told with P95 and P99.
PATIENT = 1500
BOUNDED = {"RATE": 60, "P95": 500, "P99": PATIENT}

if __name__ == "__main__":
    edge.run("scenarios", main)
