"""A real gateway with an origin behind it, on this machine's loopback, for one test."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BINARIES = ROOT / "target" / "debug"
PATIENCE = 30


class Gateway:
    """A folder, an origin and a gateway. In `config`, `@origin@` and `@folder@` stand for
    theirs, and `@NAME@` for the address of a port."""

    def __init__(self, config: str, ports: tuple[str, ...] = ("plain", "readiness", "metrics")) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tollgate-stack-"))
        self.port = dict(zip(ports, free_ports(len(ports))))
        self.children: list[subprocess.Popen] = []
        self.origin = ""
        self.config = config

    def __enter__(self) -> "Gateway":
        try:
            return self.begin()
        except BaseException:
            # What waited for a child must not leave it behind.
            self.__exit__()
            raise

    def begin(self) -> "Gateway":
        origin = self.child([BINARIES / "origin", "--listen", "127.0.0.1:0", "--exit-with-stdin"])
        self.origin = origin.stdout.readline().split()[-1]
        file = self.folder / "tollgate.yaml"
        stands = {"origin": self.origin, "folder": str(self.folder),
                  **{name: f"127.0.0.1:{port}" for name, port in self.port.items()}}
        file.write_text(re.sub(r"@(\w+)@", lambda found: stands[found[1]], self.config))
        self.process = self.child([BINARIES / "tollgate", "run", "--config", file])
        eventually(self.serves, "the gateway serves", self.said)
        return self

    def serves(self) -> bool:
        assert self.process.poll() is None, self.said()
        return self.get("readiness", "/readyz")[0] == 200

    def __exit__(self, *_) -> None:
        for child in self.children:
            # A stopped one ends by nothing else.
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                stream.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def socket(self) -> Path:
        return self.folder / "admin.sock"

    def child(self, words: list) -> subprocess.Popen:
        # Its words go to a file: a full pipe would stop it.
        with open(self.folder / f"{Path(words[0]).name}.log", "ab") as log:
            child = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=log, text=True)
        self.children.append(child)
        return child

    def said(self) -> str:
        return (self.folder / "tollgate.log").read_text()

    def get(self, port: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body; status 0 when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port[port], timeout=PATIENCE)
        try:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([BINARIES / "tollgate", *words], env={**os.environ, "TOLLGATE_SOCKET": str(self.socket)},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)

    def status(self) -> dict:
        return json.loads(self.command("status", "--json").stdout)


def eventually(holds, what: str, told=lambda: "") -> None:
    """Looks until it holds; fails with what was said after `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"not within {PATIENCE} s: {what}\n{told()}")
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return answer.read()
