"""Faults of one endpoint: it dies, hangs, drips, resets, talks nonsense, fails, flaps."""

import base64
import time
from collections.abc import Iterable

import peers
import settings
from bench import FaultBench
from fault import UNNOTICED, Fault
from figures import Run, Window, quantile
from fleet import Origin

class OfEndpoint(Fault):
    """The first endpoint of the own zone does it."""

    def victim(self, bench: FaultBench) -> Origin:
        return bench.fleet.origins[VICTIM]

    def dead(self, bench: FaultBench) -> Iterable[Origin]:
        return [self.victim(bench)]


class Killed(OfEndpoint):
    name = "endpoint killed"
    limits = UNNOTICED | {"routed_ms": 1000, "p99_outside_ratio": 2}

    def inject(self, bench: FaultBench) -> None:
        self.victim(bench).kill()

    def undo(self, bench: FaultBench) -> None:
        self.victim(bench).start()


class KilledOften(Killed):
    """Round after round, each when it serves again."""

    name = "endpoint killed, rounds"
    settings = settings.BRIEF
    lasts = (1.0, 1.5)
    rounds = (2, 20)

    def run(self, bench: FaultBench) -> list[Window]:
        windows = []
        for _ in range(int(self.time(self.rounds))):
            windows += super().run(bench)
            await_service(bench)
        return windows


class Frozen(OfEndpoint):
    """SIGSTOP: accepts, never answers; without `per_try_timeout` silence is never tried again, only checks tell."""

    name = "endpoint hangs (SIGSTOP), defaults"
    lasts = (8.0, 20.0)
    is_quick = False
    # Two intervals and three failed probes of a second.
    limits = {"lost_after": 0, "routed_ms": 8000}

    def inject(self, bench: FaultBench) -> None:
        self.victim(bench).freeze()

    def undo(self, bench: FaultBench) -> None:
        self.victim(bench).thaw()


class FrozenPerTry(Frozen):
    name = "endpoint hangs (SIGSTOP), per try 1 s"
    settings = settings.PER_TRY
    lasts = (3.0, 15.0)
    is_quick = True
    limits = UNNOTICED | {"routed_ms": 3000}


class Scripted(OfEndpoint):
    """Its script changes; its health path goes on saying that all is well."""

    script = ""

    def inject(self, bench: FaultBench) -> None:
        self.victim(bench).script(self.script)

    def undo(self, bench: FaultBench) -> None:
        self.victim(bench).script("")


class NeverAnswers(Scripted):
    name = "endpoint never answers, health green, per try 1 s"
    settings = settings.PER_TRY
    script = "never_answers"
    limits = UNNOTICED | {"routed_ms": 3000}


class Drips(Scripted):
    """Slow is no failure: nothing is lost, and who is answered by others does not notice."""

    name = "endpoint drips"
    script = "drip=25ms/50"
    limits = {"lost_get": 0, "lost_post": 0, "p99_others_ratio": 2}

    def figures(self, run: Run) -> dict[str, float]:
        window = run.windows[0]
        others = [one for one in run.samples if one.origin != VICTIM]
        quiet = [one.seconds for one in others if one.began < window.begins]
        meanwhile = [one.seconds for one in others if window.begins <= one.began < window.ends]
        return {
            "p99_others_ratio": quantile(meanwhile, 0.99) / quantile(quiet, 0.99),
            "p50_others_ratio": quantile(meanwhile, 0.5) / quantile(quiet, 0.5),
        }


class ResetsBeforeHeader(Scripted):
    name = "endpoint resets before its header"
    script = "reset_before_header"
    limits = UNNOTICED | {"routed_ms": 1000, "p99_outside_ratio": 2}


class ResetsMidHeader(Scripted):
    name = "endpoint ends mid-header"
    script = "raw=" + base64.b64encode(b"HTTP/1.1 200 OK\r\nContent-Type: text/pl").decode()
    limits = UNNOTICED | {"routed_ms": 1000}


