"""A client's HTTP/2 connection, as small as it can be: requests at the same time, their status and body.

Owns frames and streams. Header fields are sent as text, and of an answer's header
only an indexed 200 is understood: every other status is told as 0.
"""

import asyncio
import ssl
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "edge"))

from aged_clients import ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS  # noqa: E402
from aged_clients import STATUS_200, WINDOW_UPDATE, frame  # noqa: E402


class Http2:
    """Connects with the first request, and again when the connection ended."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.writer: asyncio.StreamWriter | None = None
        self.connecting = asyncio.Lock()
        self.next, self.open = 1, {}

    async def ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """One request, whole; raises OSError when its stream or the connection breaks."""
        async with self.connecting:
            if self.writer is None:
                await self.connect()
        stream, self.next = self.next, self.next + 2
        done, streams = asyncio.get_running_loop().create_future(), self.open
        streams[stream] = [done, 0, b""]
        flags = END_HEADERS if method == "POST" else END_HEADERS | END_STREAM
        self.writer.write(frame(HEADERS, flags, stream, fields(method, path.encode(), body)))
        if method == "POST":
            self.writer.write(frame(DATA, END_STREAM, stream, body))
        try:
            return await done
        finally:
            streams.pop(stream, None)

    async def connect(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        self.next, self.open = 1, {}
        self.writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
        self.serving = asyncio.create_task(self.serve(reader, self.writer, self.open))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, streams: dict) -> None:
        """Takes frames until the connection ends; then every open stream is broken."""
        try:
            while True:
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                self.take(writer, streams, head[3], head[4], int.from_bytes(head[5:], "big"), payload)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            if self.writer is writer:
                self.writer = None
            writer.close()
            for done, *_ in list(streams.values()):
                fail(done, "connection ended")

    def take(
        self, writer: asyncio.StreamWriter, streams: dict, kind: int, flags: int, stream: int, payload: bytes,
    ) -> None:
        if kind in (SETTINGS, PING) and not flags & ACK:
            writer.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == GOAWAY and self.writer is writer:
            self.writer = None  # those that are open end whole; new ones go elsewhere
        elif kind == RST_STREAM and stream in streams:
            fail(streams[stream][0], f"stream reset with error {int.from_bytes(payload, 'big')}")
        elif kind in (HEADERS, DATA) and stream in streams:
            answer = streams[stream]
            if kind == HEADERS and payload[:1] == STATUS_200:
                answer[1] = 200
            if kind == DATA and payload:
                answer[2] += payload
                writer.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
            if flags & END_STREAM and not answer[0].done():
                answer[0].set_result((answer[1], answer[2]))


def fail(done: asyncio.Future, why: str) -> None:
    if not done.done():
        done.set_exception(ConnectionError(why))


def fields(method: str, path: bytes, body: bytes) -> bytes:
    """Indexed :method and :scheme https, :path, :authority and content-length as text."""
    length = str(len(body)).encode()
    block = bytes([METHODS[method], 0x87, 0x04, len(path)]) + path + b"\x01\x09localhost"
    return block + (b"\x0f\x0d" + bytes([len(length)]) + length if method == "POST" else b"")


METHODS = {"GET": 0x82, "POST": 0x83}
