"""What a server is made of while it is changed: its processes, their files and memory.

Owns /proc. Every process that a server leaves behind becomes a child of this one
(`adopt`), so that none is overlooked. Connections to the origin that are kept are
not counted as files: how many there are is chance.
"""

import ctypes
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import measure


@dataclass
class Account:
    """At one instant, over all of a server's processes."""

    processes: int
    files: int
    megabytes: float
    # Open files by what they are: a path, or `socket`, `pipe` and the like.
    kinds: dict[str, int]


def adopt() -> None:
    """Orphans of our children are our children from now on."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no processes are left to us (prctl)")


def bury(ours: set[int]) -> None:
    """Takes notice of the end of those that became ours; `ours` are waited for elsewhere."""
    for pid in set(measure.tree(os.getpid())) - ours - {os.getpid()}:
        if not measure.content(f"/proc/{pid}/cmdline"):
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


def processes(is_one: Callable[[str], bool]) -> list[int]:
    """The server's processes, by what they are called."""
    return [pid for pid in measure.tree(os.getpid()) if is_one(measure.content(f"/proc/{pid}/cmdline"))]


def taken(pids: list[int], origin_port: int) -> Account:
    kept = inodes_towards(origin_port)
    names = [name for pid in pids for name in links(pid) if name.removeprefix("socket:[").rstrip("]") not in kept]
    return Account(len(pids), len(names), memory(pids), dict(Counter(name.partition(":[")[0] for name in names)))


def memory(pids: list[int]) -> float:
    """Pss in MiB of these alone; `measure.rss_mb` takes whole trees, and these stand in one another's."""
    lines = [line for pid in pids for line in measure.content(f"/proc/{pid}/smaps_rollup").splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def links(pid: int) -> list[str]:
    names = []
    for fd in measure.listing(f"/proc/{pid}/fd"):
        try:
            names.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return names


def inodes_towards(port: int) -> set[str]:
    """The sockets that are connected to a port."""
    lines = [line.split() for line in measure.content("/proc/net/tcp").splitlines()[1:]]
    return {fields[9] for fields in lines if fields[2].endswith(f":{port:04X}")}


class Most:
    """The most processes and memory while it runs, looked at each second; a context manager."""

    def __init__(self, is_one: Callable[[str], bool]) -> None:
        self.is_one, self.over = is_one, threading.Event()
        self.processes, self.megabytes = 0, 0.0
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self) -> "Most":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def run(self) -> None:
        while not self.over.wait(1):
            pids = processes(self.is_one)
            self.processes = max(self.processes, len(pids))
            self.megabytes = max(self.megabytes, memory(pids))


def settled(look: Callable[[], Account], wanted: Account, patience: float) -> Account:
    """What is left once there are no more processes and files than wanted, or patience ends."""
    deadline = time.monotonic() + patience
    while True:
        now = look()
        done = now.processes <= wanted.processes and now.files <= wanted.files
        if done or time.monotonic() > deadline:
            return now
        time.sleep(0.2)


PR_SET_CHILD_SUBREAPER = 36
