"""Tollgate, nginx and HAProxy, and how each is told to change.

Owns configurations, the commands of a reload and of an upgrade, and when one is
done: the first answer, on a connection of its own, that says the new version. The
same for all three, since nginx acknowledges nothing. Origin, certificate and ports
are the other load tests' (compare/peers.py).
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import account
import measure
import peers

HERE = Path(__file__).resolve().parent


class ChangesBench(peers.Bench):
    """The temporary folder, the origin, and one server at a time."""

    def __init__(self, tollgate: str, origin: str, ceiling: int) -> None:
        # nginx starts its next binary by the path that it was called by, which has to be a whole one.
        peer = {name: shutil.which(name, path=PATH) or name for name in ("nginx", "haproxy")}
        super().__init__({"tollgate": str(Path(tollgate).resolve()), **peer})
        self.origin_binary, self.ceiling = str(Path(origin).resolve()), ceiling

    def start_origin(self) -> subprocess.Popen[bytes]:
        command = [self.origin_binary, "--listen", f"127.0.0.1:{self.origin_port}"]
        process = self.spawn("origin", peers.GENERATOR_CPU, command)
        answered(self.origin_port, "/__origin/health", b"up\n", 10)
        return process

    def bury(self) -> None:
        """Takes notice of the processes that a server left behind, once they ended."""
        account.bury({process.pid for process in self.children})


@dataclass
class Change:
    """A reload or an upgrade: when it was asked for, and until when it took."""

    kind: str
    asked: float
    # Seconds until the new version answered.
    serves: float
    # Seconds until the server said so itself; where it does.
    acknowledged: float | None
    # How often meanwhile a new connection was not served.
    refused: int


class Server:
    """A server that runs; a context manager that ends all of its processes."""

    name = ""
    # Its binary, and whose template its configuration is made from.
    program = ""
    # Whether a WebSocket that is cut at the ceiling is told so, by 1001.
    tells_websockets = False

    def __init__(self, bench: ChangesBench) -> None:
        self.bench, self.version = bench, 0
        self.plain, self.tls, ready, metrics = peers.free_ports(4)
        self.values = {
            "PLAIN": self.plain, "TLS": self.tls, "READY": ready, "METRICS": metrics, "CEILING": bench.ceiling,
        }

    def __enter__(self) -> "Server":
        self.configure()
        self.start()
        for _ in range(2):
            answered(self.plain, "/version", self.expected, 30)
        peers.get(self.tls, True, 10)
        return self

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + 5
        while pids := self.pids():
            for pid in pids:
                kill(pid, signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
            time.sleep(0.1)
            self.bench.bury()

    @property
    def expected(self) -> bytes:
        return f"version {self.version}".encode()

    def configure(self) -> None:
        values = {**self.values, "VERSION": self.expected.decode()}
        self.conf = self.bench.write(HERE / f"changes.{self.program}.in", f"{self.name}.conf", values)

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [self.bench.binaries[self.program], *arguments]
        return self.bench.spawn(self.program, peers.PROXY_CPU, command)

    def pids(self) -> list[int]:
        return account.processes(self.is_one)

    def account(self) -> account.Account:
        self.bench.bury()
        return account.taken(self.pids(), self.bench.origin_port)

    def change(self, kind: str) -> Change:
        """Makes the next version serve."""
        self.version += 1
        self.configure()
        self.prepare(kind)
        asked = time.monotonic()
        try:
            acknowledged = (self.reload if kind == "reload" else self.upgrade)()
            refused = answered(self.plain, "/version", self.expected, 60)
        except (subprocess.CalledProcessError, peers.PeerFailed) as failure:
            said = getattr(failure, "stderr", None) or failure
            raise peers.PeerFailed(f"{kind} of {self.name}: {said}\n{self.bench.output(self.program)}") from None
        serves = time.monotonic() - asked
        self.finish(kind)
        self.bench.bury()
        return Change(kind, asked, serves, acknowledged, refused)

    def prepare(self, kind: str) -> None:
        """What has to be waited for before a change."""

    def finish(self, kind: str) -> None:
        """What has to be said once the new version serves."""

    # For each server: `start`, `is_one` (whether a command line is one of its
    # processes), `reload` and `upgrade`, which return the acknowledgement's time.
    start: Callable[[], None]
    is_one: Callable[[str], bool]
    reload: Callable[[], float | None]
    upgrade: Callable[[], float | None]


class Tollgate(Server):
    name = program = "tollgate"

    def __init__(self, bench: ChangesBench) -> None:
        super().__init__(bench)
        # Older versions have one ceiling for everything.
        schema = subprocess.run([bench.binaries["tollgate"], "schema"], check=True, capture_output=True).stdout
        self.tells_websockets = b"max_drain_streams" in schema
        self.values["STREAMS"] = f", max_drain_streams: {bench.ceiling}s" if self.tells_websockets else ""

    def start(self) -> None:
        self.spawn("run", "--config", self.conf)

    def is_one(self, command: str) -> bool:
        return "tollgate\0run\0" in command and not command.startswith("taskset\0")

    def reload(self) -> float:
        asked = time.monotonic()
        self.command("reload")
        return time.monotonic() - asked

    def upgrade(self) -> float:
        return json.loads(self.command("upgrade", "--json"))["ready_after_ms"] / 1e3

    def command(self, *words: str) -> bytes:
        """What an operator types; it waits until it is done."""
        command = [self.bench.binaries["tollgate"], *words, "--socket", str(self.bench.dir / "admin.sock")]
        return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout


class Nginx(Server):
    """A reload is `nginx -s reload`; an upgrade USR2, and QUIT for the old master once new workers answer."""

    name = program = "nginx"

    def start(self) -> None:
        self.spawn(*self.arguments).wait(10)

    @property
    def arguments(self) -> tuple[str, ...]:
        return "-e", f"{self.bench.dir}/nginx.err", "-c", self.conf

    def is_one(self, command: str) -> bool:
        return command.startswith("nginx: ")

    @property
    def master(self) -> int:
        return int(measure.content(f"{self.bench.dir}/nginx.pid") or 0)

    def prepare(self, kind: str) -> None:
        """A new master listens to nobody as long as the old one lives."""
        self.old, deadline = self.master, time.monotonic() + self.bench.ceiling + 30
        while (self.bench.dir / "nginx.pid.oldbin").exists() and time.monotonic() < deadline:
            self.bench.bury()
            time.sleep(0.1)

    def reload(self) -> None:
        command = [self.bench.binaries["nginx"], *self.arguments, "-s", "reload"]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    def upgrade(self) -> None:
        kill(self.old, signal.SIGUSR2)

    def finish(self, kind: str) -> None:
        if kind == "upgrade":
            kill(self.old, signal.SIGQUIT)


class Haproxy(Server):
    """USR2 makes the master read its files and run its program anew: a reload and an upgrade in one."""

    name = program = "haproxy"
    # How a worker that ends treats connections on which nothing is under way.
    idle = ""

    def __init__(self, bench: ChangesBench) -> None:
        super().__init__(bench)
        self.values["IDLE"] = self.idle

    def start(self) -> None:
        self.master = self.spawn("-Ws", "-f", self.conf).pid

    def is_one(self, command: str) -> bool:
        return command.split("\0")[0].endswith("haproxy")

    def reload(self) -> None:
        kill(self.master, signal.SIGUSR2)

    upgrade = reload


class HaproxyIdle(Haproxy):
    """With the option that leaves them open until their next answer."""

    name = "haproxy-idle"
    idle = "option idle-close-on-response"


def answered(port: int, path: str, expected: bytes, patience: float) -> int:
    """Returns once a new connection is answered so; how many were not served at all meanwhile."""
    deadline, refused, answer = time.monotonic() + patience, 0, b"nothing"
    while time.monotonic() < deadline:
        try:
            answer = peers.get(port, False, 5, path)
            if answer.endswith(b"\r\n\r\n" + expected):
                return refused
        except OSError as error:
            refused, answer = refused + 1, repr(error).encode()
        time.sleep(0.002)
    raise peers.PeerFailed(f"no answer {expected!r} on {port}, at last {answer[-300:]!r}")


def kill(pid: int, which: signal.Signals) -> None:
    try:
        os.kill(pid, which)
    except ProcessLookupError:
        pass


# Debian puts servers where a user's PATH does not look.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
SERVERS = {"tollgate": Tollgate, "nginx": Nginx, "haproxy": Haproxy, "haproxy-idle": HaproxyIdle}
