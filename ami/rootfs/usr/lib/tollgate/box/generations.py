"""A folder that is exchanged whole: readers find all of what was, or all of what is.

`publish` writes a new folder beside the others, and `point` renames a link onto it. What
is not pointed at counts for nobody. Files are readable by the gateway's group alone, and
by nobody while they are written. A file that stays as it was keeps its time: the gateway
takes the age of a key from it.
"""

import os
import pwd
import re
import shutil
from collections.abc import Collection
from pathlib import Path

from . import place


class Generations:
    """The folders in `home`, numbered, and the link to the one that counts."""

    def __init__(self, home: Path, link: Path) -> None:
        self.home, self.link = home, link

    def now(self) -> Path | None:
        """The folder that counts."""
        try:
            found = self.home / Path(os.readlink(self.link)).name
        except FileNotFoundError:
            return None
        return found if found.is_dir() else None

    def contents(self, name: str = "") -> dict[str, bytes]:
        """The files that count, or those of a folder by its name, by their paths in the folder."""
        now = self.home / name if name else self.now()
        if now is None:
            return {}
        return {str(path.relative_to(now)): path.read_bytes() for path in sorted(now.rglob("*")) if path.is_file()}

    def publish(self, files: dict[str, bytes], kept: Collection[str] = ()) -> Path:
        """A new folder with these files; the link stays, and so do the folders `kept`.
        Leaves nothing behind when it fails, as on a full disk."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.sweep(kept)
        folder = self.home / str(max(self.numbers(), default=0) + 1)
        new = self.home / f".new-{folder.name}"
        try:
            new.mkdir(mode=0o700)
            before = self.contents()
            for name, content in files.items():
                path = new / name
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                if before.get(name) == content:
                    os.link(self.now() / name, path)
                else:
                    written(path, content)
            shared(self.home, new, *new.rglob("*"))
            new.rename(folder)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)
            raise
        return folder

    def point(self, folder: Path) -> None:
        """Makes a folder the one that counts."""
        new = self.link.with_name(f".{self.link.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(folder.relative_to(self.link.parent))
        new.rename(self.link)

    def sweep(self, kept: Collection[str]) -> None:
        """Removes what was left half done, and all but the last two, what counts and what
        is kept: whoever opened a folder just now reads it to its end."""
        for left in self.home.glob(".new-*"):
            shutil.rmtree(left, ignore_errors=True)
        now = self.now()
        for number in sorted(self.numbers())[:-2]:
            if str(number) not in kept and (now is None or now.name != str(number)):
                shutil.rmtree(self.home / str(number), ignore_errors=True)

    def numbers(self) -> list[int]:
        return [int(path.name) for path in self.home.iterdir() if re.fullmatch(r"\d+", path.name)]


def written(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes, mode: int) -> None:
    """Writes one file beside its place and renames it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        written(new, content)
        new.chmod(mode)
        new.rename(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def shared(*paths: Path) -> None:
    """Lets the gateway's group read what root wrote, and nobody write it. The folder of
    all of them too: root's umask lets nobody else in."""
    group = pwd.getpwnam(place.USER).pw_gid
    for path in paths:
        os.chown(path, -1, group)
        path.chmod(0o750 if path.is_dir() else 0o640)
