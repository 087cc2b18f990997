"""Certificates and their keys, from ACM, ACM Private CA or a file, for the gateway's
`certificate_directory`: NAME.pem and NAME.key.

Owns when one is fetched and what is accepted: a key that fits its chain, and dates that
hold. All of them are exchanged together; one that cannot be had leaves what there was
of it and does not hold up the others. The gateway watches the folder: nothing has to be
reloaded. Its metric `tollgate_certificate_expiry_timestamp_seconds` tells how long
each is good.
"""

import base64
import secrets
import time

from . import openssl, place, private_ca, settings
from .aws import Aws
from .config import SERVES_ON
from .failure import Failure
from .gateway import command
from .generations import Generations
from .openssl import Pair
from .report import FAILED, Report, run
from .settings import Certificate
from .whence import Whence

UNIT = "tollgate-certificates"
# ACM renews 45 days or more before the end, `private_ca` a third of the time before it;
# below this something does not work. The alarms' number, too.
SOON_DAYS = 14


def main() -> int:
    code = run(UNIT, fetch_all)
    return SERVES_ON if code == FAILED and each_is_there() else code


def each_is_there() -> bool:
    """Whether the gateway has a good pair of each, from where it is wanted: then the next
    try is the timer's."""
    try:
        files, whence = store().contents(), Whence.read()
        for one in settings.read().certificates:
            pair = pair_of(files, one.name)
            if not pair or not whence.holds(one, pair):
                return False
            openssl.accept(pair)
    except (Failure, OSError):
        return False
    return True


def store() -> Generations:
    return Generations(place.CERTIFICATES, place.TLS)


def fetch_all(report: Report) -> None:
    wanted, aws = settings.read().certificates, Aws()
    generations, whence = store(), Whence.read()
    before, files, failed = generations.contents(), {}, []
    for one in wanted:
        had = pair_of(before, one.name)
        had_of_it = had if had and whence.holds(one, had) else None
        try:
            pair = fetch(one, had_of_it, aws)
            openssl.accept(pair)
            whence.note(one, pair)
        except (Failure, OSError) as why:
            # At once: what comes after it may take until systemd ends the run.
            report.error(f"certificate {one.name}, {what_stays(had, had_of_it)}: {why}")
            failed.append(one.name)
            pair = had
        if pair:
            files |= {f"{one.name}.pem": pair.chain, f"{one.name}.key": pair.key}
            warn_of_end(one, pair, report)
    # First: a pair whose origin is not known would be paid for again.
    whence.write(before, files)
    if files != before:
        generations.point(generations.publish(files))
        report.info(f"certificates changed: {', '.join(changed(before, files))}")
        if not place.CURRENT.exists():
            # A configuration that names them could not be taken before.
            command("systemctl", "start", "--no-block", "tollgate-config.service")
    private_ca.forget_all_but({one.name for one in wanted if one.private_ca and one.name in failed})
    if failed:
        raise Failure(f"{len(failed)} of {len(wanted)} certificates are not up to date: {', '.join(failed)}")
    report.info(f"{len(wanted)} certificates are up to date")


def what_stays(had: Pair | None, had_of_it: Pair | None) -> str:
    if had_of_it:
        return "what was good stays"
    return "the one from where it was wanted before stays" if had else "there is none"


def pair_of(files: dict[str, bytes], name: str) -> Pair | None:
    chain, key = files.get(f"{name}.pem"), files.get(f"{name}.key")
    return Pair(chain, key) if chain and key else None


def changed(before: dict[str, bytes], now: dict[str, bytes]) -> list[str]:
    names = {name.rpartition(".")[0] for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
    return sorted(names)


def warn_of_end(one: Certificate, pair: Pair, report: Report) -> None:
    days = (openssl.not_after(pair.chain) - time.time()) / 86400
    if days < SOON_DAYS:
        report.error(f"certificate {one.name} ends in {days:.1f} days and was not renewed")


def fetch(one: Certificate, had: Pair | None, aws: Aws) -> Pair:
    """The pair as it is to be now; `had` itself where that is still it."""
    if one.acm:
        return of_acm(one.acm, had, aws)
    if one.private_ca:
        return private_ca.fetch(one.name, one.private_ca, had, aws)
    return of_file(one.file)


def of_acm(arn: str, had: Pair | None, aws: Aws) -> Pair:
    """Exports a certificate that may be exported. The key goes over the wire only when
    its certificate is another than before, under a passphrase that nobody else learns."""
    region = arn.split(":")[3]
    now = aws.json("acm", "CertificateManager.GetCertificate", {"CertificateArn": arn}, region)
    # The leaf alone: two calls need not write the rest alike.
    if had and openssl.leaf(openssl.joined(now)) == openssl.leaf(had.chain):
        return had
    passphrase = secrets.token_urlsafe(48).encode()
    body = {"CertificateArn": arn, "Passphrase": base64.b64encode(passphrase).decode()}
    answer = aws.json("acm", "CertificateManager.ExportCertificate", body, region)
    sealed = answer.get("PrivateKey")
    if not sealed:
        raise Failure("acm:ExportCertificate answers without a key")
    return Pair(openssl.joined(answer), openssl.opened(sealed.encode(), passphrase))


def of_file(path: str) -> Pair:
    """One PEM file with a key and its chain, as Vault's agent writes it with `pkiCert`."""
    try:
        with open(path, "rb") as file:
            return openssl.split(file.read())
    except OSError as why:
        raise Failure(f"{path} cannot be read: {why.strerror}") from None
