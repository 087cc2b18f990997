"""Says what happened, wherever somebody may look for it.

Errors go to standard error, which the unit sends to the journal and to the console
(`aws ec2 get-console-output` reads that of a machine that nobody can reach); the rest to
the journal alone. All of it goes into the log file; STATUS is one line, the last of it and
the first error.
"""

import json
import os
import socket
import sys
import traceback
from datetime import datetime, timezone
from pathlib import Path

from . import place
from .failure import Ended, Failure, Mistake

OK, FAILED, BAD_SETTINGS = 0, 1, 78
# What systemd takes at the beginning of a line as its priority.
PRIORITIES = {"error": "<3>", "warn": "<4>", "info": "<6>"}
# Of each of the two in STATUS: a list of all that is wrong is for the log.
STATUS_LETTERS = 400


class Report:
    """The voice of one unit."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.first_error = ""

    def info(self, message: str) -> None:
        self.say("info", message)

    def warn(self, message: str) -> None:
        self.say("warn", message)

    def error(self, message: str) -> None:
        self.say("error", message)

    def say(self, level: str, message: str) -> None:
        # Half of a pair, as YAML may have it, could not be written.
        message = message.encode("utf-8", "replace").decode()
        stream = sys.stderr if level == "error" else sys.stdout
        for line in message.splitlines():
            print(f"{PRIORITIES[level]}{self.unit}: {line}", file=stream, flush=True)
        status(line_of(message) + (f"; {self.first_error}" if self.first_error else ""))
        if level == "error" and not self.first_error:
            self.first_error = line_of(message)
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


def line_of(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= STATUS_LETTERS else line[:STATUS_LETTERS - 1] + "…"


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
    except (Failure, Ended) as why:
        report.error(str(why))
        return FAILED
    except OSError as why:
        # A write does not know its file: it is there that this writes.
        report.error(f"{why.filename or place.RUN}: {why.strerror or why}; what there was stays")
        return FAILED
    except Exception as why:  # Nobody looks for a traceback in a journal that nobody reads.
        report.log("error", traceback.format_exc())
        report.error(f"{unit} itself fails, a fault of the program; what there was stays: {place_of(why)}: {why!r}")
        return FAILED
    return OK


def place_of(why: Exception) -> str:
    last = traceback.extract_tb(why.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"
