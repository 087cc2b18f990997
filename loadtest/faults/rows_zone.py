"""Faults of a zone, of all zones, of a region: processes killed, packets dropped or reset, cable pulled."""

from collections import Counter
from collections.abc import Iterable

import settings
from bench import FaultBench
from fault import UNNOTICED, Fault
from figures import Run, quantile
from fleet import Origin
from load import NOT_200


class OfZone(Fault):
    """The gateway's own zone, by outlier detection and checks together, or by one of them alone."""

    zones: tuple[str, ...] = ("z1",)
    how = ""

    def __init__(self, variant: str = "both") -> None:
        self.settings = VARIANTS[variant]
        self.name = self.how if variant == "both" else f"{self.how}, {variant}"
        self.is_quick = self.is_quick and variant == "both"
        if self.settings == settings.CHECKS:
            # Two intervals, the third failed probe of a second, a tenth: nothing else tells.
            self.limits = self.limits | {"routed_ms": 8000}

    def dead(self, bench: FaultBench) -> Iterable[Origin]:
        return bench.fleet.of(*self.zones)


class ZoneKilled(OfZone):
    how = "zone killed"
    limits = UNNOTICED | {"routed_ms": 1000, "p99_outside_ratio": 2}

    def inject(self, bench: FaultBench) -> None:
        for one in self.dead(bench):
            one.kill()

    def undo(self, bench: FaultBench) -> None:
        for one in self.dead(bench):
            one.start()


class ZoneDropped(OfZone):
    """Nobody answers, nobody refuses. What was sent and not acknowledged may have been executed: POSTs are lost."""

    how = "zone dropped"
    # Longer than any timeout: what TCP repeats when the zone is back would hide what was lost.
    lasts = (3.0, 20.0)
    # A request that waits longer than this for the dead is as good as lost.
    limits = {"lost_get": 0, "lost_after": 0, "routed_ms": 1000, "longest_ms": 2000, "p99_outside_ratio": 2}

    def inject(self, bench: FaultBench) -> None:
        for zone in self.zones:
            bench.network.zones[zone].drops()

    def undo(self, bench: FaultBench) -> None:
        for zone in self.zones:
            bench.network.zones[zone].heals()


class ZoneUnplugged(ZoneDropped):
    how = "zone's cable pulled"
    is_quick = False

    def inject(self, bench: FaultBench) -> None:
        bench.network.zones["z1"].link("down")

    def undo(self, bench: FaultBench) -> None:
        bench.network.zones["z1"].link("up")


class ZoneResets(ZoneDropped):
    how = "zone resets"
    limits = {"lost_get": 0, "lost_after": 0, "routed_ms": 100, "p99_outside_ratio": 2}

    def inject(self, bench: FaultBench) -> None:
        bench.network.zones["z1"].resets()


class ZoneLossy(ZoneDropped):
    """One packet in ten to the zone vanishes: TCP repeats it 200 ms later. No failure, and few slow requests."""

    how = "zone loses 10 % of packets"
    limits = {"lost_get": 0, "lost_post": 0}

    def inject(self, bench: FaultBench) -> None:
        bench.network.zones["z1"].drops(10)

    def figures(self, run: Run) -> dict[str, float]:
        return share_of(run, "z1")


class ZoneSlow(ZoneLossy):
    """Every answer half a second late: slow is no failure."""

    how = "zone slow by 500 ms"

    def inject(self, bench: FaultBench) -> None:
        for one in self.dead(bench):
            one.script("delay=500ms")

    def undo(self, bench: FaultBench) -> None:
        for one in self.dead(bench):
            one.script("")


class ZoneFails(ZoneSlow):
    """Health green, traffic fails."""

    how = "zone answers 503, health green"
    lasts = (3.0, 10.0)
    limits = {"lost_after": 0, "routed_ms": 1000, "lost_get": 6, "lost_post": 6}

    def inject(self, bench: FaultBench) -> None:
        for one in self.dead(bench):
            one.script("status=503")


class ZoneReturns(ZoneKilled):
    """What happens when it serves again: nothing fails, its share rises in steps, nobody gets twice what is fair."""

    how = "own zone back"
    lasts = (2.0, 5.0)
    after = (9.0, 60.0)
    limits = {"lost_get": 0, "lost_after": 0, "herd": 2, "steps_missing": 0, "not_back": 0}
    settings_quick = settings.SOON

    def figures(self, run: Run) -> dict[str, float]:
        bins = seconds(run, run.windows[0].ends)
        shares = [sum(of[name] for name in ("z1a", "z1b")) / max(1, of.total()) for of in bins]
        returning = [share for share in shares if 0.02 < share < 0.95]
        return {
            "herd": max(count / of.total() / FAIR.get(name, 1) for of in bins for name, count in of.items()),
            "steps": len(returning),
            "steps_missing": float(not returning),
            "not_back": float(shares[-1] < 0.99),
            "back_after_s": next((at for at, share in enumerate(shares) if share >= 0.99), -1),
        }


