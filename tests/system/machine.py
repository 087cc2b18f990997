"""A Debian 12 machine with a real systemd as its first process, in a container.

Owns the image (made once, kept under target/), boot and end of a machine, and running
commands in it. Each machine begins as the image is: what it writes is in memory and
goes with it. It has a network of its own with nothing in it but loopback.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HOME = ROOT / "target" / "system"
# systemd 252, as Amazon Linux 2023 has it. dbus, since machines have it.
SUITE = "bookworm"
INCLUDE = ("systemd", "systemd-sysv", "dbus", "procps", "logrotate")
PATIENCE = 30


class NotHere(Exception):
    """This computer cannot do it; the message says what it lacks."""


class Failed(Exception):
    """Something in the machine did not do what it must; the message says what and shows its output."""


def able(home: Path, needed: tuple[str, ...]) -> None:
    """Makes the folder and installs what is needed; `NotHere` where no machine can be booted."""
    if os.geteuid():
        raise NotHere("a container's machine needs root")
    if not os.path.exists("/usr/bin/apt-get"):
        raise NotHere("the image is made by mmdebstrap, which this system has no package of")
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as folder:
        probe = ["unshare", "--mount", "--net", "--pid", "--fork", "mount", "-t", "tmpfs", "none", folder]
        found = subprocess.run(probe, capture_output=True, text=True, check=False)
    if found.returncode:
        raise NotHere(f"no namespaces for a machine: {found.stderr.strip()}")
    if subprocess.run([str(ROOT / ".ci/packages"), *needed], check=False).returncode:
        raise NotHere(f"these cannot be installed: {' '.join(needed)}")


def image() -> Path:
    """The folder with the image's files; makes it if it is not there."""
    root, made_of = HOME / "image", HOME / "image.json"
    wanted = json.dumps([SUITE, *INCLUDE])
    if made_of.exists() and made_of.read_text() == wanted and root.exists():
        return root
    made_of.unlink(missing_ok=True)
    shutil.rmtree(root, ignore_errors=True)
    HOME.mkdir(parents=True, exist_ok=True)
    archive = HOME / "image.tar"
    made = subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(INCLUDE)}",
                           SUITE, str(archive)], capture_output=True, text=True, check=False)
    if made.returncode:
        raise NotHere(f"mmdebstrap cannot make the image: {tail(made.stderr)}")
    root.mkdir()
    subprocess.run(["tar", "-C", str(root), "-xf", str(archive)], check=True)
    archive.unlink()
    made_of.write_text(wanted)
    return root


class Machine:
    """A booted machine; a context manager. `packages` is at /packages in it."""

    # Where its ports are, for who is in its network.
    address = "127.0.0.1"
    # How many clients ask it without a pause; 0 is as many as there usually are.
    clients = 0

    def __init__(self, name: str, packages: Path) -> None:
        self.name, self.packages = f"tollgate-{os.getpid()}-{name.replace('_', '-')}", packages
        self.log = HOME / f"boot-{name}.log"
        self.container: subprocess.Popen[bytes] | None = None
        self.leader = 0

    # The longest that one command may take, in seconds.
    longest = 300

    def __enter__(self) -> Self:
        self.switch_on()
        try:
            self.wait_until_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def switch_on(self) -> None:
        command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", f"--machine={self.name}", *self.options()]
        if not Path("/run/systemd/system").exists():
            # There is no systemd outside that could give it a scope.
            command.append("--keep-unit")
        with self.log.open("wb") as log:
            self.container = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command],
                                              stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def options(self) -> list[str]:
        """What is said to systemd-nspawn of disk and network."""
        return ["--private-network", "--volatile=overlay", f"--directory={image()}", f"--bind-ro={self.packages}:/packages"]

    def __exit__(self, *_) -> None:
        # The first process of a machine takes everything along.
        if self.leader:
            subprocess.run(["kill", "-KILL", str(self.leader)], check=False, capture_output=True)
        try:
            self.container.wait(5)
        except subprocess.TimeoutExpired:
            self.container.kill()
            self.container.wait()

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.container.poll() is None:
            children = Path(f"/proc/{self.container.pid}/task/{self.container.pid}/children")
            self.leader = int((children.read_text().split() or ["0"])[0]) if children.exists() else 0
            if self.leader and self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip() == "running":
                return
            time.sleep(0.1)
        raise NotHere(f"systemd-nspawn boots no machine here: {tail(self.log.read_text(errors='replace'))}")

    def reach(self, *command: str) -> list[str]:
        """The command line, out here, that runs a command in the machine."""
        return [*self.enter("--all", "--root", "--wd"), *command]

    def run(self, *command: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a command in the machine as root; output as text, both streams in `stdout`."""
        done = subprocess.run(self.reach("env", "--ignore-environment", *ENVIRONMENT, *command), input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=self.longest)
        if check and done.returncode:
            raise Failed(f"`{' '.join(command)}` exits {done.returncode}: {tail(done.stdout)}")
        return done

    def enter(self, *namespaces: str) -> list[str]:
        """What stands before a command that is to run in the machine's namespaces."""
        return ["nsenter", f"--target={self.leader}", *namespaces, "--"]

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Writes a file with its folder, as the operator would: beside it, then renamed."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"',
                 "sh", path, mode, stdin=text)

    def read(self, path: str) -> str:
        return self.run("cat", path).stdout

    def unit(self, prop: str, unit: str = "tollgate") -> str:
        """A property of a unit, as `systemctl show` tells it."""
        return self.run("systemctl", "show", "--property", prop, "--value", unit).stdout.strip()

    def journal(self, unit: str = "tollgate") -> str:
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--quiet", "--no-pager", "--output=cat", "--unit", unit).stdout

    def until(self, what: str, holds, patience: float = PATIENCE) -> None:
        """Waits until something holds; `what` says what did not."""
        deadline = time.monotonic() + patience
        while not holds():
            if time.monotonic() > deadline:
                raise Failed(f"not within {patience:g} s: {what}; the journal ends with: {tail(self.journal())}")
            time.sleep(0.1)


def tail(text: str, lines: int = 12) -> str:
    return "\n    ".join(["", *text.strip().splitlines()[-lines:]])


ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_COLORS=0")
