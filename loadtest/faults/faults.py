#!/usr/bin/env python3
"""Runs the fault matrix: each fault through the real gateway, with a network namespace per zone.

Owns the order of a row (fresh fleet, fresh gateway, quiet, fault, after), the table
and the exit code. What is injected and what must hold is in rows_*.py; what figures
mean in figures.py. Exits 1 when a figure that must hold does not.
"""

import argparse
import json
import sys
import time

from bench import FaultBench  # first: the other load tests' modules are importable from here on
from fault import Fault
from figures import Run, broken, ends, figures
from settings import PEER_ROWS

import gateway
import measure
import peers
import rows_endpoint
import rows_gateway
import rows_zone
import table

ALL = [*rows_endpoint.ROWS, *rows_zone.ROWS, *rows_gateway.ROWS]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tollgate", default=gateway.TOLLGATE, metavar="PATH")
    parser.add_argument("--origin", default=str(peers.ROOT / "target" / "debug" / "origin"), metavar="PATH")
    parser.add_argument("--peer", choices=("nginx", "haproxy"), help="the rows that it can run, instead of Tollgate")
    parser.add_argument("--quick", action="store_true", help="3 minutes; p99 of so few requests is told, not judged")
    parser.add_argument("--rows", default="", help="only rows whose name has one of these words, with commas")
    parser.add_argument("--rate", type=float, default=200, help="requests a second (default 200)")
    parser.add_argument("--json", metavar="FILE", help="where every figure goes")
    args = parser.parse_args()
    words = args.rows.split(",")
    rows = [row for row in ALL if any(word in row.name for word in words)]
    rows = [row for row in rows if not args.quick or row.is_quick or args.rows]
    if args.peer:
        rows = [row for row in rows if row.name in PEER_ROWS]
    with FaultBench(args.tollgate, args.origin) as bench:
        found = [told_of(row, bench, args) for row in rows]
    report = {"machine": measure.machine(), "gateway": args.peer or "tollgate", "quick": args.quick,
              "rate": args.rate, "rows": found}
    print(f"{report['machine']['cpu']}, {report['machine']['date']}\n\n{told(found)}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
    return 1 if any(row["broken"] for row in found) else 0


def told_of(row: Fault, bench: FaultBench, args: argparse.Namespace) -> dict:
    """A row that could not be run to its end is one that does not hold; the others go on."""
    print(f"{row.name} …", file=sys.stderr, flush=True)
    row.is_short = args.quick
    try:
        report = ran(bench, row, args)
    except (peers.PeerFailed, OSError) as failure:
        report = {"figures": {}, "ends": {}, "broken": [f"could not be run: {failure}"]}
    print(f"  {'; '.join(report['broken']) or 'holds'}  {report['ends']}", file=sys.stderr, flush=True)
    return {"name": row.name, "settings": row.settings_now, **report}


def ran(bench: FaultBench, row: Fault, args: argparse.Namespace) -> dict:
    """One row: its figures, how requests ended, and what does not hold."""
    bench.fleet.fresh()
    running = bench.serve(args.peer or "tollgate", row.settings_now, row.endpoints(bench))
    clients = bench.load(running, args.rate)
    time.sleep(row.time(row.quiet))
    try:
        windows = row.run(bench)
        time.sleep(row.time(row.after))
        run = Run(bench.finish(clients), [], windows, {one.address for one in row.dead(bench)}, bench.fleet.executed(),
                  sum(1 for _ in bench.fleet.origins["never"].requests()))
        if not args.peer:
            run.logged, run.extra = bench.logged(), counted(bench)
        run.extra |= row.figures(run)
    finally:
        bench.end_clients(clients)
        bench.stop(running)
    found = figures(run)
    limits = {} if args.peer else row.limits_now
    return {"figures": found, "ends": ends(run.samples), "limits": limits, "broken": broken(found, limits)}


def counted(bench: FaultBench) -> dict[str, float]:
    """What the gateway counted in the whole row."""
    now = bench.metrics()
    return {
        "ejections": gateway.total(now, "tollgate_upstream_ejections_total"),
        "retries": gateway.total(now, "tollgate_upstream_retries_total", 'result="sent"'),
        "retries_over_budget": gateway.total(now, "tollgate_upstream_retries_total", 'result="over_budget"'),
        "panics": gateway.total(now, "tollgate_panics_total"),
    }


def told(found: list[dict]) -> str:
    """The table, what single rows have beside it, and what does not hold."""
    failed = [f"{row['name']}: {why}" for row in found for why in row["broken"]]
    own = [f"{row['name']}: {', '.join(beside)}" for row in found if (beside := beside_table(row["figures"]))]
    lines = [["", *COLUMNS], *([row["name"], *cells(row["figures"])] for row in found)]
    return "\n".join([table.align(lines), "", *own, "", *(failed or ["everything that must hold does"])])


def cells(figures_of: dict[str, float]) -> list[str]:
    return [form.format(figures_of[name]) if name in figures_of else "-" for name, form in COLUMNS.values()]


def beside_table(figures_of: dict[str, float]) -> list[str]:
    return [f"{name} {figure:.4g}" for name, figure in figures_of.items() if name not in COMMON]


COLUMNS = {
    "requests": ("requests", "{:.0f}"),
    "lost GET": ("lost_get", "{:.0f}"),
    "lost POST": ("lost_post", "{:.0f}"),
    "in flight": ("post_in_flight", "{:.0f}"),
    "twice": ("twice", "{:.0f}"),
    "weight 0": ("weight_zero", "{:.0f}"),
    "routed ms": ("routed_ms", "{:.0f}"),
    "last bad ms": ("last_bad_ms", "{:.0f}"),
    "recovered ms": ("recovered_ms", "{:.0f}"),
    "p99 quiet": ("p99_quiet_ms", "{:.1f}"),
    "p99 inside": ("p99_inside_ms", "{:.1f}"),
    "p99 outside": ("p99_outside_ms", "{:.1f}"),
    "longest": ("longest_ms", "{:.0f}"),
    "ejected": ("ejections", "{:.0f}"),
    "retries": ("retries", "{:.0f}"),
}
# In the table or of no use there; what else a row has is told below it.
COMMON = {name for name, _ in COLUMNS.values()} | {
    "lost_post_unseen", "lost_after", "corrupt", "p50_quiet_ms", "p99_outside_ratio", "most_in_flight",
    "retries_over_budget", "panics",
}

if __name__ == "__main__":
    gateway.run("faults", main)
