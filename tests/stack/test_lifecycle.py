"""A machine that Auto Scaling ends: the gateway drains, then the machine is let go.

The program of the image itself, with a real gateway; the metadata service and Auto
Scaling are `tests/image/cloud.py`.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import unittest

from tests.image.cloud import Cloud
from tests.stack.running import BINARIES, ROOT, Gateway, eventually
from tests.stack.template import Stack

PROGRAM = ROOT / "ami/rootfs/usr/lib/tollgate/tollgate-lifecycle"
STATE = "autoscaling/target-lifecycle-state"
CONFIG = """
listeners: [{ name: plain, address: "@plain@" }]
readiness: { address: "@readiness@" }
admin: { socket: "@folder@/admin.sock" }
access_log: { path: "off" }
connections: { max_drain: 20s, max_drain_streams: 20s }
upstreams: [{ name: origin, endpoints: [{ address: "@origin@" }] }]
routes: [{ name: all, match: { path: / }, to: [{ upstream: origin }] }]
"""


class Metadata(dict):
    """Counts who asks whether the machine is to end."""

    looked = 0

    def __getitem__(self, key: str) -> str:
        self.looked += key == STATE
        return super().__getitem__(key)


class Machine:
    """A gateway, the cloud around it, and the program; a context manager."""

    def __init__(self, **seconds: str) -> None:
        self.seconds = {"POLL": "0.1", "ACCEPT": "0", "DRAIN": "60", "AGAIN": "0.1", **seconds}
        self.gateway, self.cloud = Gateway(CONFIG, ("plain", "readiness")), Cloud()

    def __enter__(self) -> "Machine":
        self.gateway.__enter__()
        self.cloud.__enter__()
        self.auto_scaling = self.cloud.lifecycle
        self.cloud.metadata = Metadata(self.cloud.metadata)
        client = self.cloud.client("autoscaling")
        client.create_launch_configuration(LaunchConfigurationName="l", ImageId="ami-1", InstanceType="t3.small")
        client.create_auto_scaling_group(AutoScalingGroupName="tollgate", LaunchConfigurationName="l", MinSize=0,
                                         MaxSize=1, AvailabilityZones=["us-east-1a"])
        client.put_lifecycle_hook(AutoScalingGroupName="tollgate", LifecycleHookName="tollgate-drain",
                                  LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING")
        self.stands_in("systemctl", f"kill -TERM {self.gateway.process.pid} 2>/dev/null || true")
        self.log = open(self.gateway.folder / "lifecycle.log", "w+", encoding="utf-8")
        self.program = subprocess.Popen([sys.executable, "-B", PROGRAM], stdout=self.log, stderr=subprocess.STDOUT, env={
            **os.environ, "PATH": f"{self.gateway.folder}:{BINARIES}:{os.environ['PATH']}",
            "TOLLGATE_SOCKET": str(self.gateway.socket), "TOLLGATE_BOX_PATIENCE": "1", "LOGS_DIRECTORY": str(self.gateway.folder),
            "AWS_ENDPOINT_URL": self.cloud.endpoint, "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.cloud.imds,
            **{f"TOLLGATE_{name}_SECONDS": value for name, value in self.seconds.items()}})
        return self

    def __exit__(self, *_) -> None:
        self.program.kill()
        self.program.wait()
        self.log.close()
        self.cloud.__exit__()
        self.gateway.__exit__()

    def stands_in(self, program: str, script: str) -> None:
        """What the machine's program of that name does."""
        file = self.gateway.folder / program
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def said(self) -> str:
        return (self.gateway.folder / "lifecycle.log").read_text()

    def says(self, text: str) -> None:
        eventually(lambda: text in self.said(), f"it says {text!r}", self.said)

    def looks(self) -> None:
        """The program has seen what the metadata say now."""
        seen = self.cloud.metadata.looked
        eventually(lambda: self.cloud.metadata.looked > seen + 2, "it looks", self.said)

    def ends(self) -> None:
        """Auto Scaling begins to end the machine."""
        self.cloud.metadata[STATE] = "Terminated"

    def lets_go(self) -> dict[str, str]:
        eventually(lambda: self.program.poll() is not None, "the machine is let go", self.said)
        assert self.program.returncode == 0, self.said()
        return self.auto_scaling.completed[-1]


