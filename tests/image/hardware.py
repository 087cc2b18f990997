"""An EC2 instance as hardware, by qemu: firmware, boot loader, Debian's kernel, a disk and a
network card. Nothing here is shared with the machine but its network: commands go in by
SSH with the key that the metadata service has, what it says comes out of its serial console.

qemu interprets each instruction (TCG): all takes ten times as long, or more.
"""

import re
import shlex
import shutil
import subprocess
import time

import disk
from instance import HOME, METADATA, Failed, Network, NotHere, tail
from machine import PATIENCE, Machine

# As EC2's: what cloud-init knows it by.
SERIAL = "ec2e1916-9099-7caf-fd21-012345abcdef"
CARD, NAME = "02:00:0a:00:09:05", "ip-10-0-9-5.ec2.internal"
GATEWAY, ADDRESS = "10.0.9.1", "10.0.9.5"
USER = "admin"
# How much longer everything takes than in a container.
SLOWER = 8
BOOT = 1800


class Subnet(Network):
    """A subnet with its router, DHCP, metadata service and AWS behind it; the machine's
    card is plugged into `eni`."""

    script = (f"ip link set lo up && ip tuntap add eni mode tap && ip address add {GATEWAY}/24 dev eni && "
              f"ip address add {METADATA.partition(':')[0]}/32 dev eni && ip link set eni up")
    services, machine = f"{GATEWAY}:5000", ADDRESS

    def __enter__(self) -> "Subnet":
        super().__enter__()
        self.dhcp = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net={self.path}", "--", "dnsmasq", "--keep-in-foreground",
                                      "--conf-file=/dev/null", "--port=0", "--interface=eni", "--bind-interfaces", "--leasefile-ro", "--log-facility=-",
                                      f"--pid-file={HOME}/dhcp.pid", f"--dhcp-range={ADDRESS},{ADDRESS},255.255.255.0,1h", f"--dhcp-option=option:router,{GATEWAY}"],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        card = f"network/interfaces/macs/{CARD}/"
        self.do(metadata={
            "hostname": NAME, "local-hostname": NAME, "local-ipv4": ADDRESS, "mac": CARD,
            f"{card}device-number": "0", f"{card}interface-id": "eni-0123456789abcdef0", f"{card}local-hostname": NAME, f"{card}local-ipv4s": ADDRESS,
            f"{card}mac": CARD, f"{card}subnet-id": "subnet-0123456789abcdef0", f"{card}subnet-ipv4-cidr-block": "10.0.9.0/24",
            "public-keys/": "0=builder", "public-keys/0/openssh-key": public_key()})
        return self

    def __exit__(self, *_) -> None:
        self.dhcp.kill()
        self.dhcp.wait()
        super().__exit__()


def public_key() -> str:
    key = HOME / "operator"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key.with_suffix(".pub").read_text()


