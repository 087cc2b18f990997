"""Every command of the runbooks is one that there is, and every word of the configuration."""

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import boto3
import botocore.session
import hcl2
import jmespath
import yaml
from botocore import xform_name
from moto import mock_aws

from tests.stack.running import BINARIES, ROOT
from tests.stack.template import ALL, Stack, load

README = ROOT / "ami" / "README.md"
# Commands of the CLI that are not operations of a service, with the options used here.
CUSTOM = {("cloudformation", "deploy"): {"stack-name", "template-file", "capabilities", "parameter-overrides", "tags"},
          ("logs", "tail"): {"since", "follow", "filter-pattern"}, ("s3", "cp"): set(), ("s3", "presign"): {"expires-in"},
          ("cloudformation", "wait"): {"stack-name"}}
EVERYWHERE = {"region", "output", "query", "profile", "no-cli-pager"}
# Arguments of the provider hashicorp/aws 6, as its documentation has them at
# registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/NAME. Only what a
# balancer of kind `network` may have.
TERRAFORM = {
    "aws_lb": {"name", "load_balancer_type", "internal", "subnets", "security_groups", "enable_cross_zone_load_balancing", "enable_zonal_shift",
               "enable_deletion_protection", "dns_record_client_routing_policy", "enforce_security_group_inbound_rules_on_private_link_traffic",
               "secondary_ips_auto_assigned_per_subnet", "ip_address_type", "tags"},
    "aws_lb_target_group": {"name", "vpc_id", "target_type", "protocol", "port", "proxy_protocol_v2", "preserve_client_ip", "deregistration_delay",
                            "connection_termination", "health_check", "target_health_state", "target_group_health", "stickiness", "tags"},
    "health_check": {"enabled", "protocol", "port", "path", "matcher", "interval", "timeout", "healthy_threshold", "unhealthy_threshold"},
    "target_health_state": {"enable_unhealthy_connection_termination", "unhealthy_draining_interval"},
    "target_group_health": {"dns_failover", "unhealthy_state_routing"},
    "dns_failover": {"minimum_healthy_targets_count", "minimum_healthy_targets_percentage"},
    "unhealthy_state_routing": {"minimum_healthy_targets_count", "minimum_healthy_targets_percentage"},
    "stickiness": {"enabled", "type"},
    "aws_lb_listener": {"load_balancer_arn", "protocol", "port", "tcp_idle_timeout_seconds", "default_action", "tags"},
    "default_action": {"type", "target_group_arn"},
    "aws_vpc_endpoint_service": {"network_load_balancer_arns", "acceptance_required", "allowed_principals", "tags"},
    "aws_autoscaling_lifecycle_hook": {"name", "autoscaling_group_name", "lifecycle_transition", "heartbeat_timeout", "default_result"},
}


