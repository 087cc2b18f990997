"""What machines may do is what their programs do, and what two agents of AWS need."""

import ast
import re
import unittest

import botocore.session

from tests.stack.running import ROOT
from tests.stack.template import ALL, GIVEN, Stack

PROGRAMS = ROOT / "ami" / "rootfs" / "usr" / "lib" / "tollgate"
# Of programs that are not ours: what their documentation asks for. The CloudWatch agent's
# managed policy is CloudWatchAgentServerPolicy; left out of it: CreateLogGroup and
# PutRetentionPolicy (the stack makes the groups), DescribeLogGroups, ec2:Describe* (no
# dimension needs them), its own parameters, X-Ray.
AGENT = {"logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents", "cloudwatch:PutMetricData"}
# AmazonSSMManagedInstanceCore without parameters, documents, associations, inventory and patches.
SESSION_MANAGER = {"ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
                   "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel", "ec2messages:AcknowledgeMessage",
                   "ec2messages:DeleteMessage", "ec2messages:FailMessage", "ec2messages:GetEndpoint", "ec2messages:GetMessages",
                   "ec2messages:SendReply"}
# Describing knows no resources, and neither do the agents' channels.
EVERYWHERE = {"autoscaling:DescribeAutoScalingGroups", "ec2:DescribeInstances", "ec2:DescribeAvailabilityZones", "cloudwatch:PutMetricData"} | SESSION_MANAGER


class Rights(unittest.TestCase):
    def test_the_role_may_do_what_programs_call_and_nothing_else(self):
        called = {call for program in PROGRAMS.glob("tollgate-*") for call in calls(program.read_text())}
        may = {action for statement in Stack("prod", ALL).statements() for action in statement["Action"]}
        self.assertEqual(may - AGENT - SESSION_MANAGER, called)

    def test_programs_call_what_their_heads_say(self):
        said = {call for program in PROGRAMS.glob("tollgate-*") for call in calls(program.read_text())}
        # A parameter or secret under a key of one's own is opened by the service, for the role.
        self.assertEqual(found_in_code() | {"kms:Decrypt"}, said)

    def test_each_action_is_one_that_there_is(self):
        session = botocore.session.get_session()
        # What the SSM agent speaks is in no SDK.
        for action in {action for statement in Stack("prod", ALL).statements() for action in statement["Action"]} - SESSION_MANAGER:
            service, _, operation = action.partition(":")
            self.assertTrue(operation in session.get_service_model(service).operation_names, action)

    def test_what_can_be_bound_to_a_resource_is(self):
        for statement in Stack("prod", ALL).statements():
            self.assertEqual(statement["Effect"], "Allow")
            resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            if "*" in resources:
                self.assertLessEqual(set(statement["Action"]), EVERYWHERE)
            for action in statement["Action"]:
                self.assertNotIn("*", action)
            for resource in resources:
                self.assertTrue(resource == "*" or "prod" in resource or resource in ALL.values(), resource)

    def test_private_cas_issue_for_servers_alone_and_by_what_the_machine_asks_with(self):
        statement, = [one for one in Stack("prod", ALL).statements() if "acm-pca:IssueCertificate" in one["Action"]]
        template = re.search(r'^TEMPLATE = "(.+)"$', (PROGRAMS / "box/private_ca.py").read_text(), re.MULTILINE)[1]
        self.assertEqual(statement["Action"], ["acm-pca:IssueCertificate"])
        self.assertEqual(statement["Condition"], {"StringEquals": {"acm-pca:TemplateArn": f"arn:aws:{template}"}})
        self.assertIn("EndEntityServerAuth", template)

    def test_what_is_not_used_is_not_allowed(self):
        may = {action for statement in Stack("prod", {**GIVEN, "SessionManager": "false"}).statements() for action in statement["Action"]}
        self.assertEqual({action.partition(":")[0] for action in may}, {"ssm", "secretsmanager", "autoscaling", "ec2", "logs", "cloudwatch"})
        self.assertEqual({action for action in may if action.startswith("ssm")}, {"ssm:GetParameter"})

    def test_only_machines_take_the_role(self):
        statement, = Stack().one("Role")["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual((statement["Principal"], statement["Action"]), ({"Service": "ec2.amazonaws.com"}, "sts:AssumeRole"))
        self.assertNotIn("ManagedPolicyArns", Stack().one("Role"))

    def test_china_and_the_us_government_have_names_of_their_own(self):
        for partition, region, suffix, service in (
                ("aws", "us-east-1", "amazonaws.com", "com.amazonaws.vpce.us-east-1.<EndpointService>"),
                ("aws-us-gov", "us-gov-west-1", "amazonaws.com", "com.amazonaws.vpce.us-gov-west-1.<EndpointService>"),
                # EC2 is one of the few services that are called otherwise there.
                ("aws-cn", "cn-north-1", "amazonaws.com.cn", "cn.com.amazonaws.vpce.cn-north-1.<EndpointService>")):
            stack = Stack("prod", ALL, pseudo={"AWS::Partition": partition, "AWS::Region": region, "AWS::URLSuffix": suffix})
            with self.subTest(partition):
                statement, = stack.one("Role")["AssumeRolePolicyDocument"]["Statement"]
                self.assertEqual(statement["Principal"], {"Service": f"ec2.{suffix}"})
                self.assertEqual(stack.output("EndpointServiceName"), service)
                for statement in stack.statements():
                    resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
                    for resource in resources:
                        self.assertTrue(resource == "*" or resource in ALL.values() or resource.startswith(f"arn:{partition}:"), resource)


def calls(text: str) -> set[str]:
    """What a program's head says."""
    found = re.search(r"^# calls:(.*)$", text, re.MULTILINE)
    assert found, text
    return set(found[1].split())


def found_in_code() -> set[str]:
    """What the modules call, by the constants in `Aws.json`, `Aws.query` and `Aws.object`."""
    found = set()
    for module in (PROGRAMS / "box").glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            words = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if node.func.attr == "query" and len(words) > 1:
                found.add(f"{words[0]}:{words[1]}")
            elif node.func.attr == "json" and len(words) > 1:
                found.add(f"{words[0]}:{words[1].rpartition('.')[2]}")
            elif node.func.attr == "object":
                found.add("s3:GetObject")
    return found


if __name__ == "__main__":
    unittest.main()
