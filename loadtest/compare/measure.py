"""Reads what the kernel charged: CPU time, memory, and the noise of neighbours.

Owns /proc, and that CPUs do not sleep while it is measured. CPU time comes from schedstat, in ns, over every thread of a process
and its descendants: /proc/PID/stat has steps of 10 ms. Softirq work is charged
to the sender, so a proxy on loopback pays the receive path of both its peers;
that is equal for all proxies.
"""

import contextlib
import os
import platform
import struct
import subprocess
import sys
import time
from pathlib import Path


@contextlib.contextmanager
def awake():
    """Idle CPUs poll for work as long as this is held; its value says whether it is.

    To wake one that sleeps takes an interrupt, which in a virtual machine costs whoever
    sends it microseconds: a proxy that is waited for would pay them for each request.
    """
    try:
        held = os.open(LATENCY, os.O_WRONLY)
    except OSError as error:
        print(f"idle CPUs sleep, which whoever wakes them pays for: {LATENCY}: {error.strerror}", file=sys.stderr)
        yield False
        return
    try:
        # Microseconds that waking may take. The kernel forgets it when the file is closed.
        os.write(held, struct.pack("=i", 0))
        yield True
    finally:
        os.close(held)


def tree(pid):
    """The process and its descendants that are alive."""
    pids = [pid]
    for task in listing(f"/proc/{pid}/task"):
        for child in content(f"/proc/{pid}/task/{task}/children").split():
            pids += tree(int(child))
    return pids


def cpu_ns(pid):
    """CPU time of the process tree so far; threads that ended are not in it."""
    total = 0
    for member in tree(pid):
        for task in listing(f"/proc/{member}/task"):
            total += int((content(f"/proc/{member}/task/{task}/schedstat").split() or ["0"])[0])
    return total


def rss_mb(pid):
    """Resident memory of the process tree in MiB; shared pages once (Pss)."""
    kib = 0
    for member in tree(pid):
        for line in content(f"/proc/{member}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                kib += int(line.split()[1])
    return kib / 1024


def busy_seconds():
    """What all cores worked so far, whoever asked for it."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = (
        int(field) for field in content("/proc/stat").split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Window:
    """What a proxy, the origin and everybody else used between two instants.

    `generator` is known only when it has ended: the children that this process
    waited for inside the window.
    """

    def __init__(self, proxy, origin):
        self.pids = (proxy, origin)
        self.at = self.read()

    def read(self):
        times = os.times()
        ours = times.user + times.system + times.children_user + times.children_system
        return (time.monotonic(), *(cpu_ns(pid) for pid in self.pids), busy_seconds(), ours)

    def close(self):
        wall, proxy, origin, busy, ours = (b - a for a, b in zip(self.at, self.read()))
        foreign = (busy - ours - (proxy + origin) / 1e9) / wall
        return {
            "cpu_us": proxy / 1000,
            "origin_cpu_us": origin / 1000,
            "utilisation": proxy / 1e9 / wall,
            "foreign_cpu": max(0.0, foreign),
        }


def machine():
    """Where and when this was measured."""
    model = next(
        (line.split(":", 1)[1].strip() for line in content("/proc/cpuinfo").splitlines() if "model name" in line),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "system": os_name(),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def version(*command):
    """The first line that a program prints about itself, or `unknown`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"


def os_name():
    for line in content("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.split("=", 1)[1].strip('"')
    return platform.system()


def content(path):
    """The file's text, or nothing: processes and threads end while we look."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def listing(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


LATENCY = "/dev/cpu_dma_latency"
