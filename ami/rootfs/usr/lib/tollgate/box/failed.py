"""Tells why the gateway failed, when systemd has given it up."""

from . import gateway
from .report import Report, run

UNIT = "tollgate-failed"


def main() -> int:
    return run(UNIT, tell)


def tell(report: Report) -> None:
    report.error(f"the gateway has failed; the next run of tollgate-config starts it again: {gateway.last_words()}")
