"""The first boot of the image, and what comes after it: each scenario has an instance of
its own with user data, a role and AWS's services, and a real systemd.

Cloud-init fetches the user data from the metadata service, as on EC2.
"""

import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from instance import HOME, ROOT, Failed, Instance, Network
from load import Load, Origin
from machine import Machine

CONFIG = """
listeners:
  - { name: internal, address: "0.0.0.0:8080" }
  - { name: public, address: "0.0.0.0:8443", tls: { certificate_directory: /run/tollgate-box/tls } }
readiness: { address: "0.0.0.0:8081" }
admin: { socket: /run/tollgate/admin.sock, metrics: "127.0.0.1:9901" }
location: { zone: imds }
signers: [{ name: default, issuer: "https://gateway.example.com", keys: jwt }]
upstreams:
  - { name: orders, endpoints_file: /run/tollgate-box/endpoints.d/orders.yaml }
routes:
  - { name: orders, match: { path: /orders }, to: [{ upstream: orders }], sign: default }
  - { name: hello, match: { path: / }, respond: { status: 200, body: "first\\n" } }
"""
SMALL = """
listeners: [{ name: internal, address: "0.0.0.0:8080" }]
readiness: { address: "0.0.0.0:8081" }
admin: { socket: /run/tollgate/admin.sock }
routes: [{ name: hello, match: { path: / }, respond: { status: 200, body: "first\\n" } }]
"""
BOX = """config: ssm:/tollgate/prod/config
files: { jwt/first.key: "secretsmanager:tollgate/prod/jwt" }
certificates: [{ name: api, acm: "%s" }]
endpoints: [{ name: orders, port: 7001, auto_scaling_group: orders-prod }]
"""
SIMPLE = "config: ssm:/tollgate/prod/config\n"
# A machine that serves leaves the next try to the timer: instead of 5 minutes.
SOON = "[Timer]\nOnUnitInactiveSec=\nOnUnitInactiveSec=5s\nRandomizedDelaySec=0\n"


@dataclass
class Fleet:
    """The account and the image that a scenario has."""

    root: Path
    network: Network

    def put(self, config: str) -> None:
        self.network.call("ssm", "put_parameter", Name="/tollgate/prod/config", Value=config, Type="SecureString", Overwrite=True)

    def boot(self, name: str, box: str, more: str = "") -> Machine:
        """An instance with these settings in its user data; boots when it is entered."""
        lines = "\n".join("      " + line for line in box.splitlines())
        self.network.do(user_data="#cloud-config\nwrite_files:\n  - path: /etc/tollgate/box.yaml\n    content: |\n" + lines + "\n" + more)
        return self.machine(f"boot-{name}")

    def machine(self, name: str) -> Machine:
        return Instance(name, self.root, self.network)

    def secret(self, key: str) -> None:
        self.network.call("secretsmanager", "put_secret_value", SecretId="tollgate/prod/jwt", SecretString=key)

    def whole(self) -> str:
        """Everything that a machine can fetch; the settings for it."""
        self.put(CONFIG)
        self.network.call("secretsmanager", "create_secret", Name="tollgate/prod/jwt", SecretString=key())
        arn = self.network.call("acm", "request_certificate", DomainName="api.example.com", Options={"Export": "ENABLED"})["CertificateArn"]
        vpc = self.network.call("ec2", "create_vpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = self.network.call("ec2", "create_subnet", VpcId=vpc, CidrBlock="10.0.1.0/24", AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"]
        image = self.network.call("ec2", "describe_images")["Images"][0]["ImageId"]
        self.network.call("autoscaling", "create_launch_configuration", LaunchConfigurationName="orders", ImageId=image, InstanceType="t3.micro")
        self.network.call("autoscaling", "create_auto_scaling_group", AutoScalingGroupName="orders-prod", LaunchConfigurationName="orders",
                          MinSize=0, MaxSize=9, DesiredCapacity=2, VPCZoneIdentifier=subnet)
        for page in self.network.call("ec2", "describe_instances")["Reservations"]:
            for one in page["Instances"]:
                # Where the endpoints will be is this machine's own loopback.
                self.network.run("ip", "address", "add", f"{one['PrivateIpAddress']}/32", "dev", "lo")
        return BOX % arn


