"""Says what happened, wherever somebody may look for it.

Errors go to standard error, which the unit sends to the journal and to the console
(`aws ec2 get-console-output` reads that of a machine that nobody can reach); the rest to
the journal alone. All of it goes into the log file, and the last of it into STATUS.
"""

import json
import os
import socket
import sys
from datetime import datetime, timezone
from pathlib import Path

from . import place
from .failure import Failure, Mistake

OK, FAILED, BAD_SETTINGS = 0, 1, 78
# What systemd takes at the beginning of a line as its priority.
PRIORITIES = {"error": "<3>", "warn": "<4>", "info": "<6>"}


class Report:
    """The voice of one unit."""

    def __init__(self, unit: str) -> None:
        self.unit = unit

    def info(self, message: str) -> None:
        self.say("info", message)

    def warn(self, message: str) -> None:
        self.say("warn", message)

    def error(self, message: str) -> None:
        self.say("error", message)

    def say(self, level: str, message: str) -> None:
        stream = sys.stderr if level == "error" else sys.stdout
        for line in message.splitlines():
            print(f"{PRIORITIES[level]}{self.unit}: {line}", file=stream, flush=True)
        status(message.splitlines()[0] if message else "")
        self.log(level, message)

    def log(self, level: str, message: str) -> None:
        if not place.LOGS:
            return
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"timestamp": now, "level": level, "unit": self.unit, "message": message})
        try:
            with open(Path(place.LOGS) / "box.log", "a", encoding="utf-8") as log:
                log.write(line + "\n")
        except OSError as why:
            # A full disk must not keep a certificate from being renewed.
            print(f"<4>{self.unit}: cannot write box.log: {why}", flush=True)


def status(text: str) -> None:
    """What `systemctl status` shows of the unit."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        try:
            notify.sendto(f"STATUS={text}".encode(), address)
        except OSError:
            pass


def run(unit: str, work) -> int:
    """Does a unit's work, with its report; the exit code. What fails has been said."""
    report = Report(unit)
    try:
        work(report)
    except Mistake as why:
        report.error(str(why))
        return BAD_SETTINGS
    except Failure as why:
        report.error(str(why))
        return FAILED
    except OSError as why:
        # A write does not know its file: it is there that this writes.
        report.error(f"{why.filename or place.RUN}: {why.strerror}; what was good stays")
        return FAILED
    return OK
