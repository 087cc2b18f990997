#!/usr/bin/env python3
"""The programs of a machine of the fleet, against AWS on this machine and its faults.

Each test runs a program as its unit does, with the real `tollgate check`; `systemctl`
and `tollgate reload` are stand-ins that write down what they were told, for here is no
systemd (`image.py` has one). No root is needed, nor more than two minutes.
"""

import base64
import json
import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from datetime import datetime, timedelta, timezone
from pathlib import Path

import moto.acm.models
import moto.ec2.models
import yaml
from cloud import KEY, REGION, SECRET, TOKEN, Cloud
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from moto.core import DEFAULT_ACCOUNT_ID

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ROOT / "ami/rootfs/usr/lib/tollgate"
GATEWAY = Path(os.environ.get("TOLLGATE", ROOT / "target/debug/tollgate"))
# Seconds of one call with all its tries: a fault that stays is not waited for.
PATIENCE = "1"
# How `tollgate-config` ends when it failed on a machine that serves.
SERVES_ON = 10

GOOD = """
listeners: [{ name: internal, address: "127.0.0.1:8080" }]
readiness: { address: "127.0.0.1:8081" }
admin: { socket: /run/tollgate/admin.sock }
routes: [{ name: hello, match: { path: / }, respond: { status: 200, body: "%s" } }]
"""
BAD = GOOD.replace("routes:", "rotes:")

# Writes down what it was called with. Both answer as the files beside them say.
SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >>"$0.calls"
case $1 in
    show) cat "$0.state" ;;
    start) [ ! -e "$0.fails" ] || { echo 'Job for it failed.' >&2; exit 1; } ;;