class Endpoint(Origin):
    """An endpoint on every address of the network."""

    def __init__(self, machine: Machine) -> None:
        HOME.mkdir(exist_ok=True)
        super().__init__(machine)
        self.log = HOME / "origin.log"
        self.log.unlink(missing_ok=True)
        self.command = [*machine.enter("--net"), str(ROOT / "target/debug/origin"), "--listen", "0.0.0.0:7001", "--log", str(self.log), "--exit-with-stdin"]


def must(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(what)


def key() -> str:
    return subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
                          capture_output=True, text=True, check=True).stdout


def get(network: Network, port: int, path: str = "/", scheme: str = "http") -> tuple[int, str]:
    """What a port of the machine answers: status and body; 0 and the reason without an answer."""
    url = f"{scheme}://{network.machine}:{port}{path}"
    done = network.run("curl", "-sSk", "--max-time", "5", "-w", "\n%{http_code}", url, capture_output=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status or 0), body.strip() or done.stderr


def ready(network: Network) -> bool:
    return get(network, 8081, "/readyz")[0] == 200


def not_ready(fleet: Fleet, machine: Machine, *words: str) -> None:
    """It serves nothing, and the console, STATUS and the log say why."""
    must(not ready(fleet.network), "a machine without a configuration is ready")
    must(get(fleet.network, 8080)[0] == 0, "a machine without a configuration serves")
    must(machine.unit("ActiveState") == "inactive", f"the gateway is {machine.unit('ActiveState')}")
    console = machine.log.read_text(errors="replace")
    told = {"the console": console, "STATUS": machine.unit("StatusText", "tollgate-config"),
            "the log": machine.read("/var/log/tollgate-box/box.log"), "the journal": machine.journal("tollgate-config")}
    for where, text in told.items():
        for word in words:
            must(word in text, f"{where} does not say `{word}`: {text[-600:]}")


def first_boot(fleet: Fleet) -> str:
    box = fleet.whole()
    with fleet.boot("first", box) as machine, Endpoint(machine):
        return serves(fleet, machine)


def serves(fleet: Fleet, machine: Machine) -> str:
    """A machine that fetches everything came up: what it serves, knows and keeps."""
    machine.until("the machine is ready", lambda: ready(fleet.network), 90)
    must(get(fleet.network, 8080) == (200, "first"), "a route that answers itself does not")
    machine.until("an endpoint that EC2 told of answers", lambda: get(fleet.network, 8443, "/orders/7", "https")[0] == 200)
    shown = fleet.network.run("sh", "-c", f"echo | openssl s_client -connect {fleet.network.machine}:8443 -servername api.example.com 2>/dev/null | openssl x509 -noout -subject",
                              capture_output=True).stdout
    must("api.example.com" in shown, f"the certificate of ACM is not shown: {shown}")
    must("use1-az6" in machine.run("tollgate", "status").stdout, "the gateway does not know its zone's id")
    must(machine.run("findmnt", "-n", "-o", "FSTYPE", "-T", "/run/tollgate-box").stdout.strip() == "tmpfs", "secrets are not on a tmpfs")
    rights = machine.run("stat", "-c", "%U:%G %a", "/run/tollgate-box/current/jwt/first.key", "/run/tollgate-box/tls/api.key").stdout.split("\n")
    must(rights[:2] == ["root:tollgate 640"] * 2, f"keys are {rights}")
    left = machine.run("grep", "-rlE", "--", "-----BEGIN ([A-Z]+ )?PRIVATE KEY", "/etc/tollgate", "/var/lib", "/var/log", "/root", check=False).stdout
    must(not left.strip(), f"keys are on the disk: {left}")
    must(machine.read("/etc/machine-id").strip() not in ("", "uninitialized"), "the machine has no identity of its own")
    failed = machine.run("systemctl", "list-units", "--failed", "--quiet", "--no-legend", "--plain", "tollgate*").stdout
    must(not failed.strip(), f"units failed: {failed}")
    boot = float(machine.run("systemctl", "show", "tollgate", "--property", "ActiveEnterTimestampMonotonic", "--value").stdout) / 1e6
    begun = float(machine.run("systemctl", "show", "--property", "UserspaceTimestampMonotonic", "--value").stdout) / 1e6
    return f"serves {boot - begun:.1f} s after systemd began"


