"""The endpoints behind the gateway: `origin` processes in the zones, and what is done to them.

Owns their life, their scripts and their logs. Each writes every request to a file
before it does anything with it, so that what a killed one got is known. `never` has
weight 0 in the configuration: not one request may be in its log.
"""

import json
import os
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import peers
from network import DIES_WITH_US, Network, Zone


class Origin:
    """One endpoint: its name, its zone, its address, and its process while it has one."""

    def __init__(self, binary: str, folder: Path, name: str, zone_name: str, zone: Zone, host: str) -> None:
        self.binary, self.name, self.zone_name, self.zone = binary, name, zone_name, zone
        self.address, self.log = host, folder / f"{name}.jsonl"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, without waiting until it listens."""
        command = [
            "taskset", "-c", peers.GENERATOR_CPU, *self.zone.enter, *DIES_WITH_US, self.binary,
            "--listen", self.address, "--name", self.name, "--zone", self.zone_name, "--log", str(self.log),
        ]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)

    def kill(self) -> None:
        """SIGKILL: its connections are reset, and nothing listens any more."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """SIGSTOP: the kernel still accepts for it, nobody reads."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, which: signal.Signals) -> None:
        if self.process:
            self.process.send_signal(which)

    def script(self, steps: str) -> None:
        """What it does from now on; nothing is the usual answer."""
        self.control(f"script?set={urllib.parse.quote(steps, safe='')}")

    def healthy(self, is_healthy: bool) -> None:
        """What its health path says from now on."""
        self.control(f"health?state={'up' if is_healthy else 'down'}")

    def control(self, path: str, method: str = "POST") -> None:
        request = urllib.request.Request(f"http://{self.reachable}/__origin/{path}", method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            answer.read()

    @property
    def reachable(self) -> str:
        """Where it is asked; one that listens on every address by its zone's first."""
        return self.address.replace("0.0.0.0", self.zone.address(2))

    def await_ready(self) -> None:
        """Returns once it answers."""
        deadline = time.monotonic() + 10
        while True:
            try:
                return self.control("health", "GET")
            except OSError as error:
                if time.monotonic() > deadline:
                    raise peers.PeerFailed(f"origin {self.name} at {self.reachable}: {error}") from None
                time.sleep(0.01)

    def requests(self) -> Iterator[tuple[str, str]]:
        """(method, target) of each request since its log was emptied."""
        if self.log.exists():
            for line in self.log.read_text().splitlines():
                request = json.loads(line)
                yield request["method"], request["target"]


class Fleet:
    """All endpoints, by name: `z1a` and `z1b` are in zone z1, and so on; z9 is another region; `many.z1` has 65,000
    addresses on port 9090."""

    def __init__(self, network: Network, binary: str, folder: Path) -> None:
        self.network = network
        self.origins: dict[str, Origin] = {}
        for zone_name, zone in network.zones.items():
            for nth, letter in enumerate("ab"):
                host = f"{zone.address(11 + nth)}:8080"
                self.add(Origin(binary, folder, f"{zone_name}{letter}", zone_name, zone, host))
            self.add(Origin(binary, folder, f"many.{zone_name}", zone_name, zone, "0.0.0.0:9090"))
        zone = network.zones["z2"]
        self.add(Origin(binary, folder, "never", "z2", zone, f"{zone.address(13)}:8080"))

    def add(self, origin: Origin) -> None:
        self.origins[origin.name] = origin

    def of(self, *zones: str) -> list[Origin]:
        """The two endpoints of each of these zones."""
        return [self.origins[f"{zone}{letter}"] for zone in zones for letter in "ab"]

    def fresh(self) -> None:
        """Everybody runs, does as usual, and has an empty log."""
        for zone in self.network.zones.values():
            zone.heals()
        for origin in self.origins.values():
            if origin.process is None:
                origin.start()
        for origin in self.origins.values():
            origin.thaw()
            origin.await_ready()
            origin.script("")
            origin.healthy(True)
            if origin.log.exists():
                os.truncate(origin.log, 0)

    def executed(self) -> Counter[str]:
        """How many times each POST came to any endpoint, by its target."""
        got = (one for origin in self.origins.values() for one in origin.requests())
        return Counter(target for method, target in got if method == "POST")

    def end(self) -> None:
        for origin in self.origins.values():
            origin.kill()
