"""What idle connections cost in memory, one proxy after the other.

Owns the order of a run: a proxy is started and warmed, its memory read, the
connections opened (`idle_connections.py`), its memory read again, and from time
to time after they close. Pss counts shared pages once; pages that an allocator
keeps for later count, as they do for the operator.
"""

import subprocess
import sys
import time

import duties
import measure
from peers import GENERATOR_CPU, HERE, PeerFailed

# Seconds after the last connection closed.
AFTER = (5, 60)


def measure_idle(bench, names, count, progress):
    """`{name: {"per_connection_kib": …, "rss_mb": {…}}}`."""
    found = {}
    for name in names:
        running = bench.start(name)
        duties.exactly(2000, "tls", bench, running, clients=64)
        time.sleep(2)
        start = measure.rss_mb(running.pid)
        held, after = hold(running, count)
        found[name] = {
            "per_connection_kib": (held - start) * 1024 / count,
            "rss_mb": {"start": start, "held": held, **{f"after {s} s": mb for s, mb in after.items()}},
        }
        bench.stop(running)
        progress(f"{name}: {found[name]['per_connection_kib']:.1f} KiB for each of {count} connections")
    return found


def hold(running, count):
    """Memory with all connections open, and after they closed."""
    generator = subprocess.Popen(
        ["taskset", "-c", GENERATOR_CPU, sys.executable, str(HERE / "idle_connections.py"), str(running.tls), str(count)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    try:
        if generator.stdout.readline() != f"HELD {count}\n":
            raise PeerFailed(f"{running.name} did not hold {count} connections")
        time.sleep(3)
        held = measure.rss_mb(running.pid)
        generator.stdin.close()
        still = generator.stdout.readline()
        if still != f"OPEN {count}\n":
            raise PeerFailed(f"{running.name} ended idle connections: {still}")
    finally:
        generator.kill()
        generator.wait()
    return held, settle(running)


def settle(running):
    closed, after = time.monotonic(), {}
    for seconds in AFTER:
        time.sleep(max(0, closed + seconds - time.monotonic()))
        after[seconds] = measure.rss_mb(running.pid)
    return after
