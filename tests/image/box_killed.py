#!/usr/bin/env python3
"""`tollgate-config`, ended at each of its lines: by a kill, by a signal that it hears, and by
a fault of the system.

Whatever happens to a run, the link points to something that the gateway took, as soon as
the next run has begun; that is never deleted; and what is right in the end is taken. The
gateway is a model here, for it is asked thousands of things. A program of its own, as
copies of a small process are quick to make.
"""

import contextlib
import errno
import io
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path

PROGRAMS = Path(__file__).resolve().parent.parent.parent / "ami/rootfs/usr/lib/tollgate"
# How it ends when it failed on a machine that serves.
SERVES_ON = 10
# Whose lines count.
TRACED = ("config.py", "gateway.py", "generations.py", "state.py")
KILLED = 9
# What systemd tells of the gateway.
SHOWN = "\n".join(("ActiveState=%s", "LoadState=loaded", "SubState=dead", "NRestarts=0", "Result=exit-code",
                   "ActiveEnterTimestampMonotonic=0", "InactiveExitTimestampMonotonic=1"))


# Of starts that end, so many are let; then a start does nothing, until systemd is told to
# forget of them.
LIMIT = 10


class Gateway:
    """A model: takes what the link points to when it is told to, and refuses some of it.
    Of systemd: its limit of starts, and that what it forgets to have failed looks stopped."""

    def __init__(self, run: Path) -> None:
        self.run, self.file = run, run / "gateway.json"

    @property
    def known(self) -> dict:
        return json.loads(self.file.read_text())

    def becomes(self, **known) -> None:
        self.file.write_text(json.dumps({**self.known, **known}))

    def current(self) -> str:
        return (self.run / "current/tollgate.yaml").read_text()

    def take(self) -> bool:
        if self.known["passing"]:
            # Fails, whatever it is given: a port that is taken.
            self.becomes(passing=self.known["passing"] - 1)
            return False
        if "refused" in self.current():
            return False
        self.becomes(serves=self.current(), taken=[*self.known["taken"], self.current()])
        return True

    def starts(self) -> None:
        """As often as systemd tries it."""
        self.becomes(tried=[*self.known["tried"], self.current()])
        if self.take():
            self.becomes(state="active", starts=self.known["starts"] + 1)
        else:
            self.becomes(state="failed", starts=LIMIT)

    def command(self, *words: str, as_gateway: bool = False, apart: bool = False) -> subprocess.CompletedProcess[str]:
        code, told = 0, ""
        if words[:2] == ("tollgate", "check"):
            told = "admin:\n  socket: /run/tollgate/admin.sock\n"
        elif words[:2] == ("systemctl", "show"):
            told = SHOWN % self.known["state"]
        elif words[:2] == ("systemctl", "reset-failed"):
            self.becomes(starts=0, state="inactive" if self.known["state"] == "failed" else self.known["state"])
        elif words[:2] == ("systemctl", "start") and self.known["state"] != "active":
            if self.known["starts"] >= LIMIT:
                self.becomes(state="failed")
            else:
                self.starts()
        elif words == ("tollgate", "reload"):
            code = 0 if self.take() else 78
        return subprocess.CompletedProcess(words, code, told, "")


