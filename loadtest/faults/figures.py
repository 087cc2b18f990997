"""Turns a row's requests into figures, and figures into a verdict.

Owns what "lost", "routed around" and "twice" mean. Knows nothing of processes.
All times are seconds of the wall clock, all figures that end in `_ms` milliseconds.
"""

from collections import Counter
from dataclasses import dataclass, field

from bench import Logged
from load import Sample
from slow_headers import quantile


@dataclass
class Window:
    """From just before a fault was injected until just after it was undone."""

    begins: float
    ends: float


@dataclass
class Run:
    """What was seen of one row."""

    samples: list[Sample]
    logged: list[Logged]
    # At least one; a fault that is injected in rounds has one each.
    windows: list[Window]
    # Addresses of the endpoints that fail.
    dead: set[str]
    # Each POST's path: how many endpoints got it.
    executed: Counter[str]
    # Requests to the endpoint of weight 0.
    weight_zero: int
    # What the gateway counted, and what a row adds by itself.
    extra: dict[str, float] = field(default_factory=dict)


def figures(run: Run) -> dict[str, float]:
    """Every figure of a row; rows limit some of them."""
    return {**counts(run), **times(run), **run.extra}


def counts(run: Run) -> dict[str, float]:
    """How many requests, and what became of them."""
    lost = [one for one in run.samples if one.end != "good"]
    return {
        "requests": len(run.samples),
        "lost_get": sum(one.method == "GET" for one in lost),
        "lost_post": sum(one.method == "POST" for one in lost),
        "post_in_flight": sum(is_in_flight(one, run.windows) for one in run.samples),
        "lost_post_unseen": sum(one.method == "POST" and not is_seen(one, run) for one in lost),
        "lost_after": sum(one.began >= run.windows[-1].ends for one in lost),
        "corrupt": sum(one.end == "corrupt" for one in lost),
        "twice": sum(count > 1 for count in run.executed.values()),
        "weight_zero": run.weight_zero,
        "most_in_flight": most_in_flight(run.samples),
    }


def times(run: Run) -> dict[str, float]:
    """How long it took: to leave the dead, to come back, to answer."""
    quiet = [one.seconds * 1e3 for one in run.samples if one.began < run.windows[0].begins and one.end == "good"]
    p99, back = quantile(quiet, 0.99), run.windows[-1].ends
    slow = max(5 * p99, SLOW_MS) / 1e3
    bad = [one for one in run.samples if one.end != "good" or one.seconds > slow]
    # A peer does not tell where requests went: then it is the last that was lost or slow.
    touched = [routed(run, window) if run.logged else last_of(bad, window) for window in run.windows]
    inside, outside = sides(run, touched)
    return {
        "routed_ms": 1e3 * max(touched),
        "last_bad_ms": 1e3 * max(last_of(bad, window) for window in run.windows),
        "recovered_ms": 1e3 * max((one.began - back for one in bad if one.began >= back), default=0),
        "p50_quiet_ms": quantile(quiet, 0.5),
        "p99_quiet_ms": p99,
        "p99_inside_ms": quantile(inside, 0.99) if inside else 0,
        "p99_outside_ms": quantile(outside, 0.99) if outside else 0,
        "p99_outside_ratio": quantile(outside, 0.99) / p99 if outside else 0,
        "longest_ms": 1e3 * max(one.seconds for one in run.samples),
    }


def ends(samples: list[Sample]) -> dict[str, int]:
    """How requests ended, by method and word: `{"POST 502": 3}`."""
    return dict(Counter(f"{one.method} {one.end}" for one in samples if one.end != "good"))


def routed(run: Run, window: Window) -> float:
    """How long after the fault the last request went to a dead place, at first or at last; 0 when none did."""
    dead = {one.number for one in run.logged if one.attempts > 1 or one.endpoint in run.dead}
    return last_of([one for one in run.samples if one.number in dead], window)


def last_of(samples: list[Sample], window: Window) -> float:
    within = (one.began - window.begins for one in samples if window.begins <= one.began < window.ends)
    return max(within, default=0.0)


def sides(run: Run, touched: list[float]) -> tuple[list[float], list[float]]:
    """Milliseconds of requests that began while a fault lasted: until it was routed around, and from then on."""
    inside, outside = [], []
    for window, until in zip(run.windows, touched):
        for one in run.samples:
            if window.begins <= one.began < window.ends:
                (inside if one.began <= window.begins + until else outside).append(one.seconds * 1e3)
    return inside, outside


def is_in_flight(one: Sample, windows: list[Window]) -> bool:
    return one.method == "POST" and any(one.began <= at.begins < one.began + one.seconds for at in windows)


def is_seen(one: Sample, run: Run) -> bool:
    """Whether a lost POST was on its way when the fault came, or came to an endpoint: it may not be sent again."""
    return is_in_flight(one, run.windows) or run.executed[f"/{one.number}"] > 0


def most_in_flight(samples: list[Sample]) -> int:
    steps = sorted([(one.began, 1) for one in samples] + [(one.began + one.seconds, -1) for one in samples])
    now = most = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def broken(found: dict[str, float], limits: dict[str, float]) -> list[str]:
    """The figures that are above their limits, each as a sentence."""
    return [
        f"{name} is {found[name]:.4g}, at most {most:g}"
        for name, most in limits.items() if not found[name] <= most
    ]


# Slower than this is not the machine's noise, however quiet it was before.
SLOW_MS = 50
