#!/usr/bin/env python3
"""Shows an instrumented Tollgate the work it will do, so that the compiler can be told of it.

Owns which duties a profile is made of (`make pgo`) and that each process ends by
itself: profiles are written at a clean exit, to where LLVM_PROFILE_FILE says. Setups and
generators are those of the comparison. It judges no speed; a request that failed ends it
with 1, because a profile of failures is worse than none.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import arena
import compare
import duties
import generators as by
import limits
import peers
import signers
import verified

NEEDED = ("nginx", "wrk", "h2load", "openssl", "taskset")


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if missing := [tool for tool in NEEDED if not shutil.which(tool)]:
        sys.exit(f"train: missing {', '.join(missing)}; on Debian: "
                 f"apt-get install {' '.join(sorted({compare.PACKAGES[tool] for tool in missing}))}")
    if not shutil.which(args.tollgate):
        sys.exit(f"train: {args.tollgate} is not there, or is no program")
    try:
        with arena.Arena({"nginx": "nginx", "tollgate": args.tollgate}) as bench:
            wrong = [line for setup, traffics in DUTIES.items() for line in trained(bench, setup, traffics, args.seconds)]
    except (peers.PeerFailed, duties.GeneratorFailed) as failure:
        sys.exit(f"train: {failure}")
    for line in wrong:
        print(f"train: {line}", file=sys.stderr)
    return 1 if wrong else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tollgate", required=True, metavar="PATH", help="the binary, as instrumented as it may be")
    parser.add_argument("--seconds", type=int, default=2, help="how long each duty is done (default 2)")
    args = parser.parse_args()
    # Proxies run in folders of their own.
    args.tollgate = str(Path(args.tollgate).resolve())
    return args


def trained(bench, setup, traffics, seconds):
    """What went wrong while one process did all duties of a setup."""
    running = bench.proxy("tollgate", setup)
    wrong = []
    for duty, traffic in traffics.items():
        done = by.slice_of(traffic, bench, running, seconds)
        print(f"{setup}, {duty}: {done['requests']} requests", file=sys.stderr)
        if done["errors"]:
            wrong.append(f"{setup}, {duty}: {done['errors']} errors in {done['requests']} requests")
    return wrong + ended(running, setup)


def ended(running, setup):
    """Ends the process as systemd does; a profile is there only when it ended well."""
    running.process.send_signal(signal.SIGTERM)
    try:
        code = running.process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        return [f"{setup}: tollgate did not end within {PATIENCE} s of SIGTERM: it wrote no profile"]
    return [f"{setup}: tollgate ended with {code}, not with 0: it wrote no profile"] if code else []


# Longer than Tollgate gives its clients; all of ours are gone by then.
PATIENCE = 60
# By setup; each is one process. No rates: they need a program of ours, and idle time trains nothing.
DUTIES = {
    "usual": {
        "cleartext": by.wrk(secure=False), "TLS": by.wrk(), "HTTP/2": by.http2, "POST": by.posts,
        "64 KiB": by.wrk("/64k"), "handshakes": by.handshakes(),
    },
    "log": {"TLS": by.wrk()},
    "limits": {duty: by.keys(limits.path(duty)) for duty in limits.DUTIES if duty != "refused"},
    "full": {"a thousand routes": by.keys("/", secure=True, routes=signers.FULL_ROUTES)},
    "signers": {kind: by.wrk(signers.path(kind)) for kind in ("kept", "es256")},
    "verified": {kind: by.tokens(kind, path) for kind, path in verified.PATHS.items()},
    "verified-each": {"es256": by.tokens("es256", verified.PATHS["es256"])},
    "tickets": {"resumed": by.handshakes("--resume")},
}

if __name__ == "__main__":
    sys.exit(main())