class Killed(unittest.TestCase):
    """Each test begins with a machine in one state, and ends a run at each line."""

    @classmethod
    def setUpClass(cls) -> None:
        # In memory: each write waits for its disk.
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)))
        cls.run_folder, cls.source = cls.folder / "run", cls.folder / "source.yaml"
        (cls.folder / "box.yaml").write_text(f"config: file:{cls.source}\n")
        given = {"TOLLGATE_BOX_RUN": str(cls.run_folder), "TOLLGATE_BOX_SETTINGS": str(cls.folder / "box.yaml"),
                 "TOLLGATE_BOX_USER": pwd.getpwuid(os.geteuid()).pw_name}
        cls.enterClassContext(unittest.mock.patch.dict(os.environ, given))
        cls.enterClassContext(unittest.mock.patch.object(sys, "path", [str(PROGRAMS), *sys.path]))
        from box import config, gateway, generations
        cls.config = config
        cls.gateway = Gateway(cls.run_folder)
        for module, name, value in ((gateway, "command", cls.gateway.command), (config, "is_leaving", lambda: False),
                                    (generations.os, "fsync", lambda _: None)):
            cls.enterClassContext(unittest.mock.patch.object(module, name, value))
        heard = signal.getsignal(signal.SIGTERM)
        cls.addClassCleanup(signal.signal, signal.SIGTERM, heard)

    def setUp(self) -> None:
        shutil.rmtree(self.run_folder, ignore_errors=True)
        self.run_folder.mkdir()
        self.gateway.file.write_text(json.dumps({"serves": "", "state": "inactive", "taken": [], "tried": [], "starts": 0, "passing": 0}))

    def fetch(self, text: str | None) -> int:
        """A whole run that finds this text, or none."""
        self.source.unlink(missing_ok=True)
        if text is not None:
            self.source.write_text(text)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            code = self.config.main()
        self.said = said.getvalue()
        return code

    def keep(self) -> None:
        """Each run that is cut begins with the machine as it is now."""
        shutil.rmtree(self.folder / "kept", ignore_errors=True)
        shutil.copytree(self.run_folder, self.folder / "kept", symlinks=True)

    def cut(self, text: str, end, nth: int) -> bool:
        """A run that `end` ends at its `nth` line; whether it was as long as that."""
        shutil.rmtree(self.run_folder)
        shutil.copytree(self.folder / "kept", self.run_folder, symlinks=True)
        self.source.write_text(text)
        child = os.fork()
        if not child:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            left = nth

            def line(frame, event, _):
                nonlocal left
                if event == "line":
                    left -= 1
                    if left == 0:
                        end()
                return line

            sys.settrace(lambda frame, *_: line if frame.f_code.co_filename.endswith(tuple(f"/box/{name}" for name in TRACED)) else None)
            try:
                self.config.main()
            finally:
                os._exit(0 if left > 0 else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0

    def each(self, text: str, *ends, then=None) -> None:
        """Ends a run that finds `text` at each of its lines, and looks what comes after."""
        self.keep()
        for end in ends or (kill, heard, fails):
            nth = 1
            while self.cut(text, end, nth):
                with self.subTest(end=end.__name__, line=nth):
                    (then or self.comes_after)()
                nth += 1
            self.assertGreater(nth, 40, "no line was counted")

    def comes_after(self) -> None:
        self.fetch(None)
        self.stands("after a run that finds nothing")
        for nth in range(3):
            self.fetch(f"refused {nth}")
            self.stands(f"after {nth + 1} that the gateway refuses")
        # The first may only start what served before.
        for _ in range(2):
            self.fetch("right")
        self.assertEqual((self.gateway.known["serves"], self.gateway.current()), ("right", "right"))

    def taken_back(self) -> None:
        """Whoever wrote the change takes it back: the gateway may have it all the same."""
        self.fetch("first")
        self.assertEqual((self.gateway.known["serves"], self.gateway.current()), ("first", "first"))

    def stands(self, when: str) -> None:
        """What counts is what the gateway took last, or before that where the run ended too
        early to hear of it."""
        known = self.gateway.known
        if known["state"] == "active":
            self.assertIn(self.gateway.current(), known["taken"][-2:], when)

    def serving(self) -> None:
        self.said = ""
        for _ in range(2):
            self.assertEqual(self.fetch("first"), 0, self.said)

    def test_of_a_change(self) -> None:
        self.serving()
        self.each("second")

    def test_of_a_change_that_is_taken_back(self) -> None:
        self.serving()
        self.each("second", kill, fails, then=self.taken_back)

    def test_of_one_that_the_gateway_refuses(self) -> None:
        self.serving()
        self.each("refused")

    def test_of_the_first(self) -> None:
        self.each("first")

    def test_of_one_after_another_that_was_killed(self) -> None:
        self.serving()
        self.keep()
        nth = 1
        while not (self.cut("second", kill, nth) and self.gateway.current() == "second"):
            nth += 1
        self.assertEqual(self.gateway.known["serves"], "first")
        self.each("third", kill)

    def test_of_a_gateway_that_failed(self) -> None:
        self.serving()
        self.gateway.becomes(state="failed")
        self.assertEqual(self.fetch("refused at its start"), 0)
        self.assertEqual(self.gateway.known["state"], "failed")
        self.each("refused at its start", kill, fails)

    def test_what_is_right_comes_up_after_failures_that_pass(self) -> None:
        """The one that served cannot start any more; what is right fails twice."""
        self.serving()
        self.gateway.becomes(state="failed", starts=LIMIT, passing=4, tried=[])
        for _ in range(5):
            self.assertEqual(self.gateway.known["state"], "failed")
            self.fetch("right")
        self.assertEqual(self.gateway.known["tried"], ["right", "first"] * 2 + ["right"])
        self.assertEqual((self.gateway.known["serves"], self.gateway.known["state"]), ("right", "active"))

    def test_of_a_gateway_that_failed_at_the_limit_of_starts(self) -> None:
        self.serving()
        self.gateway.becomes(state="failed", starts=LIMIT)
        self.each("right", kill, fails, then=self.comes_up)

    def test_of_a_fetch_that_finds_one_that_failed(self) -> None:
        self.serving()
        self.gateway.becomes(state="failed", starts=LIMIT)
        self.each("first", kill, fails, then=self.comes_up)

    def comes_up(self) -> None:
        """With what was wanted when it failed: nobody stopped it."""
        text = self.source.read_text()
        for _ in range(2):
            self.fetch(text)
        self.assertEqual((self.gateway.known["serves"], self.gateway.current(), self.gateway.known["state"]), (text, text, "active"))

    def test_what_is_left_alone_serves_on(self) -> None:
        self.serving()
        self.assertEqual(self.fetch("refused"), SERVES_ON)
        self.stands("after a refusal")


def kill() -> None:
    os._exit(KILLED)


def heard() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def fails() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


if __name__ == "__main__":
    unittest.main()
