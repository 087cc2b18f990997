"""Three zones of origins and a gateway in front: what the scenarios run against.

Owns the zones, which can be killed and started again, what is to happen in the middle
of a scenario (over HTTP, for k6), and the gateway's own account by its access log.
Starting, reloading and upgrading the gateway is the changes' (changes/servers.py),
ports and certificate are the comparison's (compare/peers.py).
"""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOADTEST = HERE.parent
sys.path += [str(LOADTEST / "changes"), str(LOADTEST / "edge"), str(LOADTEST / "compare")]

import account  # noqa: E402
import peers  # noqa: E402
import servers  # noqa: E402

ZONES = ("use1-az1", "use1-az2", "use1-az3")


class ScenarioBench(servers.ChangesBench):
    """The temporary folder and the three zones."""

    def __init__(self, tollgate: str, origin: str) -> None:
        super().__init__(tollgate, origin, ceiling=10)
        self.zones: dict[str, tuple[int, subprocess.Popen[bytes]]] = {}

    def start_origin(self) -> subprocess.Popen[bytes]:
        keys = self.dir / "jwt"
        keys.mkdir(mode=0o700)
        subprocess.run(
            ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", keys / "a.pem"],
            check=True, capture_output=True, umask=0o077,
        )
        for zone, port in zip(ZONES, peers.free_ports(len(ZONES))):
            self.start_zone(zone, port)
        return self.zones[ZONES[0]][1]

    def start_zone(self, zone: str, port: int) -> None:
        command = [self.origin_binary, "--listen", f"127.0.0.1:{port}", "--name", zone, "--zone", zone]
        self.zones[zone] = port, self.spawn(f"origin-{zone}", EVERY_CPU, command)
        servers.answered(port, "/__origin/health", b"up\n", 10)

    def kill_zone(self, zone: str) -> None:
        """As a machine that is gone: no connection is closed in order."""
        _, process = self.zones[zone]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        self.children.remove(process)

    def revive_zone(self, zone: str) -> None:
        self.start_zone(zone, self.zones[zone][0])

    def endpoints(self) -> str:
        each = [f'{{ address: "127.0.0.1:{port}", zone: {zone} }}' for zone, (port, _) in self.zones.items()]
        return f"[ {', '.join(each)} ]"


class Gateway(servers.Tollgate):
    """A gateway of its own for one scenario: counts begin at 0."""

    bench: ScenarioBench

    def __init__(self, bench: ScenarioBench, scenario: str) -> None:
        super().__init__(bench)
        self.proxied, self.metrics = peers.free_ports(1)[0], self.values["METRICS"]
        self.log = bench.dir / f"{scenario}.log"
        self.values |= {"PROXIED": self.proxied, "LOG": self.log.name, "ENDPOINTS": bench.endpoints()}

    def configure(self) -> None:
        values = {**self.values, "VERSION": self.expected.decode()}
        self.conf = self.bench.write(HERE / "scenarios.yaml.in", "tollgate.yaml", values)

    def logged(self) -> Counter[int]:
        """Statuses of the scenario's own requests; those of the bench ask for other paths."""
        lines = [json.loads(line) for line in self.log.read_bytes().split(b"\n") if line.endswith(b"}")]
        return Counter(line["status"] for line in lines if line["path"].startswith("/load/"))

    def settled(self, wanted: Counter[int]) -> Counter[int]:
        """What is logged, once it is what is wanted or the log's writer had its time."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.logged()) != wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        return found


class Events:
    """Does what k6 asks for, by POST of its name; a context manager."""

    def __init__(self, bench: ScenarioBench, gateway: Gateway) -> None:
        self.done: list[str] = []
        deeds = {
            "kill": lambda: bench.kill_zone(ZONES[0]),
            "revive": lambda: bench.revive_zone(ZONES[0]),
            "reload": lambda: gateway.change("reload"),
            "upgrade": lambda: gateway.change("upgrade"),
        }
        events = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                name = self.path.strip("/")
                try:
                    deeds[name]()
                    events.done.append(name)
                    status, said = 200, "done"
                except (KeyError, OSError, peers.PeerFailed) as failure:
                    status, said = 500, repr(failure)
                self.send_response(status)
                self.send_header("Content-Length", str(len(said.encode())))
                self.end_headers()
                self.wfile.write(said.encode())

            def log_message(self, *_: object) -> None:
                """k6 tells what went wrong."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Events":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class Memory(account.Most):
    """A gateway's memory, looked at twice a second; a context manager."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway.is_one)
        self.samples: list[float] = []

    def run(self) -> None:
        while not self.over.wait(0.5):
            self.samples.append(account.memory(account.processes(self.is_one)))

    def told(self) -> tuple[float, float]:
        """MiB: the most of the second quarter, when pools and tables are warm, and of the last."""
        quarter = max(1, len(self.samples) // 4)
        return max(self.samples[quarter : 2 * quarter]), max(self.samples[-quarter:])

    def curve(self) -> list[float]:
        """MiB: the most of each twelfth."""
        ends = [len(self.samples) * nth // 12 for nth in range(13)]
        return [round(max(self.samples[begin:end]), 1) for begin, end in zip(ends, ends[1:]) if end > begin]


EVERY_CPU = f"0-{(os.cpu_count() or 1) - 1}"
# Seconds for the access log's writer to catch up.
PATIENCE = 10
__all__ = ["Events", "Gateway", "LOADTEST", "Memory", "ScenarioBench", "ZONES", "peers"]
