#!/usr/bin/env python3
"""Measures how long a gateway that was told to end takes: idle, busy, and at its ceilings.

Owns four cases, each with a gateway of its own that gets SIGTERM: nobody is
connected; clients ask without rest, each answer taking 100 ms; a download, events
and WebSockets that never end; the same, and a second SIGTERM. Clients do as
`Connection: close` asks and stop when they are refused. Exits 1 when a request was
lost, when an idle gateway took a second or more, when a stream was cut before its
ceiling or a WebSocket without a close frame. The gateway and everyone else share
the machine.
"""

import argparse
import json
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "edge"))

import gateway  # noqa: E402  (compare/ is importable from here on)
import peers  # noqa: E402
import table  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tollgate", default=gateway.TOLLGATE, metavar="PATH")
    parser.add_argument("--origin", default=str(peers.ROOT / "target" / "debug" / "origin"), metavar="PATH")
    parser.add_argument("--rounds", type=int, default=10, help="of the idle and the busy case (default 10)")
    parser.add_argument("--clients", type=int, default=50, help="of the busy case (default 50)")
    parser.add_argument("--json", metavar="FILE", help="where every figure goes")
    args = parser.parse_args()
    ceilings = f"{{ max_drain: {REQUESTS}s, max_drain_streams: {STREAMS}s }}"
    with DrainBench(args.tollgate, args.origin, ceilings) as bench:
        idle = [idle_round(bench) for _ in range(args.rounds)]
        busy = [busy_round(bench, args.clients) for _ in range(args.rounds)]
        ceiling = ceiling_round(bench, second=False)
        second = ceiling_round(bench, second=True)
    report = {"idle": idle, "busy": busy, "ceiling": ceiling, "second signal": second}
    report["wrong"] = wrong(report)
    print(told(report))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
    return 1 if report["wrong"] else 0


class DrainBench(gateway.EdgeBench):
    """The edge's bench with an origin that is slow, streams and speaks WebSocket."""

    def __init__(self, tollgate, origin, connections):
        super().__init__(str(Path(tollgate).resolve()), connections)
        self.origin_binary = str(Path(origin).resolve())

    def start_origin(self):
        script = "body=" + peers.BODY.replace(",", "\\,")
        command = [self.origin_binary, "--listen", f"127.0.0.1:{self.origin_port}", "--script", script]
        process = self.spawn("origin", peers.GENERATOR_CPU, command)
        self.await_answer(process, "origin", self.origin_port, False, 10)
        return process


def ends(bench, running):
    """Tells the gateway to end; returns seconds until it has."""
    told = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    running.process.wait(STREAMS + 30)
    bench.children.remove(running.process)
    if running.process.returncode:
        raise peers.PeerFailed(f"the gateway ended with {running.process.returncode}:\n{bench.output('tollgate')}")
    return time.monotonic() - told


def idle_round(bench):
    return ends(bench, bench.start("tollgate"))


@dataclass
class Work:
    """What clients that never rest were answered, and when last."""

    answered: int = 0
    refused: int = 0
    lost: list[str] = field(default_factory=list)
    last: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


def busy_round(bench, count):
    """`count` clients, half of which keep their connections."""
    running, work = bench.start("tollgate"), Work()
    clients = [threading.Thread(target=client, args=(running.plain, work, nth % 2 == 0)) for nth in range(count)]
    for one in clients:
        one.start()
    while work.answered < 3 * count:
        time.sleep(0.01)
    told = time.monotonic()
    seconds = ends(bench, running)
    for one in clients:
        one.join(20)
    after = told + seconds - work.last
    return {"seconds": seconds, "after_last_answer": after, "answered": work.answered, "lost": work.lost}


def client(port, work, keeps):
    """Asks until it is refused a connection, which is the end and no loss."""
    while True:
        try:
            sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        except OSError:
            with work.lock:
                work.refused += 1
            return
        with sock:
            try:
                while ask(sock, work) and keeps:
                    pass
            except (OSError, ValueError) as error:
                with work.lock:
                    work.lost.append(repr(error))
                return


