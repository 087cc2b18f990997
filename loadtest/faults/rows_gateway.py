"""Rows about the gateway's own size and change: a thousand endpoints, a hundred reloads."""

import time

import settings
from bench import FaultBench
from fault import UNNOTICED, Fault
from figures import Run, Window
from rows_zone import ZoneKilled


class ThousandEndpoints(Fault):
    """A third in each zone; 30 % die at one instant, half by resets and half in silence."""

    name = "1,000 endpoints, 30 % dead"
    lasts = (10.0, 20.0)
    limits = {"lost_late": 0}

    def endpoints(self, bench: FaultBench) -> list[dict[str, object]]:
        zones = [zone for zone in bench.network.zones if zone != "z9"]
        many = [
            {"address": f"{bench.network.zones[zone].many(nth)}:9090", "zone": zone}
            for zone in zones for nth in range(1 + 999 // len(zones))
        ]
        return [*many[:1000], settings.never(bench.fleet)]

    def inject(self, bench: FaultBench) -> None:
        for name, zone in bench.network.zones.items():
            if name != "z9":
                zone.loses([zone.many(nth) for nth in range(0, 50)], "reject with tcp reset")
                zone.loses([zone.many(nth) for nth in range(50, 100)], "drop")

    def undo(self, bench: FaultBench) -> None:
        for zone in bench.network.zones.values():
            zone.heals()

    def figures(self, run: Run) -> dict[str, float]:
        window = run.windows[0]
        late = [one for one in run.samples if one.began >= window.begins + SETTLED]
        return {"lost_late": sum(one.end != "good" for one in late)}


class Reloads(ZoneKilled):
    """A hundred reloads, each with other weights, while the zone dies and comes back."""

    how = "100 reloads while a zone is killed"
    quiet = (1.0, 5.0)
    after = (1.0, 10.0)
    count = 100
    limits = UNNOTICED | {"reloads_missing": 0}

    def run(self, bench: FaultBench) -> list[Window]:
        before = self.taken(bench)
        self.reloaded(bench, 20)
        begins = time.time()
        self.inject(bench)
        self.reloaded(bench, 40)
        self.undo(bench)
        ends = time.time()
        self.reloaded(bench, 40)
        self.done = self.taken(bench) - before
        return [Window(begins, ends)]

    def taken(self, bench: FaultBench) -> int:
        return bench.total("tollgate_config_reloads_total", 'result="ok"')

    def reloaded(self, bench: FaultBench, times: int) -> None:
        for nth in range(times):
            bench.configure([{"weight": 2 + nth % 2, **one} for one in self.endpoints(bench)])
            bench.reload()

    def figures(self, run: Run) -> dict[str, float]:
        return {"reloads_missing": self.count - self.done}


# By then three probes of each dead endpoint have failed: 3 × 2 s and a tenth, and the last one's second.
SETTLED = 8
ROWS: list[Fault] = [ThousandEndpoints(), Reloads()]