def configuration_in_user_data(fleet: Fleet) -> str:
    lines = "\n".join("      " + line for line in SMALL.splitlines())
    more = f"  - path: /etc/tollgate/tollgate.yaml\n    content: |\n{lines}\n"
    with fleet.boot("user-data", "config: file:/etc/tollgate/tollgate.yaml\n", more) as machine:
        machine.until("the machine is ready", lambda: ready(fleet.network), 90)
        must(get(fleet.network, 8080) == (200, "first"), "it does not serve what user data wrote")
    return "without AWS"


def bad_configuration(fleet: Fleet) -> str:
    fleet.put(SMALL.replace("routes:", "rotes:"))
    with fleet.boot("bad", SIMPLE) as machine:
        machine.until("the refusal is told", lambda: "rotes" in machine.journal("tollgate-config"), 90)
        not_ready(fleet, machine, "ssm:/tollgate/prod/config and its files are refused", "rotes")
        fleet.put(SMALL)
        begun = time.monotonic()
        machine.until("it comes up by itself once the parameter is right", lambda: ready(fleet.network), 90)
    return f"ready {time.monotonic() - begun:.0f} s after the correction, by itself"


def port_is_taken(fleet: Fleet) -> str:
    """Nothing is wrong with the configuration, and the gateway cannot start with it."""
    fleet.put(SMALL)
    with somebody_at(8080, fleet.network) as holder, fleet.boot("taken", SIMPLE) as machine:
        machine.until("it is told why", lambda: "cannot listen" in machine.unit("StatusText", "tollgate-failed"), 120)
        must(machine.unit("ActiveState") == "failed", f"the gateway is {machine.unit('ActiveState')}")
        told = {"the console": machine.log.read_text(errors="replace"), "the log": machine.read("/var/log/tollgate-box/box.log")}
        for where, text in told.items():
            must("the gateway has failed" in text and "cannot listen at 0.0.0.0:8080" in text, f"{where} does not say why: {text[-600:]}")
        must(machine.run("systemctl", "start", "tollgate-config", check=False).returncode != 0, "a fetch succeeds with a gateway that failed")
        must("cannot listen" in machine.unit("StatusText", "tollgate-config"), "STATUS does not say so")
        holder.kill()
        begun = time.monotonic()
        machine.until("it comes up by itself once the port is free", lambda: ready(fleet.network), 120)
    return f"told; ready {time.monotonic() - begun:.0f} s after the port is free, by itself"


def gateway_fails_slowly(fleet: Fleet) -> str:
    """So that systemd never gives it up; and one that somebody wants down."""
    fleet.put(SMALL)
    with somebody_at(8080, fleet.network), fleet.boot("slowly", SIMPLE) as machine:
        machine.until("it has failed", lambda: machine.unit("ActiveState") == "failed", 120)
        machine.write("/run/systemd/system/tollgate.service.d/slowly.conf", "[Service]\nRestartSec=8s\nTimeoutStopSec=1s\nExecStop=/bin/sleep 60\n")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "tollgate-config", check=False)
        machine.until("it is tried again and again", lambda: machine.unit("SubState") == "auto-restart")
        refused = machine.run("systemctl", "start", "tollgate-config", check=False)
        told = machine.journal("tollgate-config")
        must(refused.returncode != 0 and "systemd tries on" in told, f"a gateway that does not come up is not told: {told[-600:]}")
        fleet.put(SMALL.replace(":8080", ":8085"))
        machine.run("systemctl", "start", "tollgate-config")
        machine.until("it comes up with the correction", lambda: get(fleet.network, 8085) == (200, "first"))
        stays_down(machine)
    return "given the correction; stays down where somebody wants it"


