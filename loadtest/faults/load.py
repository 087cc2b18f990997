#!/usr/bin/env python3
"""Makes requests at a fixed rate, whatever the answers do, until its input ends.

Owns the clients of the fault matrix: one request in two is a POST, one in eight
goes over HTTP/2 with TLS, each has a number of its own in its path. A request takes
the kept connection that rested longest, and a new one when all are busy: no request
waits for another's answer. An answer is good when it is a whole 200 that repeats
the request's path; nothing is ever asked twice. At the end it waits for what is on
its way, and prints one line of JSON.
"""

import argparse
import asyncio
import collections
import gc
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from http2 import Http2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain", type=int, required=True, help="port of HTTP/1 in cleartext")
    parser.add_argument("--tls", type=int, default=0, help="port of HTTP/2 with TLS; without it all is HTTP/1")
    parser.add_argument("--rate", type=float, required=True)
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupted run has no report
    gc.disable()  # its pauses would be the gateway's latency
    print("REPORT " + json.dumps(asyncio.run(Clients(args.plain, args.tls).run(args.rate))))


@dataclass
class Sample:
    """One request and what became of it: `good`, a status, or how it broke. Times are of the wall clock."""

    number: int
    method: str
    began: float
    seconds: float
    end: str
    origin: str


class Broken(Exception):
    """An answer that is not whole; the message is one word for it."""


class Clients:
    """Kept connections, and what came of every request."""

    def __init__(self, plain: int, tls: int) -> None:
        self.plain = plain
        self.kept: collections.deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = collections.deque()
        self.http2 = [Http2(tls) for _ in range(HTTP2_CONNECTIONS)] if tls else []
        self.samples: list[Sample] = []

    async def run(self, rate: float) -> list[list[object]]:
        for _ in range(CONNECTIONS):
            self.kept.append(await self.connect())
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
        began, number, tasks = time.monotonic(), 0, set()
        while not ended.is_set():
            task = asyncio.create_task(self.request(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        if tasks:
            await asyncio.wait(tasks)
        return [list(vars(sample).values()) for sample in self.samples]

    async def request(self, number: int) -> None:
        method = "POST" if number % 2 else "GET"
        began, origin = time.time(), ""
        try:
            async with asyncio.timeout(PATIENCE):
                ask = self.ask2 if self.http2 and number % 8 < 2 and number // 8 % 2 else self.ask1
                status, body = await ask(number, method)
            end, origin = judged(status, body, f"/{number}")
        except TimeoutError:
            end = "silence"
        except Broken as broken:
            end = str(broken)
        except OSError:
            end = "reset"
        self.samples.append(Sample(number, method, began, time.time() - began, end, origin))

    async def ask2(self, number: int, method: str) -> tuple[int, bytes]:
        return await self.http2[number % len(self.http2)].ask(method, f"/{number}", BODY)

    async def ask1(self, number: int, method: str) -> tuple[int, bytes]:
        reader, writer = self.kept.popleft() if self.kept else await self.connect()
        whole = False
        try:
            body = BODY if method == "POST" else b""
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            head = f"{method} /{number} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n"
            writer.write(head.encode() + body)
            status, body, last = await answer(reader)
            whole = not last
            return status, body
        finally:
            if whole:
                self.kept.append((reader, writer))
            else:
                writer.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.plain)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """An answer, whole: status, body, and whether the connection ends with it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise Broken("closed mid-header" if error.partial else "closed") from None
    status, _, fields = head.decode("latin-1").partition("\r\n")
    named = dict(line.lower().split(": ", 1) for line in fields.splitlines() if line)
    try:
        if "content-length" in named:
            body = await reader.readexactly(int(named["content-length"]))
        else:
            body = b"".join([part async for part in chunks(reader)])
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        raise Broken("truncated") from None
    return int(status.split(" ")[1]), body, named.get("connection") == "close"


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The parts of a chunked body; raises when it has no end."""
    while size := int((await reader.readuntil(b"\r\n")), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)


def judged(status: int, body: bytes, path: str) -> tuple[str, str]:
    """How a request ended that was answered, and by whom."""
    if status != 200:
        return (str(status) if status else NOT_200), ""
    try:
        echo = json.loads(body)
    except ValueError:
        return "corrupt", ""
    return ("good" if echo.get("target") == path else "corrupt"), echo.get("origin", "")


CONNECTIONS = 50
HTTP2_CONNECTIONS = 8
# Longer than any timeout of the gateway that ends a request by itself here.
PATIENCE = 25
# A status that http2.py does not understand.
NOT_200 = "not 200"
BODY = b'{"order":7}'

if __name__ == "__main__":
    main()
