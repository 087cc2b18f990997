"""The generators of the whole comparison: their command lines, and what they say.

Owns one slice of load on one proxy. Each of these functions makes what a duty needs:
`(proxy, seconds) -> Command`. Does not own which proxy is asked for what (suites.py).
"""

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import limits
import measure
from duties import GeneratorFailed
from peers import GENERATOR_CPU, HERE, ROOT


@dataclass
class Command:
    """A generator's command line, where @DIR@ is the bench's folder, and how its output becomes a report."""

    arguments: list
    read: Callable = field(default_factory=lambda: reported)
    groups: str = "X25519"


def slice_of(traffic, bench, running, seconds, again=3):
    """Loads one proxy once; what it cost and how it answered."""
    command = traffic(running, seconds)
    window = measure.Window(running.pid, bench.origin_of(running).pid)
    done = run(command, bench, seconds + 30)
    report = command.read(done.stdout)
    if again and report and not report["requests"] and not report["errors"]:
        # On a machine that others use whole a second may be over before the first answer: no figure, and no fault.
        print(f"{running.name}: nothing was asked in {seconds} s, once more: others use this machine", file=sys.stderr)
        return slice_of(traffic, bench, running, seconds, again - 1)
    if not report or not report["requests"]:
        raise GeneratorFailed(f"{running.name}: {command.arguments[0]} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return {"seconds": seconds, **report, **window.close(), "rss_mb": measure.rss_mb(running.pid)}


def run(command, bench, timeout):
    arguments = [one.replace("@DIR@", str(bench.dir)) for one in command.arguments]
    return subprocess.run(
        ["taskset", "-c", GENERATOR_CPU, *arguments], capture_output=True, text=True, timeout=timeout,
        env={**os.environ, "OPENSSL_CONF": bench.offers[command.groups]},
    )


def reported(out):
    return next((json.loads(line[7:]) for line in out.splitlines() if line.startswith("REPORT ")), None)


def wrk(path="/", secure=True, connections=64):
    def traffic(running, seconds):
        return Command(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / "wrk_report.lua"), url(running, path, secure)])

    return traffic


def keys(path="/", secure=False, wanted=200, routes=0):
    """A key of a million in each request, from one at random on, over so many routes."""
    def traffic(running, seconds, begin=None, count=0):
        begin = random.randrange(limits.KEYS) if begin is None else begin
        return Command(["wrk", "-t1", "-c64", f"-d{seconds}s", "-s", str(HERE / "wrk_keys.lua"),
                        url(running, path, secure), "--", *map(str, (begin, count, wanted, routes))])

    return traffic


def fill(traffic, bench, running, count=limits.KEYS):
    """A request of so many keys, so that each is known to the limit that counts by it; tells how it goes on."""
    print(f"{running.name}: {count:,} keys are sent, a minute on a quiet machine", file=sys.stderr)
    began = time.monotonic()
    done = run(traffic(running, 600, begin=0, count=count), bench, 630)
    report = reported(done.stdout)
    if not report or report["errors"] or report["requests"] < count:
        raise GeneratorFailed(f"{running.name} was to be asked with every key: {done.stdout}{done.stderr}")
    print(f"{running.name}: all are known after {time.monotonic() - began:.0f} s", file=sys.stderr)


def tokens(kind, path):
    """A bearer token in each request, one of many at random."""
    def traffic(running, seconds):
        command = wrk(path)(running, seconds)
        return Command([*command.arguments, "--", f"@DIR@/tokens/{kind}.tokens"])

    return traffic


def handshakes(*flags):
    def traffic(running, seconds):
        return Command([sys.executable, str(HERE / "full_handshakes.py"), "--port", str(running.tls),
                        "--seconds", str(seconds), "--clients", "8", *flags])

    return traffic


def pq_handshakes(running, seconds):
    return Command([str(PYTHON), str(HERE / "pq_handshakes.py"), "--port", str(running.tls), "--seconds", str(seconds)],
                   groups="X25519MLKEM768:X25519")


def http2(running, seconds):
    return Command(["h2load", "-t1", "-c8", "-m8", f"-D{seconds}", "--warm-up-time=0", url(running, "/", True)], h2load)


def posts(running, seconds):
    """A body to the upstream in each request, of some KiB whatever they are, over HTTP/2."""
    command = http2(running, seconds)
    return Command([*command.arguments[:-1], "-d", str(HERE / "wrk_keys.lua"), command.arguments[-1]], h2load)


def h2load(out):
    """h2load tells no percentiles: p50 is its mean."""
    counted = re.search(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed", out)
    took = re.search(r"finished in ([\d.]+)(m?s)", out)
    mean = re.search(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)", out)
    if not (counted and took and "h2" in (re.search(r"Application protocol: (\S+)", out) or [""])[0]):
        return None
    return {
        "requests": int(counted[2]), "errors": int(counted[3]), "seconds": float(took[1]) * UNITS[took[2]] / 1e6,
        "p50_us": float(mean[1]) * UNITS[mean[2]] if mean else 0, "p99_us": 0,
    }


def rate(per_second):
    """Open loop: what was due is sent, however late the answers are."""
    def traffic(running, seconds):
        return Command([str(LOAD), "--rate", str(per_second), "--duration", f"{seconds}s", "--connections", "64", "--insecure",
                        "-H", f"{limits.FIELD}: consumer-00004711", url(running, "/r00042/orders", True)], open_loop)

    return traffic


def open_loop(out):
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    if not lines:
        return None
    told = lines[0]
    good = sum(told["statuses"].values())
    return {
        "requests": good, "errors": told["due"] - good, "late": told["late"],
        "p50_us": told["latency_us"]["p50"], "p99_us": told["latency_us"]["p99"], "clock_p99_us": told["clock_us"]["p99"],
    }


def url(running, path, secure):
    return f"https://127.0.0.1:{running.tls}{path}" if secure else f"http://127.0.0.1:{running.plain}{path}"


UNITS = {"us": 1, "ms": 1e3, "s": 1e6}
# Of `make compare-all`: a build without LTO will do for a generator.
LOAD = ROOT / "target" / "stock" / "load"
PYTHON = ROOT / "target" / "peers" / "bin" / "python3"
