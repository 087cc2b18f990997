#!/usr/bin/env python3
"""Runs Tollgate's package and units under a real systemd, with clients that ask throughout.

Owns what this computer must be able to do, the order, the table and the exit code: 1
when something does not hold, 77 when nothing could be run (0 with --if-possible). It
says which and why.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

import packages
import scenarios
from machine import HOME, Failed, Machine, NotHere, able, image

NEEDED = ("mmdebstrap", "systemd-container", "curl", "dpkg", "debian-archive-keyring")


@dataclass
class Row:
    """A scenario that was run; `broken` is empty when everything held."""

    title: str
    broken: str
    counts: scenarios.Counts | None
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deb", metavar="FILE", help="the package; default: this tree's, with the binary of tests")
    parser.add_argument("--only", default="", help="scenarios whose function's name has one of these words, with commas")
    parser.add_argument("--again", action="store_true", help="what does not hold is run once more, and says so in the table")
    parser.add_argument("--if-possible", action="store_true", help="exit 0 where nothing can be run")
    args = parser.parse_args()
    words = args.only.split(",")
    chosen = [scenario for scenario in scenarios.ALL if any(word in scenario.__name__ for word in words)]
    try:
        rows = run(chosen, args.deb, args.again)
    except NotHere as why:
        print(f"NOT RUN: the {len(chosen)} scenarios under a real systemd: {why}")
        return 0 if args.if_possible else 77
    print(table(rows))
    broken = [row for row in rows if row.broken]
    for row in broken:
        print(f"\n{row.title}\n  {row.broken}")
    print(f"\n{len(rows) - len(broken)} of {len(rows)} scenarios hold")
    return 1 if broken else 0


def run(chosen: list, deb: str | None, again: bool) -> list[Row]:
    """All rows; `NotHere` when this computer cannot even boot a machine."""
    able(HOME, NEEDED)
    packages.build(deb)
    image()
    with Machine("probe", packages.FOLDER) as machine:
        version = machine.run("systemctl", "--version").stdout.splitlines()[0]
    print(f"{version}, in systemd-nspawn")
    return [twice(scenario) if again else row(scenario) for scenario in chosen]


def twice(scenario) -> Row:
    """Once more when it did not hold: what only fails on a machine that stood still is told, not fatal."""
    first = row(scenario)
    if not first.broken:
        return first
    second = row(scenario)
    second.title += f" (the 2nd time; first: {first.broken})"
    return second


def row(scenario) -> Row:
    """One scenario on a machine of its own."""
    title, begun = scenario.__doc__.splitlines()[0], time.monotonic()
    broken, counts = "", None
    try:
        with Machine(scenario.__name__, packages.FOLDER) as machine:
            machine.run("dpkg", "--install", f"/packages/{packages.CURRENT}")
            if scenario not in scenarios.AS_INSTALLED:
                scenarios.serve_config(machine)
            counts = scenario(machine)
    except (Failed, NotHere, subprocess.TimeoutExpired) as failure:
        broken = str(failure)
    found = Row(title, broken, counts, time.monotonic() - begun)
    print(f"  {'BROKEN' if broken else 'holds '}  {found.seconds:5.1f} s  {title}", file=sys.stderr, flush=True)
    return found


def table(rows: list[Row]) -> str:
    lines = [("scenario", "", "answered", "refused", "lost", "longest")]
    for found in rows:
        counts = asdict(found.counts) if found.counts else {}
        figures = (str(counts.get(name, "-")) for name in ("answered", "refused", "lost"))
        longest = f"{counts['longest'] * 1000:.0f} ms" if counts else "-"
        lines.append((found.title, "BROKEN" if found.broken else "holds", *figures, longest))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) if nth < 2 else cell.rjust(width)
                               for nth, (cell, width) in enumerate(zip(line, widths))) for line in lines)


if __name__ == "__main__":
    sys.exit(main())
