"""`ami/stack.yaml` as tests look at it: with its parameters filled in, conditions decided.

Knows the functions of CloudFormation that the template uses, and refuses others. What only
AWS knows (an ARN, an attribute) stands as `<Resource>` or `<Resource.Attribute>`.
"""

import base64
import functools
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
TEMPLATE = ROOT / "ami" / "stack.yaml"
PSEUDO = {"AWS::Region": "us-east-1", "AWS::AccountId": "111122223333", "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}
GIVEN = {"VpcId": "vpc-1", "SubnetIds": ["subnet-1", "subnet-2", "subnet-3"], "ImageId": "ami-1"}
# With every part that is optional.
ALL = {**GIVEN, "ConfigBucket": "acme-config", "SecretsKeyArn": "arn:aws:kms:us-east-1:111122223333:key/1",
       "CertificateArns": "arn:aws:acm:us-east-1:111122223333:certificate/1", "PrivateCaArns": "arn:aws:acm-pca:us-east-1:111122223333:certificate-authority/1",
       "AllowedPrincipals": "arn:aws:iam::444455556666:root", "HostedZoneId": "Z1", "DomainName": "api.example.com", "Routing": "primary",
       "StoreNodeType": "cache.t4g.small", "AlarmTopicArn": "arn:aws:sns:us-east-1:111122223333:alarms"}
NOTHING = object()


class Loader(yaml.SafeLoader):
    """Short functions as long ones."""


def _function(loader: Loader, suffix: str, node: yaml.Node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        value = value.split(".", 1) if suffix == "GetAtt" else value
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", _function)


def load(text: str | None = None) -> dict:
    """Nobody changes what it gives: whoever asks for the same text gets the same."""
    return _parsed(text if text is not None else TEMPLATE.read_text())


@functools.lru_cache(4)
def _parsed(text: str) -> dict:
    return yaml.load(text, Loader)


class Stack:
    """The template of a stack by that name, with these parameters."""

    def __init__(self, name: str = "prod", parameters: dict | None = None, text: str | None = None, pseudo: dict | None = None) -> None:
        self.template = load(text)
        self.values = {**PSEUDO, **(pseudo or {}), "AWS::StackName": name}
        for key, told in self.template["Parameters"].items():
            value = (parameters or ALL).get(key, told.get("Default"))
            if value is None:
                raise ValueError(f"{key} has no value")
            is_list = told["Type"].startswith("List<") or told["Type"] == "CommaDelimitedList"
            self.values[key] = value.split(",") if is_list and isinstance(value, str) else value
        self.resources = {key: resource for key, resource in self.template["Resources"].items()
                          if "Condition" not in resource or self.holds(resource["Condition"])}

    def properties(self, kind: str) -> list[dict]:
        """Of each resource of that type."""
        return [self.resolved(resource["Properties"]) for resource in self.resources.values() if resource["Type"] == kind]

    def one(self, name: str) -> dict:
        return self.resolved(self.resources[name]["Properties"])

    def attributes(self, name: str, key: str) -> dict[str, str]:
        return {one["Key"]: str(one["Value"]) for one in self.one(name)[key]}

    def statements(self, policy: str = "") -> list[dict]:
        """What the role may do; actions as a list."""
        found = [one for one in self.properties("AWS::IAM::RolePolicy") if policy in ("", one["PolicyName"])]
        return [{**statement, "Action": _list(statement["Action"])} for one in found for statement in one["PolicyDocument"]["Statement"]]

    def metrics(self, namespace: str) -> list[dict]:
        """What alarms look at in it."""
        alarms = self.properties("AWS::CloudWatch::Alarm")
        told = [alarm for alarm in alarms if "MetricName" in alarm]
        told += [query["MetricStat"]["Metric"] for alarm in alarms for query in alarm.get("Metrics", []) if "MetricStat" in query]
        return [metric for metric in told if metric["Namespace"] == namespace]

    def box(self) -> str:
        """/etc/tollgate/box.yaml as user data writes it."""
        user_data = base64.b64decode(self.one("LaunchTemplate")["LaunchTemplateData"]["UserData"]).decode()
        if not user_data.startswith("#cloud-config\n"):
            raise ValueError("cloud-init reads it only below `#cloud-config`")
        file, = yaml.safe_load(user_data)["write_files"]
        if (file["path"], file["encoding"]) != ("/etc/tollgate/box.yaml", "b64"):
            raise ValueError(file)
        return base64.b64decode(file["content"]).decode()

    def needs(self, name: str) -> set[str]:
        """What is made before that resource, and deleted after it."""
        resource = self.template["Resources"][name]
        asked = resource.get("DependsOn", [])
        needed, found = set(asked if isinstance(asked, list) else [asked]), set()
        needed |= referred({key: value for key, value in resource.items() if key != "DependsOn"}) & set(self.template["Resources"])
        for one in needed:
            found |= {one} | self.needs(one)
        return found

    def output(self, name: str):
        return self.resolved(self.template["Outputs"][name]["Value"])

    def refused(self) -> list[str]:
        """What the template's rules say against these parameters."""
        told = [one for rule in self.template["Rules"].values() for one in rule["Assertions"]]
        return [one["AssertDescription"] for one in told if not self.resolved(one["Assert"])]

    def holds(self, name: str) -> bool:
        return self.resolved(self.template["Conditions"][name])

    def resolved(self, value):
        if isinstance(value, list):
            return [one for one in map(self.resolved, value) if one is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, told), = value.items()
            if name in ("Ref", "Condition") or name.startswith("Fn::"):
                return self.function(name, told)
        found = {key: self.resolved(one) for key, one in value.items()}
        return {key: one for key, one in found.items() if one is not NOTHING}

    def function(self, name: str, told):
        if name == "Ref":
            return NOTHING if told == "AWS::NoValue" else self.values.get(told, f"<{told}>")
        if name == "Fn::GetAtt":
            return f"<{'.'.join(told)}>"
        if name == "Fn::If":
            return self.resolved(told[1 if self.holds(told[0]) else 2])
        if name == "Condition":
            return self.holds(told)
        if name == "Fn::Sub":
            text, extra = told if isinstance(told, list) else (told, {})
            extra = {key: self.resolved(one) for key, one in extra.items()}
            return re.sub(r"\$\{([^}!]+)\}", lambda found: str(extra.get(found[1], self.values.get(found[1], f"<{found[1]}>"))), text)
        args = self.resolved(told)
        plain = {"Fn::Not": lambda: not args[0], "Fn::Equals": lambda: str(args[0]) == str(args[1]), "Fn::Or": lambda: any(args),
                 "Fn::And": lambda: all(args), "Fn::Contains": lambda: str(args[1]) in args[0], "Fn::Split": lambda: args[1].split(args[0]),
                 "Fn::Join": lambda: args[0].join(args[1]), "Fn::Select": lambda: args[1][int(args[0])],
                 "Fn::Base64": lambda: base64.b64encode(args.encode()).decode()}
        return plain[name]()


def referred(value) -> set[str]:
    """Whom Ref, GetAtt and Sub in it speak of."""
    if isinstance(value, list):
        return set().union(*map(referred, value))
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, told in value.items():
        if key == "Ref":
            found.add(told)
        elif key == "Fn::GetAtt":
            found.add(told[0])
        elif key == "Fn::Sub":
            text = told[0] if isinstance(told, list) else told
            found |= set(re.findall(r"\$\{(\w+)", text)) | referred(told)
        else:
            found |= referred(told)
    return found


def _list(value) -> list:
    return value if isinstance(value, list) else [value]
