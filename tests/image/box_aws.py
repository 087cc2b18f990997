"""Tests of how AWS is called, whatever for; run by `box.py`."""

import shutil
import sys
import unittest.mock

import botocore.session
from boxed import GOOD, PROGRAMS, SERVES_ON, BoxTest
from botocore.config import Config

sys.path.insert(0, str(PROGRAMS))

from box import aws, imds  # noqa: E402  (the line above is what finds it)

# What the metadata service says that hosts end with, in a region of each partition.
DOMAINS = {"us-east-1": "amazonaws.com", "eu-central-1": "amazonaws.com", "us-gov-west-1": "amazonaws.com",
           "cn-north-1": "amazonaws.com.cn", "us-iso-east-1": "c2s.ic.gov"}
SERVICES = ("ssm", "secretsmanager", "s3", "acm", "acm-pca", "autoscaling", "ec2")


class Calls(BoxTest):
    """Hosts, the metadata service's token, answers without an end, clocks."""

    def put(self, text: str = GOOD % "first") -> None:
        self.cloud.client("ssm").put_parameter(Name="/tollgate/prod/config", Value=text, Type="SecureString", Overwrite=True)
        self.box.write("config: ssm:/tollgate/prod/config\n")

    def test_hosts_are_those_of_awss_own_client_in_each_partition(self) -> None:
        session = botocore.session.get_session()
        regional = Config(s3={"us_east_1_regional_endpoint": "regional"})
        for region, domain in DOMAINS.items():
            self.cloud.metadata["services/domain"] = domain
            with unittest.mock.patch.object(imds, "ENDPOINT", self.cloud.imds), unittest.mock.patch.object(aws, "ENDPOINT", ""):
                one = aws.Aws()
                for service in SERVICES:
                    with self.subTest(region=region, service=service):
                        there = session.create_client(service, region, aws_access_key_id="a", aws_secret_access_key="b", config=regional)
                        self.assertEqual(one.host(aws.Request(service, "", region, "/", {})), there.meta.endpoint_url)

    def test_without_an_address_for_tests_the_host_is_awss_and_the_transport_tls(self) -> None:
        self.put()
        self.cloud.metadata |= {"placement/region": "cn-north-1", "services/domain": "amazonaws.com.cn"}
        self.box.more["AWS_ENDPOINT_URL"] = ""
        # It writes down what it is told, and reaches nobody.
        asked = self.folder / "asked"
        self.box.program("curl", f'#!/bin/sh\ntold=$(cat)\ncase $told in *169.254*|*{self.cloud.imds}*) ;; *) printf "%s\\n" "$told" >>{asked}; echo "curl: (6) no such host" >&2; exit 6;; esac\n'
                         f'printf "%s\\n" "$told" | {shutil.which("curl")} "$@"\n')

        self.refused(self.box.run("config"), "ssm:GetParameter in cn-north-1", "no such host")

        self.assertIn('url = "https://ssm.cn-north-1.amazonaws.com.cn/"', asked.read_text())

    def test_a_run_outlives_its_token(self) -> None:
        self.put()
        self.cloud.breaks("imds:/latest/meta-data/iam/security-credentials/", "token_ended", 1)
        self.holds(self.box.run("config"))
        self.assertEqual(sum(how == "PUT" for _, how, *_ in self.cloud.asked), 2)

        self.cloud.breaks("imds:/latest/meta-data/iam/security-credentials/", "token_ended")
        self.refused(self.box.run("config"), "refuses iam/security-credentials/: status 401")

    def test_an_answer_without_an_end_is_given_up(self) -> None:
        self.put()
        self.cloud.breaks("ssm", "endless")
        self.refused(self.box.run("config"), "ssm:GetParameter in us-east-1 fails: the answer has more than 8 MiB")

    def test_a_clock_an_hour_off_is_said_at_first_boot_and_later_by_each_program(self) -> None:
        arn = self.cloud.client("acm").request_certificate(DomainName="api.example.com", Options={"Export": "ENABLED"})["CertificateArn"]
        self.put()
        self.box.write(self.box.settings.read_text() + f'certificates: [{{ name: api, acm: "{arn}" }}]\n'
                       "endpoints: [{ name: users, port: 80, tags: { service: users } }]\n")
        for later in (False, True):
            for fault, word in (("clock_behind", "60 minutes behind AWS's"), ("clock_ahead", "60 minutes ahead of AWS's")):
                for program, service in (("config", "ssm"), ("certificates", "acm"), ("endpoints", "ec2")):
                    with self.subTest(program=program, fault=fault, later=later):
                        self.cloud.breaks(service, fault)
                        code = SERVES_ON if later and program != "endpoints" else 1
                        self.refused(self.box.run(program), f"this machine's clock is {word}", "chronyc tracking", code=code)
                        self.assertEqual(self.box.calls(), [])
            if not later:
                self.assertIsNone(self.box.current())
                self.cloud.heals()
                self.holds(self.box.run("certificates"))
                self.holds(self.box.run("config"))
                self.box.gateway("active")
        self.assertIn("first", self.box.current())
