"""The three things that every proxy is asked to do, one slice at a time.

Owns the generators' command lines and what one slice measures. Does not own the
order of slices (compare.py) nor what is made of them (table.py). Generators run
on CPU 0 beside the origin; a slice with an error or a resumed session in it is
kept and told, never repaired.
"""

import json
import os
import subprocess
import sys

import measure
from peers import GENERATOR_CPU, HERE

DUTIES = {
    "plain": "cleartext, 64 keep-alive connections",
    "tls": "TLS 1.3, 64 keep-alive connections",
    "handshake": "a new full TLS 1.3 handshake for every request, 8 clients",
}
# Slices of handshakes scatter three times as much as the others: they get two rounds per block.
ROUNDS = {"plain": 1, "tls": 1, "handshake": 2}


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
    done = run(["h2load", "--h1", f"-n{count}", f"-c{clients}", "-t1", url(duty, running)], bench, 600)
    if f"{count} succeeded" not in done.stdout:
        raise GeneratorFailed(f"h2load on {running.name}: {done.stdout}{done.stderr}")


def full_handshakes(running):
    return [sys.executable, str(HERE / "full_handshakes.py"), "--port", str(running.tls)]


def url(duty, running):
    return f"https://127.0.0.1:{running.tls}/" if duty == "tls" else f"http://127.0.0.1:{running.plain}/"


def run(arguments, bench, timeout):
    return subprocess.run(
        ["taskset", "-c", GENERATOR_CPU, *arguments], capture_output=True, text=True, timeout=timeout,
        env={**os.environ, "OPENSSL_CONF": bench.openssl_conf},
    )
