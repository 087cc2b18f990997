"""What the machine does for its fleet besides serving: it leaves without losing a request,
and its logs go where the CloudWatch agent looks. Under a real systemd, by the units."""

import json
from contextlib import contextmanager
from typing import Iterator

from boot import Fleet, get, must, ready
from load import Load
from machine import Machine

CONFIG = """
listeners: [{ name: internal, address: "0.0.0.0:8080" }]
readiness: { address: "0.0.0.0:8081" }
admin: { socket: /run/tollgate/admin.sock }
connections: { max_drain: 20s, max_drain_streams: 20s }
routes: [{ name: hello, match: { path: / }, respond: { status: 200, body: "first\\n" } }]
"""
# Instead of 180 s: enough to see that connections are taken after readiness failed.
SHORT = "[Service]\nEnvironment=TOLLGATE_POLL_SECONDS=1 TOLLGATE_ACCEPT_SECONDS=8 TOLLGATE_AGAIN_SECONDS=1\n"
UNIT = "tollgate-lifecycle"
AGENT = "/opt/aws/amazon-cloudwatch-agent"


def auto_scaling_ends_the_machine(fleet: Fleet) -> str:
    with serving(fleet, "leaving") as machine:
        return leaves(fleet, machine)


def leaves(fleet: Fleet, machine: Machine) -> str:
    """Auto Scaling ends the machine, under load: what it does then, until it is let go."""
    group(fleet)
    must(machine.unit("ActiveState", UNIT) == "active", f"{UNIT} is {machine.unit('ActiveState', UNIT)}: {machine.journal(UNIT)}")
    machine.run("mkdir", "-p", f"/run/systemd/system/{UNIT}.service.d")
    machine.run("sh", "-c", f"printf '{SHORT}' >/run/systemd/system/{UNIT}.service.d/short.conf")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)
    with Load(machine, 8080, "/") as load:
        fleet.network.do(metadata={"autoscaling/target-lifecycle-state": "Terminated"})
        machine.until("readiness fails", lambda: get(fleet.network, 8081, "/readyz")[0] == 503)
        must(get(fleet.network, 8080)[0] == 200, "who comes after readiness failed is not served")
    counts = load.counts
    must(counts.lost == counts.refused == counts.unreached == 0, f"requests were lost: {counts}")
    machine.until("the machine is let go", lambda: ["autoscaling", "CompleteLifecycleAction", "us-east-1"] in fleet.network.do(heard=True), 90)
    machine.until("the unit has done its work", lambda: machine.unit("ActiveState", UNIT) == "inactive")
    must(machine.unit("ActiveState") == "inactive", f"the gateway is {machine.unit('ActiveState')}")
    must(machine.unit("Result", UNIT) == "success", machine.journal(UNIT))
    # What fetches the configuration again must not wake it.
    machine.run("systemctl", "start", "tollgate-config")
    must(machine.unit("ActiveState") == "inactive", "the next fetch starts a gateway that left")
    return f"{counts.answered} requests while it left, none lost"


def logs_are_where_the_agent_looks(fleet: Fleet) -> str:
    with serving(fleet, "logs") as machine:
        must(machine.unit("ConditionResult", "tollgate-process-log") == "no", "the process log is written where nobody reads it")
        must("there is no CloudWatch agent" in machine.journal("tollgate-observe"), machine.journal("tollgate-observe"))
        machine.run("mkdir", "-p", f"{AGENT}/etc")
        machine.run("systemctl", "restart", "tollgate-observe", "tollgate-process-log")
        agent = json.loads(machine.read(f"{AGENT}/etc/amazon-cloudwatch-agent.json"))
        must(agent["metrics"]["namespace"] == "Tollgate/prod", agent)
        must('stack: "prod"' in machine.read(f"{AGENT}/etc/tollgate-prometheus.yaml"), "the scrape has no name of the stack")
        log = "/var/log/tollgate-box/process.log"
        machine.until("the process log is written", lambda: "listening: listener=internal" in machine.read(log))
        # A new line goes on after a rotation, which the package's and the image's settings agree on.
        machine.run("logrotate", "--force", "/etc/logrotate.d/tollgate-box")
        must("listening: listener=internal" not in machine.read(log), "the log is not rotated")
        machine.run("systemctl", "reload", "tollgate")
        machine.until("it goes on after a rotation", lambda: machine.read(log).strip() != "")
        for line in machine.read(log).splitlines():
            must({"MESSAGE", "PRIORITY"} <= json.loads(line).keys(), line)
        return "process log, its rotation, the agent's configuration"


@contextmanager
def serving(fleet: Fleet, name: str) -> Iterator[Machine]:
    """A machine that serves. Its settings are written here: cloud-init is `boot.py`'s."""
    fleet.put(CONFIG)
    with fleet.machine(f"leaving-{name}") as machine:
        machine.run("sh", "-c", "echo config: ssm:/tollgate/prod/config >/etc/tollgate/box.yaml")
        machine.run("systemctl", "restart", "tollgate-config")
        machine.until("the machine is ready", lambda: ready(fleet.network), 90)
        yield machine


def group(fleet: Fleet) -> None:
    image = fleet.network.call("ec2", "describe_images")["Images"][0]["ImageId"]
    fleet.network.call("autoscaling", "create_launch_configuration", LaunchConfigurationName="gateways", ImageId=image, InstanceType="t3.micro")
    fleet.network.call("autoscaling", "create_auto_scaling_group", AutoScalingGroupName="tollgate", LaunchConfigurationName="gateways",
                       MinSize=0, MaxSize=1, AvailabilityZones=["us-east-1a"])
    fleet.network.call("autoscaling", "put_lifecycle_hook", AutoScalingGroupName="tollgate", LifecycleHookName="tollgate-drain",
                       LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING")


ALL = (auto_scaling_ends_the_machine, logs_are_where_the_agent_looks)