esac
"""
TOLLGATE = """#!/bin/sh
[ "$1" = check ] && exec "$0.real" "$@"
echo "tollgate $*" >>"${0%/*}/systemctl.calls"
cat "$0.says" 2>/dev/null
exit "$(cat "$0.code" 2>/dev/null || echo 0)"
"""
# Writes down its arguments, for secrets must not be among them, and is the real one.
RECORDER = """#!/bin/sh
echo "$0 $*" >>"${0%%/*}/arguments"
exec %s "$@"
"""


class Box:
    """A machine's folders and stand-ins, and its programs."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cloud, self.folder, self.bin = cloud, folder, folder / "bin"
        self.run_folder, self.settings, self.logs = folder / "run", folder / "box.yaml", folder / "logs"
        for one in (self.bin, self.run_folder, self.logs):
            one.mkdir()
        self.program("systemctl", SYSTEMCTL)
        self.program("tollgate", TOLLGATE)
        for name in ("curl", "openssl"):
            self.program(name, RECORDER % shutil.which(name))
        (self.bin / "tollgate.real").symlink_to(GATEWAY)
        self.more: dict[str, str] = {}
        self.gateway("inactive")

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def gateway(self, state: str, code: int = 0, says: str = "") -> None:
        """What systemd says of the gateway, and how it takes a reload."""
        (self.bin / "systemctl.state").write_text(state + "\n")
        (self.bin / "tollgate.code").write_text(str(code))
        (self.bin / "tollgate.says").write_text(says)

    def write(self, settings: str) -> None:
        self.settings.write_text(settings)

    def run(self, name: str, **more) -> subprocess.CompletedProcess[str]:
        (self.bin / "systemctl.calls").unlink(missing_ok=True)
        environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL": self.cloud.endpoint,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.cloud.imds,
            "TOLLGATE_BOX_SETTINGS": str(self.settings),
            "TOLLGATE_BOX_RUN": str(self.run_folder),
            "TOLLGATE_BOX_USER": pwd.getpwuid(os.geteuid()).pw_name,
            "TOLLGATE_BOX_PATIENCE": PATIENCE,
            "LOGS_DIRECTORY": str(self.logs),
            **self.more,
        }
        # Its unit's umask.
        return subprocess.run(["sh", "-c", 'umask 077; exec "$@"', "sh", sys.executable, "-B", str(PROGRAMS / f"tollgate-{name}")], env=environment,
                              capture_output=True, text=True, check=False, timeout=60, **more)

    def calls(self) -> list[str]:
        """What systemd and the gateway were told in the last run, but for questions."""
        path = self.bin / "systemctl.calls"
        told = path.read_text().splitlines() if path.exists() else []
        return [line for line in told if not line.startswith("systemctl show")]

    def current(self, name: str = "tollgate.yaml") -> str | None:
        path = self.run_folder / "current" / name
        return path.read_text() if path.exists() else None

    def log(self) -> list[dict]:
        path = self.logs / "box.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class BoxTest(unittest.TestCase):
    """A cloud and a box for each test."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.cloud = self.enterContext(Cloud())
        self.cloud.forget()
        self.box = Box(self.cloud, self.folder)

    def holds(self, done: subprocess.CompletedProcess[str]) -> None:
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def refused(self, done: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
        """It failed, and said these words to the console and in the log."""
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
            self.assertTrue(any(word in line["message"] for line in self.box.log() if line["level"] == "error"), word)


class Config(BoxTest):
    """`tollgate-config`."""

    def setUp(self) -> None:
        super().setUp()
        self.put("first")
        self.box.write("config: ssm:/tollgate/prod/config\n")

    def put(self, body: str, text: str = GOOD) -> None:
        value = text % body if "%s" in text else text
        self.cloud.client("ssm").put_parameter(Name="/tollgate/prod/config", Value=value, Type="SecureString", Overwrite=True)

    def serve(self) -> None:
        """A box that serves `first`."""
        self.holds(self.box.run("config"))
        self.box.gateway("active")
        self.put("second")

    def test_the_first_configuration_is_checked_put_in_place_and_started(self) -> None:
        self.holds(self.box.run("config"))

        self.assertIn("first", self.box.current())
        self.assertEqual(self.box.calls(), ["systemctl start --no-block tollgate.service"])
        self.assertEqual(os.readlink(self.box.run_folder / "current"), "generations/1")
        for folder in ("generations", "current"):
            self.assertEqual((self.box.run_folder / folder).stat().st_mode & 0o777, 0o750, folder)
        self.assertEqual((self.box.run_folder / "current/tollgate.yaml").stat().st_mode & 0o777, 0o640)

    def test_it_comes_from_every_kind_of_place(self) -> None:
        secrets, s3 = self.cloud.client("secretsmanager"), self.cloud.client("s3")
        whole = secrets.create_secret(Name="tollgate/prod/redis", SecretString="hunter2")["ARN"]
        secrets.create_secret(Name="tollgate/prod/jwt", SecretString=json.dumps({"a": "KEY A", "b": "KEY B"}))
        secrets.create_secret(Name="tollgate/prod/raw", SecretBinary=b"\x00\xff\n")
        s3.create_bucket(Bucket="acme.config")
        s3.put_object(Bucket="acme.config", Key="prod/a team's+file é.yaml", Body=b"routes: []\n")
        (self.folder / "local.txt").write_text("here")
        self.box.write(f"""
config: ssm:/tollgate/prod/config
files:
  redis-password: "secretsmanager:{whole}"
  jwt/a.key: secretsmanager:tollgate/prod/jwt#a
  raw: secretsmanager:tollgate/prod/raw
  conf.d/team.yaml: "s3://acme.config/prod/a team's+file é.yaml"
  local: file:{self.folder}/local.txt
