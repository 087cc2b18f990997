"""Certificates of ACM Private CA, each of which is paid for.

Issues for a key that is made here and never leaves. What is ordered is written down
before the authority is asked (`pending/NAME.json`, root's alone, in memory): a run that
is refused or ends between the order and the certificate is gone on with by the next one,
which orders nothing. Does not own when a certificate is taken: see `certificates.py`.
"""

import base64
import json
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from . import openssl, place
from .aws import Aws, Refused
from .failure import Failure
from .generations import replace
from .openssl import Pair
from .settings import PrivateCa

RENEW_AT = 2 / 3
TEMPLATE = "acm-pca:::template/EndEntityServerAuthCertificate/V1"
# An authority takes seconds. What has not come by now is ordered anew: 24 a day at most.
LONGEST_PENDING = 3600
# What the authority says of one that it will never issue.
FAILED = "RequestFailedException"
# For the ARN, which has at most 200 characters.
ROOM = 512


@dataclass
class Pending:
    """A certificate that is ordered, and not here yet."""

    # What was wanted: an order for something else is thrown away.
    wanted: str
    key: str
    request: str
    # Within five minutes, by this the same order is asked for once, whatever answer is lost.
    token: str
    begun: float
    # Empty until the authority told it.
    arn: str = ""

    def begin(self, path: Path) -> None:
        """Writes it down with room for the ARN: on a tmpfs that is full what is to be
        paid for must not be lost, so nothing is ordered that cannot be noted."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace(path, self.text() + b" " * ROOM, 0o600)

    def ordered(self, path: Path, arn: str) -> None:
        self.arn = arn
        with open(path, "r+b") as file:
            file.write(self.text())

    def text(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def fetch(name: str, wanted: PrivateCa, had: Pair | None, aws: Aws) -> Pair:
    """The pair as it is to be now: `had` itself for two thirds of its time."""
    if had and is_young(had):
        return had
    authority = {"CertificateAuthorityArn": wanted.authority}
    region, path = wanted.authority.split(":")[3], place.PENDING / f"{name}.json"
    pending = taken_up(path, wanted)
    if pending is None:
        key = openssl.new_key()
        pending = Pending(repr(wanted), key.decode(), openssl.request(key, wanted.names).decode(), secrets.token_hex(16), time.time())
        pending.begin(path)
    if not pending.arn:
        pending.ordered(path, order(wanted, pending, aws))
    try:
        # "In progress" is a refusal that `aws` tries again.
        answer = aws.json("acm-pca", "ACMPrivateCA.GetCertificate", {**authority, "CertificateArn": pending.arn}, region)
    except Refused as why:
        if why.code == FAILED:
            path.unlink()
        raise
    return Pair(openssl.joined(answer), pending.key.encode())


def is_young(had: Pair) -> bool:
    begin, end = openssl.not_before(had.chain), openssl.not_after(had.chain)
    return time.time() < begin + (end - begin) * RENEW_AT


def taken_up(path: Path, wanted: PrivateCa) -> Pending | None:
    """What an earlier run ordered, if it is still what is wanted."""
    try:
        found = Pending(**json.loads(path.read_bytes()))
        holds = found.wanted == repr(wanted) and 0 <= time.time() - found.begun < LONGEST_PENDING
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return found if holds else None


def order(wanted: PrivateCa, pending: Pending, aws: Aws) -> str:
    """Asks the authority for it: the ARN that it will be found by."""
    _, partition, _, region, *_ = wanted.authority.split(":")
    authority = {"CertificateAuthorityArn": wanted.authority}
    told = aws.json("acm-pca", "ACMPrivateCA.DescribeCertificateAuthority", authority, region)
    try:
        algorithm = told["CertificateAuthority"]["CertificateAuthorityConfiguration"]["SigningAlgorithm"]
    except (KeyError, TypeError):
        raise Failure("acm-pca:DescribeCertificateAuthority tells no signing algorithm") from None
    issued = aws.json("acm-pca", "ACMPrivateCA.IssueCertificate", {
        **authority,
        "Csr": base64.b64encode(pending.request.encode()).decode(),
        "SigningAlgorithm": algorithm,
        "TemplateArn": f"arn:{partition}:{TEMPLATE}",
        "Validity": {"Type": "DAYS", "Value": wanted.days},
        "IdempotencyToken": pending.token,
    }, region)
    if not issued.get("CertificateArn"):
        raise Failure("acm-pca:IssueCertificate answers without a certificate's ARN")
    return issued["CertificateArn"]


def forget_all_but(names: set[str]) -> None:
    """What was taken, and what nobody wants any more, leaves no key behind."""
    for path in place.PENDING.glob("*"):
        if path.name not in {f"{name}.json" for name in names}:
            path.unlink()