class Commands(unittest.TestCase):
    def test_there_are_many(self):
        programs = {words[0] for words in commands()}
        self.assertLessEqual({"aws", "tollgate", "systemctl", "journalctl", "packer", "make", "promtool"}, programs)
        self.assertGreater(len(commands()), 50)

    def test_aws_knows_each_command_and_option(self):
        for words in commands("aws"):
            with self.subTest(" ".join(words)):
                service, operation = words[1:3]
                given = {word[2:].partition("=")[0] for word in words[3:] if word.startswith("--")}
                unknown = given - aws_options(service, operation) - EVERYWHERE
                self.assertFalse(unknown)
                if operation == "wait":
                    names = botocore.session.get_session().get_waiter_model(service).waiter_names
                    self.assertIn(words[3], [xform_name(name, "-") for name in names])

    def test_the_gateway_knows_each_command_and_option(self):
        for words in commands("tollgate"):
            with self.subTest(" ".join(words)):
                verbs = [word for word in words[1:3] if re.fullmatch(r"[a-z]+", word)]
                help_text = gateway_help(*verbs)
                for option in (word.partition("=")[0] for word in words if word.startswith("-")):
                    self.assertRegex(help_text, rf"(?m)^\s+(-\w, )?{re.escape(option)}\b")

    def test_units_are_those_of_the_package_and_the_image(self):
        there = {path.name for folder in (ROOT / "systemd", ROOT / "ami/rootfs/usr/lib/systemd/system") for path in folder.glob("tollgate*")}
        for words in commands("systemctl") + commands("journalctl"):
            units = [word for word in words[1:] if word.startswith("tollgate")]
            self.assertTrue(units, words)
            for unit in units:
                self.assertTrue({unit, f"{unit}.service"} & there, unit)
        self.assertEqual({words[1] for words in commands("systemctl")}, {"start", "status", "stop", "mask", "unmask"})

    def test_packer_knows_its_variables_and_make_its_targets(self):
        variables = re.findall(r'^variable "(\w+)"', (ROOT / "ami/variables.pkr.hcl").read_text(), re.MULTILINE)
        for words in commands("packer"):
            self.assertIn(words[1], ("init", "build"))
            self.assertEqual(words[-1], "ami")
            for assigned in (word for word in words if "=" in word):
                self.assertIn(assigned.partition("=")[0], variables)
        targets = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        for words in commands("make"):
            self.assertIn(words[1], targets)

    def test_parameters_and_log_groups_are_the_stacks(self):
        template = load()
        for words in commands("aws"):
            if words[1:3] == ["cloudformation", "deploy"]:
                for assigned in (word for word in words if re.match(r"[A-Z]\w+=", word)):
                    self.assertIn(assigned.partition("=")[0], template["Parameters"])
            if words[1:3] == ["logs", "tail"]:
                self.assertIn(words[3].replace("prod", "${AWS::StackName}"),
                              [one["Properties"]["LogGroupName"]["Fn::Sub"] for one in template["Resources"].values() if one["Type"] == "AWS::Logs::LogGroup"])
        for parameter in re.findall(r"`([A-Z][a-z]+[A-Z]\w+)(?:=[^`]+)?`", README.read_text()):
            known = any(parameter in template[part] for part in ("Parameters", "Resources", "Outputs"))
            self.assertTrue(known or parameter.startswith("Tollgate") or parameter in ("EvaluateTargetHealth", "AccessDenied", "LimitNOFILE"), parameter)

    def test_alerts_that_it_speaks_of_are_there(self):
        alerts = {rule["alert"] for group in yaml.safe_load((ROOT / "ami/observability/alerts.yaml").read_text())["groups"] for rule in group["rules"]}
        self.assertLessEqual(set(re.findall(r"`(Tollgate[A-Z]\w+)`", README.read_text())), alerts)

    def test_keys_of_the_configuration_are_in_its_schema(self):
        schema = subprocess.run([BINARIES / "tollgate", "schema"], stdout=subprocess.PIPE, text=True, check=True).stdout
        for key in re.findall(r"`(?:connections|forwarded|privatelink|discovery|location|requests|client_auth|rewrite|timeouts|tls|admin|proxy_protocol)\.(\w+)`", README.read_text()):
            self.assertIn(f'"{key}"', schema)

    def test_links_within_lead_somewhere(self):
        for path in re.findall(r"`((?:observability|rootfs|provision)/[\w/.-]+)`", README.read_text()):
            self.assertTrue((README.parent / path).exists(), path)


