"""Tests of `tollgate-certificates`; run by `box.py`."""

import base64
import json
import shutil
import subprocess
from datetime import datetime, timedelta, timezone

import moto.acm.models
from boxed import GATEWAY, GOOD, SERVES_ON, BoxTest
from cloud import REGION
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from moto.core import DEFAULT_ACCOUNT_ID


class CertificatesTest(BoxTest):
    """What tests of `tollgate-certificates` ask and look at."""

    def request(self, name: str = "api.example.com", region: str = REGION) -> str:
        acm = self.cloud.client("acm", region)
        return acm.request_certificate(DomainName=name, Options={"Export": "ENABLED"})["CertificateArn"]

    def renew(self, arn: str) -> None:
        """Another key and certificate under the same ARN, as ACM renews."""
        held = moto.acm.models.acm_backends[DEFAULT_ACCOUNT_ID][REGION]._certificates
        held[arn] = held[self.request()]

    def file(self, name: str) -> str | None:
        path = self.box.run_folder / "tls" / name
        return path.read_text() if path.exists() else None

    def heard(self) -> list[str]:
        return [action for service, action, *_ in self.cloud.heard if service.startswith("acm")]


class Certificates(CertificatesTest):
    """`tollgate-certificates`."""

    def test_a_public_certificate_is_exported_whole_and_the_gateway_takes_it(self) -> None:
        self.box.write(f'certificates: [{{ name: api, acm: "{self.request()}" }}]')

        self.holds(self.box.run("certificates"))

        self.assertEqual(self.file("api.pem").count("BEGIN CERTIFICATE"), 2)
        self.assertTrue(self.file("api.key").startswith("-----BEGIN PRIVATE KEY-----"))
        self.assertEqual((self.box.run_folder / "tls/api.key").stat().st_mode & 0o777, 0o640)
        config = self.folder / "tls.yaml"
        config.write_text(GOOD.replace('address: "127.0.0.1:8080" }', 'address: "127.0.0.1:8443", tls: { certificate_directory: '
                                       f'"{self.box.run_folder}/tls" }} }}').replace("%s", "x"))
        checked = subprocess.run([GATEWAY, "check", config], capture_output=True, text=True, check=False)
        self.assertIn("1 certificate)", checked.stdout, checked.stderr)

    def test_the_key_goes_over_the_wire_only_when_the_certificate_is_another(self) -> None:
        arn = self.request()
        self.box.write(f'certificates: [{{ name: api, acm: "{arn}" }}]')
        self.holds(self.box.run("certificates"))
        first = self.file("api.pem"), self.file("api.key")
        self.cloud.heard.clear()

        self.holds(self.box.run("certificates"))
        self.assertEqual(self.heard(), ["GetCertificate"])

        self.renew(arn)
        self.holds(self.box.run("certificates"))
        self.assertEqual(self.heard()[-3:], ["RequestCertificate", "GetCertificate", "ExportCertificate"])
        self.assertNotEqual(self.file("api.pem"), first[0])
        self.assertNotEqual(self.file("api.key"), first[1])

    def test_each_export_has_a_passphrase_of_its_own_that_is_no_argument(self) -> None:
        arns = [self.request("a.example.com"), self.request("b.example.com")]
        self.box.write("certificates:\n" + "".join(f'  - {{ name: c{nth}, acm: "{arn}" }}\n' for nth, arn in enumerate(arns)))

        self.holds(self.box.run("certificates"))

        sealed = [json.loads(body)["Passphrase"] for _, action, _, body in self.cloud.heard if action == "ExportCertificate"]
        self.assertEqual(len(set(sealed)), 2)
        arguments = (self.box.bin / "arguments").read_text()
        self.assertIn("-passin fd:", arguments)
        for one in sealed:
            for form in (one, base64.b64decode(one).decode()):
                self.assertNotIn(form, arguments)
        left = b"".join(path.read_bytes() for path in self.folder.rglob("*") if path.is_file() and "bin" not in path.parts)
        self.assertNotIn(base64.b64decode(sealed[0]), left)

    def test_a_fault_leaves_the_last_good_and_is_told(self) -> None:
        arn = self.request()
        self.box.write(f'certificates: [{{ name: api, acm: "{arn}" }}]')
        self.holds(self.box.run("certificates"))
        first = self.file("api.pem")
        self.renew(arn)
        for fault, word in (("acm:GetCertificate denied", "acm:GetCertificate"), ("acm:ExportCertificate denied", "acm:ExportCertificate"),
                            ("acm:ExportCertificate half", "transfer closed"), ("acm:ExportCertificate down", "Empty reply"),
                            ("acm throttled", "Rate exceeded")):
            with self.subTest(fault):
                self.cloud.heals()
                self.cloud.breaks(*fault.split())
                self.refused(self.box.run("certificates"), "certificate api, what was good stays", word, code=SERVES_ON)
                self.assertEqual(self.file("api.pem"), first)

    def test_with_a_silent_service_each_is_tried_and_told_at_once(self) -> None:
        arns = [f"arn:aws:acm:{REGION}:{DEFAULT_ACCOUNT_ID}:certificate/{name}" for name in "abc"]
        self.box.write("certificates: [%s]" % ", ".join(f'{{ name: {arn[-1]}, acm: "{arn}" }}' for arn in arns))
        self.cloud.breaks("acm", "down")
        self.cloud.heard.clear()

        self.refused(self.box.run("certificates"), "certificate a, there is none: acm:GetCertificate", "certificate c, there is none: acm:GetCertificate",
                     "3 of 3 certificates are not up to date: a, b, c")

        asked = [json.loads(body)["CertificateArn"] for service, _, _, body in self.cloud.heard if service == "acm"]
        self.assertGreater(asked.count(arns[0]), 1)
        self.assertEqual((asked.count(arns[1]), asked.count(arns[2])), (1, 1))

    def test_one_that_fails_does_not_hold_up_the_others(self) -> None:
        nobody = f"arn:aws:acm:{REGION}:{DEFAULT_ACCOUNT_ID}:certificate/nobody"
        self.box.write(f'certificates: [{{ name: lost, acm: "{nobody}" }}, {{ name: api, acm: "{self.request()}" }}]')

        self.refused(self.box.run("certificates"), "certificate lost, there is none", "ResourceNotFoundException")

        self.assertIsNotNone(self.file("api.pem"))

    def test_one_of_another_region_is_asked_for_there(self) -> None:
        self.box.write(f'certificates: [{{ name: api, acm: "{self.request(region="eu-west-1")}" }}]')
        self.holds(self.box.run("certificates"))
        self.assertEqual({region for service, _, region, _ in self.cloud.heard if service == "acm"}, {"eu-west-1"})

    def test_the_first_certificate_lets_a_configuration_be_fetched_that_waits_for_it(self) -> None:
        self.box.write(f'certificates: [{{ name: api, acm: "{self.request()}" }}]')
        self.holds(self.box.run("certificates"))
        self.assertEqual(self.box.calls(), ["systemctl start --no-block tollgate-config.service"])

    def test_what_vaults_agent_wrote_is_taken_when_it_is_whole(self) -> None:
        chain, key = certificate()
        other = certificate()
        cases = {"": "it holds 0 certificates and 0 private keys", chain: "it holds 1 certificates and 0 private keys",
                 key + key + chain: "it holds 1 certificates and 2 private keys",
                 chain + other[1]: "the key does not belong to the certificate",
                 chain + key.replace("MIGH", "AAAA"): "openssl pkey", "".join(certificate(-9, -1)): "it ended 1.0 days ago",
                 "".join(certificate(1)): "it begins in 1440 minutes: look at `chronyc tracking`"}
        bundle = self.folder / "agent.pem"
        self.box.write(f"certificates: [{{ name: vault, file: {bundle} }}]")
        self.refused(self.box.run("certificates"), "there is none", "cannot be read: No such file")
        bundle.write_text(key + chain)
        self.holds(self.box.run("certificates"))
        self.assertEqual((self.file("vault.pem"), self.file("vault.key")), (chain, key))
        for text, word in cases.items():
            with self.subTest(word):
                bundle.write_text(text)
                self.refused(self.box.run("certificates"), "certificate vault, what was good stays", word, code=SERVES_ON)
                self.assertEqual((self.file("vault.pem"), self.file("vault.key")), (chain, key))

    def test_a_failure_is_tried_again_at_once_only_where_one_is_lacking(self) -> None:
        files = {name: self.folder / f"{name}.pem" for name in "ab"}
        write = lambda *names: self.box.write("certificates: [%s]" % ", ".join(f"{{ name: {name}, file: {files[name]} }}" for name in names))
        for name, path in files.items():
            path.write_text("".join(certificate()))
        write("a")
        self.holds(self.box.run("certificates"))

        files["a"].unlink()
        self.refused(self.box.run("certificates"), "certificate a, what was good stays", code=SERVES_ON)
        files["b"].unlink()
        write("a", "b")
        self.refused(self.box.run("certificates"), "certificate b, there is none", code=1)

        # It is there, and has ended.
        write("a")
        self.box.program("openssl", f'#!/bin/sh\ncase "$*" in *-enddate*) echo "notAfter=Jan  1 00:00:00 2020 GMT"; exit;; esac\nexec {shutil.which("openssl")} "$@"\n')
        self.refused(self.box.run("certificates"), "certificate a, what was good stays", code=1)

    def test_one_that_is_wanted_from_elsewhere_is_fetched_and_tried_at_once_until_then(self) -> None:
        (self.folder / "agent.pem").write_text("".join(certificate()))
        self.box.write(f"certificates: [{{ name: api, file: {self.folder}/agent.pem }}]")
        self.holds(self.box.run("certificates"))
        first = self.file("api.pem")
        self.box.write(f'certificates: [{{ name: api, acm: "{self.request()}" }}]')
        self.cloud.breaks("acm", "denied")

        self.refused(self.box.run("certificates"), "certificate api, the one from where it was wanted before stays", code=1)
        self.assertEqual(self.file("api.pem"), first)

        self.cloud.heals()
        self.holds(self.box.run("certificates"))
        self.assertNotEqual(self.file("api.pem"), first)

    def test_the_rest_of_the_chain_is_no_other_certificate(self) -> None:
        arn = self.request()
        self.box.write(f'certificates: [{{ name: api, acm: "{arn}" }}]')
        self.holds(self.box.run("certificates"))
        first = self.file("api.key")
        held = moto.acm.models.acm_backends[DEFAULT_ACCOUNT_ID][REGION]._certificates[arn]
        held.chain = b"# Of one call alone.\n" + held.chain
        held.cert = held.cert.replace(b"\n", b"\r\n")
        self.cloud.heard.clear()

        self.holds(self.box.run("certificates"))

        self.assertEqual((self.heard(), self.file("api.key")), (["GetCertificate"], first))

    def test_one_that_ends_soon_is_told(self) -> None:
        (self.folder / "agent.pem").write_text("".join(certificate(ends=5)))
        self.box.write(f"certificates: [{{ name: vault, file: {self.folder}/agent.pem }}]")

        done = self.box.run("certificates")

        self.holds(done)
        self.assertIn("certificate vault ends in 5.0 days and was not renewed", done.stderr)

    def test_one_that_is_no_longer_wanted_goes(self) -> None:
        (self.folder / "agent.pem").write_text("".join(certificate()))
        entry = "{ name: %s, file: " + f"{self.folder}/agent.pem }}"
        self.box.write(f"certificates: [{entry % 'a'}, {entry % 'b'}]")
        self.holds(self.box.run("certificates"))
        self.box.write(f"certificates: [{entry % 'b'}]")

        self.holds(self.box.run("certificates"))

        self.assertEqual(sorted(path.name for path in (self.box.run_folder / "tls").iterdir()), ["b.key", "b.pem"])


def certificate(begins: int = -1, ends: int = 90) -> tuple[str, str]:
    """A certificate of its own and its key; days from now."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vault.internal")])
    now = datetime.now(timezone.utc)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now + timedelta(days=begins))
            .not_valid_after(now + timedelta(days=ends)).sign(key, hashes.SHA256()))
    pem = serialization.Encoding.PEM
    sealed = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(pem).decode(), sealed.decode()
