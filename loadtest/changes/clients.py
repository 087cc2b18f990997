#!/usr/bin/env python3
"""Makes requests of every kind at once, until its input ends.

Owns which clients there are, and the HTTP/1 ones; calls.py has HTTP/2 and gRPC,
streams.py what lasts. They rest between requests, since what counts is how many
are under way when something changes, and not how many there are. A client looks
whether its connection was closed before it sends, as pools do; those called blind
do not, as one cannot see an end that is still on its way through a network. Prints
BEGUN once each kind was answered, and at the end one line of JSON.
"""

import argparse
import json
import random
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "edge"))

import calls  # noqa: E402
import streams  # noqa: E402
from aged_clients import closes, read_head  # noqa: E402
from work import Tally, Work  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain", type=int, required=True, help="port of HTTP/1 in cleartext")
    parser.add_argument("--tls", type=int, required=True, help="port of HTTP/1 and HTTP/2 with TLS")
    parser.add_argument("--download", type=int, required=True, help="bytes of a long download")
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupted run has no report
    work, places = Work(), Places(args.plain, args.tls)
    running = [client(kind, body, places, work, args) for kind, count, body in MIX for _ in range(count)]
    while not all(tally.counts["requests"] for kind, tally in work.kinds.items() if kind not in LONG):
        time.sleep(0.05)
    print("BEGUN", flush=True)
    sys.stdin.read()
    work.stop()
    for one in running:
        one.join(PATIENCE + 5)
    print("REPORT " + json.dumps(work.report()))


def client(kind: str, body: Callable, places: "Places", work: Work, args) -> threading.Thread:
    """A client that connects again as long as it may."""
    tally = work.tally(kind)

    def run() -> None:
        while not tally.is_over:
            try:
                body(places, tally, args)
            except NotConnected as refused:
                tally.refused(refused.__cause__)
                tally.rest(0.1)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


class NotConnected(Exception):
    """No request could be sent; the cause says why."""


class Places:
    """Where to connect, and how."""

    def __init__(self, plain: int, tls: int) -> None:
        self.ports = {"plain": plain, "tls": tls, "h2": tls}
        self.contexts = {"tls": context("http/1.1"), "h2": context("h2")}

    def connect(self, how: str) -> socket.socket:
        """A connection over which a request can be sent."""
        try:
            sock = socket.create_connection(("127.0.0.1", self.ports[how]), timeout=PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock if how == "plain" else self.contexts[how].wrap_socket(sock)
        except OSError as error:
            raise NotConnected from error


def context(protocol: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_alpn_protocols([protocol])
    return made


def kept(how: str, least: float, most: float, looks: bool = True) -> Callable:
    """Requests on one connection until it is asked to end, with rests between them."""

    def body(places: Places, tally: Tally, _args) -> None:
        with places.connect(how) as sock:
            reader = sock.makefile("rb")
            while not tally.is_over:
                tally.rest(random.uniform(least, most))
                if looks and not is_alive(sock, tally) or not ask(sock, reader, tally):
                    return

    return body


def is_alive(sock: socket.socket, tally: Tally) -> bool:
    """Whether a request may be sent. What the peer says unasked is no answer of ours."""
    sock.settimeout(0)
    try:
        unasked = sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        sock.settimeout(PATIENCE)
        return True
    except OSError as error:
        tally.saw(error)
        return False
    tally.fail(f"unasked: {unasked!r}") if unasked else tally.note("closed")
    return False


def new(how: str) -> Callable:
    """A connection for each request; every other one says so."""

    def body(places: Places, tally: Tally, _args) -> None:
        tally.rest(random.uniform(0, 0.1))
        with places.connect(how) as sock:
            ask(sock, sock.makefile("rb"), tally, last=random.random() < 0.5)

    return body


def ask(sock: socket.socket, reader, tally: Tally, last: bool = False) -> bool:
    """One request; whether another may follow."""
    number, began = random.randrange(1 << 40), time.monotonic()
    try:
        sock.sendall(request(number, last))
        head = read_head(reader)
        body = reader.read(int(head[b"content-length"]))
    except (OSError, KeyError, ValueError) as error:
        tally.broke(error, "no whole answer")
        return False
    if head[b":status"] != b"200" or b'"target":"/%d"' % number not in body:
        tally.fail(f"answered {head} {body[:200]!r}")
        return False
    tally.answered(began)
    if head.get(b"connection", b"").lower() != b"close":
        return not last
    if not last:
        tally.note("asked")
    if not closes(reader):
        tally.note("reset")
    return False


def request(number: int, last: bool) -> bytes:
    """Three in four are GETs; the origin takes up to 60 ms."""
    body = b"" if number % 4 else b"x" * 3000
    method = b"POST" if body else b"GET"
    head = b"%s /%d HTTP/1.1\r\nHost: localhost\r\nX-Origin: delay=%dms\r\n" % (method, number, number % 61)
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return head + length + (b"Connection: close\r\n" if last else b"") + b"\r\n" + body


# Longer than a request may take; shorter than anybody would wait.
PATIENCE = 20
# What takes longer than one would wait for at the beginning.
LONG = ("download", "grpc stream", "websocket")
MIX = [
    ("http1 busy", 5, kept("plain", 0, 0.1)),
    ("http1 busy, tls", 5, kept("tls", 0, 0.1)),
    ("http1 idle", 8, kept("plain", 0.5, 4)),
    ("http1 idle, tls", 8, kept("tls", 0.5, 4)),
    ("http1 blind", 5, kept("plain", 0, 0.5, looks=False)),
    ("http1 blind, tls", 5, kept("tls", 0, 0.5, looks=False)),
    ("http1 new", 3, new("plain")),
    ("http1 new, tls", 3, new("tls")),
    ("http2", 4, calls.http2),
    ("grpc unary", 4, calls.unary),
    ("upload", 4, streams.upload),
    ("grpc stream", 2, calls.server_stream("1s")),
    ("grpc stream", 2, calls.server_stream("30s")),
    ("websocket", 4, streams.websocket),
    ("download", 1, streams.download),
]

if __name__ == "__main__":
    main()