""")

        self.holds(self.box.run("config"))

        current = self.box.run_folder / "current"
        found = {str(path.relative_to(current)): path.read_bytes() for path in current.rglob("*") if path.is_file()}
        found.pop("tollgate.yaml")
        self.assertEqual(found, {"redis-password": b"hunter2", "jwt/a.key": b"KEY A", "raw": b"\x00\xff\n",
                                 "conf.d/team.yaml": b"routes: []\n", "local": b"here"})

    def test_nothing_new_does_nothing(self) -> None:
        self.holds(self.box.run("config"))
        self.box.gateway("active")

        self.holds(self.box.run("config"))

        self.assertEqual(self.box.calls(), [])
        self.assertEqual(os.readlink(self.box.run_folder / "current"), "generations/1")

    def test_a_change_is_reloaded_and_what_stays_keeps_its_age(self) -> None:
        self.cloud.client("secretsmanager").create_secret(Name="key", SecretString="KEY")
        self.box.write("config: ssm:/tollgate/prod/config\nfiles: { jwt/a.key: secretsmanager:key }\n")
        self.serve()
        key = self.box.run_folder / "current/jwt/a.key"
        os.utime(key, (1000, 1000))

        self.holds(self.box.run("config"))

        self.assertEqual(self.box.calls(), ["tollgate reload"])
        self.assertIn("second", self.box.current())
        self.assertEqual(key.stat().st_mtime, 1000)

    def test_a_secret_that_rotates_is_a_change(self) -> None:
        secrets = self.cloud.client("secretsmanager")
        secrets.create_secret(Name="key", SecretString="old")
        self.box.write("config: ssm:/tollgate/prod/config\nfiles: { key: secretsmanager:key }\n")
        self.holds(self.box.run("config"))
        self.box.gateway("active")
        secrets.put_secret_value(SecretId="key", SecretString="new")

        self.holds(self.box.run("config"))

        self.assertEqual(self.box.current("key"), "new")
        self.assertEqual(self.box.calls(), ["tollgate reload"])

    def test_a_bad_configuration_at_first_boot_starts_nothing_and_says_why(self) -> None:
        self.put("", BAD)

        done = self.box.run("config")

        self.refused(done, "ssm:/tollgate/prod/config and its files are refused", "tollgate.yaml:5", "rotes")
        self.assertIsNone(self.box.current())
        self.assertEqual(self.box.calls(), [])

    def test_a_bad_configuration_later_leaves_the_last_good(self) -> None:
        self.serve()
        self.put("", BAD)

        self.refused(self.box.run("config"), "what was good stays", "rotes", code=SERVES_ON)

        self.assertIn("first", self.box.current())
        self.assertEqual(self.box.calls(), [])

    def test_what_the_gateway_refuses_does_not_stay(self) -> None:
        self.serve()
        self.box.gateway("active", 78, "error: a limit of the process\n")

        self.refused(self.box.run("config"), "the gateway refuses it and goes on with what it had", "a limit of the process", code=SERVES_ON)

        self.assertIn("first", self.box.current())
        self.box.gateway("active")
        self.holds(self.box.run("config"))
        self.assertIn("second", self.box.current())

    def test_a_failure_is_tried_again_at_once_only_where_nothing_serves(self) -> None:
        self.serve()
        self.put("", BAD)
        for state, code in (("active", SERVES_ON), ("reloading", SERVES_ON), ("failed", 1), ("inactive", 1)):
            with self.subTest(state):
                self.box.gateway(state)
                self.refused(self.box.run("config"), "what was good stays", code=code)
        (self.box.run_folder / "current").unlink()
        self.box.gateway("active")
        self.refused(self.box.run("config"), "are refused", code=1)

    def test_not_now_is_tried_again(self) -> None:
        self.serve()
        self.box.gateway("active", 75, "another reload is under way\n")

        self.refused(self.box.run("config"), "cannot reload now", code=SERVES_ON)

        self.assertIn("first", self.box.current())

    def test_what_only_a_new_process_can_take_is_an_upgrade(self) -> None:
        self.serve()
        self.box.gateway("active", 78, "error: listeners: this changes by a restart or an upgrade alone; write it as it was\n")

        self.holds(self.box.run("config"))

        self.assertEqual(self.box.calls(), ["tollgate reload", "systemctl start tollgate-upgrade.service"])
        self.assertIn("second", self.box.current())

    def test_an_upgrade_that_fails_leaves_the_last_good(self) -> None:
        self.serve()
        self.box.gateway("active", 78, "error: this changes by a restart or an upgrade alone\n")
        (self.box.bin / "systemctl.fails").touch()

        self.refused(self.box.run("config"), "the upgrade that takes it fails", code=SERVES_ON)

        self.assertIn("first", self.box.current())

    def test_a_run_that_ended_before_the_reload_is_made_good(self) -> None:
        self.serve()
        self.holds(self.box.run("config"))
        (self.box.run_folder / "state/config.json").write_text('{"served": "1"}')

        self.holds(self.box.run("config"))

        self.assertEqual(self.box.calls(), ["tollgate reload"])

    def test_a_gateway_that_was_stopped_stays_stopped_and_one_that_failed_starts(self) -> None:
        for state, calls in (("inactive", []), ("failed", ["systemctl start --no-block tollgate.service"])):
            with self.subTest(state):
                self.serve()
                self.put(state)
                self.box.gateway(state)

                self.holds(self.box.run("config"))

                self.assertEqual(self.box.calls(), calls)

    def test_a_fault_that_passes_is_not_heard_of(self) -> None:
        for kind in ("down", "throttled", "half", "half_closed", "empty", "error", "expired"):
            with self.subTest(kind):
                self.cloud.breaks("ssm", kind, 1)
                self.holds(self.box.run("config"))
                self.assertEqual(self.cloud.faults["ssm"][1], 0, "the fault did not happen")

    def test_a_fault_that_stays_leaves_the_last_good_and_is_told(self) -> None:
        self.serve()
        told = {"down": "Empty reply", "throttled": "Rate exceeded", "half": "transfer closed", "half_closed": "half an answer",
                "empty": "half an answer", "error": "status 500", "slow": "timed out", "expired": "ExpiredToken",
                "denied": "is not authorized to perform: ssm:GetParameter"}
        for kind, word in told.items():
            with self.subTest(kind):
                self.cloud.breaks("ssm", kind)
                self.refused(self.box.run("config"), "ssm:GetParameter in us-east-1", word, code=SERVES_ON)
                self.assertIn("first", self.box.current())
                self.assertEqual(self.box.calls(), [])

    def test_one_secret_that_cannot_be_had_holds_up_all_of_it(self) -> None:
        self.box.write("config: ssm:/tollgate/prod/config\nfiles: { key: secretsmanager:nobody }\n")

        self.refused(self.box.run("config"), "secretsmanager:nobody", "ResourceNotFoundException")

        self.assertIsNone(self.box.current())

    def test_without_a_metadata_service_nothing_goes_and_that_is_said(self) -> None:
        for kind, word in (("down", "Empty reply"), ("slow", "timed out")):
            with self.subTest(kind):
                self.cloud.breaks("imds", kind)
                self.refused(self.box.run("config"), "the metadata service at http://", "does not answer", word)
        self.cloud.heals()
        self.cloud.metadata.pop("placement/region")
        self.refused(self.box.run("config"), "does not tell placement/region")

    def test_without_a_role_that_is_said(self) -> None:
        roles = {name: self.cloud.metadata.pop(name) for name in list(self.cloud.metadata) if name.startswith("iam/")}
        self.refused(self.box.run("config"), "the instance has no role")

        failing = {name: '{"Code": "AssumeRoleUnauthorizedAccess"}' if name != "iam/security-credentials/" else role
                   for name, role in roles.items()}
        self.cloud.metadata.update(failing)
        self.refused(self.box.run("config"), "AssumeRoleUnauthorizedAccess")

    def test_the_wrong_region_is_named(self) -> None:
        self.cloud.metadata["placement/region"] = "eu-west-1"
        self.refused(self.box.run("config"), "ssm:GetParameter in eu-west-1 is refused: ParameterNotFound")

    def test_an_arn_says_its_region_itself(self) -> None:
        arn = self.cloud.client("secretsmanager", "eu-west-1").create_secret(Name="away", SecretString="there")["ARN"]
        self.box.write(f'config: ssm:/tollgate/prod/config\nfiles: {{ away: "secretsmanager:{arn}" }}\n')

        self.holds(self.box.run("config"))

        self.assertEqual(self.box.current("away"), "there")

    def test_a_clock_an_hour_off_is_said_to_be_that(self) -> None:
        self.cloud.breaks("ssm", "clock")
        self.refused(self.box.run("config"), "this machine's clock is 60 minutes behind AWS's")

    def test_a_wrong_secret_key_is_refused_here_as_by_aws(self) -> None:
        name = f"iam/security-credentials/{self.cloud.metadata['iam/security-credentials/']}"
        self.cloud.metadata[name] = self.cloud.metadata[name].replace("with", "without")
        self.refused(self.box.run("config"), "SignatureDoesNotMatch")

    def test_a_full_disk_leaves_the_last_good(self) -> None:
        self.serve()
        self.put("long", GOOD + "#" * 3000)

        done = self.box.run("config", preexec_fn=small_files)

        self.assertEqual(done.returncode, SERVES_ON)
        self.assertIn("File too large", done.stderr)
        self.assertIn("first", self.box.current())
        self.assertEqual([path.name for path in (self.box.run_folder / "generations").iterdir()], ["1"])

    def test_no_secret_is_ever_an_argument(self) -> None:
        self.cloud.client("secretsmanager").create_secret(Name="key", SecretString="hunter2")
        self.box.write("config: ssm:/tollgate/prod/config\nfiles: { key: secretsmanager:key }\n")

        self.holds(self.box.run("config"))

        arguments = (self.box.bin / "arguments").read_text()
        self.assertIn("curl", arguments)
        for secret in (KEY, SECRET, TOKEN, "hunter2"):
            self.assertNotIn(secret, arguments)

    def test_what_was_left_half_done_goes(self) -> None:
        (self.box.run_folder / "generations/.new-7").mkdir(parents=True)
        for nth in range(5):
            self.put(str(nth))
            self.holds(self.box.run("config"))
            self.box.gateway("active")

        found = sorted(path.name for path in (self.box.run_folder / "generations").iterdir())

        self.assertEqual(found, ["3", "4", "5"])

    def test_wrong_settings_say_what_to_write(self) -> None:
        told = {
            "confg: ssm:/a": "there is no key `confg`; there are config, files, certificates, endpoints",
            "config: /etc/x": "`/etc/x` is no address; write ssm:NAME, secretsmanager:NAME, s3://BUCKET/KEY or file:/PATH",
            "config: s3://bucket": "`s3://bucket` is no address",
            "config: ssm:/a\nconfig: ssm:/b": "`config` is written twice",
            "config: [": "is no YAML",
            "- config": "is no mapping of keys",
            "config: 7": "`config` has to be a text",
            "files: { ../x: 'ssm:/a' }": "files: `../x` has to be a path beside tollgate.yaml",
            "files: { tollgate.yaml: 'ssm:/a' }": "files: `tollgate.yaml` has to be a path beside tollgate.yaml",
            "certificates: [{ name: a }]": "certificates[0]: write one of acm, private_ca, file",
            "certificates: [{ name: a, acm: x }]": "certificates[0]: `acm` has to be the ARN of something of acm",
            "certificates: [{ name: a, file: x }]": "certificates[0]: `file` has to be a path that begins with /",
            "certificates: [{ name: A/B, file: /x }]": "certificates[0]: `name` has to be small letters",
            "certificates: [{ name: a, file: /x }, { name: a, file: /y }]": "certificates: two have the name `a`",
            "endpoints: [{ name: a, port: 0, tags: { a: b } }]": "endpoints[0]: `port` has to be a number from 1 to 65535",
            "endpoints: [{ name: a, port: 80, tags: {} }]": "endpoints[0]: `tags` has to be a mapping with at least one tag",
            "endpoints: [{ port: 80, tags: { a: b } }]": "endpoints[0]: `name` is missing",
        }
        for text, word in told.items():
            with self.subTest(text):
                self.box.write(text)
                self.refused(self.box.run("config"), word, code=78)
        self.box.settings.unlink()
        self.refused(self.box.run("config"), "user data has to write it", code=78)

    def test_what_is_told_reaches_status(self) -> None:
        self.cloud.breaks("ssm", "denied")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(self.folder / "notify"))
            systemd.settimeout(5)
            self.box.more["NOTIFY_SOCKET"] = str(self.folder / "notify")

            self.box.run("config")

            self.assertIn("STATUS=ssm:/tollgate/prod/config: ssm:GetParameter in us-east-1 is refused", systemd.recv(4096).decode())


class Certificates(BoxTest):
    """`tollgate-certificates`."""

    def request(self, name: str = "api.example.com", region: str = REGION) -> str:
        acm = self.cloud.client("acm", region)
        return acm.request_certificate(DomainName=name, Options={"Export": "ENABLED"})["CertificateArn"]

    def renew(self, arn: str) -> None:
        """Another key and certificate under the same ARN, as ACM renews."""
        held = moto.acm.models.acm_backends[DEFAULT_ACCOUNT_ID][REGION]._certificates
        held[arn] = held[self.request()]

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
        return arn

    def file(self, name: str) -> str | None:
        path = self.box.run_folder / "tls" / name
        return path.read_text() if path.exists() else None

    def heard(self) -> list[str]:
        return [action for service, action, *_ in self.cloud.heard if service.startswith("acm")]

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
        self.assertIn("1 certificates", checked.stdout, checked.stderr)

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
                self.refused(self.box.run("certificates"), "certificate api, what was good stays", word)
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

    def test_a_private_authority_issues_for_a_key_that_never_leaves(self) -> None:
        settings = f'certificates: [{{ name: gw, private_ca: {{ authority: "{self.authority()}", names: [%s] }} }}]'
        self.box.write(settings % "gw.internal, '*.gw.internal'")
        self.cloud.heard.clear()

        self.holds(self.box.run("certificates"))

        told = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=self.file("gw.pem"), capture_output=True, text=True, check=True)
        self.assertIn("DNS:gw.internal, DNS:*.gw.internal", told.stdout)
        self.assertEqual(self.file("gw.pem").count("BEGIN CERTIFICATE"), 2)
        issue = next(json.loads(body) for _, action, _, body in self.cloud.heard if action == "IssueCertificate")
        self.assertEqual((issue["SigningAlgorithm"], issue["Validity"]), ("SHA256WITHRSA", {"Type": "DAYS", "Value": 60}))
        key = self.file("gw.key").splitlines()[1]
        self.assertNotIn(key, (self.box.bin / "arguments").read_text())
        self.assertFalse(any(key.encode() in body for *_, body in self.cloud.heard))

        first, count = self.file("gw.pem"), len(self.heard())
        self.holds(self.box.run("certificates"))
        self.assertEqual(len(self.heard()), count, "it has two thirds of its time")

        self.box.write(settings % "other.internal")
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
                self.refused(self.box.run("certificates"), "certificate vault, what was good stays", word)
                self.assertEqual((self.file("vault.pem"), self.file("vault.key")), (chain, key))

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


class Endpoints(BoxTest):
    """`tollgate-endpoints`."""

    def setUp(self) -> None:
        super().setUp()
        ec2 = self.cloud.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{nth}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"]["SubnetId"]
                        for nth, zone in enumerate("abc")]
        self.image = ec2.describe_images()["Images"][0]["ImageId"]

    def group(self, size: int = 3) -> None:
        scaling = self.cloud.client("autoscaling")
        scaling.create_launch_configuration(LaunchConfigurationName="orders", ImageId=self.image, InstanceType="t3.micro")
        scaling.create_auto_scaling_group(AutoScalingGroupName="orders-prod", LaunchConfigurationName="orders", MinSize=0, MaxSize=300,
                                          DesiredCapacity=size, VPCZoneIdentifier=",".join(self.subnets))
        self.box.write("endpoints: [{ name: orders, port: 8080, auto_scaling_group: orders-prod }]")

    def scale(self, size: int) -> None:
        self.cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName="orders-prod", DesiredCapacity=size)

    def found(self, name: str = "orders") -> list[dict]:
        path = self.box.run_folder / f"endpoints.d/{name}.yaml"
        return yaml.safe_load(path.read_text())["endpoints"] if path.exists() else []

    def instances(self) -> list[dict]:
        pages = self.cloud.client("ec2").describe_instances()["Reservations"]
        return [one for page in pages for one in page["Instances"] if one["State"]["Name"] == "running"]

    def test_a_groups_instances_are_written_with_their_zones_ids_and_the_gateway_reads_them(self) -> None:
        self.group()

        self.holds(self.box.run("endpoints"))

        zones = {"us-east-1a": "use1-az6", "us-east-1b": "use1-az1", "us-east-1c": "use1-az2"}
        wanted = {(f"{one['PrivateIpAddress']}:8080", zones[one["Placement"]["AvailabilityZone"]]) for one in self.instances()}
        self.assertEqual(len(wanted), 3)
        self.assertEqual({(one["address"], one["zone"]) for one in self.found()}, wanted)
        config = self.folder / "gateway.yaml"
        config.write_text(GOOD % "x" + f"\nupstreams: [{{ name: orders, endpoints_file: {self.box.run_folder}/endpoints.d/orders.yaml }}]\n"
                          .replace("\nupstreams", "upstreams"))
        checked = subprocess.run([GATEWAY, "check", config], capture_output=True, text=True, check=False)
        self.assertEqual(checked.returncode, 0, checked.stderr)

    def test_it_is_written_when_something_changed_and_only_then(self) -> None:
        self.group()
        self.holds(self.box.run("endpoints"))
        path = self.box.run_folder / "endpoints.d/orders.yaml"
        os.utime(path, (1000, 1000))

        self.holds(self.box.run("endpoints"))
        self.assertEqual(path.stat().st_mtime, 1000)

        self.scale(5)
        self.holds(self.box.run("endpoints"))
        self.assertEqual(len(self.found()), 5)

    def test_what_is_not_in_service_is_no_endpoint(self) -> None:
        self.group()
        gone = self.instances()[0]
        self.cloud.client("autoscaling").enter_standby(AutoScalingGroupName="orders-prod", InstanceIds=[gone["InstanceId"]],
                                                       ShouldDecrementDesiredCapacity=True)

        self.holds(self.box.run("endpoints"))

        self.assertEqual(len(self.found()), 2)
        self.assertNotIn(f"{gone['PrivateIpAddress']}:8080", [one["address"] for one in self.found()])

    def test_a_group_without_instances_takes_no_endpoint_away(self) -> None:
        self.group()
        self.holds(self.box.run("endpoints"))
        self.scale(0)

        self.refused(self.box.run("endpoints"), "endpoints of orders, what was good stays", "has no instance in service")

        self.assertEqual(len(self.found()), 3)

    def test_faults_take_no_endpoint_away_and_are_told(self) -> None:
        self.group()
        self.holds(self.box.run("endpoints"))
        self.scale(4)
        faults = ("autoscaling denied", "autoscaling half_closed", "ec2:DescribeInstances denied", "ec2:DescribeInstances throttled",
                  "ec2:DescribeInstances half_closed", "ec2:DescribeInstances down", "ec2:DescribeAvailabilityZones denied")
        for fault in faults:
            with self.subTest(fault):
                name, kind = fault.split()
                self.cloud.heals()
                self.cloud.breaks(name, kind)
                self.refused(self.box.run("endpoints"), "what was good stays", name.partition(":")[2] or "DescribeAutoScalingGroups")
                self.assertEqual(len(self.found()), 3)
        self.cloud.heals()
        self.holds(self.box.run("endpoints"))
        self.assertEqual(len(self.found()), 4)

    def test_half_of_a_group_missing_is_half_an_answer(self) -> None:
        self.group(4)
        self.holds(self.box.run("endpoints"))
        # Auto Scaling has not seen yet that they went.
        ids = [one["InstanceId"] for one in self.instances()]
        backend = moto.ec2.models.ec2_backends[DEFAULT_ACCOUNT_ID][REGION]
        for one in ids[:2]:
            backend.get_instance(one)._state.name = "stopping"
        self.refused(self.box.run("endpoints"), "has 4 instances in service, and EC2 tells of 2")
        self.assertEqual(len(self.found()), 4)

        backend.get_instance(ids[0])._state.name = "running"
        self.holds(self.box.run("endpoints"))
        self.assertEqual(len(self.found()), 3)

    def test_with_a_silent_service_each_is_tried_and_told_at_once(self) -> None:
        self.box.write("endpoints: [%s]" % ", ".join(f"{{ name: {name}, port: 80, auto_scaling_group: {name} }}" for name in "abc"))
        self.cloud.breaks("autoscaling", "down")
        self.cloud.heard.clear()

        self.refused(self.box.run("endpoints"), "endpoints of a, what was good stays: autoscaling:", "endpoints of c, what was good stays: autoscaling:",
                     "3 of 3 files of endpoints are not up to date: a, b, c")

        asked = [body.rpartition(b"=")[2] for service, _, _, body in self.cloud.heard if service == "autoscaling"]
        self.assertGreater(asked.count(b"a"), 1)
        self.assertEqual((asked.count(b"b"), asked.count(b"c")), (1, 1))

    def test_a_run_that_is_ended_has_told_what_failed_before(self) -> None:
        self.box.write("endpoints: [{ name: a, port: 80, auto_scaling_group: a }, { name: b, port: 80, auto_scaling_group: b }]")
        self.cloud.breaks("autoscaling", "denied", 1)
        told = self.box.logs / "box.log"
        self.box.program("curl", f'#!/bin/sh\ngrep -q "endpoints of a" {told} 2>/dev/null && kill -9 $PPID\nexec {shutil.which("curl")} "$@"\n')

        done = self.box.run("endpoints")

        self.assertEqual(done.returncode, -signal.SIGKILL)
        self.assertIn("endpoints of a, what was good stays", done.stderr)

    def test_a_group_of_more_than_one_filter_takes_is_asked_in_pieces(self) -> None:
        self.group(230)

        self.holds(self.box.run("endpoints"))

        self.assertEqual(len(self.found()), 230)
        asked = [body.count(b"&Filter.1.Value.") for _, action, _, body in self.cloud.heard if action == "DescribeInstances"]
        self.assertEqual(sorted(asked), [30, 200])

    def test_all_pages_are_read(self) -> None:
        for _ in range(5):
            self.launch({"service": "users"})
        self.box.write("endpoints: [{ name: users, port: 80, tags: { service: users } }]")
        # The service says how long a page is.
        self.cloud.page = 2

        self.holds(self.box.run("endpoints"))

        self.assertEqual(len(self.found("users")), 5)
        self.assertEqual(sum(action == "DescribeInstances" for _, action, *_ in self.cloud.heard), 3)

    def launch(self, tags: dict[str, str]) -> str:
        tagged = {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        made = self.cloud.client("ec2").run_instances(ImageId=self.image, MinCount=1, MaxCount=1, SubnetId=self.subnets[0], TagSpecifications=[tagged])
        return made["Instances"][0]["InstanceId"]

    def test_running_instances_with_all_of_the_tags_are_endpoints(self) -> None:
        first = self.launch({"service": "users", "stage": "prod"})
        self.launch({"service": "users", "stage": "test"})
        self.launch({"service": "users", "stage": "prod"})
        self.box.write("endpoints: [{ name: users, port: 80, tags: { service: users, stage: prod } }]")

        self.holds(self.box.run("endpoints"))
        self.assertEqual(len(self.found("users")), 2)

        self.cloud.client("ec2").stop_instances(InstanceIds=[first])
        self.holds(self.box.run("endpoints"))
        self.assertEqual(len(self.found("users")), 1)

    def test_one_group_that_is_not_there_does_not_hold_up_the_others(self) -> None:
        self.group()
        self.box.write("endpoints: [{ name: lost, port: 80, auto_scaling_group: nobody }, "
                       "{ name: orders, port: 8080, auto_scaling_group: orders-prod }]")

        self.refused(self.box.run("endpoints"), "there is no Auto Scaling group nobody in us-east-1")

        self.assertEqual(len(self.found()), 3)


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


def small_files() -> None:
    """No file may be longer than this: the next write fails, as without room."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


if __name__ == "__main__":
    unittest.main()
