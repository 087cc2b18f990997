"""What the upstream's configuration says in a row, beside the defaults.

`BOTH` is what is stated in the results: outlier detection and a health check, every
other key at its default.
"""

from fleet import Fleet

CHECKS = "health_check: { path: /__origin/health }"
OUTLIERS = "outlier_detection: {}"
JOIN = "\n    "
BOTH = CHECKS + JOIN + OUTLIERS
# Silence is only tried again where the operator says how long an answer may take.
PER_TRY = BOTH + JOIN + "retries: { per_try_timeout: 1s }"
# Ejections that end soon, for rows that do the same many times.
BRIEF = CHECKS + JOIN + "outlier_detection: { base_ejection: 2s, max_ejection: 3s }" + JOIN + "slow_start: 1s"
# The return of a zone in seconds instead of a minute.
SOON = (CHECKS + JOIN + "outlier_detection: { base_ejection: 2s }" + JOIN + "slow_start: 3s" + JOIN
        + "locality: { hold_down: 1s }")

# Rows that nginx and HAProxy run too.
PEER_ROWS = ("endpoint killed", "zone killed", "zone dropped", "zone resets")


def endpoints(fleet: Fleet, far: bool = True) -> list[dict[str, object]]:
    """Two in each zone, two in another region, and one of weight 0."""
    zones = ("z1", "z2", "z3")
    near = [{"address": one.address, "zone": one.zone_name} for one in fleet.of(*zones)]
    other = [{"address": one.address, "zone": "z9", "region": "far"} for one in fleet.of("z9")] if far else []
    return [*near, *other, never(fleet)]


def never(fleet: Fleet) -> dict[str, object]:
    """The endpoint that never gets a request."""
    return {"address": fleet.origins["never"].address, "zone": "z2", "weight": 0}