class AllGone(OfZone):
    """No endpoint anywhere: 503 at once, nothing piles up, and all is well as soon as they are back."""

    zones = ("z1", "z2", "z3", "z9")
    lasts = (4.0, 20.0)
    after = (3.0, 10.0)
    limits = {"lost_late": 0, "refused_p99_ms": 10, "most_in_flight": 100, "recovered_ms": 2500, "not_503": 0}

    def figures(self, run: Run) -> dict[str, float]:
        window = run.windows[0]
        # Of the first second others tell: there it is the loss of single zones.
        late = [one for one in run.samples if window.begins + 1 <= one.began < window.ends]
        refused = [one.seconds * 1e3 for one in late if one.end != "good"]
        return {
            "refused": len(refused),
            "refused_p50_ms": quantile(refused, 0.5) if refused else 0,
            "refused_p99_ms": quantile(refused, 0.99) if refused else 0,
            "not_503": sum(one.end not in ("503", NOT_200) for one in late if one.end != "good"),
            "lost_late": sum(one.began > window.ends + 2.5 for one in run.samples if one.end != "good"),
        }


class AllKilled(AllGone, ZoneKilled):
    how = "all zones killed"
    limits = AllGone.limits


class AllDropped(AllGone, ZoneDropped):
    how = "all zones dropped"
    limits = AllGone.limits


class RegionGone(ZoneKilled):
    """Everything near is gone: the other region serves, and only until the own one is back."""

    how = "region killed"
    zones = ("z1", "z2", "z3")
    lasts = (3.0, 10.0)
    # Two attempts of a request may both meet the dead; not judged as one zone is.
    limits = {"lost_after": 0, "routed_ms": 1000, "p99_outside_ratio": 2, "far_early": 0}

    def figures(self, run: Run) -> dict[str, float]:
        window = run.windows[0]
        far = [one for one in run.samples if one.origin.startswith("z9")]
        return {
            "far_early": sum(one.began < window.begins for one in far),
            "far_meanwhile": sum(window.begins <= one.began < window.ends for one in far),
            "near_meanwhile_late": sum(
                window.begins + 1 <= one.began < window.ends and one.origin[:2] in self.zones for one in run.samples
            ),
        }


class RegionDropped(RegionGone, ZoneDropped):
    how = "region dropped"
    inject, undo = ZoneDropped.inject, ZoneDropped.undo


def share_of(run: Run, zone: str) -> dict[str, float]:
    """How much of the traffic the zone answered while the fault lasted."""
    window = run.windows[0]
    answered = [one.origin for one in run.samples if window.begins <= one.began < window.ends and one.origin]
    slow = sum(one.seconds > 0.1 for one in run.samples if window.begins <= one.began < window.ends)
    return {
        f"share_{zone}": sum(origin.startswith(zone) for origin in answered) / max(1, len(answered)),
        "slow_share": slow / max(1, len(answered)),
    }


def seconds(run: Run, begins: float) -> list[Counter[str]]:
    """By second from then on, the last that is not whole left out: how many requests each endpoint answered."""
    bins: list[Counter[str]] = []
    for one in run.samples:
        if one.began >= begins and one.origin:
            nth = int(one.began - begins)
            bins += [Counter() for _ in range(nth + 1 - len(bins))]
            bins[nth][one.origin] += 1
    return bins[:-1] if len(bins) > 1 else bins


# Of the own zone's two endpoints when it is back, and of the other zones' four until then.
FAIR = {"z1a": 1 / 2, "z1b": 1 / 2, "z2a": 1 / 4, "z2b": 1 / 4, "z3a": 1 / 4, "z3b": 1 / 4}
VARIANTS = {"both": settings.BOTH, "outlier alone": settings.OUTLIERS, "checks alone": settings.CHECKS}
ROWS: list[Fault] = [
    *(kind(variant) for kind in (ZoneKilled, ZoneDropped, ZoneResets) for variant in VARIANTS),
    ZoneUnplugged(), ZoneLossy(), ZoneSlow(), ZoneFails(), ZoneReturns(), AllKilled(), AllDropped(), RegionGone(),
    RegionDropped(),
]
