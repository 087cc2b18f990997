"""Tests of `tollgate-certificates` with ACM Private CA, which is paid for each; run by `box.py`."""

import json
import resource
import shutil
import subprocess
import time

from box_certificates import CertificatesTest
from boxed import SERVES_ON
from cloud import REGION
from moto.core import DEFAULT_ACCOUNT_ID


class PrivateCa(CertificatesTest):
    """What is ordered once comes once."""

    def authority(self) -> str:
        subject = {"CommonName": "Acme"}
        pca = self.cloud.client("acm-pca")
        arn = pca.create_certificate_authority(CertificateAuthorityType="ROOT", CertificateAuthorityConfiguration={
            "KeyAlgorithm": "RSA_2048", "SigningAlgorithm": "SHA256WITHRSA", "Subject": subject})["CertificateAuthorityArn"]
        request = pca.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"].encode()
        own = pca.issue_certificate(CertificateAuthorityArn=arn, Csr=request, SigningAlgorithm="SHA256WITHRSA",
                                    TemplateArn="arn:aws:acm-pca:::template/RootCACertificate/V1",
                                    Validity={"Type": "YEARS", "Value": 10})["CertificateArn"]
        certificate = pca.get_certificate(CertificateAuthorityArn=arn, CertificateArn=own)["Certificate"].encode()
        pca.import_certificate_authority_certificate(CertificateAuthorityArn=arn, Certificate=certificate)
        self.cloud.heard.clear()
        return arn

    def want(self, authority: str, names: str = "gw.internal", days: int = 60) -> None:
        self.box.write(f'certificates: [{{ name: gw, private_ca: {{ authority: "{authority}", names: [{names}], days: {days} }} }}]')

    def orders(self) -> list[dict]:
        return [json.loads(body) for _, action, _, body in self.cloud.heard if action == "IssueCertificate"]

    def pending(self) -> list[str]:
        return sorted(path.name for path in (self.box.run_folder / "pending").glob("*"))

    def test_a_private_authority_issues_for_a_key_that_never_leaves(self) -> None:
        authority = self.authority()
        self.want(authority, "gw.internal, '*.gw.internal'")

        self.holds(self.box.run("certificates"))

        told = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=self.file("gw.pem"), capture_output=True, text=True, check=True)
        self.assertIn("DNS:gw.internal, DNS:*.gw.internal", told.stdout)
        self.assertEqual(self.file("gw.pem").count("BEGIN CERTIFICATE"), 2)
        issue, = self.orders()
        self.assertEqual((issue["SigningAlgorithm"], issue["Validity"]), ("SHA256WITHRSA", {"Type": "DAYS", "Value": 60}))
        key = self.file("gw.key").splitlines()[1]
        self.assertNotIn(key, (self.box.bin / "arguments").read_text())
        self.assertFalse(any(key.encode() in body for *_, body in self.cloud.heard))

        first, count = self.file("gw.pem"), len(self.heard())
        self.holds(self.box.run("certificates"))
        self.assertEqual(len(self.heard()), count, "it has two thirds of its time")

        self.want(authority, "other.internal")
        self.holds(self.box.run("certificates"))
        self.assertNotEqual(self.file("gw.pem"), first)

    def test_a_private_authority_is_still_asked_patiently_after_another_was_silent(self) -> None:
        lost = f"arn:aws:acm:{REGION}:{DEFAULT_ACCOUNT_ID}:certificate/lost"
        self.box.write(f'certificates: [{{ name: lost, acm: "{lost}" }}, '
                       f'{{ name: gw, private_ca: {{ authority: "{self.authority()}", names: [gw.internal] }} }}]')
        self.cloud.breaks("acm", "down")
        self.cloud.breaks("acm-pca:GetCertificate", "in_progress", 2)

        self.refused(self.box.run("certificates"), "certificate lost, there is none", "1 of 2 certificates are not up to date: lost")

        self.assertIsNotNone(self.file("gw.pem"))

    def test_one_that_is_ordered_and_cannot_be_had_is_not_ordered_again(self) -> None:
        self.want(self.authority())
        self.cloud.breaks("acm-pca:GetCertificate", "denied")
        for _ in range(3):
            self.refused(self.box.run("certificates"), "certificate gw, there is none: acm-pca:GetCertificate", code=1)
        path = self.box.run_folder / "pending/gw.json"
        self.assertEqual((path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777), (0o600, 0o700))
        key = json.loads(path.read_text())["key"]

        self.cloud.heals()
        self.holds(self.box.run("certificates"))

        self.assertEqual(len(self.orders()), 1)
        self.assertEqual(self.file("gw.key"), key)
        self.assertEqual(self.pending(), [])
        left = [path for path in self.box.run_folder.rglob("*") if path.is_file() and key in path.read_text()]
        self.assertEqual({path.name for path in left}, {"gw.key"})

    def test_one_that_cannot_be_put_in_place_is_not_ordered_again(self) -> None:
        self.want(self.authority())
        (self.box.run_folder / "certificates").touch()

        for _ in range(2):
            self.refused(self.box.run("certificates"), "certificates: File exists; what there was stays")
        self.assertEqual((len(self.orders()), self.pending()), (1, ["gw.json"]))
        (self.box.run_folder / "certificates").unlink()

        self.holds(self.box.run("certificates"))
        self.assertEqual((len(self.orders()), self.pending()), (1, []))

    def test_what_cannot_be_noted_is_not_ordered(self) -> None:
        self.want(self.authority())

        self.refused(self.box.run("certificates", preexec_fn=lambda: room(1000)), "File too large")

        self.assertEqual((self.orders(), self.pending()), ([], []))

    def test_an_order_whose_answer_was_lost_is_the_same_order(self) -> None:
        self.want(self.authority())
        self.cloud.breaks("acm-pca:IssueCertificate", "down")
        self.refused(self.box.run("certificates"), "acm-pca:IssueCertificate", "Empty reply")
        self.cloud.heals()

        self.holds(self.box.run("certificates"))

        self.assertGreater(len(self.orders()), 2)
        self.assertEqual(len({(order["IdempotencyToken"], order["Csr"]) for order in self.orders()}), 1)

    def test_one_that_will_never_come_is_ordered_anew(self) -> None:
        self.want(self.authority())
        self.cloud.breaks("acm-pca:GetCertificate", "failed", 1)
        self.refused(self.box.run("certificates"), "RequestFailedException")
        self.assertEqual(self.pending(), [])

        self.holds(self.box.run("certificates"))

        self.assertEqual(len({order["IdempotencyToken"] for order in self.orders()}), 2)

    def test_an_order_that_is_old_or_of_something_else_or_broken_counts_for_nothing(self) -> None:
        authority = self.authority()
        self.cloud.breaks("acm-pca:GetCertificate", "denied")
        path = self.box.run_folder / "pending/gw.json"

        def old() -> None:
            path.write_text(json.dumps({**json.loads(path.read_text()), "begun": time.time() - 3601}))

        for spoil in (old, lambda: self.want(authority, "other.internal"), lambda: path.write_text('{"wanted": ')):
            self.want(authority)
            self.refused(self.box.run("certificates"), "certificate gw")
            before = len(self.orders())
            self.refused(self.box.run("certificates"), "certificate gw")
            self.assertEqual(len(self.orders()), before)
            spoil()
            self.refused(self.box.run("certificates"), "certificate gw")
            self.assertEqual(len(self.orders()), before + 1)

        self.box.write("certificates: []")
        self.holds(self.box.run("certificates"))
        self.assertEqual(self.pending(), [])

    def test_other_days_and_another_authority_make_another_certificate(self) -> None:
        first, second = self.authority(), self.authority()
        self.want(first)
        self.holds(self.box.run("certificates"))
        seen = {self.file("gw.pem")}
        for authority, days in ((first, 90), (second, 90)):
            self.want(authority, days=days)
            self.holds(self.box.run("certificates"))
            self.assertNotIn(self.file("gw.pem"), seen)
            seen.add(self.file("gw.pem"))
        self.holds(self.box.run("certificates"))
        self.assertEqual([(order["CertificateAuthorityArn"], order["Validity"]["Value"]) for order in self.orders()],
                         [(first, 60), (first, 90), (second, 90)])

    def test_one_of_an_authority_that_is_no_longer_wanted_serves_on_until_there_is_another(self) -> None:
        first, second = self.authority(), self.authority()
        self.want(first)
        self.holds(self.box.run("certificates"))
        had = self.file("gw.pem")
        self.want(second)
        self.cloud.breaks("acm-pca:IssueCertificate", "denied")

        self.refused(self.box.run("certificates"), "certificate gw, the one from where it was wanted before stays", code=1)

        self.assertEqual(self.file("gw.pem"), had)

    def test_one_whose_renewal_fails_is_tried_again_by_the_timer(self) -> None:
        self.want(self.authority())
        self.holds(self.box.run("certificates"))
        lost = f"arn:aws:acm:{REGION}:{DEFAULT_ACCOUNT_ID}:certificate/lost"
        settings = self.box.settings.read_text()
        self.box.write(settings.replace("certificates: [", f'certificates: [{{ name: lost, acm: "{lost}" }}, '))
        self.refused(self.box.run("certificates"), "certificate lost, there is none", code=1)
        self.box.write(settings)
        # A clock that is two months ahead makes it one that is to be renewed.
        self.box.program("openssl", f'#!/bin/sh\ncase "$*" in *-startdate*) echo "notBefore=Jan  1 00:00:00 2020 GMT"; exit;; esac\nexec {shutil.which("openssl")} "$@"\n')
        self.cloud.breaks("acm-pca", "denied")
        self.refused(self.box.run("certificates"), "certificate gw, what was good stays", code=SERVES_ON)


def room(most: int) -> None:
    """No file may be longer than this: the next write fails, as without room."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
