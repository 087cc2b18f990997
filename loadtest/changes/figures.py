"""Turns a run into figures, and figures into a verdict.

Owns which loss belongs to which change (the last one before it), what was under
way when something changed, and what must hold of Tollgate. Knows nothing of
processes.
"""

from bisect import bisect_right
from collections import Counter
from statistics import median

BLIND = ("http1 blind", "http1 blind, tls")
STREAMS = ("grpc stream", "websocket", "download")


def figures(run: dict) -> dict:
    """Every figure of one server's run, beside what it was made from."""
    changes, clients = run["changes"], run["clients"]
    asked = {kind: [one["asked"] for one in changes if one["kind"] == kind] for kind in ("reload", "upgrade")}
    of_requests = [of_kind for kind, of_kind in clients.items() if kind not in STREAMS]
    spans = [span for of_kind in clients.values() for span in [*of_kind["spans"], *of_kind["streams"]]]
    at_change = in_flight(spans, [one["asked"] for one in changes])
    return {
        "changes": {kind: times([one for one in changes if one["kind"] == kind]) for kind in asked},
        "requests": total(of_requests, "requests"),
        "lost": total(of_requests, "lost"),
        "lost_looking": total([of for kind, of in clients.items() if kind not in (*STREAMS, *BLIND)], "lost"),
        "lost_by": lost_by(of_requests, changes),
        "refused": total(clients.values(), "refused") + sum(one["refused"] for one in changes),
        "reset": total(of_requests, "reset"),
        "closed": total(of_requests, "closed"),
        "asked": total(of_requests, "asked"),
        "in_flight_median": median(at_change) if at_change else 0,
        "in_flight_most": max(at_change, default=0),
        "ends": {kind: dict(Counter(how for _, _, how in clients[kind]["streams"])) for kind in STREAMS},
        "cut_early": [one for kind in STREAMS for one in cut_early(kind, clients[kind]["streams"], run)],
    }


def total(of_kinds, what: str) -> int:
    return sum(of_kind["counts"].get(what, 0) for of_kind in of_kinds)


def times(changes: list[dict]) -> dict:
    """How long changes of one kind took, in ms."""
    serves = [1e3 * one["serves"] for one in changes]
    told = [1e3 * one["acknowledged"] for one in changes if one["acknowledged"] is not None]
    return {
        "count": len(changes),
        "serves_median_ms": median(serves) if serves else None, "serves_most_ms": max(serves, default=None),
        "told_median_ms": median(told) if told else None, "told_most_ms": max(told, default=None),
    }


def lost_by(of_requests: list[dict], changes: list[dict]) -> dict[str, int]:
    """Lost requests by the kind of the last change before."""
    instants = [one["asked"] for one in changes]
    kinds = ["nothing", *(one["kind"] for one in changes)]
    when = [at for of_kind in of_requests for at, why in of_kind["failed"] if not why.startswith("refused")]
    return dict(Counter(kinds[bisect_right(instants, at)] for at in when))


def in_flight(spans: list[list], instants: list[float]) -> list[int]:
    """How many requests and streams were under way at each instant."""
    begins = sorted(span[0] for span in spans)
    ends = sorted(span[1] for span in spans)
    return [bisect_right(begins, at) - bisect_right(ends, at) for at in instants]


def cut_early(kind: str, streams: list[list], run: dict) -> list[str]:
    """Streams that neither ended whole nor went on until the ceiling after an upgrade.

    A process that hands over asks its connections to end; from then on they have the
    ceiling's time.
    """
    upgrades = [one["asked"] for one in run["changes"] if one["kind"] == "upgrade"]
    early = []
    for began, ended, how in streams:
        after = [ended - at for at in upgrades if began < at + SPAN and at < ended]
        if not how.startswith(("whole", "retryable")) and max(after, default=0) < run["ceiling"] - 0.5:
            early.append(f"{kind}: {how}, {ended - began:.1f} s old, {max(after, default=-1):.1f} s after an upgrade")
    return early


def wrong(run: dict) -> list[str]:
    """What must hold and did not, in words."""
    found, start, end = run["figures"], run["start"], run["end"]
    said = [f"{found[what]} {words}" for what, words in NEVER.items() if found[what]]
    said += [f"a stream was cut early: {one}" for one in found["cut_early"]]
    untold = sum(count for how, count in found["ends"]["websocket"].items() if how != "1001")
    if run["tells_websockets"] and untold:
        said.append(f"{untold} WebSockets were cut without 1001: {found['ends']['websocket']}")
    said += [f"{kind}: corrupt" for kind, ends in found["ends"].items() if "corrupt" in ends]
    if end["processes"] > start["processes"]:
        said.append(f"{end['processes']} processes are left, {start['processes']} there were")
    if end["files"] > start["files"]:
        more = Counter(end["kinds"]) - Counter(start["kinds"])
        said.append(f"{end['files']} files are open, {start['files']} there were; more: {dict(more)}")
    return said


NEVER = {"lost": "requests were lost", "refused": "connections were refused", "reset": "connections were reset"}
# A new connection may still come to the old process until the new one has answered.
SPAN = 3
