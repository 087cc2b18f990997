"""The template: what CloudFormation would refuse, keys that AWS does not know, and a whole
life of the stack in moto."""

import functools
import os
import re
import subprocess
import sys
import unittest
import unittest.mock
import warnings
from pathlib import Path

import boto3
import botocore.session
import yaml
from moto import mock_aws
from moto.elbv2.models import FakeLoadBalancer, FakeTargetGroup, elbv2_backends

from tests.stack.template import ALL, GIVEN, TEMPLATE, Stack

# What moto 5.2.5 has no resource for. It warns, and goes on without them.
NOT_IN_MOTO = {"AWS::EC2::SecurityGroupEgress", "AWS::IAM::RolePolicy", "AWS::AutoScaling::ScalingPolicy", "AWS::EC2::VPCEndpointService",
               "AWS::EC2::VPCEndpointServicePermissions", "AWS::SecretsManager::Secret", "AWS::ElastiCache::SubnetGroup",
               "AWS::ElastiCache::ReplicationGroup", "AWS::Logs::MetricFilter", "AWS::CloudWatch::Alarm"}
# Those that AWS gives no tags.
UNTAGGED = {"AWS::EC2::SecurityGroupEgress", "AWS::ElasticLoadBalancingV2::Listener", "AWS::IAM::RolePolicy", "AWS::IAM::InstanceProfile",
            "AWS::AutoScaling::ScalingPolicy", "AWS::EC2::VPCEndpointServicePermissions", "AWS::Route53::RecordSet", "AWS::Logs::MetricFilter"}


