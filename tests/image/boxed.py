"""A machine's folders and stand-ins for tests of its programs: what `box.py` runs.

Each test runs a program as its unit does, with the real `tollgate check`; `systemctl`
and `tollgate reload` are stand-ins that write down what they were told, for here is no
systemd (`image.py` has one).
"""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from cloud import Cloud

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ROOT / "ami/rootfs/usr/lib/tollgate"
GATEWAY = Path(os.environ.get("TOLLGATE", ROOT / "target/debug/tollgate"))
# Seconds of one call with all its tries: enough under load, and less where a fault stays,
# for it is not waited for.
PATIENCE, STAYS = "10", "1"
# What systemd is told where the gateway is to start: the ends of before do not count.
STARTS = ["systemctl reset-failed tollgate.service", "systemctl start --no-block tollgate.service"]
RESTARTS = [STARTS[0], "systemctl restart --no-block tollgate.service"]
# How `tollgate-config` ends when it failed on a machine that serves.
SERVES_ON = 10

GOOD = """
listeners: [{ name: internal, address: "127.0.0.1:8080" }]
readiness: { address: "127.0.0.1:8081" }
admin: { socket: /run/tollgate/admin.sock }
routes: [{ name: hello, match: { path: / }, respond: { status: 200, body: "%s" } }]
"""

# Writes down what it was called with. Both answer as the files beside them say.
SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >>"$0.calls"
case $1 in
    show) cat "$0.state" ;;
    start) [ ! -e "$0.fails" ] || { echo 'Job for it failed.' >&2; exit 1; } ;;
esac
"""
TOLLGATE = """#!/bin/sh
[ "$1" = check ] && exec "$0.real" "$@"
echo "tollgate $*" >>"${0%/*}/systemctl.calls"
cat "$0.says" 2>/dev/null
exit "$(cat "$0.code" 2>/dev/null || echo 0)"
"""
# The gateway's part of the journal.
JOURNALCTL = """#!/bin/sh
case $* in *_SYSTEMD_UNIT=tollgate.service) cat "$0.says" 2>/dev/null ;; esac
"""
# Writes down its arguments, for secrets must not be among them, and is the real one.
RECORDER = """#!/bin/sh
echo "$0 $*" >>"${0%%/*}/arguments"
exec %s "$@"
"""


class Box:
    """A machine's folders and stand-ins, and its programs."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cloud, self.folder, self.bin = cloud, folder, folder / "bin"
        self.run_folder, self.settings, self.logs = folder / "run", folder / "box.yaml", folder / "logs"
        for one in (self.bin, self.run_folder, self.logs):
            one.mkdir()
        self.program("systemctl", SYSTEMCTL)
        self.program("tollgate", TOLLGATE)
        self.program("journalctl", JOURNALCTL)
        for name in ("curl", "openssl"):
            self.program(name, RECORDER % shutil.which(name))
        (self.bin / "tollgate.real").symlink_to(GATEWAY)
        self.more: dict[str, str] = {}
        self.gateway("inactive")

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def gateway(self, state: str, code: int = 0, says: str = "", **told: str) -> None:
        """What systemd says of the gateway, and how it takes a reload."""
        known = {"ActiveState": state, "SubState": "", "LoadState": "loaded", "NRestarts": "0", "Result": "exit-code",
                 "ActiveEnterTimestampMonotonic": "0", "InactiveExitTimestampMonotonic": "1", **told}
        (self.bin / "systemctl.state").write_text("".join(f"{name}={value}\n" for name, value in known.items()))
        (self.bin / "tollgate.code").write_text(str(code))
        (self.bin / "tollgate.says").write_text(says)

    def journal(self, says: str) -> None:
        """What the gateway's processes said."""
        (self.bin / "journalctl.says").write_text(says)

    def write(self, settings: str) -> None:
        self.settings.write_text(settings)

    def run(self, name: str, **more) -> subprocess.CompletedProcess[str]:
        (self.bin / "systemctl.calls").unlink(missing_ok=True)
        environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL": self.cloud.endpoint,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.cloud.imds,
            "TOLLGATE_BOX_SETTINGS": str(self.settings),
            "TOLLGATE_BOX_RUN": str(self.run_folder),
            "TOLLGATE_BOX_USER": pwd.getpwuid(os.geteuid()).pw_name,
            "TOLLGATE_BOX_PATIENCE": STAYS if any(times < 0 for _, times in self.cloud.faults.values()) else PATIENCE,
            "LOGS_DIRECTORY": str(self.logs),
            **self.more,
        }
        # Its unit's umask.
        return subprocess.run(["sh", "-c", 'umask 077; exec "$@"', "sh", sys.executable, "-B", str(PROGRAMS / f"tollgate-{name}")], env=environment,
                              capture_output=True, text=True, check=False, timeout=60, **more)

    def calls(self) -> list[str]:
        """What systemd and the gateway were told in the last run, but for questions."""
        path = self.bin / "systemctl.calls"
        told = path.read_text().splitlines() if path.exists() else []
        return [line for line in told if not line.startswith("systemctl show")]

    def current(self, name: str = "tollgate.yaml") -> str | None:
        path = self.run_folder / "current" / name
        return path.read_text() if path.exists() else None

    def log(self) -> list[dict]:
        path = self.logs / "box.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class BoxTest(unittest.TestCase):
    """A cloud and a box for each test."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.cloud = self.enterContext(Cloud())
        self.cloud.forget()
        self.box = Box(self.cloud, self.folder)

    def holds(self, done: subprocess.CompletedProcess[str]) -> None:
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def refused(self, done: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
        """It failed, and said these words to the console and in the log."""
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
            self.assertTrue(any(word in line["message"] for line in self.box.log() if line["level"] == "error"), word)
