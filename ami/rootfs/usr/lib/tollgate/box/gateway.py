"""The gateway of this machine: what systemd says of it, and how it takes a configuration.

Does not own which one that is (the link that `generations` points), nor when it starts.
"""

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
# What the gateway says of a change that only a new process can make.
NEEDS_UPGRADE = "by a restart or an upgrade alone"
NOT_NOW = 75
# Of what it said last: more of it is in the journal.
LAST_LINES, LAST_LETTERS = 40, 400


def state() -> str:
    return shown("ActiveState")


def runs() -> bool:
    return state() in RUNS


def shown(what: str) -> str:
    return command("systemctl", "show", "--property", what, "--value", UNIT).stdout.strip()


def start() -> None:
    """Does not wait: the gateway's unit comes after the one that this runs in."""
    started = command("systemctl", "start", "--no-block", UNIT)
    if started.returncode:
        raise Failure(f"the gateway cannot be started: {started.stdout.strip()}")


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
    return f"{shown('Result')}: {words[:LAST_LETTERS]}"


def command(*words: str, as_gateway: bool = False, apart: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs a program; both of its streams in `stdout`, or each in its own."""
    who = {}
    if as_gateway and pwd.getpwnam(place.USER).pw_uid != os.geteuid():
        who = {"user": place.USER, "group": pwd.getpwnam(place.USER).pw_gid, "extra_groups": []}
    errors = subprocess.PIPE if apart else subprocess.STDOUT
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                          encoding="utf-8", errors="replace", check=False, **who)