def stays_down(machine: Machine) -> None:
    machine.run("systemctl", "stop", "tollgate", check=False)
    told = machine.unit("ActiveState"), machine.unit("Result")
    must(told == ("failed", "timeout"), f"a stop that takes too long is {told}")
    machine.run("systemctl", "start", "tollgate-config")
    must(machine.unit("ActiveState") == "failed", "a gateway that was stopped is started")
    machine.until("that is told", lambda: "it was stopped" in machine.unit("StatusText", "tollgate-failed"))
    machine.run("systemctl", "start", "tollgate")
    machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "tollgate")
    machine.until("it has ended", lambda: machine.unit("SubState") == "auto-restart")
    machine.run("systemctl", "mask", "--runtime", "tollgate")
    machine.until("it is not started again", lambda: machine.unit("ActiveState") in ("failed", "inactive"))
    machine.run("systemctl", "start", "tollgate-config")
    must("the gateway is masked" in machine.journal("tollgate-config"), "a masked gateway is not told")
    machine.run("systemctl", "unmask", "--runtime", "tollgate")
    machine.run("systemctl", "start", "tollgate")


@contextmanager
def somebody_at(port: int, network: Network) -> Iterator[subprocess.Popen]:
    """A process that listens there, which is no gateway."""
    listens = f"import socket; s = socket.create_server(('0.0.0.0', {port})); print('there', flush=True); s.accept()"
    with subprocess.Popen(["nsenter", f"--net={network.path}", "--", sys.executable, "-c", listens], stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        try:
            yield holder
        finally:
            holder.kill()


def no_role(fleet: Fleet) -> str:
    fleet.put(SMALL)
    fleet.network.do(metadata={"iam/security-credentials/": ""})
    with fleet.boot("no-role", SIMPLE) as machine:
        machine.until("it is told", lambda: "no role" in machine.journal("tollgate-config"), 90)
        not_ready(fleet, machine, "the instance has no role")
    return "not ready, and says why"


def no_settings(fleet: Fleet) -> str:
    fleet.network.do(user_data="#cloud-config\n{}\n")
    with Instance("boot-no-settings", fleet.root, fleet.network) as machine:
        machine.until("it is told", lambda: "user data has to write it" in machine.journal("tollgate-config"), 90)
        not_ready(fleet, machine, "there is no /etc/tollgate/box.yaml: user data has to write it")
    return "not ready, and says why"


def metadata_service_down(fleet: Fleet) -> str:
    """After boot: cloud-init itself waits for it for minutes."""
    fleet.put(SMALL)
    with fleet.boot("imds", SIMPLE) as machine:
        machine.until("the machine is ready", lambda: ready(fleet.network), 90)
        machine.run("mkdir", "-p", "/run/systemd/system/tollgate-config.timer.d")
        machine.run("sh", "-c", f"printf '{SOON}' >/run/systemd/system/tollgate-config.timer.d/soon.conf")
        machine.run("systemctl", "daemon-reload")
        fleet.network.do(break_=["imds", "down"])
        fleet.put(SMALL.replace("first", "second"))
        refused = machine.run("systemctl", "start", "tollgate-config", check=False)
        must(refused.returncode != 0, "a fetch without a metadata service succeeds")
        must("does not answer" in machine.unit("StatusText", "tollgate-config"), "STATUS does not say so")
        must(get(fleet.network, 8080) == (200, "first"), "the last good does not serve")
        fleet.network.do(heal=True)
        machine.until("it is taken when the service is back", lambda: get(fleet.network, 8080)[1] == "second", 90)
    return "the last good serves; taken by itself afterwards"


def changes_under_load(fleet: Fleet) -> str:
    """Secrets rotate, the configuration changes, a listener comes: nobody notices."""
    box = fleet.whole()
    with fleet.boot("changes", box) as machine, Endpoint(machine):
        machine.until("the machine is ready", lambda: ready(fleet.network), 90)
        machine.until("the endpoint answers", lambda: get(fleet.network, 8080, "/orders/7")[0] == 200)
        first = machine.unit("MainPID")
        with Load(machine, 8080, "/orders/7") as load:
            for nth in range(3):
                fleet.secret(key())
                machine.run("systemctl", "start", "tollgate-config")
                fleet.put(CONFIG.replace("first\\n", f"change {nth}\\n"))
                machine.run("systemctl", "start", "tollgate-config")
                must(get(fleet.network, 8080) == (200, f"change {nth}"), "a change is not taken")
            must(machine.unit("MainPID") == first, "a reload made another process")
            fleet.put(CONFIG.replace("listeners:", 'listeners:\n  - { name: more, address: "0.0.0.0:8082" }'))
            machine.run("systemctl", "start", "tollgate-config")
            machine.until("the new listener is there", lambda: get(fleet.network, 8082)[0] == 200)
            must(machine.unit("MainPID") != first, "a listener came without a new process")
            fleet.put(SMALL.replace("routes:", "rotes:"))
            must(machine.run("systemctl", "start", "tollgate-config", check=False).returncode != 0, "a bad configuration is taken")
        counts = load.counts
        must(counts.lost == counts.refused == counts.unreached == 0, f"requests were lost: {counts}")
    return f"7 changes, {counts.answered} requests, none lost"


def full_disk(fleet: Fleet) -> str:
    fleet.put(SMALL)
    with fleet.boot("full", SIMPLE) as machine:
        machine.until("the machine is ready", lambda: ready(fleet.network), 90)
        # The disk: the log cannot be written, and that stops nothing.
        machine.run("mount", "-t", "tmpfs", "-o", "size=4k", "none", "/var/log/tollgate-box")
        machine.run("sh", "-c", "dd if=/dev/zero of=/var/log/tollgate-box/full bs=4k count=1 2>&1 || true")
        fleet.put(SMALL.replace("first", "second"))
        machine.run("systemctl", "start", "tollgate-config")
        must(get(fleet.network, 8080) == (200, "second"), "a full log keeps a configuration from being taken")
        # The tmpfs: there is no room for another generation.
        machine.run("mount", "-o", "remount,size=32m", "/run")
        machine.run("sh", "-c", "dd if=/dev/zero of=/run/full bs=4k 2>&1 || true")
        fleet.put(SMALL.replace("first", "third"))
        refused = machine.run("systemctl", "start", "tollgate-config", check=False)
        must(refused.returncode != 0 and "/run/tollgate-box: No space left" in machine.journal("tollgate-config"), "a full tmpfs is not told")
        must(get(fleet.network, 8080) == (200, "second"), "the last good does not serve")
        machine.run("rm", "/run/full")
        machine.run("systemctl", "reset-failed", "tollgate-config", check=False)
        machine.run("systemctl", "start", "tollgate-config")
        must(get(fleet.network, 8080) == (200, "third"), "it is not taken when there is room again")
    return "the last good serves; a full log stops nothing"


ALL = (first_boot, configuration_in_user_data, bad_configuration, port_is_taken, gateway_fails_slowly, no_role, no_settings, metadata_service_down, changes_under_load, full_disk)


def settled(root: Path) -> None:
    """What a container needs that stands for an instance: it is no hardware of Amazon's
    that cloud-init could know, and its network is there already."""
    (root / "etc/cloud/cloud-init.disabled").unlink(missing_ok=True)
    (root / "etc/cloud/cloud.cfg.d/99-test.cfg").write_text("datasource: { Ec2: { strict_id: false, timeout: 5, max_wait: 20 } }\n")
    (root / "etc/default/tollgate-box").write_text("AWS_ENDPOINT_URL=http://127.0.0.1:5000\n")
    for unit in ("systemd-networkd-wait-online.service", "chrony.service", "systemd-resolved.service"):
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")


def run(scenario, root: Path) -> str:
    with Network() as network:
        network.do(spares_cloud_init=True)
        return scenario(Fleet(root, network))
