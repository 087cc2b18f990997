"""The gateway (or a peer) in front of the fleet, and the load through it.

Owns what differs from the other load tests' benches: the configuration, and that
origins are the fleet's. Ports, certificate and the life of children are theirs
(compare/peers.py). What the gateway says of itself comes from /metrics and from
its access log.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "edge"))

import gateway  # noqa: E402  (compare/ is importable from here on)
import peers  # noqa: E402
import slow_headers  # noqa: E402
from fleet import Fleet  # noqa: E402
from load import Sample  # noqa: E402
from network import DIES_WITH_US, Network  # noqa: E402


@dataclass
class Logged:
    """Of an access-log line: the request's number, how often it was tried, and where at last."""

    number: int
    attempts: int
    endpoint: str
    flag: str


class FaultBench(peers.Bench):
    """The zones, the fleet, and one gateway at a time."""

    def __init__(self, tollgate: str, origin: str) -> None:
        super().__init__({"tollgate": str(Path(tollgate).resolve()), "nginx": "nginx", "haproxy": "haproxy"})
        self.origin_binary = str(Path(origin).resolve())
        self.network: Network | None = None
        self.fleet: Fleet | None = None
        self.values: dict[str, object] = {}

    def start_origin(self) -> None:
        self.network = Network(ZONES)
        self.fleet = Fleet(self.network, self.origin_binary, self.dir)
        self.fleet.fresh()

    def __exit__(self, *exc: object) -> None:
        try:
            if self.fleet:
                self.fleet.end()
            if self.network:
                self.network.end()
        finally:
            super().__exit__(*exc)

    def serve(self, name: str, settings: str, endpoints: list[dict[str, object]]) -> peers.Running:
        """A fresh gateway or peer with an empty access log."""
        (self.dir / "access.log").unlink(missing_ok=True)
        self.configured = {"SETTINGS": settings, "ENDPOINTS": endpoints}
        running = self.start(name, DIES_WITH_US)
        for process in (running.process, *(one.process for one in self.fleet.origins.values())):
            slow_headers.go_first(process.pid)
        return running

    def arguments(self, name: str, values: dict[str, object]) -> list[str]:
        self.values = values
        if name != "tollgate":
            return self.peer_arguments(name, values)
        return ["run", "--config", self.configure(self.configured["ENDPOINTS"])]

    def configure(self, endpoints: list[dict[str, object]]) -> str:
        """Writes the gateway's configuration with these endpoints; its path."""
        told = {"SETTINGS": self.configured["SETTINGS"], "ENDPOINTS": json.dumps(endpoints)}
        return self.write(HERE / "tollgate.yaml.in", "tollgate.yaml", {**self.values, **told})

    def peer_arguments(self, name: str, values: dict[str, object]) -> list[str]:
        write, near = PEER_SERVER[name], [one for one in self.configured["ENDPOINTS"] if "region" not in one]
        lines = [write(nth, one["address"], one["zone"] != "z1") for nth, one in enumerate(near) if "weight" not in one]
        config = self.write(HERE / f"{name}.conf.in", f"{name}.conf", {**values, "SERVERS": JOIN.join(lines)})
        return ["-e", f"{self.dir}/nginx.err", "-c", config] if name == "nginx" else ["-db", "-f", config]

    def await_answer(self, process: subprocess.Popen[bytes], name: str, port: int, secure: bool, patience: float) -> None:
        """Returns after one good answer of the fleet."""
        deadline = time.monotonic() + patience
        while True:
            try:
                if peers.get(port, secure, 2).startswith(b"HTTP/1.1 200 "):
                    return
            except OSError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise peers.PeerFailed(f"{name} gave no good answer on {port}:\n{self.output(name)}")
            time.sleep(0.02)

    def load(self, running: peers.Running, rate: float) -> subprocess.Popen[str]:
        """Clients at work, until `finish`."""
        tls = ["--tls", str(running.tls)] if running.name == "tollgate" else []
        command = ["taskset", "-c", peers.GENERATOR_CPU, *DIES_WITH_US, sys.executable, str(HERE / "load.py"),
                   "--plain", str(running.plain), *tls, "--rate", str(rate)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )
        self.children.append(process)
        slow_headers.go_first(process.pid)
        return process

    def finish(self, clients: subprocess.Popen[str]) -> list[Sample]:
        """Every request they made, once the last of them ended."""
        report, _ = clients.communicate(timeout=60)
        self.children.remove(clients)
        if not report.startswith("REPORT "):
            raise peers.PeerFailed(f"clients ended with {clients.returncode}: {report}")
        return [Sample(*fields) for fields in json.loads(report.removeprefix("REPORT "))]

    def end_clients(self, clients: subprocess.Popen[str]) -> None:
        """Ends them if they were not let finish: the next row has its own."""
        if clients in self.children:
            self.children.remove(clients)
            peers.stop(clients, 3)

    def metrics(self) -> dict[tuple[str, str], float]:
        return gateway.metrics(self.values["METRICS"])

    def total(self, name: str, *having: str) -> int:
        return gateway.total(self.metrics(), name, *having)

    def logged(self) -> list[Logged]:
        """The access log so far, without the requests that waited for the gateway to start."""
        lines = (self.dir / "access.log").read_text().splitlines()
        return [logged(line) for line in map(json.loads, lines) if line["path"][1:].isdigit()]

    def reload(self) -> None:
        """`tollgate reload`, which waits; a refusal ends the run."""
        command = [self.binaries["tollgate"], "reload", "--socket", str(self.dir / "admin.sock")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise peers.PeerFailed(f"reload: {done.stdout}{done.stderr}")


def logged(line: dict) -> Logged:
    return Logged(int(line["path"][1:]), line["attempts"], line.get("endpoint") or "", line["flag"] or "")


ZONES = (1, 2, 3, 9)
JOIN = "\n        "
# One server in a peer's words: its number, its address, and whether it only helps out.
PEER_SERVER = {
    "nginx": lambda nth, at, is_spare: f"server {at} max_fails=3 fail_timeout=30s{' backup' if is_spare else ''};",
    "haproxy": lambda nth, at, is_spare: f"server e{nth} {at}{' backup' if is_spare else ''}",
}
