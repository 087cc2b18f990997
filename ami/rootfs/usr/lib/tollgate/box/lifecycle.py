"""Drains the gateway when Auto Scaling wants to end its machine, then lets it.

Waits for `autoscaling/target-lifecycle-state` to say so, makes the gateway finish its
work, and completes the action of the hook that holds the machine. Does not own how long
a drain may take (the configuration's `connections.max_drain_streams`), nor the
deregistration (Auto Scaling's own).
"""

import os
import subprocess
import time
from dataclasses import dataclass

from . import gateway
from .aws import Aws
from .failure import Failure
from .imds import Imds
from .report import Report, run, status

UNIT = "tollgate-lifecycle"
LEAVES = "Terminated"


@dataclass
class Pace:
    """How long each part takes, in seconds; the unit says all of it."""

    # Between two looks at the metadata.
    poll: float
    # For how long new connections are still taken: the load balancer sends some for a
    # while after it was told not to.
    accept: int
    # For all of the drain. Less than the hook's heartbeat: after that the machine is
    # gone, and nobody hears what happened.
    drain: float
    # Between two tries to complete the action.
    again: float

    @staticmethod
    def told() -> "Pace":
        def seconds(name: str, default: str) -> float:
            return float(os.environ.get(f"TOLLGATE_{name}_SECONDS", default))

        return Pace(seconds("POLL", "5"), int(seconds("ACCEPT", "180")), seconds("DRAIN", "1100"), seconds("AGAIN", "15"))


def main() -> int:
    return run(UNIT, leave)


def leave(report: Report) -> None:
    pace = Pace.told()
    watch(report, pace)
    report.info("Auto Scaling ends this machine: the gateway drains")
    drain(report, pace)
    complete(report, pace)


def watch(report: Report, pace: Pace) -> None:
    """Until this machine is to end. A metadata service that is silent is told once."""
    status("waits until this machine is to end")
    silent = False
    while True:
        try:
            # A new session each time: its token lasts for minutes, this for months.
            state = target_state()
            if silent:
                report.info("the metadata service answers again")
            silent = False
            if state == LEAVES:
                return
        except Failure as why:
            if not silent:
                report.warn(f"cannot see whether this machine is to end, looked at again every {pace.poll:g} s: {why}")
            silent = True
        time.sleep(pace.poll)


def target_state() -> str:
    """What Auto Scaling wants of this machine; the empty text where it wants nothing."""
    return (Imds().get("autoscaling/target-lifecycle-state") or "").strip()


def is_leaving() -> bool:
    """Whether this machine is to end, as far as can be told."""
    try:
        return target_state() == LEAVES
    except Failure:
        return False


def drain(report: Report, pace: Pace) -> None:
    """Makes the gateway finish its work and end; says so when it does not."""
    end = time.monotonic() + pace.drain
    done = said(end, "tollgate", "drain", "--fail-readiness", "--accept-for", str(pace.accept))
    if done is None:
        report.error(f"the gateway has not ended after {pace.drain:g} s; what it still has is cut. Is "
                     "connections.max_drain_streams longer than the stack was made for?")
    elif done.returncode == 0:
        report.info("the gateway has ended, with its last connection or at the ceiling")
    elif done.returncode == gateway.NOT_NOW:
        report.info(f"the gateway drains already, or is not there: {done.stdout.strip()}")
        # Not stopped before it has drained: a second signal would end it at once.
        while (asked := said(end, "tollgate", "status")) is not None and asked.returncode == 0 and time.monotonic() < end:
            time.sleep(min(pace.poll, 1))
        stop(report, end)
    else:
        report.error(f"`tollgate drain` fails, the unit is stopped instead: {done.stdout.strip()}")
        stop(report, end)


def stop(report: Report, end: float) -> None:
    """Stops the unit, which drains what is there, and does nothing where nothing is."""
    stopped = said(end, "systemctl", "stop", gateway.UNIT)
    if stopped is None or stopped.returncode:
        report.error(f"{gateway.UNIT} does not stop: {stopped.stdout.strip() if stopped else 'it takes too long'}")


def complete(report: Report, pace: Pace) -> None:
    """Lets the machine end. Tried until it is: before the hook holds the machine, as
    long as its target is being deregistered, there is nothing to complete."""
    told = ""
    while True:
        try:
            imds = Imds()
            Aws().query("autoscaling", "CompleteLifecycleAction", {
                "AutoScalingGroupName": group(imds),
                "LifecycleHookName": os.environ.get("TOLLGATE_HOOK", "tollgate-drain"),
                "InstanceId": imds.must("instance-id"),
                "LifecycleActionResult": "CONTINUE",
            })
            report.info("the machine may end")
            return
        except Failure as why:
            if str(why) != told:
                report.warn(f"the machine is not let go yet, tried again every {pace.again:g} s: {why}")
                told = str(why)
        time.sleep(pace.again)


def group(imds: Imds) -> str:
    """The Auto Scaling group, by the tag that Auto Scaling gives its machines."""
    name = imds.get("tags/instance/aws:autoscaling:groupName")
    if not name:
        raise Failure("the metadata service does not tell the tag aws:autoscaling:groupName: give the launch "
                      "template InstanceMetadataTags: enabled")
    return name.strip()


def said(end: float, *words: str) -> subprocess.CompletedProcess[str] | None:
    """Runs a program, both of its streams in `stdout`; nothing when it takes too long."""
    try:
        return gateway.command(*words, timeout=max(1.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