class Failover(unittest.TestCase):
    """Two regions exchange their roles, by the runbook's own program, in moto's Route 53."""

    def setUp(self):
        if not shutil.which("jq"):
            self.skipTest("there is no jq")
        self.enterContext(mock.patch.dict(os.environ, {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}))
        self.enterContext(mock_aws())
        self.route53 = boto3.client("route53")
        self.zone = self.route53.create_hosted_zone(Name="example.com", CallerReference="1")["HostedZone"]["Id"]

    def records(self) -> list[dict]:
        """As `list-resource-record-sets` gives them with the runbook's --query."""
        listed, = [words for words in commands("aws") if words[2] == "list-resource-record-sets"]
        return jmespath.search(listed[listed.index("--query") + 1], self.route53.list_resource_record_sets(HostedZoneId=self.zone))

    def roles(self) -> dict[str, str]:
        return {one["SetIdentifier"]: one["Failover"] for one in self.records()}

    def test_both_roles_are_exchanged_and_never_two_are_the_same(self):
        for region, routing in (("us-east-1", "primary"), ("us-west-2", "secondary")):
            record = Stack("prod", {**ALL, "Routing": routing}, pseudo={"AWS::Region": region}).one("Record")
            record.pop("HostedZoneId")
            record["AliasTarget"] = {"HostedZoneId": "Z2", "DNSName": f"prod.elb.{region}.amazonaws.com.", "EvaluateTargetHealth": True}
            self.route53.change_resource_record_sets(HostedZoneId=self.zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]})
        self.assertEqual(self.roles(), {"prod-us-east-1": "PRIMARY", "prod-us-west-2": "SECONDARY"})

        program, = [words[1] for words in commands("jq") if words[2] == "records.json"]
        done = subprocess.run(["jq", program], input=json.dumps(self.records()), stdout=subprocess.PIPE, text=True, check=True)
        batch = json.loads(done.stdout)
        held = {one["SetIdentifier"]: one["Failover"] for one in self.records()}
        for change in batch["Changes"]:
            record = change["ResourceRecordSet"]
            if change["Action"] == "DELETE":
                self.assertEqual(held.pop(record["SetIdentifier"]), record["Failover"])
            else:
                self.assertEqual((change["Action"], record["SetIdentifier"] in held, record["Failover"] in held.values()), ("CREATE", False, False))
                held[record["SetIdentifier"]] = record["Failover"]
        self.route53.change_resource_record_sets(HostedZoneId=self.zone, ChangeBatch=batch)

        self.assertEqual(self.roles(), {"prod-us-east-1": "SECONDARY", "prod-us-west-2": "PRIMARY"})
        self.assertEqual([one["AliasTarget"]["EvaluateTargetHealth"] for one in self.records()], [True, True])


