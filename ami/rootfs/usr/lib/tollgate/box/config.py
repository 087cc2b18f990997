"""Fetches the gateway's configuration and secrets, and makes the gateway take them.

Everything is fetched before anything is written, checked as the gateway's user would
read it, and exchanged whole. What the gateway refuses does not stay: the link goes back
to what serves, so that a restart finds that. A run may end anywhere, by a signal too: the
next one begins with what the gateway took last.
"""

import re
import signal
from pathlib import Path

import yaml

from . import gateway, place, settings
from .aws import Aws
from .failure import Ended, Failure
from .generations import Generations
from .lifecycle import is_leaving
from .report import FAILED, Report, run
from .sources import Sources
from .state import State

UNIT = "tollgate-config"
# The exit code of a run that failed where the gateway serves what it took before: systemd
# leaves the next try to the timer.
SERVES_ON = 10
# The gateway is not what somebody wants it to be.
DOWN = (gateway.FAILED, gateway.RESTARTS)


def main() -> int:
    # By systemd, after TimeoutStartSec=: said and made good as anything else that fails.
    signal.signal(signal.SIGTERM, ended)
    code = run(UNIT, fetch)
    return SERVES_ON if code == FAILED and serves_on() else code


def ended(*_) -> None:
    raise Ended("ended by a signal before it was done: by somebody, or by systemd because it took too long")


def serves_on() -> bool:
    return place.CURRENT.exists() and gateway.runs()


def fetch(report: Report) -> None:
    generations = Generations(place.GENERATIONS, place.CURRENT)
    state = settled(generations)
    try:
        wanted = settings.read()
        folder = prepared(wanted, generations, state)
    except (Failure, OSError):
        # A gateway that failed does not wait for what is right.
        if gateway.state() in DOWN:
            report.error(started_again(generations, state))
        raise
    if folder is None:
        found = gateway.state()
        if found in DOWN:
            raise Failure(started_again(generations, state))
        serving = "" if found in gateway.RUNS else f"; the gateway is {found or 'not there'}"
        report.info(f"nothing changed: {wanted.config}, generation {generations.now().name}{serving}")
        return
    state, told = hand_over(folder, generations, state)
    state.write()
    report.info(f"generation {folder.name} of {wanted.config}: {told}")


def prepared(wanted: settings.Settings, generations: Generations, state: State) -> Path | None:
    """What is to be taken, fetched and checked, as a folder; nothing where the gateway could
    be told of nothing new."""
    files = Sources(Aws()).all(wanted)
    now = generations.now()
    if now and as_it_was(files, now, generations, state):
        return None
    folder = generations.publish(files, {state.served})
    check(folder, wanted, serving=now is not None)
    return folder


def as_it_was(files: dict[str, bytes], now: Path, generations: Generations, state: State) -> bool:
    """Whether the gateway has these files, or just did not come up with them, so that it is
    the turn of those that it served."""
    if state.refused and gateway.state() in DOWN and generations.contents(state.refused) == files:
        return True
    return state.settled_on(now.name) and generations.contents() == files


def settled(generations: Generations) -> State:
    """What is known, after what has to be known first: whether the gateway came up with
    what it was started with, and whether the run before came to its end."""
    state, now = State.read(), generations.now()
    if now and now.name == state.at_start():
        found = gateway.state()
        if found in gateway.RUNS:
            state = State(now.name)
            state.write()
        if found not in DOWN or not state.served:
            return state
        state = State(state.served, refused=now.name)
        state.write()
    go_back(generations, state)
    return state


def go_back(generations: Generations, state: State) -> None:
    """Points at what the gateway took last, if there is any."""
    folder = generations.home / state.served
    if state.served and folder.is_dir() and generations.now() != folder:
        generations.point(folder)


def hand_over(folder: Path, generations: Generations, state: State) -> tuple[State, str]:
    """Makes a generation the one that counts, and the gateway take it; what is known then,
    and in words. Whatever goes wrong leaves what served; `tried` stays, for the gateway may
    have taken it all the same."""
    first, found = not (state.served or state.starts), gateway.state()
    if found == "activating":
        # With which of both, nobody could say afterwards. One that has ended in its start
        # is not waited for: it may be at it for ever.
        raise Failure("the gateway is just starting, tried again later")
    State(state.served, state.starts, tried=folder.name).write()
    try:
        generations.point(folder)
        if found in gateway.RUNS:
            return State(folder.name), gateway.reload()
        # Who stopped it wants it stopped; a first configuration, and what failed with the
        # one before, are reasons to start.
        starts = State(state.served, starts=folder.name)
        if found != "masked" and (first or (found in DOWN and not is_leaving())):
            begin(found)
            return starts, "the gateway starts"
        return starts, f"the gateway is {found or 'not there'} and stays so"
    except BaseException:
        go_back(generations, state)
        raise


def begin(found: str) -> None:
    if found == gateway.RESTARTS:
        gateway.restart()
    else:
        gateway.start()


def started_again(generations: Generations, state: State) -> str:
    """Starts a gateway that failed, unless its machine is to end; what to say of it."""
    found = gateway.state()
    words = gateway.last_words()
    if is_leaving():
        return f"the gateway has failed and stays so, for this machine is to end: {words}"
    now = generations.now()
    if now is None:
        return f"the gateway has failed, and there is nothing to start it with: {words}"
    if found == gateway.RESTARTS and not state.refused:
        return f"the gateway is not up with generation {now.name}, systemd tries on: {words}"
    begin(found)
    if state.refused:
        # May be that both fail, and the cause of one has passed: the other is next.
        State(state.served).write()
    return f"the gateway has failed, it is started again with generation {now.name}: {words}"


def check(folder: Path, wanted: settings.Settings, serving: bool) -> None:
    """Refuses what the gateway would, with what it says, and what would be out of reach."""
    stays = "what was good stays" if serving else "and there is none before it, so that nothing serves"
    found = gateway.command("tollgate", "check", "--print", str(folder / "tollgate.yaml"), as_gateway=True, apart=True)
    if found.returncode:
        # The operator knows the source, not the folder.
        said = found.stderr.replace(f"{folder}/", "").strip()
        raise Failure(f"{wanted.config} and its files are refused, {stays}:\n{said}")
    socket = socket_of(found.stdout)
    if socket != gateway.SOCKET:
        raise Failure(f"{wanted.config} and its files are refused, {stays}:\n"
                      f"tollgate.yaml: admin.socket: `{socket}` is where no program of this machine looks: the gateway would "
                      f"hear of no reload and of no drain; write `{gateway.SOCKET}`, or leave it out")


def socket_of(printed: str) -> str:
    """`admin.socket` of an effective configuration. That block alone is read: all of ten
    thousand routes would take minutes."""
    block = re.search(r"^admin:\n(?: .*\n)+", printed, re.MULTILINE)
    return str(yaml.safe_load(block[0])["admin"]["socket"]) if block else ""
