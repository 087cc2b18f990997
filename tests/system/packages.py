"""The package under test, and others made from it: a later version, and broken ones.

They are taken apart and put together again, so that nothing is compiled twice.
"""

import shutil
import subprocess
from pathlib import Path

from machine import HOME, ROOT, NotHere

FOLDER = HOME / "packages"
CURRENT = "current.deb"
LATER = "later.deb"

# What /usr/bin/tollgate of a later version is, each broken in its own way.
BROKEN = {
    # Nothing of it runs, the operator's verbs neither.
    "wrong-machine.deb": b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x07\x7f" + bytes(44),
    # Verbs work; what serves ends at once, as a binary with a missing library does.
    "ends-at-once.deb": b"""#!/bin/sh
[ "$1" != run ] || { echo 'cannot find libtollgate.so.7' >&2; exit 127; }
exec /usr/lib/tollgate/tollgate "$@"
""",
}


def build(given: str | None) -> None:
    """Makes all of them from the package at `given`, or from this tree."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    shutil.copy(given or built(), FOLDER / CURRENT)
    whole = FOLDER / "whole"
    subprocess.run(["dpkg-deb", "--raw-extract", str(FOLDER / CURRENT), str(whole)], check=True)
    variant(whole, LATER, "later")
    binary = whole / "usr/bin/tollgate"
    (whole / "usr/lib/tollgate").mkdir(parents=True)
    binary.rename(whole / "usr/lib/tollgate/tollgate")
    for name, content in BROKEN.items():
        binary.write_bytes(content)
        binary.chmod(0o755)
        variant(whole, name, name.split(".")[0].replace("-", "."))
    shutil.rmtree(whole)


def built() -> Path:
    """The package of this tree, with the binary of tests."""
    folder = ROOT / "target" / "debian"
    shutil.rmtree(folder, ignore_errors=True)
    made = subprocess.run(["make", "--silent", "deb", "DEB_BINARY=target/debug/tollgate", "DEB_FLAGS=--fast"],
                          cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    found = sorted(folder.glob("tollgate_*.deb"))
    if made.returncode or not found:
        raise NotHere("`make deb DEB_BINARY=target/debug/tollgate` makes no package")
    return found[0]


def variant(whole: Path, name: str, what: str) -> None:
    control = whole / "DEBIAN/control"
    text = control.read_text()
    version = next(line for line in text.splitlines() if line.startswith("Version: "))
    control.write_text(text.replace(version, f"{version}+{what}"))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(whole), str(FOLDER / name)],
                   check=True, stdout=subprocess.DEVNULL)
    control.write_text(text)
