#!/usr/bin/env python3
"""Builds the image with Packer and boots it, in containers and under qemu, with AWS on this
machine; as root.

Owns what this computer must be able to do, the order, the table and the exit code: 1
when something does not hold, 77 when nothing could be run (0 with --if-possible). Says
what it skipped, and why.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import boot
import build
import disk
import leaving
import ordering
import real_boot
from instance import HOME, Failed, NotHere
from machine import able
import packages

NEEDED = ("mmdebstrap", "systemd-container", "curl", "dpkg", "debian-archive-keyring", "packer", "openssh-client", "iproute2", "openssl")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deb", metavar="FILE", help="the package; default: this tree's, with the binary of tests")
    parser.add_argument("--only", default="", help="parts whose name has one of these words, with commas")
    parser.add_argument("--keep", action="store_true", help="boot the image of the last run, build none")
    parser.add_argument("--if-possible", action="store_true", help="exit 0 where nothing can be run")
    args = parser.parse_args()
    try:
        able(HOME, NEEDED)
        failed = run(args)
    except NotHere as why:
        print(f"NOT RUN: the image: {why}")
        return 0 if args.if_possible else 77
    return 1 if failed else 0


def run(args: argparse.Namespace) -> int:
    """How many parts do not hold; each is told when it is over."""
    failed = 0
    failed += not told("the template for both architectures", build.validate)
    if not args.keep:
        deb = Path(args.deb) if args.deb else packages.built()
        failed += not told("packer build", lambda: build.build(version(deb), deb))
        if failed:
            return failed
        # Before the files become a container's.
        failed += not told("the image as a disk", lambda: disk.make(build.FOLDER))
    boot.settled(build.FOLDER)
    words = args.only.split(",")
    for scenario in (*boot.ALL, *ordering.ALL, *leaving.ALL, *real_boot.ALL):
        if any(word in scenario.__name__ for word in words):
            run_it = real_boot.run if scenario in real_boot.ALL else boot.run
            failed += not told(scenario.__name__.replace("_", " "), lambda one=scenario, begin=run_it: begin(one, build.FOLDER))
    print(SKIPPED)
    return failed


SKIPPED = """SKIPPED: arm64: no such machine; the template is validated for it
SKIPPED: what EC2 makes of the image: moto only writes it down"""


def told(what: str, part) -> bool:
    begun = time.monotonic()
    try:
        outcome, holds = part(), True
    except Failed as why:
        outcome, holds = why, False
    except NotHere as why:
        outcome, holds = f"NOT RUN: {why}", True
    print(f"{'holds ' if holds else 'BROKEN'}  {what}, {time.monotonic() - begun:.0f} s: {outcome}", flush=True)
    return holds


def version(deb: Path) -> str:
    """The program's, which the package's begins with."""
    told = subprocess.run(["dpkg-deb", "--field", str(deb), "Version"], capture_output=True, text=True, check=True).stdout
    return told.strip().partition("-")[0]


if __name__ == "__main__":
    sys.exit(main())