class Computer(Machine):
    """A machine that starts from the image's disk; a context manager. `log` is its console."""

    address = ADDRESS
    # One that keeps its connection and one that does not: more leave it no time for a command.
    clients = 2
    longest = 600

    def __init__(self, name: str, network: Subnet) -> None:
        super().__init__(name, HOME)
        self.network, self.log = network, HOME / f"console-{name}.log"
        self.disk, self.control = HOME / f"{name}.qcow2", HOME / "ssh.control"

    def switch_on(self) -> None:
        self.log.unlink(missing_ok=True)
        self.control.unlink(missing_ok=True)
        disk.layer(self.disk)
        firmware = HOME / "firmware.fd"
        shutil.copy(str(disk.FIRMWARE).replace("CODE", "VARS"), firmware)
        command = ["nsenter", f"--net={self.network.path}", "--", "nice", "qemu-system-x86_64", "-nodefaults", "-display", "none", *TCG,
                   "-machine", "q35", "-m", "2048", "-serial", f"file:{self.log}",
                   "-smbios", f"type=1,manufacturer=Amazon EC2,product=t3a.small,uuid={SERIAL},serial={SERIAL}",
                   "-drive", f"if=pflash,format=raw,readonly=on,file={disk.FIRMWARE}", "-drive", f"if=pflash,format=raw,file={firmware}",
                   "-drive", f"if=none,id=xvda,format=qcow2,file={self.disk},cache=unsafe,discard=unmap", "-device", "nvme,drive=xvda,serial=vol0123456789abcdef0",
                   "-netdev", "tap,id=eni,ifname=eni,script=no,downscript=no", "-device", f"virtio-net-pci,netdev=eni,mac={CARD},romfile="]
        self.begun = time.monotonic()
        with (HOME / "qemu.log").open("wb") as log:
            self.container = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __exit__(self, *_) -> None:
        self.hang_up()
        self.container.kill()
        self.container.wait()
        self.disk.unlink(missing_ok=True)

    def wait_until_up(self) -> None:
        self.until("somebody gets in by SSH", lambda: self.run("true", check=False).returncode == 0, BOOT / SLOWER)
        self.until("cloud-init ends", lambda: "boot-finished" in self.run("ls", "/var/lib/cloud/instance", check=False).stdout, BOOT / SLOWER)

    def reach(self, *command: str) -> list[str]:
        words = shlex.join(["sudo", "-n", *command])
        return [*self.enter("--net"), "ssh", *self.ssh(), f"{USER}@{ADDRESS}", words]

    def ssh(self) -> list[str]:
        """One connection for all commands: each handshake costs seconds here."""
        said = {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR", "ConnectTimeout": "20", "BatchMode": "yes",
                "ServerAliveInterval": "10", "ControlMaster": "auto", "ControlPath": str(self.control), "ControlPersist": "300"}
        return ["-F", "none", "-i", str(HOME / "operator"), *(f"-o{name}={value}" for name, value in said.items())]

    def enter(self, *namespaces: str) -> list[str]:
        """Its network is all that somebody outside can be in."""
        if namespaces != ("--net",):
            raise ValueError(f"nobody outside gets into {namespaces} of a machine")
        return ["nsenter", f"--net={self.network.path}", "--"]

    def until(self, what: str, holds, patience: float = PATIENCE) -> None:
        """Says every few seconds what is waited for, and what the console said last."""
        begun, patience, told = time.monotonic(), patience * SLOWER, time.monotonic()
        while not holds():
            now = time.monotonic()
            if self.container.poll() is not None:
                raise NotHere(f"qemu ended: {tail((HOME / 'qemu.log').read_text())}")
            if "Kernel panic" in self.console() or now > begun + patience:
                raise Failed(f"not within {patience:g} s: {what}; the console ends with: {tail(self.console(), 25)}")
            if now > told + 10:
                told = now
                print(f"        {now - self.begun:.0f} s: not yet: {what}; console: {tail(self.console(), 1).strip()[-100:]}", flush=True)
            # Each question costs the machine a second of its time.
            time.sleep(3)

    def console(self) -> str:
        """What it printed, without the firmware's moves of the cursor."""
        said = self.log.read_text(errors="replace") if self.log.exists() else ""
        return re.sub(r"\x1b\[[0-9;=?]*[A-Za-z]|[^\x20-\x7e\n]", "", said)

    def hang_up(self) -> None:
        """Ends the one connection, which would go on by itself."""
        subprocess.run(["ssh", *self.ssh(), "-O", "exit", f"{USER}@{ADDRESS}"], capture_output=True, check=False)

    def reboot(self) -> None:
        before = self.read("/proc/sys/kernel/random/boot_id").strip()
        self.run("systemctl", "reboot", "--no-block", check=False)
        self.hang_up()

        def again() -> bool:
            found = self.run("cat", "/proc/sys/kernel/random/boot_id", check=False)
            return found.returncode == 0 and found.stdout.strip() != before

        self.until("it is back after a reboot", again, BOOT / SLOWER)


# TCG, which every machine has; its processor knows all that qemu can interpret. The machine's
# time is what it has executed, 4 ns for each instruction: where processors are busy it goes
# slower, and no time limit of kernel, systemd or gateway ends by it.
TCG = ("-accel", "tcg,thread=single", "-icount", "shift=2", "-rtc", "clock=vm", "-cpu", "max", "-smp", "1")
