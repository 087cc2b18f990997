"""A machine from its first instruction to its last drain: firmware, boot loader, kernel and
cloud-init, which a container lacks. What a container can show is `boot.py`'s."""

import time
from pathlib import Path

import boot
import disk
import leaving
from boot import CONFIG, Endpoint, Fleet, get, must, ready
from hardware import NAME, Computer, Subnet
from load import Load
from machine import Machine, NotHere

# The image itself knows no other AWS than AWS.
SERVICES = f"  - path: /etc/default/tollgate-box\n    content: |\n      AWS_ENDPOINT_URL=http://{Subnet.services}\n"

CLOUD_INIT = ("Cloud-Init/", "python-requests/")


class Rack(Fleet):
    """The account, with computers instead of containers."""

    def boot(self, name: str, box: str, more: str = "") -> Machine:
        return super().boot(name, box, SERVICES + more)

    def machine(self, name: str) -> Computer:
        return Computer(name, self.network)


def qemu_from_firmware_to_drain(rack: Rack) -> str:
    box = rack.whole()
    begun = time.monotonic()
    with rack.boot("qemu", box) as machine, Endpoint(machine):
        served = boot.serves(rack, machine)
        took = time.monotonic() - begun
        told = [f"{served} (with firmware and kernel {took:.0f} s, interpreted)"]
        for part in (is_ec2, reloads, upgrades, reboots, leaving.leaves):
            told.append(part(rack, machine))
            print(f"        holds: {part.__name__.replace('_', ' ')}: {told[-1]}", flush=True)
        return "; ".join(told)


def is_ec2(rack: Rack, machine: Machine) -> str:
    """Cloud-init knew the machine by its firmware, and asked the metadata service by version 2."""
    found = machine.run("cloud-init", "query", "--format", "{{ v1.cloud_name }} {{ v1.subplatform }}").stdout
    must(found.startswith("aws metadata (http://169.254.169.254)"), f"cloud-init takes the machine for {found}")
    status = machine.run("cloud-init", "status", "--long", check=False).stdout
    must("status: done" in status and "DataSourceEc2" in status, f"cloud-init says {status}")
    asked = [(how, what, knows) for who, how, what, knows in rack.network.do(asked=True) if who.startswith(CLOUD_INIT)]
    must(bool(asked) and asked[0][:2] == ("PUT", "/latest/api/token"), f"cloud-init begins with {asked[:1]}")
    without = [what for how, what, knows in asked if how == "GET" and not knows]
    must(not without, f"cloud-init asks without a token: {without}")
    must(any(what.endswith("/user-data") for _, what, _ in asked), "cloud-init fetched no user data")
    must(machine.run("hostname").stdout.strip() in NAME, "the machine does not have the name that EC2 gave it")
    size = int(machine.run("findmnt", "--noheadings", "--bytes", "--output", "SIZE", "/").stdout)
    must(size > 7e9, f"the disk was not grown to the volume's size: {size} bytes")
    must(not machine.run("ss", "-ltnH", "sport = :8443").stdout.strip() == "", "nobody listens")
    failed = machine.run("systemctl", "--failed", "--quiet", "--no-legend", "--plain").stdout
    must(not failed.strip(), f"units failed: {failed}")
    return f"{len(asked)} questions of cloud-init's, by version 2 all of them"


def reloads(rack: Rack, machine: Machine) -> str:
    """By hand, good and bad, and by a fetch, under load."""
    current = "/run/tollgate-box/current/tollgate.yaml"
    process = machine.unit("MainPID")
    with Load(machine, 8080, "/orders/7") as load:
        machine.run("sed", "-i", 's/"first/"by hand/', current)
        machine.run("systemctl", "reload", "tollgate")
        must(get(rack.network, 8080) == (200, "by hand"), "a reload is not taken")
        machine.run("sed", "-i", "s/^routes:/rotes:/", current)
        must(machine.run("systemctl", "reload", "tollgate", check=False).returncode != 0, "a bad configuration reloads")
        must(get(rack.network, 8080) == (200, "by hand"), "a bad configuration took the good one away")
        rack.put(CONFIG.replace("first", "fetched"))
        machine.run("systemctl", "start", "tollgate-config")
        must(get(rack.network, 8080) == (200, "fetched"), "a fetch is not taken")
    must(machine.unit("MainPID") == process, "a reload made another process")
    return unharmed(load)


def upgrades(_: Rack, machine: Machine) -> str:
    process = machine.unit("MainPID")
    with Load(machine, 8080, "/orders/7") as load:
        machine.run("systemctl", "start", "tollgate-upgrade")
        must(machine.unit("MainPID") != process, "an upgrade made no new process")
        machine.until("the process before has ended", lambda: machine.run("test", "-d", f"/proc/{process}", check=False).returncode != 0)
    return unharmed(load)


def reboots(rack: Rack, machine: Computer) -> str:
    """What was in memory is gone: everything is fetched again, and user data is not run again."""
    begun = time.monotonic()
    machine.reboot()
    machine.until("it is ready again", lambda: ready(rack.network), 90)
    must(get(rack.network, 8080) == (200, "fetched"), "it serves something else after a reboot")
    machine.until("endpoints answer again", lambda: get(rack.network, 8443, "/orders/7", "https")[0] == 200)
    return f"serves again after {time.monotonic() - begun:.0f} s"


def unharmed(load: Load) -> str:
    counts = load.counts
    must(counts.lost == counts.refused == counts.unreached == 0, f"requests were lost: {counts}")
    return f"{counts.answered} requests, none lost"


def qemu_says_why_on_its_console(rack: Rack) -> str:
    return boot.bad_configuration(rack)


ALL = (qemu_from_firmware_to_drain, qemu_says_why_on_its_console)


def run(scenario, files: Path) -> str:
    if not disk.IMAGE.exists():
        raise NotHere("there is no disk with the image: see above")
    with Subnet() as network:
        return scenario(Rack(files, network))
