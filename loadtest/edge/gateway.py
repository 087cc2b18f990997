"""The gateway and the origin of the edge's measurements, and what /metrics says.

Owns what differs from the comparison's bench: the configuration (three listeners:
cleartext, TLS, TLS behind PROXY headers) and a large file at the origin. Ports,
certificate and the life of every child are the comparison's (compare/peers.py).
"""

import re
import signal
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "compare"))

import peers  # noqa: E402

TOLLGATE = str(peers.ROOT / "target" / "release" / "tollgate")
LARGE = 256 << 10


class EdgeBench(peers.Bench):
    """The temporary folder, the origin and the gateway; `connections` is that section of the configuration."""

    def __init__(self, tollgate, connections="{}"):
        super().__init__({"nginx": "nginx", "tollgate": tollgate})
        self.connections = connections
        self.metrics_port = self.proxied = None

    def start_origin(self):
        (self.dir / "large").write_bytes(b"x" * LARGE)
        return super().start_origin()

    def arguments(self, name, values):
        self.metrics_port, self.proxied = values["METRICS"], peers.free_ports(1)[0]
        values = {**values, "PROXIED": self.proxied, "CONNECTIONS": self.connections}
        return ["run", "--config", self.write(HERE / "tollgate.yaml.in", "tollgate.yaml", values)]

    def metrics(self):
        """`{(name, labels as written): value}`."""
        return metrics(self.metrics_port)

    def ended_early(self, listener):
        """`{reason: connections}` so far, those that are not 0."""
        return {
            re.search('reason="([^"]*)"', labels)[1]: int(value)
            for (name, labels), value in self.metrics().items()
            if name == "tollgate_connections_ended_early_total" and f'listener="{listener}"' in labels and value
        }

    def total(self, name, *having):
        """The sum of a metric over all its series that have these labels."""
        return total(self.metrics(), name, *having)


def metrics(port):
    """What a gateway says at its metrics port: `{(name, labels as written): value}`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return {(m["name"], m["labels"] or ""): float(m["value"]) for line in lines if (m := SAMPLE.match(line))}


def total(found, name, *having):
    """The sum of a metric over all its series that have these labels."""
    return int(sum(v for (of, labels), v in found.items() if of == name and all(one in labels for one in having)))


def run(script, work):
    """Ends with what `work` returns; a child that fails or an interrupt is one line, and ends every child."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(work())
    except peers.PeerFailed as failure:
        sys.exit(f"{script}: {failure}")
    except KeyboardInterrupt:
        sys.exit(f"{script}: interrupted, every child was ended")


SAMPLE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
