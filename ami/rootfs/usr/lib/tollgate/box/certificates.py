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

from . import openssl, place, settings
from .aws import Aws
from .config import command
from .failure import Failure
from .generations import Generations
from .openssl import Pair
from .report import Report, run
from .settings import Certificate, PrivateCa

UNIT = "tollgate-certificates"
# ACM renews 45 days or more before the end, `of_private_ca` a third of the time before
# it; below this something does not work. The alarms' number, too.
SOON_DAYS = 14
RENEW_AT = 2 / 3
TEMPLATE = "acm-pca:::template/EndEntityServerAuthCertificate/V1"


def main() -> int:
    return run(UNIT, fetch_all)


def fetch_all(report: Report) -> None:
    wanted, aws = settings.read().certificates, Aws()
    generations = Generations(place.CERTIFICATES, place.TLS)
    before, files, failed = generations.contents(), {}, []
    for one in wanted:
        had = pair_of(before, one.name)
        try:
            pair = fetch(one, had, aws)
            openssl.accept(pair)
        except (Failure, OSError) as why:
            # At once: what comes after it may take until systemd ends the run.
            report.error(f"certificate {one.name}, {'what was good stays' if had else 'there is none'}: {why}")
            failed.append(one.name)
            pair = had
        if pair:
            files |= {f"{one.name}.pem": pair.chain, f"{one.name}.key": pair.key}
            warn_of_end(one, pair, report)
    if files != before:
        generations.point(generations.publish(files))
        report.info(f"certificates changed: {', '.join(changed(before, files))}")
        if not place.CURRENT.exists():
            # A configuration that names them could not be taken before.
            command("systemctl", "start", "--no-block", "tollgate-config.service")
    if failed:
        raise Failure(f"{len(failed)} of {len(wanted)} certificates are not up to date: {', '.join(failed)}")
    report.info(f"{len(wanted)} certificates are up to date")


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
        return of_private_ca(one.private_ca, had, aws)
    return of_file(one.file)


def of_acm(arn: str, had: Pair | None, aws: Aws) -> Pair:
    """Exports a certificate that may be exported. The key goes over the wire only when
    its certificate is another than before, under a passphrase that nobody else learns."""
    region = arn.split(":")[3]
    now = aws.json("acm", "CertificateManager.GetCertificate", {"CertificateArn": arn}, region)
    if had and joined(now) == had.chain:
        return had
    passphrase = secrets.token_urlsafe(48).encode()
    body = {"CertificateArn": arn, "Passphrase": base64.b64encode(passphrase).decode()}
    answer = aws.json("acm", "CertificateManager.ExportCertificate", body, region)
    sealed = answer.get("PrivateKey")
    if not sealed:
        raise Failure("acm:ExportCertificate answers without a key")
    return Pair(joined(answer), openssl.opened(sealed.encode(), passphrase))


def joined(answer: dict) -> bytes:
    """The chain of an answer, leaf first."""
    parts = [answer.get("Certificate") or "", answer.get("CertificateChain") or ""]
    if not parts[0].strip():
        raise Failure("the answer has no certificate")
    return "".join(part.strip() + "\n" for part in parts if part.strip()).encode()


def of_private_ca(wanted: PrivateCa, had: Pair | None, aws: Aws) -> Pair:
    """Issues for a key that is made here and never leaves, anew when two thirds of the
    time are over or the names are others."""
    if had and openssl.names(had.chain) == sorted(wanted.names):
        begin, end = openssl.not_before(had.chain), openssl.not_after(had.chain)
        if time.time() < begin + (end - begin) * RENEW_AT:
            return had
    region, partition = wanted.authority.split(":")[3], wanted.authority.split(":")[1]
    authority = {"CertificateAuthorityArn": wanted.authority}
    told = aws.json("acm-pca", "ACMPrivateCA.DescribeCertificateAuthority", authority, region)
    try:
        algorithm = told["CertificateAuthority"]["CertificateAuthorityConfiguration"]["SigningAlgorithm"]
    except (KeyError, TypeError):
        raise Failure("acm-pca:DescribeCertificateAuthority tells no signing algorithm") from None
    key = openssl.new_key()
    request = openssl.request(key, wanted.names)
    issued = aws.json("acm-pca", "ACMPrivateCA.IssueCertificate", {
        **authority,
        "Csr": base64.b64encode(request).decode(),
        "SigningAlgorithm": algorithm,
        "TemplateArn": f"arn:{partition}:{TEMPLATE}",
        "Validity": {"Type": "DAYS", "Value": wanted.days},
        # Asked again after a lost answer, it is the same certificate.
        "IdempotencyToken": secrets.token_hex(16),
    }, region)
    if not issued.get("CertificateArn"):
        raise Failure("acm-pca:IssueCertificate answers without a certificate's ARN")
    # "In progress" is a refusal that `aws` tries again.
    body = {**authority, "CertificateArn": issued["CertificateArn"]}
    return Pair(joined(aws.json("acm-pca", "ACMPrivateCA.GetCertificate", body, region)), key)


def of_file(path: str) -> Pair:
    """One PEM file with a key and its chain, as Vault's agent writes it with `pkiCert`."""
    try:
        with open(path, "rb") as file:
            return openssl.split(file.read())
    except OSError as why:
        raise Failure(f"{path} cannot be read: {why.strerror}") from None
