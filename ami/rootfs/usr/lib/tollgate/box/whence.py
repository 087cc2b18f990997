"""From where each certificate that serves was fetched: `state/certificates.json`.

A pair says nothing of it, and one that the settings want from elsewhere now (another
authority, other days, ACM in place of a file) has to be fetched however young it is.
Kept by name and chain, so that a run that ends between this file and the exchange of the
folder leaves nothing that is untrue.
"""

import hashlib
import json
from dataclasses import asdict

from . import place
from .generations import replace
from .openssl import Pair
from .settings import Certificate

STATE = place.STATE / "certificates.json"


class Whence:
    """The settings that each pair was fetched by, by its name and chain."""

    def __init__(self, known: dict[str, str]) -> None:
        self.known = known

    @staticmethod
    def read() -> "Whence":
        try:
            known = json.loads(STATE.read_bytes())
        except (FileNotFoundError, ValueError):
            known = {}
        return Whence(known if isinstance(known, dict) else {})

    def holds(self, one: Certificate, pair: Pair) -> bool:
        """Whether it is from where the settings want it now. Not of one that somebody put
        there by hand."""
        return self.known.get(mark(one.name, pair.chain)) == wanted(one)

    def note(self, one: Certificate, pair: Pair) -> None:
        self.known[mark(one.name, pair.chain)] = wanted(one)

    def write(self, *folders: dict[str, bytes]) -> None:
        """What is known of the pairs in these folders."""
        there = {mark(name.removesuffix(".pem"), chain) for files in folders for name, chain in files.items() if name.endswith(".pem")}
        self.known = {name: by for name, by in self.known.items() if name in there}
        text = json.dumps(self.known, sort_keys=True).encode()
        if not STATE.exists() or STATE.read_bytes() != text:
            replace(STATE, text, 0o600)


def mark(name: str, chain: bytes) -> str:
    return f"{name} {hashlib.sha256(chain).hexdigest()}"


def wanted(one: Certificate) -> str:
    return json.dumps(asdict(one), sort_keys=True)
