"""The gateway of this machine: what systemd says of it, and how it takes a configuration.

Does not own which one that is (the link that `generations` points), nor when it starts.
"""

import contextlib
import os
import pwd
import subprocess

from . import place
from .failure import Failure

UNIT = "tollgate.service"
# Where the programs here, and whoever sits at the machine, speak to it.
SOCKET = os.environ.get("TOLLGATE_SOCKET", "/run/tollgate/admin.sock")
# What systemd calls one that serves.
RUNS = ("active", "reloading")
# One that cannot go on, and one that ends in its starts: it may be so for ever without
# being the first, for only ten ends in a minute are too many.
FAILED, RESTARTS = "failed", "restarting"
# There while systemd has forgotten that the gateway failed, and was not told yet to start it.
WAKING = place.STATE / "waking"
# What the gateway says of a change that only a new process can make: src/lifecycle/frozen.rs.
NEEDS_UPGRADE = "by a restart or an upgrade alone"
# How `tollgate` ends when nobody listens at its socket, or when it cannot be now.
NOT_NOW = 75
# Of what it said last: more of it is in the journal.
LAST_LINES, LAST_LETTERS = 40, 400


def state() -> str:
    """What systemd calls it; `FAILED` and `RESTARTS` only where nobody wants it down."""
    told = shown("ActiveState", "LoadState", "SubState", "NRestarts", "Result", "ActiveEnterTimestampMonotonic", "InactiveExitTimestampMonotonic",
                 maybe="Job")
    found = told["ActiveState"]
    if found in RUNS:
        woken()
        return found
    if told["LoadState"] == "masked":
        return "masked"
    if restarts(told):
        return RESTARTS
    if found == "failed" and stop_took_too_long(told):
        return "stopped"
    return FAILED if found == "inactive" and WAKING.exists() else found


def restarts(told: dict[str, str]) -> bool:
    """Whether systemd starts it again by itself. Its job for that waits for the end of the
    run that asks here, and makes it look stopped meanwhile."""
    if told["SubState"] == "auto-restart":
        return True
    return told["NRestarts"] != "0" and (told["ActiveState"] == "activating" or (told["ActiveState"] == "inactive" and "Job" in told))


def stop_took_too_long(told: dict[str, str]) -> bool:
    """A start that takes too long is a `timeout` as well, of one that never came up."""
    came_up = int(told["ActiveEnterTimestampMonotonic"]) >= int(told["InactiveExitTimestampMonotonic"])
    return told["Result"] == "timeout" and came_up


def runs() -> bool:
    return state() in RUNS


def shown(*what: str, maybe: str = "") -> dict[str, str]:
    """These properties, and one that may be missing."""
    properties = ",".join(filter(None, (*what, maybe)))
    lines = command("systemctl", "show", f"--property={properties}", UNIT).stdout.splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    missing = [one for one in what if one not in told]
    if missing:
        raise Failure(f"systemd does not tell {missing[0]} of {UNIT}: {' '.join(lines)}")
    return told


def start() -> None:
    begin("start")


def restart() -> None:
    """Ends a start that is under way, too."""
    begin("restart")


def begin(how: str) -> None:
    """Does not wait: the gateway's unit comes after the one that this runs in."""
    # A run that ends between the two leaves one that looks as if somebody had stopped it.
    # Without room for that, it is started all the same.
    with contextlib.suppress(OSError):
        WAKING.parent.mkdir(parents=True, exist_ok=True)
        WAKING.touch()
    # Else the ends of before would count: at the limit of starts systemd takes the job,
    # and runs nothing.
    command("systemctl", "reset-failed", UNIT)
    started = command("systemctl", how, "--no-block", UNIT)
    if started.returncode:
        raise Failure(f"the gateway cannot be started: {started.stdout.strip()}")
    woken()


def woken() -> None:
    # Not every program here may write there.
    with contextlib.suppress(OSError):
        WAKING.unlink(missing_ok=True)


def reload() -> str:
    done = command("tollgate", "reload", as_gateway=True)
    if done.returncode == 0:
        return "reloaded"
    if NEEDS_UPGRADE in done.stdout:
        return upgrade()
    if done.returncode == NOT_NOW:
        raise Failure(f"the gateway cannot reload now, tried again later: {done.stdout.strip()}")
    raise Failure(f"the gateway refuses it and goes on with what it had:\n{done.stdout.strip()}")


def upgrade() -> str:
    """A new process with the same sockets: no connection is refused."""
    done = command("systemctl", "start", "tollgate-upgrade.service")
    if done.returncode:
        raise Failure("the gateway goes on with what it had: a listener or the like changed, and the upgrade that "
                      f"takes it fails; look at `journalctl -u tollgate-upgrade`: {done.stdout.strip()}")
    return "upgraded: a listener or the like changed"


def last_words() -> str:
    """How the gateway ended, and what it said last of why."""
    # Of one that ended just now, all of it.
    command("journalctl", "--sync")
    told = command("journalctl", "--quiet", "--output=cat", f"--lines={LAST_LINES}", f"_SYSTEMD_UNIT={UNIT}").stdout.splitlines()
    errors = [line for line in told if line.startswith("error") or "level=error" in line or "panicked" in line]
    # Of ten starts each says the same.
    words = " / ".join(dict.fromkeys(errors[-3:] or told[-1:])) or "it said nothing; look at `journalctl -u tollgate`"
    return f"{shown('Result')['Result']}: {words[:LAST_LETTERS]}"


def command(*words: str, as_gateway: bool = False, apart: bool = False, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a program; both of its streams in `stdout`, or each in its own. One that takes
    longer than `timeout` seconds is killed: `subprocess.TimeoutExpired`."""
    who = {}
    if as_gateway and pwd.getpwnam(place.USER).pw_uid != os.geteuid():
        who = {"user": place.USER, "group": pwd.getpwnam(place.USER).pw_gid, "extra_groups": []}
    errors = subprocess.PIPE if apart else subprocess.STDOUT
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                          encoding="utf-8", errors="replace", check=False, timeout=timeout, **who)
