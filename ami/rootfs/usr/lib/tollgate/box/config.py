"""Fetches the gateway's configuration and secrets, and makes the gateway take them.

Everything is fetched before anything is written, checked as the gateway's user would
read it, and exchanged whole. What the gateway refuses does not stay: the link goes back
to what serves, so that a restart finds that.
"""

import json
import os
import pwd
import subprocess
from pathlib import Path

from . import place, settings, sources
from .aws import Aws
from .failure import Failure
from .generations import Generations, replace
from .report import FAILED, Report, run

UNIT = "tollgate-config"
GATEWAY = "tollgate.service"
# What systemd calls one that serves.
RUNS = ("active", "reloading")
# What the gateway says of a change that only a new process can make.
NEEDS_UPGRADE = "by a restart or an upgrade alone"
NOT_NOW = 75
# The exit code of a run that failed where the gateway serves what it took before: systemd
# leaves the next try to the timer.
SERVES_ON = 10
STATE = place.STATE / "config.json"


def main() -> int:
    code = run(UNIT, fetch)
    return SERVES_ON if code == FAILED and serves_on() else code


def serves_on() -> bool:
    return place.CURRENT.exists() and gateway_state() in RUNS


def fetch(report: Report) -> None:
    wanted, aws = settings.read(), Aws()
    files = {"tollgate.yaml": sources.fetch(wanted.config, aws)}
    for name, source in wanted.files.items():
        files[name] = sources.fetch(source, aws)
    generations = Generations(place.GENERATIONS, place.CURRENT)
    before = generations.now()
    if before and generations.contents() == files and served() == before.name:
        report.info(f"nothing changed: {wanted.config}, generation {before.name}")
        return
    folder = generations.publish(files)
    check(folder, wanted)
    generations.point(folder)
    try:
        told = hand_over(before is None)
    except Failure:
        if before:
            generations.point(before)
        raise
    replace(STATE, json.dumps({"served": folder.name}).encode(), 0o644)
    report.info(f"generation {folder.name} of {wanted.config}: {told}")


def served() -> str:
    """The generation that the gateway took last; a run may have ended before it did."""
    try:
        return json.loads(STATE.read_text())["served"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def check(folder: Path, wanted: settings.Settings) -> None:
    """Refuses what the gateway would, with what it says."""
    found = command("tollgate", "check", str(folder / "tollgate.yaml"), as_gateway=True)
    if found.returncode:
        # The operator knows the source, not the folder.
        said = found.stdout.replace(f"{folder}/", "").strip()
        raise Failure(f"{wanted.config} and its files are refused, what was good stays:\n{said}")


def hand_over(first: bool) -> str:
    """Makes the gateway take the generation that counts now; what was done."""
    state = gateway_state()
    if state in RUNS:
        return reload()
    # Who stopped it wants it stopped; a first configuration, and what failed with the
    # one before, are reasons to start.
    if not (first or state in ("failed", "activating")):
        return f"the gateway is {state or 'not there'} and stays so"
    # It would wait for us: this unit comes before it.
    started = command("systemctl", "start", "--no-block", GATEWAY)
    if started.returncode:
        raise Failure(f"the gateway cannot be started: {started.stdout.strip()}")
    return "the gateway starts"


def gateway_state() -> str:
    return command("systemctl", "show", "--property", "ActiveState", "--value", GATEWAY).stdout.strip()


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


def command(*words: str, as_gateway: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs a program; both of its streams in `stdout`."""
    who = {}
    if as_gateway and pwd.getpwnam(place.USER).pw_uid != os.geteuid():
        who = {"user": place.USER, "group": pwd.getpwnam(place.USER).pw_gid, "extra_groups": []}
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, **who)
