"""What every proxy is asked to do, one slice at a time.

Owns the generators' command lines and what one slice measures. Does not own the
order of slices (compare.py) nor what is made of them (table.py). Generators run
on CPU 0 beside the origin; a slice with an error or a resumed session in it is
kept and told, never repaired.
"""

import json
import os
import random
import re
import subprocess
import sys

import limits
import measure
import signing
from peers import GENERATOR_CPU, HERE

DUTIES = {
    "plain": "cleartext, 64 keep-alive connections",
    "tls": "TLS 1.3, 64 keep-alive connections",
    "handshake": "a new full TLS 1.3 handshake for every request, 8 clients",
    **limits.DUTIES,
    **signing.DUTIES,
}
USUAL = ("plain", "tls", "handshake")
# Slices of handshakes scatter three times as much as the others: they get two rounds per block.
ROUNDS = {"handshake": 2}


class GeneratorFailed(Exception):
    """A generator ended without a report; the message is what it said."""


def slice_of(duty, bench, running, seconds):
    """Loads one proxy with one duty; what it cost and how it answered."""
    window = measure.Window(running.pid, bench.origin.pid)
    report = generate(command(duty, running, seconds), bench, seconds)
    if not report["requests"]:
        raise GeneratorFailed(f"{running.name} answered nothing to {duty}: {report}")
    return {**report, **window.close(), "rss_mb": measure.rss_mb(running.pid)}


def command(duty, running, seconds):
    if duty == "handshake":
        return [*full_handshakes(running), "--seconds", str(seconds), "--clients", "8"]
    if duty in limits.DUTIES:
        return keys(duty, running, seconds)
    return ["wrk", "-t1", "-c64", f"-d{seconds}s", "-s", str(HERE / "wrk_report.lua"), url(duty, running)]


def generate(arguments, bench, seconds):
    """Runs a generator and returns its `REPORT` line."""
    done = run(arguments, bench, timeout=seconds + 30)
    for line in done.stdout.splitlines():
        if line.startswith("REPORT "):
            return json.loads(line.removeprefix("REPORT "))
    raise GeneratorFailed(f"{arguments[0]}: {done.stdout}{done.stderr}")


def exactly(count, duty, bench, running, clients=8):
    """Sends exactly `count` requests, over `clients` connections if they are kept alive, or raises."""
    if duty == "handshake":
        report = generate([*full_handshakes(running), "--count", str(count)], bench, 600)
        if report["requests"] != count or report["resumed"]:
            raise GeneratorFailed(f"full handshakes on {running.name}: {report}")
        return
    field = ["-H", f"{limits.FIELD}: consumer-00004711"] if duty in limits.DUTIES else []
    done = run(["h2load", "--h1", f"-n{count}", f"-c{clients}", "-t1", *field, url(duty, running)], bench, 600)
    refused = re.search(r"(\d+) 4xx", done.stdout)
    # The first of those that are all refused uses the limit up.
    kept = duty == "refused" and refused and int(refused[1]) >= count - 2 and f"{count} done" in done.stdout
    if f"{count} succeeded" not in done.stdout and not kept:
        raise GeneratorFailed(f"h2load on {running.name}: {done.stdout}{done.stderr}")


def fill(bench, running):
    """Lets a request of every key through the limit that counts by it, and uses up the one that refuses."""
    report = generate(keys("limit-1m", running, 300, limits.KEYS, begin=0), bench, 300)
    if report["errors"] or report["requests"] < limits.KEYS:
        raise GeneratorFailed(f"{running.name} was to be asked with every key: {report}")
    print(f"{running.name}: {limits.KEYS} keys active", file=sys.stderr)
    exactly(100, "refused", bench, running)


def keys(duty, running, seconds, count=0, begin=None):
    """Keys of a million, from one at random on; `count` of them, or as many as there is time for."""
    begin = random.randrange(limits.KEYS) if begin is None else begin
    wanted = "429" if duty == "refused" else "200"
    return ["wrk", "-t1", "-c64", f"-d{seconds}s", "-s", str(HERE / "wrk_keys.lua"), url(duty, running),
            "--", str(begin), str(count), wanted, "0"]


def full_handshakes(running):
    return [sys.executable, str(HERE / "full_handshakes.py"), "--port", str(running.tls)]


def url(duty, running):
    if duty in signing.DUTIES:
        return f"https://127.0.0.1:{running.tls}{signing.path(duty)}"
    path = limits.path(duty) if duty in limits.DUTIES else "/"
    return f"https://127.0.0.1:{running.tls}/" if duty == "tls" else f"http://127.0.0.1:{running.plain}{path}"


def run(arguments, bench, timeout):
    return subprocess.run(
        ["taskset", "-c", GENERATOR_CPU, *arguments], capture_output=True, text=True, timeout=timeout,
        env={**os.environ, "OPENSSL_CONF": bench.openssl_conf},
    )
