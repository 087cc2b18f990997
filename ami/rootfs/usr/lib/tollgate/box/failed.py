"""Tells why the gateway failed, when systemd has given it up."""

from . import gateway
from .report import Report, run

UNIT = "tollgate-failed"


def main() -> int:
    return run(UNIT, tell)


def tell(report: Report) -> None:
    next_run = "the next run of tollgate-config starts it again"
    if gateway.state() == "stopped":
        next_run = "it was stopped, and cut because it took too long to end; it stays so"
    report.error(f"the gateway has failed; {next_run}: {gateway.last_words()}")
