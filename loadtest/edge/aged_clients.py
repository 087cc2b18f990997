#!/usr/bin/env python3
"""Makes requests over connections that end when they are asked to, and counts what fails.

Owns both protocols' reading of "end": after `Connection: close` the answer is whole
and the connection closes; after GOAWAY no stream is opened, those that are open end
whole, and those above its last stream may be sent again. Half of the clients never
rest, the others pause up to 300 ms between requests, so that ages also pass in
silence; every 16th answer is 256 KiB. Any other end of a request is a failure.
Prints one line of JSON.
"""

import argparse
import json
import random
import socket
import ssl
import struct
import sys
import threading
import time

from gateway import LARGE


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=("http1", "https1", "http2"), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True, help="requests")
    args = parser.parse_args()
    began, work = time.monotonic(), Work(args.count)
    clients = [threading.Thread(target=client, args=(args, work, nth)) for nth in range(CLIENTS)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    print(json.dumps({**work.seen, "failed": work.failed, "seconds": time.monotonic() - began}))


class Work:
    """How many requests are still to be made, and what became of the others."""

    def __init__(self, count):
        self.count, self.asked, self.lock = count, 0, threading.Lock()
        self.seen = {"requests": 0, "connections": 0, "asked": 0, "retryable": 0, "untold": 0}
        self.failed = []

    def path(self):
        """What to ask for next; None when enough was asked for."""
        with self.lock:
            nth, self.asked = self.asked, self.asked + 1
        return None if nth >= self.count else b"/large" if nth % 16 == 15 else b"/"

    def note(self, what, count=1):
        with self.lock:
            self.seen[what] += count

    def fail(self, why, count=1):
        with self.lock:
            self.failed += [why] * count


def client(args, work, nth):
    pause = 0.3 if nth % 2 else 0.0
    serve = http2 if args.kind == "http2" else http1
    while work.asked < work.count:
        try:
            sock = connect(args)
            work.note("connections")
        except OSError as error:
            work.fail(f"no connection: {error}")
            continue
        with sock:
            serve(sock, work, pause)


def connect(args):
    sock = socket.create_connection(("127.0.0.1", args.port), timeout=20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if args.kind == "http1":
        return sock
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2" if args.kind == "http2" else "http/1.1"])
    return context.wrap_socket(sock)


def http1(sock, work, pause):
    """Requests on one connection until it is asked to end."""
    reader = sock.makefile("rb")
    while path := work.path():
        time.sleep(random.uniform(0, pause))
        try:
            sock.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            head = read_head(reader)
            length = len(reader.read(int(head[b"content-length"])))
        except (OSError, KeyError, ValueError) as error:
            return work.fail(f"{path}: {error!r}")
        if head[b":status"] != b"200" or length != WHOLE[path]:
            return work.fail(f"{path}: {head} and {length} bytes")
        work.note("requests")
        if head.get(b"connection", b"").lower() == b"close":
            work.note("asked")
            return None if closes(reader) else work.fail("not closed after Connection: close")


def read_head(reader):
    version, _, status = reader.readline().partition(b" ")
    if not version.startswith(b"HTTP/1.1"):
        raise ValueError(f"no status line: {version}")
    head = {b":status": status[:3]}
    while (line := reader.readline().rstrip(b"\r\n")):
        name, _, value = line.partition(b":")
        head[name.lower()] = value.strip()
    return head


def closes(reader):
    try:
        return reader.read(1) == b""
    except OSError:
        return False


def http2(sock, work, pause):
    """Streams on one connection until it is asked to end."""
    connection = Http2(sock, work)
    try:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
        connection.serve(pause)
    except (OSError, EOFError, struct.error) as error:
        if connection.open:
            work.fail(f"{error!r} with {connection}", len(connection.open))
        elif connection.last is None:
            work.note("untold")


class Http2:
    """One connection: its open streams (`{id: [path, bytes so far]}`) and the last that it was told will be served."""

    def __init__(self, sock, work):
        self.sock, self.work = sock, work
        self.reader = sock.makefile("rb")
        self.open, self.next, self.last, self.done = {}, 1, None, False

    def __str__(self):
        return f"streams {sorted(self.open)} open, next {self.next}, last {self.last}"

    def serve(self, pause):
        while True:
            if not self.open and not self.done and self.last is None:
                time.sleep(random.uniform(0, pause))
            while self.last is None and not self.done and len(self.open) < STREAMS:
                self.request()
            if not self.open and (self.done or self.last is not None):
                return
            self.take(*self.read())

    def request(self):
        path = self.work.path()
        self.done = path is None
        if path:
            # Indexed :method GET and :scheme https, :path and :authority as text.
            block = b"\x82\x87\x04" + bytes([len(path)]) + path + b"\x01\x09localhost"
            self.open[self.next] = [path, 0]
            self.sock.sendall(frame(HEADERS, END_STREAM | END_HEADERS, self.next, block))
            self.next += 2

    def read(self):
        head = self.reader.read(9)
        if len(head) < 9:
            raise EOFError("closed")
        payload = self.reader.read(int.from_bytes(head[:3], "big"))
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    def take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            self.sock.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.sock.sendall(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.goaway(*struct.unpack(">II", payload[:8]))
        elif kind == RST_STREAM:
            self.reset(stream, int.from_bytes(payload, "big"))
        elif kind in (HEADERS, DATA):
            self.answer(kind, flags, stream, payload)

    def goaway(self, last, code):
        if self.last is None:
            self.work.note("asked")
        self.last = last
        unserved = [stream for stream in self.open if stream > last]
        for stream in unserved:
            del self.open[stream]
        self.work.note("retryable", len(unserved))
        if code:
            self.work.fail(f"GOAWAY with error {code}")

    def reset(self, stream, code):
        del self.open[stream]
        if code == REFUSED_STREAM:
            self.work.note("retryable")
        else:
            self.work.fail(f"stream {stream} reset with error {code}")

    def answer(self, kind, flags, stream, payload):
        of = self.open[stream]
        if kind == HEADERS and payload[:1] != STATUS_200:
            self.work.fail(f"{of[0]}: answer begins {payload[:20]!r}")
        if kind == DATA and payload:
            of[1] += len(payload)
            more = struct.pack(">I", len(payload))
            self.sock.sendall(frame(WINDOW_UPDATE, 0, 0, more) + frame(WINDOW_UPDATE, 0, stream, more))
        if flags & END_STREAM:
            path, length = self.open.pop(stream)
            whole = length == WHOLE[path]
            self.work.note("requests") if whole else self.work.fail(f"{path}: {length} bytes")


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


CLIENTS = 16
STREAMS = 4
WHOLE = {b"/": 121, b"/large": LARGE}
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 1
END_HEADERS = 4
REFUSED_STREAM = 7
STATUS_200 = b"\x88"

if __name__ == "__main__":
    sys.exit(main())
