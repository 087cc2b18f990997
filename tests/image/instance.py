"""An EC2 instance on this machine: Debian 12 in a container, in a network with a metadata
service and AWS's endpoints, and nothing else.

Owns the base (what stands for Debian's cloud image; made once, kept under target/), the
network and the boot. Running commands in it is `machine.Machine`'s.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HOME = ROOT / "target" / "image"
sys.path.insert(0, str(HERE.parent / "system"))

from machine import Failed, Machine, NotHere, tail  # noqa: E402  (the line above is what finds it)

SERVICES, METADATA = "127.0.0.1:5000", "169.254.169.254:80"
# What Debian's image for EC2 has, as far as it counts here.
SUITE = "bookworm"
INCLUDE = ("systemd", "systemd-sysv", "dbus", "udev", "procps", "logrotate", "openssh-server", "sudo", "cloud-init", "python3",
           "python3-yaml", "curl", "ca-certificates", "openssl", "chrony", "unattended-upgrades", "linux-image-cloud-amd64",
           "initramfs-tools", "netplan.io", "systemd-resolved", "iproute2", "kmod", "grub-cloud-amd64", "isc-dhcp-client", "cloud-guest-utils", "fdisk",
           "e2fsprogs")


def base() -> Path:
    """The archive with Debian's files; makes it if it is not there."""
    archive, made_of = HOME / "base.tar", HOME / "base.json"
    wanted = json.dumps([SUITE, *INCLUDE])
    if archive.exists() and made_of.exists() and made_of.read_text() == wanted:
        return archive
    HOME.mkdir(parents=True, exist_ok=True)
    made_of.unlink(missing_ok=True)
    made = subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(INCLUDE)}", SUITE, str(archive)],
                          capture_output=True, text=True, check=False)
    if made.returncode:
        raise NotHere(f"mmdebstrap cannot make the base: {tail(made.stderr)}")
    made_of.write_text(wanted)
    return archive


class Network:
    """A network with AWS in it; a context manager. `do` tells it what to be like."""

    # Loopback alone, with the metadata service's address on it. The machine is in it, too.
    script = "ip link set lo up && ip address add 169.254.169.254/32 dev lo"
    services, machine = SERVICES, "127.0.0.1"

    def __init__(self, amis: Path | None = None) -> None:
        self.amis = amis

    def __enter__(self) -> "Network":
        environment = {**os.environ, **({"MOTO_AMIS_PATH": str(self.amis)} if self.amis else {})}
        self.cloud = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", self.script + ' && exec "$@"', "sh", sys.executable, "-B",
                                       str(HERE / "cloud.py"), self.services, METADATA], env=environment,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self.cloud.stdout.readline():
            raise NotHere("there is no network with a metadata service: see above")
        return self

    def __exit__(self, *_) -> None:
        # Nothing of it is missed, and its own end takes long where processors are busy.
        self.cloud.kill()
        self.cloud.wait()

    @property
    def path(self) -> str:
        return f"/proc/{self.cloud.pid}/ns/net"

    def do(self, **told):
        """Tells it one thing: `call`, `break`, `heal`, `metadata`, `user_data`, `heard`,
        `asked`."""
        print(json.dumps({name.removesuffix("_"): value for name, value in told.items()}), file=self.cloud.stdin, flush=True)
        answer = json.loads(self.cloud.stdout.readline())
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer["done"]

    def call(self, service: str, operation: str, **fields):
        """A call of AWS as an administrator."""
        return self.do(call=[service, operation, fields])

    def run(self, *command: str, **more) -> subprocess.CompletedProcess[str]:
        """Runs a program of this machine in the network."""
        return subprocess.run(["nsenter", f"--net={self.path}", "--", *command], text=True, check=False, **more)


class Instance(Machine):
    """A booted instance of a folder; with `keeps`, what it writes stays in the folder."""

    def __init__(self, name: str, folder: Path, network: Network, keeps: bool = False) -> None:
        super().__init__(name, HOME)
        self.folder, self.network, self.keeps = folder, network, keeps
        self.log = HOME / f"boot-{name}.log"

    def options(self) -> list[str]:
        disk = [] if self.keeps else ["--volatile=overlay"]
        return [*disk, f"--directory={self.folder}", f"--network-namespace-path={self.network.path}",
                # A container has no clock to set, and its only interface is there already.
                "--setenv=SYSTEMD_FIRSTBOOT=0", "--link-journal=no"]

    def wait_until_up(self) -> None:
        """Until nothing is being started any more, whatever failed: what has to run is
        each test's to say."""
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and self.container.poll() is None:
            children = Path(f"/proc/{self.container.pid}/task/{self.container.pid}/children")
            self.leader = int((children.read_text().split() or ["0"])[0]) if children.exists() else 0
            if self.leader and self.state() in ("running", "degraded"):
                return
            time.sleep(0.2)
        raise NotHere(f"systemd-nspawn boots no machine here: {tail(self.log.read_text(errors='replace'))}")

    def state(self) -> str:
        return self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()

    def power_off(self) -> None:
        """Ends it as a stopped instance ends, so that its disk is whole."""
        self.run("systemctl", "poweroff", "--no-block", check=False)
        self.container.wait(90)
        self.leader = 0


def unpacked(archive: Path, folder: Path) -> Path:
    """A fresh copy of the archive's files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-C", str(folder), "-xf", str(archive)], check=True)
    return folder
