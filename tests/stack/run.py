#!/usr/bin/env python3
"""Runs the tests of the stack, each module in a process of its own, as many at a time as
there are cores. Prints a line for each, and all of what one that fails says.

    target/box/bin/python tests/stack/run.py [MODULE …]
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent


def main() -> int:
    names = sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("test_*.py"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        codes = list(pool.map(told, names))
    return 1 if any(codes) else 0


def told(name: str) -> int:
    begun = time.monotonic()
    # What the Makefile unpacked.
    path = f"{ROOT / 'target/prometheus/usr/bin'}:{os.environ['PATH']}"
    done = subprocess.run([sys.executable, "-B", "-W", "ignore", "-m", "unittest", "--verbose", f"tests.stack.{name}"], cwd=ROOT,
                          env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    lines = done.stdout.splitlines()
    took = f"{time.monotonic() - begun:.0f} s"
    if done.returncode:
        print(f"FAILED  {name}, {took}\n{done.stdout}", flush=True)
    else:
        count = sum(line.endswith(" ... ok") or line == "ok" for line in lines)
        skipped = [f"\nNOT RUN {name}: {line.partition('skipped ')[2]}" for line in lines if " ... skipped " in line or line.startswith("setUpClass") and "skipped" in line]
        print(f"ok      {name}: {count} tests, {took}{''.join(skipped)}", flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
