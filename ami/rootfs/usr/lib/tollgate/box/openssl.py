"""Keys and certificates, by the `openssl` program.

Keys go in by standard input or a pipe and come out by standard output: none is ever an
argument or a file.
"""

import calendar
import os
import re
import subprocess
import time
from dataclasses import dataclass

from .failure import Failure

CERTIFICATE = rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----"
KEY = rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----.*?-----END (?:[A-Z]+ )?PRIVATE KEY-----"
# As clocks differ.
SKEW_SECONDS = 300


@dataclass
class Pair:
    """A chain, leaf first, and the leaf's key, both PEM."""

    chain: bytes
    key: bytes


def accept(pair: Pair) -> None:
    """Fails when the key is another certificate's, or the dates do not hold."""
    of_chain = openssl("x509", "-pubkey", "-noout", stdin=pair.chain)
    of_key = openssl("pkey", "-pubout", stdin=pair.key)
    if of_chain != of_key:
        raise Failure("the key does not belong to the certificate")
    now, begin, end = time.time(), not_before(pair.chain), not_after(pair.chain)
    if now >= end:
        raise Failure(f"it ended {(now - end) / 86400:.1f} days ago")
    if now + SKEW_SECONDS < begin:
        raise Failure(f"it begins in {(begin - now) / 60:.0f} minutes: look at `chronyc tracking`")


def not_after(chain: bytes) -> float:
    return moment(chain, "-enddate")


def not_before(chain: bytes) -> float:
    return moment(chain, "-startdate")


def moment(chain: bytes, which: str) -> float:
    told = openssl("x509", "-noout", which, stdin=chain).decode()
    date = told.partition("=")[2].strip().removesuffix(" GMT")
    return calendar.timegm(time.strptime(date, "%b %d %H:%M:%S %Y"))


def opened(sealed: bytes, passphrase: bytes) -> bytes:
    """The key that was sealed with the passphrase."""
    return openssl("pkey", "-passin", "fd:{}", stdin=sealed, secret=passphrase + b"\n")


def new_key() -> bytes:
    return openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


def request(key: bytes, wanted: list[str]) -> bytes:
    """A request for a certificate with these names."""
    alternatives = ",".join(f"DNS:{name}" for name in wanted)
    # A common name holds 64 characters; who looks at it today does so for people.
    subject = f"/CN={wanted[0]}" if len(wanted[0]) <= 64 else "/"
    return openssl("req", "-new", "-subj", subject, "-addext", f"subjectAltName={alternatives}",
                   "-key", "/dev/fd/{}", secret=key)


def joined(answer: dict) -> bytes:
    """The chain of an answer of AWS's, leaf first."""
    parts = [answer.get("Certificate") or "", answer.get("CertificateChain") or ""]
    if not parts[0].strip():
        raise Failure("the answer has no certificate")
    return "".join(part.strip() + "\n" for part in parts if part.strip()).encode()


def leaf(chain: bytes) -> bytes:
    """The first certificate, however its lines end and its text is broken."""
    found = re.search(CERTIFICATE, chain, re.DOTALL)
    return b"".join(found[0].split()) if found else b""


def split(text: bytes) -> Pair:
    chain, keys = re.findall(CERTIFICATE, text, re.DOTALL), re.findall(KEY, text, re.DOTALL)
    if not chain or len(keys) != 1:
        raise Failure(f"it holds {len(chain)} certificates and {len(keys)} private keys in PEM; "
                      "one key and its chain are wanted")
    return Pair(b"".join(one + b"\n" for one in chain), keys[0] + b"\n")


def openssl(*words: str, stdin: bytes = b"", secret: bytes | None = None) -> bytes:
    """What `openssl` prints; `{}` in a word is the descriptor that `secret` comes by."""
    reads, passed = None, ()
    if secret is not None:
        # A key and a passphrase fit into the pipe at once.
        reads, writes = os.pipe()
        os.write(writes, secret)
        os.close(writes)
        words, passed = tuple(word.replace("{}", str(reads)) for word in words), (reads,)
    try:
        done = subprocess.run(["openssl", *words], input=stdin, capture_output=True, check=False, pass_fds=passed)
    finally:
        if reads is not None:
            os.close(reads)
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"]
        raise Failure(f"openssl {words[0]}: {told[0]}")
    return done.stdout
