"""Tries again what may pass by itself."""

import os
import random
import time

from .curl import Unreached
from .failure import Failure

# Of one call with all its tries, and of one try. Tests have less of it.
PATIENCE = float(os.environ.get("TOLLGATE_BOX_PATIENCE", "25"))
TRY_SECONDS = min(5.0, PATIENCE)
FIRST_WAIT = 0.2
LONGEST_WAIT = 5.0


def tried(attempt, what: str):
    """The outcome of `attempt`, made again as long as there is no whole answer and
    patience lasts. Fails with the last reason, after `what`."""
    end = time.monotonic() + PATIENCE
    wait = FIRST_WAIT
    while True:
        try:
            return attempt()
        except Unreached as why:
            # Drawn whole, so that a fleet that was refused at once does not come back
            # at once.
            pause = random.uniform(0, wait)
            if time.monotonic() + pause >= end:
                raise Failure(f"{what}: {why}") from None
        time.sleep(pause)
        wait = min(wait * 2, LONGEST_WAIT)
