"""What became of everything that clients asked for.

Owns the words: a request is *lost* when it was sent and no whole, right answer came,
unless HTTP/2 said that nobody had looked at it (*retryable*). A connection is
*refused* when no request could be sent on it, *reset* when the peer threw it away,
*closed* when it ended between two requests without a word before: who looks first
loses nothing, who does not loses the next request. *Asked*: ended as `Connection:
close` or GOAWAY says. Times are of the system's monotonic clock, which all
processes share.
"""

import socket
import struct
import threading
import time
from collections import Counter


class Work:
    """The account of all kinds of clients, and the word to stop."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.kinds: dict[str, Tally] = {}
        self.held: set = set()

    def tally(self, kind: str) -> "Tally":
        """The account of one kind."""
        return self.kinds.setdefault(kind, Tally(self, kind))

    def hold(self, sock) -> None:
        """A stream's socket, which `stop` ends: nobody waits for a stream's own end."""
        sock.settimeout(SILENCE)
        with self.lock:
            self.held.add(sock)
            if self.stopping.is_set():
                abort(sock)

    def release(self, sock) -> None:
        with self.lock:
            self.held.discard(sock)

    def stop(self) -> None:
        """Requests end whole, streams at once."""
        self.stopping.set()
        with self.lock:
            for sock in self.held:
                abort(sock)

    def report(self) -> dict:
        return {kind: tally.report() for kind, tally in self.kinds.items()}


class Tally:
    """The account of one kind of client."""

    def __init__(self, work: Work, kind: str) -> None:
        self.work, self.kind = work, kind
        self.counts: Counter[str] = Counter()
        self.spans: list[tuple[float, float]] = []
        self.failed: list[tuple[float, str]] = []
        self.streams: list[tuple[float, float, str]] = []

    @property
    def is_over(self) -> bool:
        return self.work.stopping.is_set()

    def rest(self, seconds: float) -> None:
        """Waits, but not beyond the end."""
        self.work.stopping.wait(seconds)

    def note(self, what: str, count: int = 1) -> None:
        with self.work.lock:
            self.counts[what] += count

    def answered(self, began: float) -> None:
        """One request, whole."""
        with self.work.lock:
            self.counts["requests"] += 1
            self.spans.append((began, time.monotonic()))

    def fail(self, why: str, count: int = 1) -> None:
        """So many requests lost."""
        with self.work.lock:
            self.counts["requests"] += count
            self.counts["lost"] += count
            self.failed += [(time.monotonic(), why)] * count

    def broke(self, error: Exception, what: str, count: int = 1) -> None:
        """So many requests lost by what happened to their connection."""
        self.saw(error)
        self.fail(f"{what}: {error!r}", count)

    def saw(self, error: Exception) -> None:
        """Whether the peer threw a connection away."""
        if isinstance(error, (ConnectionResetError, BrokenPipeError)):
            self.note("reset")

    def refused(self, error: Exception) -> None:
        with self.work.lock:
            self.counts["refused"] += 1
            self.failed.append((time.monotonic(), f"refused: {error!r}"))

    def stream(self, began: float, how: str) -> None:
        """A stream's end, unless it was ours."""
        if not self.is_over:
            with self.work.lock:
                self.counts["requests"] += 1
                self.streams.append((began, time.monotonic(), how))

    def report(self) -> dict:
        with self.work.lock:
            return {
                "counts": dict(self.counts), "spans": list(self.spans), "failed": list(self.failed),
                "streams": list(self.streams),
            }


def abort(sock) -> None:
    """Wakes who reads it; its end is a reset, since one in peace may leave the server waiting for room to write in."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


# Longer than any pause in a stream.
SILENCE = 90
