"""One HTTP exchange, by curl.

Owns how curl is told and what its answer is. Everything goes by its standard input, for
arguments of processes are there for everyone to read. Does not own what is tried again.
"""

import re
import subprocess
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from .failure import Failure

CONNECT_SECONDS = 2
MOST_BYTES = 8 * 1024 * 1024


class Unreached(Failure):
    """There is no whole answer."""


class NotYet(Unreached):
    """The service answers, and is still at it."""


@dataclass
class Answer:
    """An answer of any status."""

    status: int
    body: bytes
    # Seconds since 1970 by the server's clock, if it said.
    date: float | None


@dataclass
class Signing:
    """With what a request is signed (Signature Version 4)."""

    key: str
    secret: str
    token: str
    region: str
    service: str


def exchange(url: str, options: dict[str, str | list[str]], seconds: float, signing: Signing | None = None) -> Answer:
    """Sends one request; `options` are curl's own, by their long names."""
    config: dict[str, str | list[str]] = {
        "url": url,
        "max-time": f"{seconds:.1f}",
        "connect-timeout": str(CONNECT_SECONDS),
        "write-out": "%{stderr}\nstatus=%{http_code} date=%header{date}",
        **options,
    }
    if signing:
        headers = [*as_list(options.get("header", [])), f"x-amz-security-token: {signing.token}"]
        config |= {
            "user": f"{signing.key}:{signing.secret}",
            "aws-sigv4": f"aws:amz:{signing.region}:{signing.service}",
            "header": headers,
        }
    lines = [f"{name} = {quoted(value)}" for name, values in config.items() for value in as_list(values)]
    code, body, told = curl("\n".join(lines).encode())
    if code:
        raise Unreached(reason(told) or f"curl ends with {code}")
    found = re.search(r"^status=(\d+) date=(.*)$", told, re.MULTILINE)
    if not found:
        raise Unreached(f"curl says nothing of the answer: {told.strip()}")
    return Answer(int(found[1]), body, seconds_of(found[2]))


def curl(config: bytes) -> tuple[int, bytes, str]:
    """How curl ends, the body, and what it says. A body of more than `MOST_BYTES` is
    none, whether its length was told before or not: curl itself only looks at that."""
    with subprocess.Popen(["curl", "--disable", "--silent", "--show-error", "--globoff", "--config", "-"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        try:
            # It reads all of it before it writes anything.
            run.stdin.write(config)
            run.stdin.close()
        except BrokenPipeError:
            pass
        body = run.stdout.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            run.kill()
            raise Unreached(f"the answer has more than {MOST_BYTES >> 20} MiB")
        told = run.stderr.read().decode(errors="replace")
    return run.returncode, body, told


def reason(told: str) -> str:
    lines = [line for line in told.splitlines() if line.startswith("curl: ")]
    return re.sub(r"^curl: \(\d+\) ", "", lines[0]) if lines else ""


def as_list(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def quoted(value: str) -> str:
    """As curl's configuration wants a value."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(character, character) for character in value) + '"'


def seconds_of(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date.strip()).timestamp()
    except (TypeError, ValueError):
        return None