class ResetsMidBody(Scripted):
    """The client has its header: it must see that the answer is not whole, and nothing is sent again."""

    name = "endpoint resets mid-body"
    script = "reset_after_header"
    limits = {"lost_after": 0, "routed_ms": 1000, "clean_ends": 0}

    def figures(self, run: Run) -> dict[str, float]:
        cut = {"truncated", "reset", "closed", "502"}
        clean = [one for one in run.samples if one.end not in {"good", *cut}]
        return {"clean_ends": len(clean), "seen_cut": sum(one.end in cut for one in run.samples)}


class Truncates(ResetsMidBody):
    name = "endpoint closes mid-body"
    script = "truncate=100"


class TruncatesChunked(ResetsMidBody):
    name = "endpoint closes mid-body, chunked"
    script = "chunked,truncate=100"


class Garbage(Scripted):
    name = "endpoint answers garbage"
    script = "raw=" + base64.b64encode(b"SSH-2.0-OpenSSH_9.6\r\n").decode()
    limits = UNNOTICED | {"routed_ms": 1000}


class TwoLengths(Garbage):
    """What a smuggler's origin would say: nobody may get any of it."""

    name = "endpoint answers with two lengths"
    script = "raw=" + base64.b64encode(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!").decode()
    is_quick = False


class LengthBesideChunks(Garbage):
    name = "endpoint answers with a length beside chunks"
    script = "raw=" + base64.b64encode(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    ).decode()
    is_quick = False


class Fails(Scripted):
    """A 500 is an answer and goes to the client; five in a row eject."""

    name = "endpoint answers 500 to everything"
    script = "status=500"
    limits = {"lost_after": 0, "routed_ms": 1000, "lost_get": 5, "lost_post": 5}


class Flaps(OfEndpoint):
    name = "endpoint flaps every second"
    lasts = (6.0, 60.0)
    # Six transitions a minute, as seen by the log.
    limits = UNNOTICED | {"ejections": 6}

    def run(self, bench: FaultBench) -> list[Window]:
        begins = time.time()
        for second in range(int(self.time(self.lasts))):
            (self.victim(bench).start if second % 2 else self.victim(bench).kill)()
            time.sleep(max(0.0, begins + second + 1 - time.time()))
        if not self.victim(bench).process:
            self.victim(bench).start()
        self.victim(bench).await_ready()
        return [Window(begins, time.time())]


class RedButFine(OfEndpoint):
    """Its health path fails, its traffic does not: it leaves, and nobody notices."""

    name = "health red, traffic fine"
    lasts = (7.0, 12.0)
    limits = {"lost_get": 0, "lost_post": 0, "routed_ms": 8000}

    def inject(self, bench: FaultBench) -> None:
        self.victim(bench).healthy(False)

    def undo(self, bench: FaultBench) -> None:
        self.victim(bench).healthy(True)


class AllRedButFine(RedButFine):
    """Every health path fails: panic spreads, and nobody notices."""

    name = "every health path red, traffic fine"
    limits = {"lost_get": 0, "lost_post": 0}
    is_quick = False

    def inject(self, bench: FaultBench) -> None:
        for one in bench.fleet.origins.values():
            one.healthy(False)

    def undo(self, bench: FaultBench) -> None:
        for one in bench.fleet.origins.values():
            one.healthy(True)

    def dead(self, bench: FaultBench) -> Iterable[Origin]:
        return []


def await_service(bench: FaultBench, patience: float = 20) -> None:
    """Returns once every endpoint is in service again."""
    deadline = time.time() + patience
    while any(bench.total("tollgate_zone_endpoints", state) for state in OUT):
        if time.time() > deadline:
            raise peers.PeerFailed(f"an endpoint did not come back within {patience:.0f} s")
        time.sleep(0.1)


VICTIM = "z1a"
OUT = ('state="ejected"', 'state="unhealthy"')
ROWS: list[Fault] = [
    Killed(), KilledOften(), Frozen(), FrozenPerTry(), NeverAnswers(), Drips(), ResetsBeforeHeader(),
    ResetsMidHeader(), ResetsMidBody(), Truncates(), TruncatesChunked(), Garbage(), TwoLengths(),
    LengthBesideChunks(), Fails(), Flaps(), RedButFine(), AllRedButFine(),
]
