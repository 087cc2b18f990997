"""One fault: how it is injected and undone, and what must hold meanwhile."""

import time
from collections.abc import Iterable

import settings
from bench import FaultBench
from figures import Run, Window
from fleet import Origin

# Holds in every row, whatever the fault.
ALWAYS: dict[str, float] = {"corrupt": 0, "twice": 0, "weight_zero": 0, "panics": 0}
# What nobody may notice who can ask again.
UNNOTICED: dict[str, float] = {"lost_get": 0, "lost_post_unseen": 0, "lost_after": 0}
# Of a few hundred requests a percentile is one neighbour's work: not judged with `--quick`.
NEED_MANY = {"p99_outside_ratio"}


class Fault:
    """A row of the matrix. Times are (quick, full) seconds."""

    name = ""
    settings = settings.BOTH
    # Those of `--quick`, where the usual ones take too long.
    settings_quick: str | None = None
    quiet = (1.5, 10.0)
    lasts = (2.0, 10.0)
    after = (0.5, 5.0)
    # Part of `--quick`.
    is_quick = True
    # What must hold beside `ALWAYS`: figure, and the most that it may be.
    limits: dict[str, float] = UNNOTICED
    # Set by the run.
    is_short = False

    def inject(self, bench: FaultBench) -> None:
        raise NotImplementedError

    def undo(self, bench: FaultBench) -> None:
        """Begins to undo it: those that were dead are waited for."""
        raise NotImplementedError

    def dead(self, bench: FaultBench) -> Iterable[Origin]:
        """Who fails meanwhile: requests there are to end."""
        return []

    def endpoints(self, bench: FaultBench) -> list[dict[str, object]]:
        """Those of the configuration."""
        return settings.endpoints(bench.fleet)

    def run(self, bench: FaultBench) -> list[Window]:
        """Injects, waits, undoes, waits until the dead answer again."""
        begins = time.time()
        self.inject(bench)
        time.sleep(self.time(self.lasts))
        self.undo(bench)
        for one in self.dead(bench):
            one.await_ready()
        return [Window(begins, time.time())]

    def figures(self, run: Run) -> dict[str, float]:
        """What only this row tells."""
        return {}

    def time(self, quick_and_full: tuple[float, float]) -> float:
        quick, full = quick_and_full
        return quick if self.is_short else full

    @property
    def limits_now(self) -> dict[str, float]:
        unjudged = NEED_MANY if self.is_short else set()
        return {name: most for name, most in (ALWAYS | self.limits).items() if name not in unjudged}

    @property
    def settings_now(self) -> str:
        return self.settings_quick or self.settings if self.is_short else self.settings
