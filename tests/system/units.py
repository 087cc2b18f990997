#!/usr/bin/env python3
"""Reads the units as systemd does, without starting anything: spelling, and how exposed they are.

Says so and passes where there is no systemd-analyze, or one before 250, which cannot
judge files. `system.py` asks the same in a machine, of the installed units.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# The package's, and those of a machine of the fleet.
UNITS, BOX = ROOT / "systemd", ROOT / "ami/rootfs/usr/lib/systemd/system"
# Tenths of systemd's points: 10.0 is nothing done at all.
MOST_EXPOSED = 20
# Of a machine's: they are root's, for they start units and own the gateway's files.
MOST_EXPOSED_BOX = 30


def main() -> int:
    if not shutil.which("systemd-analyze"):
        print("NOT RUN: systemd's view of the units: there is no systemd-analyze")
        return 0
    version = int(re.search(r"\d+", said("systemd-analyze", "--version")[1])[0])
    if version < 250:
        print(f"NOT RUN: systemd's view of the units: systemd-analyze {version} cannot judge files, 250 can")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return 1 if any(not holds for holds in checks(Path(folder))) else 0


def checks(folder: Path):
    """Whether each check holds; what does not is printed."""
    files = [copied(unit, folder) for unit in [*sorted(UNITS.glob("*.service")), *sorted(UNITS.glob("*.socket")), *sorted(BOX.glob("*.*"))] if unit.is_file()]
    yield told("systemd-analyze", "verify", "--man=no", *files)
    for unit in (file for file in files if file.endswith(".service")):
        yield told("systemd-analyze", "security", "--offline=yes", "--no-pager", f"--threshold={bound(unit)}", unit)


def bound(unit: str) -> int:
    return MOST_EXPOSED_BOX if (BOX / Path(unit).name).exists() else MOST_EXPOSED


def copied(unit: Path, folder: Path) -> str:
    """The unit with a program that this computer has, for `verify` looks for it."""
    text = re.sub(r"/usr/(bin/tollgate|lib/tollgate/[a-z-]+)", shutil.which("true"), unit.read_text())
    (folder / unit.name).write_text(text)
    return str(folder / unit.name)


def told(*command: str) -> bool:
    code, output = said(*command)
    # `verify` exits 0 for a misspelled key: what it prints of ours is the verdict. It
    # looks at other units of this computer, too.
    holds = code == 0 and (command[1] != "verify" or "tollgate" not in output)
    if not holds:
        print(f"{' '.join(command)}\n{output}")
    return holds


def said(*command: str) -> tuple[int, str]:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


if __name__ == "__main__":
    sys.exit(main())
