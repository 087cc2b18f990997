#!/usr/bin/env python3
"""Holds idle TLS connections, each after one request, until its input ends.

Owns the `--idle` traffic: one TLS 1.3 connection after the other, one GET on each
whose whole answer is read, then silence. Prints `HELD n` when all are open, and
at the end how many of them were still open. Does not own what is measured.
"""

import gc
import select
import socket
import ssl
import sys


def main():
    port, count = int(sys.argv[1]), int(sys.argv[2])
    gc.disable()  # as many objects as connections, and no cycles in them
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    held = [connect(context, port) for _ in range(count)]
    print(f"HELD {len(held)}", flush=True)
    sys.stdin.read()
    poll = select.poll()
    for tls in held:
        poll.register(tls, select.POLLIN | select.POLLRDHUP)
    ended = len(poll.poll(0))
    print(f"OPEN {len(held) - ended}", flush=True)


def connect(context, port):
    tcp = socket.create_connection(("127.0.0.1", port), timeout=20)
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls = context.wrap_socket(tcp)
    tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while not is_whole(answer):
        part = tls.recv(65536)
        if not part:
            sys.exit(f"closed after {answer!r}")
        answer += part
    return tls


def is_whole(answer):
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0])


if __name__ == "__main__":
    main()