class Template(unittest.TestCase):
    def test_cfn_lint_finds_nothing(self):
        done = subprocess.run([Path(sys.executable).parent / "cfn-lint", TEMPLATE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_it_is_small_enough_to_be_sent_without_a_bucket(self):
        self.assertLess(len(TEMPLATE.read_bytes()), 51_200)

    def test_each_attribute_is_one_that_a_network_load_balancer_has(self):
        stack = Stack()
        for name, key, shape in (("LoadBalancer", "LoadBalancerAttributes", "LoadBalancerAttribute"),
                                 ("TargetGroup", "TargetGroupAttributes", "TargetGroupAttribute"),
                                 ("Listener", "ListenerAttributes", "ListenerAttribute")):
            known = attributes(shape)
            for attribute, value in stack.attributes(name, key).items():
                with self.subTest(attribute):
                    self.assertIn(attribute, known)
                    known[attribute].check(value)

    def test_every_resource_tells_who_pays(self):
        for name, resource in Stack().resources.items():
            if resource["Type"] in UNTAGGED:
                continue
            data = resource["Properties"].get("Tags") or resource["Properties"]["TagSpecifications"][0]["Tags"]
            self.assertLessEqual({"tollgate:stack", "tollgate:component", "cost-center"}, {tag["Key"] for tag in data}, name)
        for specification in Stack().one("LaunchTemplate")["LaunchTemplateData"]["TagSpecifications"]:
            self.assertEqual(len(specification["Tags"]), 3, specification)

    def test_no_secret_is_in_it(self):
        text = TEMPLATE.read_text()
        self.assertIn("{{resolve:secretsmanager:${StorePassword}}}", text)
        self.assertNotRegex(text, r"AKIA|BEGIN [A-Z ]*PRIVATE KEY|[Pp]assword: ['\"]?[a-z0-9]{8}")

    def test_what_is_optional_is_left_out(self):
        left = set(Stack("prod", ALL).resources) - set(Stack("prod", GIVEN).resources)
        self.assertEqual(left, {"CertificatesPolicy", "PrivateCaPolicy", "EndpointService", "EndpointServicePermissions", "Record",
                                "StoreGroup", "StorePassword", "StoreSubnets", "Store"})

    def test_regions_fail_over_and_an_old_load_balancer_is_left_by_weight(self):
        record = {routing: Stack("prod", {**ALL, "Routing": routing, "RoutingWeight": 10}).one("Record")
                  for routing in ("simple", "primary", "secondary", "weighted")}
        told = {routing: (one.get("Failover"), one.get("Weight"), "SetIdentifier" in one, one["AliasTarget"]["EvaluateTargetHealth"])
                for routing, one in record.items()}
        self.assertEqual(told, {"simple": (None, None, False, True), "primary": ("PRIMARY", None, True, True),
                                "secondary": ("SECONDARY", None, True, True), "weighted": (None, 10, True, True)})


class Life(unittest.TestCase):
    """Created, updated and deleted, all of it that moto knows."""

    def setUp(self):
        self.enterContext(unittest.mock.patch.dict(os.environ, {
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}))
        self.enterContext(mock_aws())
        self.enterContext(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for target in network_load_balancers():
            self.enterContext(target)
        ec2 = boto3.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"]["SubnetId"]
                   for number, zone in enumerate("abc")]
        self.image, self.newer = (image["ImageId"] for image in ec2.describe_images(Owners=["amazon"])["Images"][:2])
        zone = boto3.client("route53").create_hosted_zone(Name="example.com", CallerReference="1")["HostedZone"]["Id"]
        self.given = {"VpcId": vpc, "SubnetIds": ",".join(subnets), "ImageId": self.image, "HostedZoneId": zone.rpartition("/")[2],
                      "DomainName": "api.example.com", "Routing": "primary", "CertificateArns": ALL["CertificateArns"], "DeletionProtection": "false"}
        self.formation = boto3.client("cloudformation")

    def parameters(self, **changed: str) -> list[dict]:
        return [{"ParameterKey": key, "ParameterValue": value} for key, value in {**self.given, **changed}.items()]

    def create(self) -> dict[str, list[str]]:
        self.formation.create_stack(StackName="prod", TemplateBody=TEMPLATE.read_text(), Parameters=self.parameters(), Capabilities=["CAPABILITY_IAM"])
        return self.there()

    def there(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for one in self.formation.list_stack_resources(StackName="prod")["StackResourceSummaries"]:
            found.setdefault(one["ResourceType"], []).append(one["PhysicalResourceId"])
        return found

    def test_what_moto_lacks_is_known(self):
        there = set(self.create())
        wanted = {resource["Type"] for resource in Stack("prod", {**GIVEN, **self.given}).resources.values()}
        self.assertEqual(wanted - there, (wanted & NOT_IN_MOTO))

    def test_the_load_balancer_is_as_the_template_says(self):
        self.create()
        elb, stack = boto3.client("elbv2"), Stack("prod", {**GIVEN, **self.given})
        balancer = elb.describe_load_balancers()["LoadBalancers"][0]
        group = elb.describe_target_groups()["TargetGroups"][0]
        attributes_of = {one["Key"]: one["Value"] for one in elb.describe_target_group_attributes(TargetGroupArn=group["TargetGroupArn"])["Attributes"]}

        self.assertEqual((balancer["Type"], balancer["Scheme"], len(balancer["AvailabilityZones"])), ("network", "internal", 3))
        self.assertEqual((group["Protocol"], group["Port"], group["HealthCheckPort"], group["HealthCheckPath"]), ("TCP", 8443, "8081", "/readyz"))
        self.assertLessEqual(stack.attributes("TargetGroup", "TargetGroupAttributes").items(), attributes_of.items())

    def test_the_group_starts_machines_that_find_their_settings(self):
        self.create()
        group, = boto3.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        self.assertEqual((group["AutoScalingGroupName"], group["MinSize"], len(group["AvailabilityZones"])), ("tollgate-prod", 3, 3))
        self.assertEqual({tag["Key"]: tag["Value"] for tag in group["Tags"] if tag["PropagateAtLaunch"]}["tollgate:stack"], "prod")
        box = yaml.safe_load(Stack("prod", {**GIVEN, **self.given}).box())
        self.assertEqual(box, {"config": "ssm:/tollgate/prod/config", "certificates": [{"name": "public", "acm": ALL["CertificateArns"]}]})

    def test_another_image_is_a_new_version_and_all_of_it_goes(self):
        self.create()
        self.formation.update_stack(StackName="prod", TemplateBody=TEMPLATE.read_text(), Capabilities=["CAPABILITY_IAM"],
                                    Parameters=self.parameters(ImageId=self.newer, Routing="secondary", MinGateways="6", MaxGateways="12"))
        group, = boto3.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        versions = boto3.client("ec2").describe_launch_template_versions(LaunchTemplateId=group["LaunchTemplate"]["LaunchTemplateId"])
        newest = max(versions["LaunchTemplateVersions"], key=lambda one: one["VersionNumber"])
        self.assertEqual((newest["LaunchTemplateData"]["ImageId"], group["MinSize"]), (self.newer, 6))

        self.formation.delete_stack(StackName="prod")
        self.assertEqual(boto3.client("elbv2").describe_load_balancers()["LoadBalancers"], [])
        self.assertEqual(boto3.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"], [])
        self.assertEqual([group for group in boto3.client("logs").describe_log_groups()["logGroups"]], [])


class Attribute:
    """An attribute as botocore's model of the service describes it, in prose."""

    def __init__(self, prose: str) -> None:
        self.words = re.findall(r"<code>([^<]+)</code>", prose)
        span = re.search(r"range is (?:from )?(\d+)(?: to |-)(\d+)", prose)
        self.range = (int(span[1]), int(span[2])) if span else None
        self.number = "integer" in prose or "number of" in prose or self.range is not None
        self.closed = re.search(r"(?:value is|possible values are) ", prose) is not None and not self.number

    def check(self, value: str) -> None:
        if self.range:
            assert self.range[0] <= int(value) <= self.range[1], f"{value} is not in {self.range}"
        elif self.number:
            assert value.isdecimal() or value in self.words, value
        elif self.closed:
            assert value in self.words, f"{value} is none of {self.words}"


def attributes(shape: str) -> dict[str, Attribute]:
    """Those that hold for network load balancers. The model has them as lists, each below a
    sentence that says for which kinds of load balancers it is."""
    prose = botocore.session.get_session().get_service_model("elbv2").shape_for(shape).members["Key"].documentation
    found = {}
    for sentence, block in re.findall(r"<p>([^<]*(?:attributes? (?:are|is) )?[^<]*supported[^<]*)</p>\s*<ul>(.*?)</ul>\s*(?=<p>The following|$)", prose, re.DOTALL):
        if "Network" not in sentence and "all load balancers" not in sentence:
            continue
        for name, text in re.findall(r"<li>\s*<p>\s*<code>([a-z0-9_.]+\.[a-z0-9_.]+)</code>\s*[-–](.*?)(?=<li>\s*<p>\s*<code>[a-z0-9_.]+\.|$)", block, re.DOTALL):
            found[name] = Attribute(text)
    return found


def network_load_balancers() -> list:
    """moto makes no network load balancer from a template, and knows no attributes there: this
    does what it leaves out, by moto's own functions."""

    def balancer(cls, resource_name, cloudformation_json, account_id, region_name, **more):
        backend, told = elbv2_backends[account_id][region_name], cloudformation_json["Properties"]
        make = functools.partial(backend.create_load_balancer, loadbalancer_type=told["Type"])
        with unittest.mock.patch.object(backend, "create_load_balancer", make):
            return plain_balancer(cls, resource_name, cloudformation_json, account_id, region_name, **more)

    def group(cls, resource_name, cloudformation_json, account_id, region_name, **more):
        made = plain_group(cls, resource_name, cloudformation_json, account_id, region_name, **more)
        made.attributes.update({one["Key"]: str(one["Value"]) for one in cloudformation_json["Properties"]["TargetGroupAttributes"]})
        return made

    plain_balancer = FakeLoadBalancer.create_from_cloudformation_json.__func__
    plain_group = FakeTargetGroup.create_from_cloudformation_json.__func__
    return [unittest.mock.patch.object(FakeLoadBalancer, "create_from_cloudformation_json", classmethod(balancer)),
            unittest.mock.patch.object(FakeTargetGroup, "create_from_cloudformation_json", classmethod(group))]


if __name__ == "__main__":
    unittest.main()
