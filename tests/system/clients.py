"""Clients that ask without a pause until they are told to stop, and count how it ended.

Half of them connect anew for each request, half keep their connection. Runs in the
machine's network. Prints `asking` once every client has had an answer; ends when its
standard input does; its last line is a JSON object.

`lost` is a request that got no whole answer although its connection stood: reset,
closed, silent for 30 s, or not 200. A kept connection that the gateway closes after it
said `Connection: close` loses nothing; one that closes without a word does.
"""

import json
import socket
import sys
import threading
import time
from collections import Counter

REQUEST = b"GET %s HTTP/1.1\r\nHost: system.test\r\n%s\r\n"
SILENCE = 30


class Client(threading.Thread):
    """One client; `counts` and `longest` are read when it has ended."""

    def __init__(self, address: tuple[str, int], path: str, keeps: bool, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.address, self.keeps, self.stop = address, keeps, stop
        self.request = REQUEST % (path.encode(), b"" if keeps else b"Connection: close\r\n")
        self.counts: Counter[str] = Counter()
        self.first = threading.Event()
        self.longest = 0.0
        self.connection: socket.socket | None = None

    def run(self) -> None:
        while not self.stop.is_set():
            begun = time.monotonic()
            outcome = self.ask()
            if outcome == "refused":
                # Nobody hammers a closed port; each refusal still counts.
                time.sleep(0.01)
            self.counts[outcome] += 1
            self.longest = max(self.longest, time.monotonic() - begun)
            self.first.set()

    def ask(self) -> str:
        """One request; how it ended."""
        try:
            if self.connection is None:
                self.connection = socket.create_connection(self.address, SILENCE)
        except ConnectionRefusedError:
            return "refused"
        except OSError:
            return "unreached"
        try:
            self.connection.sendall(self.request)
            status, stays = self.answer()
        except (OSError, ValueError):
            self.hang_up()
            return "lost"
        if not (stays and self.keeps):
            self.hang_up()
        return "answered" if status == 200 else "lost"

    def answer(self) -> tuple[int, bool]:
        """The status of a whole answer, and whether the connection goes on."""
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += self.more()
        head, body = heard.split(b"\r\n\r\n", 1)
        lines = head.decode().lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:])
        length = int(fields["content-length"])
        while len(body) < length:
            body += self.more()
        return int(lines[0].split(" ")[1]), fields.get("connection") != "close"

    def more(self) -> bytes:
        heard = self.connection.recv(65536)
        if not heard:
            raise ConnectionResetError
        return heard

    def hang_up(self) -> None:
        self.connection.close()
        self.connection = None


def main() -> None:
    host, port, path, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    stop = threading.Event()
    clients = [Client((host, port), path, nth % 2 == 1, stop) for nth in range(count)]
    for client in clients:
        client.start()
    for client in clients:
        client.first.wait()
    print("asking", flush=True)
    sys.stdin.read()
    stop.set()
    for client in clients:
        client.join()
    counts = sum((client.counts for client in clients), Counter())
    print(json.dumps({**counts, "longest": max(client.longest for client in clients)}))


main()