class Leaving(unittest.TestCase):
    def test_what_is_under_way_ends_well_and_new_connections_are_taken_for_a_while(self):
        with Machine(ACCEPT="3") as machine:
            slow = Slow(machine.gateway, "delay=2s")
            eventually(lambda: machine.gateway.status()["connections"], "a request is under way")
            machine.ends()
            machine.says("drains")
            eventually(lambda: machine.gateway.get("readiness", "/readyz")[0] == 503, "readiness fails")
            late = machine.gateway.get("plain", "/late")[0]
            completed = machine.lets_go()

            self.assertEqual((slow.outcome(), late), (200, 200))
            self.assertIsNotNone(machine.gateway.process.wait(5))
            self.assertEqual((completed["AutoScalingGroupName"], completed["LifecycleHookName"], completed["InstanceId"],
                              completed["LifecycleActionResult"]), ("tollgate", "tollgate-drain", "i-0123456789abcdef0", "CONTINUE"))

    def test_a_machine_in_service_is_left_alone(self):
        with Machine() as machine:
            for state in ("InService", "Standby", "Detached"):
                machine.cloud.metadata[STATE] = state
                machine.looks()
            self.assertEqual(machine.gateway.get("readiness", "/readyz")[0], 200)
            self.assertEqual((machine.program.poll(), machine.auto_scaling.completed), (None, []))

    def test_a_metadata_service_that_is_silent_is_told_once(self):
        with Machine() as machine:
            machine.looks()
            # More than the tries of one look.
            machine.cloud.breaks("imds", "down", 40)
            machine.says("cannot see whether this machine is to end")
            machine.says("answers again")
            self.assertEqual(machine.said().count("cannot see"), 1)
            self.assertEqual(machine.gateway.get("readiness", "/readyz")[0], 200)
            machine.ends()
            machine.lets_go()

    def test_it_tries_until_the_hook_holds_the_machine(self):
        with Machine() as machine:
            machine.auto_scaling.holds = False
            machine.ends()
            machine.says("not let go yet")
            heard = len(machine.cloud.heard)
            eventually(lambda: len(machine.cloud.heard) > heard + 3, "it tries again", machine.said)
            self.assertEqual(machine.said().count("not let go yet"), 1)
            machine.auto_scaling.holds = True
            machine.lets_go()

    def test_a_role_without_the_right_is_told(self):
        with Machine() as machine:
            machine.cloud.breaks("autoscaling:CompleteLifecycleAction", "denied")
            machine.ends()
            machine.says("not authorized to perform: autoscaling:CompleteLifecycleAction")
            # By these words the stack's alarm knows it.
            self.assertIn(re.search(r'\$\.message = "\*(.*)\*"', Stack().one("DrainErrorsMetric")["FilterPattern"])[1], machine.said())
            machine.cloud.heals()
            machine.lets_go()

    def test_without_tags_in_the_metadata_it_says_what_to_turn_on(self):
        with Machine() as machine:
            group = machine.cloud.metadata.pop("tags/instance/aws:autoscaling:groupName")
            machine.ends()
            machine.says("InstanceMetadataTags: enabled")
            machine.cloud.metadata["tags/instance/aws:autoscaling:groupName"] = group
            machine.lets_go()

    def test_a_gateway_that_is_not_there_has_nothing_to_drain(self):
        with Machine() as machine:
            machine.gateway.process.kill()
            machine.gateway.process.wait()
            machine.ends()
            machine.lets_go()
            self.assertIn("drains already, or is not there", machine.said())

    def test_a_gateway_that_drains_already_is_waited_for(self):
        with Machine() as machine:
            slow = Slow(machine.gateway, "delay=2s")
            eventually(lambda: machine.gateway.status()["connections"], "a request is under way")
            machine.gateway.process.send_signal(signal.SIGTERM)
            eventually(lambda: machine.gateway.command("drain").returncode == 75, "it drains")
            machine.ends()
            machine.lets_go()
            self.assertEqual(slow.outcome(), 200)
            self.assertIsNotNone(machine.gateway.process.poll())

    def test_a_gateway_that_hangs_does_not_hold_the_machine_for_ever(self):
        with Machine(DRAIN="1") as machine:
            machine.gateway.process.send_signal(signal.SIGSTOP)
            machine.ends()
            machine.lets_go()
            self.assertIn("has not ended after 1 s", machine.said())
            log = [json.loads(line) for line in (machine.gateway.folder / "box.log").read_text().splitlines()]
            self.assertIn("error", [line["level"] for line in log])

    def test_a_drain_that_fails_means_that_the_unit_is_stopped(self):
        with Machine() as machine:
            machine.stands_in("tollgate", "echo the disk is full; exit 1")
            machine.ends()
            machine.lets_go()
            self.assertIn("`tollgate drain` fails, the unit is stopped instead: the disk is full", machine.said())
            self.assertEqual(machine.gateway.process.wait(5), 0)

    def test_a_gateway_that_lost_its_socket_is_stopped(self):
        with Machine() as machine:
            machine.gateway.socket.unlink()
            machine.ends()
            machine.lets_go()
            self.assertEqual(machine.gateway.process.wait(5), 0)

    def test_a_unit_that_does_not_stop_is_told(self):
        with Machine() as machine:
            machine.gateway.socket.unlink()
            machine.stands_in("systemctl", "echo no bus; exit 1")
            machine.ends()
            machine.lets_go()
            self.assertIn("tollgate.service does not stop: no bus", machine.said())


class Slow(threading.Thread):
    """One request that takes a while."""

    def __init__(self, gateway: Gateway, script: str) -> None:
        super().__init__(daemon=True)
        self.gateway, self.script, self.status = gateway, script, 0
        self.start()

    def run(self) -> None:
        try:
            self.status = self.gateway.get("plain", "/slow", {"x-origin": self.script})[0]
        except http.client.HTTPException:
            self.status = -1

    def outcome(self) -> int:
        self.join(30)
        return self.status


if __name__ == "__main__":
    unittest.main()
