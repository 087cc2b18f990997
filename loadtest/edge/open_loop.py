#!/usr/bin/env python3
"""Makes requests at a fixed rate, whatever the answers do, until its input ends.

Owns the latencies of one kind of client: all on one connection, or each on a new
one. A request that is late because the one before it was not answered counts from
when it was due; one that is late because this process was not woken counts from
when it was sent: that is the machine, not the gateway. At the end prints one line
of JSON: `samples` are (instant, µs). Not `load` (src/bin/load): that tells of a run as
a whole, and here phases and windows of 5 s are cut out of one afterwards.
"""

import argparse
import gc
import json
import select
import socket
import sys
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--new", action="store_true", help="a new connection for each request")
    args = parser.parse_args()
    gc.disable()
    print("REPORT " + json.dumps(load(args.port, args.rate, args.new)))


def load(port, rate, new):
    samples, failed, kept = [], [], None
    due = free = time.monotonic()
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        began = due if free > due else time.monotonic()
        try:
            kept = kept or connect(port)
            last = exchange(kept) or new
        except OSError as error:
            failed.append((began, str(error) or repr(error)))
            kept, last = None, False
        free = time.monotonic()
        samples.append((began, round((free - began) * 1e6)))
        if last:
            kept.close()
            kept = None
        due += 1 / rate
    return {"samples": samples, "failed": failed}


def connect(port):
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def exchange(sock):
    """One request, whole; whether the connection ends with it."""
    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while not answer.endswith(b"]}"):  # the end of the origin's body
        part = sock.recv(65536)
        if not part:
            raise OSError(f"closed after {answer[:100]!r}")
        answer += part
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise OSError(f"not a good answer: {answer[:100]!r}")
    return b"\r\nconnection: close\r\n" in answer.lower()


if __name__ == "__main__":
    main()
