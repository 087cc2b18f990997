"""HTTP/2 clients: requests, gRPC calls with one answer, and gRPC calls with many.

Owns what is asked and what a right answer is. Frames, GOAWAY and RST_STREAM are
read as in edge/aged_clients.py. The peer is told to keep no table of header
fields, so that a status stands in each block as it always does.
"""

import random
import ssl
import struct
import time
from collections.abc import Callable

from aged_clients import DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, STATUS_200, WINDOW_UPDATE, Http2, frame
from work import Tally


def http2(places, tally: Tally, _args) -> None:
    serve(Requests(places.connect("h2"), tally), tally)


def unary(places, tally: Tally, _args) -> None:
    serve(Unary(places.connect("h2"), tally), tally)


def server_stream(pause: str) -> Callable:
    """Five messages with a pause between two, on a connection of their own."""

    def body(places, tally: Tally, _args) -> None:
        sock = places.connect("h2")
        call, began = ServerStream(sock, tally, pause), time.monotonic()
        tally.work.hold(sock)
        try:
            call.begin()
            how = call.ended()
        except (OSError, EOFError, struct.error) as error:
            how = broken(error) + (", told" if call.last is not None else "")
        finally:
            tally.work.release(sock)
            sock.close()
        tally.stream(began, how)

    return body


def serve(connection: "Requests", tally: Tally) -> None:
    """Streams on one connection until it is asked to end."""
    with connection.sock:
        try:
            connection.begin()
            connection.serve(PAUSE)
        except (OSError, EOFError, struct.error) as error:
            if connection.open:
                tally.broke(error, f"with {connection}", len(connection.open))
            elif connection.last is None and not tally.is_over:
                tally.saw(error)
                tally.note("closed")


class Requests(Http2):
    """Ordinary requests; `open` is `{id: [path, bytes so far, began]}`."""

    def begin(self) -> None:
        self.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, NO_TABLE))

    def request(self) -> None:
        self.done = self.work.is_over
        if not self.done:
            path = b"/%d" % random.randrange(1 << 40)
            self.send(path, *self.asked(path))

    def send(self, path: bytes, fields: bytes, body: bytes) -> None:
        stream, self.next = self.next, self.next + 2
        self.open[stream] = [path, b"", time.monotonic()]
        head = frame(HEADERS, END_HEADERS | (0 if body else END_STREAM), stream, fields)
        self.sock.sendall(head + (frame(DATA, END_STREAM, stream, body) if body else b""))

    def asked(self, path: bytes) -> tuple[bytes, bytes]:
        """A request's fields and body."""
        return GET + text(b"\x04", path) + LOCALHOST + text(X_ORIGIN, delay()), b""

    def answer(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        of = self.open[stream]
        if kind == HEADERS and not flags & END_STREAM and not is_good(payload):
            return self.over(stream, False, payload)
        if kind == DATA and payload:
            of[1] += payload
            more = struct.pack(">I", len(payload))
            self.sock.sendall(frame(WINDOW_UPDATE, 0, 0, more) + frame(WINDOW_UPDATE, 0, stream, more))
        if flags & END_STREAM:
            whole = self.is_whole(of[0], of[1], payload if kind == HEADERS else b"")
            self.over(stream, whole, payload)
        return None

    def over(self, stream: int, whole: bool, last: bytes) -> None:
        """The end of a stream, and with which block or data."""
        path, body, began = self.open.pop(stream)
        self.work.answered(began) if whole else self.work.fail(f"{path}: {body[:200]!r} {last[:40]!r}")

    def is_whole(self, path: bytes, body: bytes, _trailers: bytes) -> bool:
        return b'"target":"%s"' % path in body

    def take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        # Of a stream that was lost already nothing more counts.
        if stream == 0 or stream in self.open:
            super().take(kind, flags, stream, payload)


class Unary(Requests):
    """gRPC calls whose answer is the message that was sent, and its status 0."""

    def asked(self, path: bytes) -> tuple[bytes, bytes]:
        return call(b"/echo.Echo/Unary", delay()), message(path)

    def is_whole(self, path: bytes, body: bytes, trailers: bytes) -> bool:
        return body == message(path) and is_status_0(trailers)


class ServerStream(Unary):
    """One call."""

    def __init__(self, sock, work: Tally, pause: str) -> None:
        super().__init__(sock, work)
        self.how, self.script = None, f"drip={pause}/1".encode()

    def begin(self) -> None:
        super().begin()
        self.send(b"/", call(b"/echo.Echo/ServerStream", self.script), message(b"/"))

    def ended(self) -> str:
        """How the call ended."""
        while self.open:
            self.take(*self.read())
        return self.how

    def is_whole(self, path: bytes, body: bytes, trailers: bytes) -> bool:
        return body == message(path) * 5 and is_status_0(trailers)

    def over(self, stream: int, whole: bool, last: bytes) -> None:
        del self.open[stream]
        self.how = ("whole" if self.last is None else "whole, told") if whole else f"ended with {last[:40]!r}"

    def goaway(self, last: int, code: int) -> None:
        super().goaway(last, code)
        self.how = None if self.open else "retryable"

    def reset(self, stream: int, code: int) -> None:
        del self.open[stream]
        self.how = "cut, told" if self.last is not None else f"RST_STREAM {code}"


def broken(error: Exception) -> str:
    """A stream's end by what its connection came to."""
    if isinstance(error, TimeoutError):
        return "silence"
    return "cut" if isinstance(error, (EOFError, ssl.SSLEOFError)) else "reset"


def is_good(block: bytes) -> bool:
    """Whether a block begins with status 200, whatever it says about tables before."""
    while block and block[0] & 0xE0 == 0x20:
        block = block[1:]
    return block[:1] == STATUS_200


def is_status_0(trailers: bytes) -> bool:
    return any(name + value in trailers for name in GRPC_STATUS for value in (b"\x010", b"\x81\x07"))


def message(content: bytes) -> bytes:
    """As gRPC puts it: not compressed, its length, itself."""
    return b"\0" + struct.pack(">I", len(content)) + content


def call(path: bytes, script: bytes) -> bytes:
    """The fields of a call; `content-type` by its place in the table, as text after it."""
    kind = text(b"\x0f\x10", b"application/grpc")
    return POST + text(b"\x04", path) + LOCALHOST + kind + text(b"\0\x02te", b"trailers") + text(X_ORIGIN, script)


def text(name: bytes, value: bytes) -> bytes:
    return name + bytes([len(value)]) + value


def delay() -> bytes:
    return b"delay=%dms" % random.randrange(40, 160)


# Milliseconds' rest before the first stream of a burst.
PAUSE = 0.05
# SETTINGS_HEADER_TABLE_SIZE 0
NO_TABLE = struct.pack(">HI", 1, 0)
# :method and :scheme https, indexed; :authority and x-origin as text.
GET, POST, LOCALHOST = b"\x82\x87", b"\x83\x87", b"\x01\x09localhost"
X_ORIGIN = b"\0\x08x-origin"
# `grpc-status` with its length, as it is and in Huffman's code.
GRPC_STATUS = (b"\x0bgrpc-status", b"\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f")
