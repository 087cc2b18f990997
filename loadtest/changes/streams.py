"""Clients whose requests last: a slow upload, a long download, WebSockets.

Owns how each of them ends. An upload is a request, and may be lost; the others are
streams, of which it is told how they ended: `whole`, `1001` (a WebSocket that was
told so), `cut` (an end in the middle), `reset` or `silence` (no end at all).
"""

import os
import select
import time

from aged_clients import read_head
from calls import broken
from work import Tally


def upload(places, tally: Tally, _args) -> None:
    """64 KiB in 4 s."""
    began = time.monotonic()
    with places.connect("plain") as sock:
        try:
            sock.sendall(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65536\r\n\r\n")
            for _ in range(16):
                sock.sendall(b"u" * 4096)
                time.sleep(0.25)
            reader = sock.makefile("rb")
            head = read_head(reader)
            body = reader.read(int(head[b"content-length"]))
        except (OSError, KeyError, ValueError) as error:
            return tally.broke(error, "upload")
    if head[b":status"] != b"200" or b'"body_bytes":65536' not in body:
        return tally.fail(f"upload: {head} {body[:200]!r}")
    return tally.answered(began)


def download(places, tally: Tally, args) -> None:
    """As many bytes as asked for, at about 64 MiB a second, each looked at."""
    began, got = time.monotonic(), 0
    with places.connect("plain") as sock:
        tally.work.hold(sock)
        try:
            sock.sendall(b"GET /download HTTP/1.1\r\nHost: localhost\r\nX-Origin: size=%d\r\n\r\n" % args.download)
            reader = sock.makefile("rb", buffering=PIECE)
            head = read_head(reader)
            how = "whole" if head[b":status"] == b"200" else f"status {head[b':status'].decode()}"
            while how == "whole" and got < args.download and not tally.is_over:
                piece = reader.read(min(PIECE, args.download - got))
                how = judged(piece, got)
                got += len(piece)
                time.sleep(max(0.0, began + got / PACE - time.monotonic()))
        except (OSError, KeyError, ValueError) as error:
            how = broken(error)
        finally:
            tally.work.release(sock)
    tally.stream(began, how)


def judged(piece: bytes, offset: int) -> str:
    """`whole` as long as it is what the origin sends."""
    if not piece:
        return "cut"
    start = offset % 64
    return "whole" if piece == PATTERN[start : start + len(piece)] else "corrupt"


def websocket(places, tally: Tally, _args) -> None:
    """An echo four times a second, until the connection ends."""
    began = time.monotonic()
    with places.connect("plain") as sock:
        tally.work.hold(sock)
        try:
            sock.sendall(HANDSHAKE)
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += exactly(sock, 1)
            how = echoes(sock, tally) if answer.startswith(b"HTTP/1.1 101 ") else f"answered {answer[:12]!r}"
        except (OSError, EOFError) as error:
            how = broken(error)
        finally:
            tally.work.release(sock)
    tally.stream(began, how)


def echoes(sock, tally: Tally) -> str:
    """Sends and hears until the peer closes; with which word."""
    while True:
        said = os.urandom(8).hex().encode()
        mask = os.urandom(4)
        sock.sendall(b"\x81" + bytes([0x80 | len(said)]) + mask + bytes(a ^ mask[i % 4] for i, a in enumerate(said)))
        kind, heard = frame_of(sock)
        if kind == CLOSE:
            return closed(sock, heard)
        if heard != said:
            return "corrupt"
        tally.note("echoes")
        if select.select([sock], [], [], 0.25)[0]:
            kind, heard = frame_of(sock)
            return closed(sock, heard) if kind == CLOSE else "unasked"


def frame_of(sock) -> tuple[int, bytes]:
    """Echoes and close frames are short."""
    kind, length = exactly(sock, 2)
    return kind, exactly(sock, length)


def closed(sock, heard: bytes) -> str:
    """Answers a close frame; its code."""
    mask = b"\0\0\0\0"
    sock.sendall(bytes([CLOSE, 0x80 | len(heard)]) + mask + heard)
    return str(int.from_bytes(heard[:2], "big")) if heard else "closed without a code"


def exactly(sock, count: int) -> bytes:
    got = b""
    while len(got) < count:
        piece = sock.recv(count - len(got))
        if not piece:
            raise EOFError
        got += piece
    return got


CLOSE = 0x88
PIECE = 256 << 10
PACE = 64 << 20
PATTERN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" * (PIECE // 64 + 2)
HANDSHAKE = (
    b"GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
