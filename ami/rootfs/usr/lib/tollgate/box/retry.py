"""Tries again what may pass by itself."""

import os
import random
import time

from .curl import NotYet, Unreached
from .failure import Failure

# Of one call with all its tries, and of one try. Tests have less of it. The units'
# TimeoutStartSec is computed from them: `make test-stack`.
PATIENCE = float(os.environ.get("TOLLGATE_BOX_PATIENCE", "25"))
TRY_SECONDS = min(5.0, PATIENCE)
FIRST_WAIT = 0.2
LONGEST_WAIT = 5.0


class Patience:
    """Of one run of a program. Whoever waited in vain once gives each later call one try:
    with ten things to fetch from a silent service, the last is tried, too, before systemd
    ends the run."""

    def __init__(self) -> None:
        self.spent = False

    def tried(self, attempt, what: str):
        """The outcome of `attempt`, made again as long as there is no whole answer and
        patience lasts. Fails with the last reason, after `what`."""
        end = time.monotonic() + PATIENCE
        wait = FIRST_WAIT
        while True:
            try:
                return attempt()
            except Unreached as why:
                silent = not isinstance(why, NotYet)
                # Drawn whole, so that a fleet that was refused at once does not come back
                # at once.
                pause = random.uniform(0, wait)
                if (self.spent and silent) or time.monotonic() + pause >= end:
                    self.spent = self.spent or silent
                    raise Failure(f"{what}: {why}") from None
            time.sleep(pause)
            wait = min(wait * 2, LONGEST_WAIT)
