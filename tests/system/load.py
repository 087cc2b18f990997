"""Traffic towards a machine, from processes outside that are in its network only."""

import json
import subprocess
import sys
from dataclasses import dataclass

from machine import HERE, HOME, ROOT, Failed, Machine

CLIENTS = 8


@dataclass
class Counts:
    """How requests ended."""

    answered: int = 0
    refused: int = 0
    unreached: int = 0
    lost: int = 0
    longest: float = 0.0


class Load:
    """Clients that ask throughout; a context manager. `counts` is there when it has ended."""

    def __init__(self, machine: Machine, port: int = 8080, path: str = "/") -> None:
        self.command = [*machine.enter("--net"), sys.executable, str(HERE / "clients.py"), machine.address, str(port), path, str(machine.clients or CLIENTS)]
        self.counts = Counts()

    def __enter__(self) -> "Load":
        self.clients = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.clients.stdout.readline() != "asking\n":
            raise Failed("the clients did not begin")
        return self

    def __exit__(self, *_) -> None:
        told, _ = self.clients.communicate(timeout=60)
        self.counts = Counts(**json.loads(told.splitlines()[-1]))


class Origin:
    """An endpoint on 127.0.0.1:7001 of the machine; a context manager."""

    def __init__(self, machine: Machine) -> None:
        binary, self.log = ROOT / "target" / "debug" / "origin", HOME / "origin.log"
        self.log.unlink(missing_ok=True)
        self.command = [*machine.enter("--net"), str(binary), "--listen", "127.0.0.1:7001",
                        "--log", str(self.log), "--exit-with-stdin"]

    def __enter__(self) -> "Origin":
        self.origin = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.origin.stdout.readline()
        return self

    def __exit__(self, *_) -> None:
        self.origin.stdin.close()
        self.origin.wait(10)

    def heard(self) -> int:
        """How many requests have reached it, those under way too."""
        return self.log.read_text().count('"/origin') if self.log.exists() else 0


class Request:
    """One request under way; `outcome` waits for it: the status, or why there is none."""

    def __init__(self, machine: Machine, path: str, port: int = 8080) -> None:
        command = ["curl", "--silent", "--show-error", "--max-time", "60", "--output", "/dev/null",
                   "--write-out", "%{http_code}", f"http://127.0.0.1:{port}{path}"]
        self.curl = subprocess.Popen([*machine.enter("--net"), *command],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def outcome(self) -> str:
        out, err = self.curl.communicate()
        return out if out != "000" else err.strip()
