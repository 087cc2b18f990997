"""What is known of generations and the gateway: which one it took, and which is on its way.

Written before the link is pointed and after the gateway took it, so that whoever comes
after a run that ended in between knows what counts.
"""

import json
from dataclasses import asdict, dataclass, fields

from . import place
from .generations import replace

FILE = place.STATE / "config.json"


@dataclass
class State:
    """Names of generations; the empty one is none."""

    # What the gateway took last. It is kept, and what fails goes back to it.
    served: str = ""
    # With what the gateway starts, or was told to start.
    starts: str = ""
    # What it is being told to take, or was by a run that did not come to its end.
    tried: str = ""
    # With what it did not come up.
    refused: str = ""

    @staticmethod
    def read() -> "State":
        """Without a file nothing is known; one that cannot be read just now is no such case."""
        try:
            told = json.loads(FILE.read_text())
            return State(**{one.name: str(told.get(one.name) or "") for one in fields(State)})
        except (FileNotFoundError, ValueError, AttributeError):
            return State()

    def write(self) -> None:
        replace(FILE, json.dumps(asdict(self)).encode(), 0o644)

    def at_start(self) -> str:
        """The generation that the gateway has if it runs now, and nothing else if not: it
        was not there before."""
        return (self.starts if not self.tried else "") if self.served or self.starts else self.tried

    def settled_on(self, name: str) -> bool:
        """Whether this generation is the gateway's, with nothing open."""
        return not self.tried and name == (self.starts or self.served)