class Terraform(unittest.TestCase):
    def test_it_is_well_formed_and_its_arguments_are_known(self):
        for kind, body in resources():
            self.known(kind, body)

    def known(self, kind: str, body: dict) -> None:
        for name, value in body.items():
            if name.startswith("__"):
                continue
            self.assertIn(name, TERRAFORM[kind], kind)
            for block in value if isinstance(value, list) and value and isinstance(value[0], dict) else []:
                self.known(name, block)

    def test_it_says_what_the_stack_says(self):
        found, stack = dict(resources()), Stack()
        balancer, group, listener, hook, service = (found[name] for name in (
            "aws_lb", "aws_lb_target_group", "aws_lb_listener", "aws_autoscaling_lifecycle_hook", "aws_vpc_endpoint_service"))
        of_balancer = {**stack.one("LoadBalancer"), **stack.attributes("LoadBalancer", "LoadBalancerAttributes")}
        of_group = {**stack.one("TargetGroup"), **stack.attributes("TargetGroup", "TargetGroupAttributes")}
        of_listener = {**stack.one("Listener"), **stack.attributes("Listener", "ListenerAttributes")}
        of_hook, = stack.one("Gateways")["LifecycleHookSpecificationList"]

        compared = {"LoadBalancer": set(), "TargetGroup": set(), "Listener": set()}
        for terraform, told, pairs in (
            (balancer, of_balancer, {
                "load_balancer_type": "Type", "enable_cross_zone_load_balancing": "load_balancing.cross_zone.enabled",
                "enable_zonal_shift": "zonal_shift.config.enabled", "enable_deletion_protection": "deletion_protection.enabled",
                "dns_record_client_routing_policy": "dns_record.client_routing_policy",
                "enforce_security_group_inbound_rules_on_private_link_traffic": "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic"}),
            (group, of_group, {
                "target_type": "TargetType", "protocol": "Protocol", "port": "Port", "proxy_protocol_v2": "proxy_protocol_v2.enabled",
                "preserve_client_ip": "preserve_client_ip.enabled", "deregistration_delay": "deregistration_delay.timeout_seconds",
                "connection_termination": "deregistration_delay.connection_termination.enabled"}),
            (group["health_check"][0], of_group, {
                "protocol": "HealthCheckProtocol", "port": "HealthCheckPort", "path": "HealthCheckPath", "interval": "HealthCheckIntervalSeconds",
                "timeout": "HealthCheckTimeoutSeconds", "healthy_threshold": "HealthyThresholdCount", "unhealthy_threshold": "UnhealthyThresholdCount"}),
            (group["target_health_state"][0], of_group, {
                "enable_unhealthy_connection_termination": "target_health_state.unhealthy.connection_termination.enabled",
                "unhealthy_draining_interval": "target_health_state.unhealthy.draining_interval_seconds"}),
            (group["target_group_health"][0]["dns_failover"][0], of_group, {
                "minimum_healthy_targets_count": "target_group_health.dns_failover.minimum_healthy_targets.count"}),
            (group["target_group_health"][0]["unhealthy_state_routing"][0], of_group, {
                "minimum_healthy_targets_count": "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count"}),
            (group["stickiness"][0], of_group, {"enabled": "stickiness.enabled"}),
            (listener, of_listener, {"protocol": "Protocol", "port": "Port", "tcp_idle_timeout_seconds": "tcp.idle_timeout.seconds"}),
            (listener["default_action"][0], of_listener["DefaultActions"][0], {"type": "Type"}),
            (hook, of_hook, {"name": "LifecycleHookName", "lifecycle_transition": "LifecycleTransition", "heartbeat_timeout": "HeartbeatTimeout",
                             "default_result": "DefaultResult"}),
            (service, stack.one("EndpointService"), {"acceptance_required": "AcceptanceRequired"}),
        ):
            for argument, key in pairs.items():
                self.assertEqual(plain(terraform[argument]), str(told[key]), argument)
            for name, of in (("LoadBalancer", of_balancer), ("TargetGroup", of_group), ("Listener", of_listener)):
                compared[name] |= set(pairs.values()) if told is of else set()
        self.assertEqual(plain(group["health_check"][0]["matcher"]), of_group["Matcher"]["HttpCode"])
        self.assertEqual(plain(balancer["internal"]) == "true", of_balancer["Scheme"] == "internal")
        # No attribute that the stack writes is left to a default here, but for the one that
        # is AWS's in both.
        left = {(name, key) for name, kept in compared.items() for key in set(stack.attributes(name, f"{name}Attributes")) - kept}
        self.assertEqual(left, {("LoadBalancer", "secondary_ips.auto_assigned.per_subnet")})

    def test_terraform_would_not_write_it_otherwise(self):
        if not shutil.which("terraform"):
            self.skipTest("there is no terraform; python-hcl2 has read it")
        with tempfile.TemporaryDirectory() as folder:
            for number, text in enumerate(blocks("hcl")):
                (Path(folder) / f"{number}.tf").write_text(text)
            done = subprocess.run(["terraform", "fmt", "-check", "-diff", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


@functools.cache
def commands(program: str = "") -> list[list[str]]:
    """Of the blocks, and of what stands in the text between back quotes."""
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`((?:aws|tollgate|systemctl|journalctl|make|packer) [^`]+)`", re.sub(r"```.*?```", "", README.read_text(), flags=re.DOTALL))
    found = [words for line in lines if (words := shlex.split(line))]
    # What goes to all machines is a command, too.
    found += [shlex.split(word.removeprefix("commands=")) for words in found for word in words if word.startswith("commands=")]
    return [words for words in found if program in ("", words[0])]


def aws_options(service: str, operation: str) -> set[str]:
    """Those of an operation, as the CLI calls them."""
    if (service, operation) in CUSTOM:
        return CUSTOM[service, operation]
    model = botocore.session.get_session().get_service_model(service)
    name = {xform_name(one, "-"): one for one in model.operation_names}[operation]
    shape = model.operation_model(name).input_shape
    options = {xform_name(member, "-"): kind for member, kind in shape.members.items()}
    # A truth has two options.
    return set(options) | {f"no-{option}" for option, kind in options.items() if kind.type_name == "boolean"}


@functools.cache
def gateway_help(*verbs: str) -> str:
    done = subprocess.run([BINARIES / "tollgate", *verbs, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"there is no `tollgate {' '.join(verbs)}`: {done.stdout}"
    return done.stdout


def resources() -> list[tuple[str, dict]]:
    found = []
    for text in blocks("hcl"):
        for entry in hcl2.loads(text)["resource"]:
            for kind, named in entry.items():
                found += [(kind.strip('"'), body) for body in named.values()]
    return found


def plain(value) -> str:
    """As the stack writes it."""
    return str(value).strip('"').lower() if not isinstance(value, str) else value.strip('"')


if __name__ == "__main__":
    unittest.main()