def ask(sock, work):
    """One request; whether another may follow on the connection."""
    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nx-origin: delay=100ms,body=hello\r\n\r\n")
    answer = b""
    while not answer.endswith(b"\r\n\r\nhello"):
        piece = sock.recv(4096)
        if not piece:
            raise ValueError(f"the answer ended after {answer!r}")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise ValueError(f"not an answer: {answer!r}")
    with work.lock:
        work.answered += 1
        work.last = time.monotonic()
    return b"\r\nconnection: close\r\n" not in answer.lower()


def ceiling_round(bench, second):
    """What never ends, under way; when each was cut, and by what."""
    running = bench.start("tollgate")
    streams = {name: [Endless(running.plain, request) for _ in range(10)] for name, request in ENDLESS.items()}
    told = time.monotonic()
    if second:
        threading.Timer(1, running.process.send_signal, [signal.SIGTERM]).start()
    seconds = ends(bench, running)
    cut = {}
    for name, of_name in streams.items():
        for one in of_name:
            one.reader.join(10)
        cut[name] = {
            "seconds": [one.ended - told for one in of_name],
            "told_1001": sum(one.tail.endswith(b"\x88\x02\x03\xe9") for one in of_name),
        }
    return {"seconds": seconds, "cut": cut}


class Endless:
    """A request whose answer never ends, read by a thread until it does."""

    def __init__(self, port, request):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=STREAMS + 30)
        self.sock.sendall(request)
        self.tail, self.ended = self.sock.recv(4096), None
        if not self.tail.startswith(b"HTTP/1.1 101 " if b"Upgrade" in request else b"HTTP/1.1 200 "):
            raise peers.PeerFailed(f"no stream: {self.tail!r}")
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        try:
            while piece := self.sock.recv(65536):
                self.tail = (self.tail + piece)[-4:]
        except OSError:
            pass
        self.ended = time.monotonic()
        self.sock.close()


def wrong(report):
    """What must hold and did not, in words."""
    found = [f"idle: {seconds:.2f} s, not under 1" for seconds in report["idle"] if seconds >= 1]
    found += [f"busy: lost {why}" for one in report["busy"] for why in one["lost"]]
    for name, of_name in report["ceiling"]["cut"].items():
        ceiling = REQUESTS if name == "download" else STREAMS
        found += [f"{name}: cut after {at:.2f} s, not {ceiling}" for at in of_name["seconds"] if at < ceiling]
    sockets = report["ceiling"]["cut"]["websocket"]
    if sockets["told_1001"] != len(sockets["seconds"]):
        found.append(f"websocket: {sockets['told_1001']} of {len(sockets['seconds'])} heard 1001")
    return found


def told(report):
    idle, busy = report["idle"], report["busy"]
    after = [one["after_last_answer"] for one in busy]
    rows = [
        COLUMNS,
        row("idle, TERM to exit", idle),
        row("busy, TERM to exit", [one["seconds"] for one in busy]),
        row("busy, last answer to exit", after),
        *(row(f"{name}, TERM to cut", cut["seconds"]) for name, cut in report["ceiling"]["cut"].items()),
        row("those, TERM to exit", [report["ceiling"]["seconds"]]),
        row("those, second TERM to exit", [report["second signal"]["seconds"] - 1]),
    ]
    answered, lost = sum(one["answered"] for one in busy), sum(len(one["lost"]) for one in busy)
    heard = report["ceiling"]["cut"]["websocket"]["told_1001"]
    return "\n".join([
        f"max_drain {REQUESTS} s, max_drain_streams {STREAMS} s",
        table.align(rows),
        f"busy: {answered} answered, {lost} lost; WebSockets that heard 1001: {heard}",
        *report["wrong"],
    ])


def row(name, seconds):
    return [name, str(len(seconds)), *(f"{of(seconds):.2f}" for of in (min, median, max))]


def request(*lines):
    return "\r\n".join(["GET / HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


COLUMNS = ["seconds", "n", "least", "median", "most"]
REQUESTS, STREAMS = 3, 6
ENDLESS = {
    "download": request("x-origin: size=1000000000,drip=20ms/1000"),
    "events": request("Accept: text/event-stream", "x-origin: sse=100000/50ms"),
    "websocket": request(
        "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "x-origin: delay=1ms",
    ),
}

if __name__ == "__main__":
    gateway.run("drain_time", main)
