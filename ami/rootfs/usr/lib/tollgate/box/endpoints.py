"""Writes the endpoints of upstreams from what EC2 runs: `endpoints.d/NAME.yaml`.

Instances of an Auto Scaling group that are in service, or running ones with the tags,
each with its zone's id. A file is written when its endpoints changed, and never without
any: an API that fails, refuses or tells half takes no endpoint away. A group that itself
wants no instance was emptied on purpose: what is known of it stays with weight 0, which
gets no request. Whether an endpoint is well is the gateway's health check's to say.
"""

import dataclasses
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from . import place, settings
from .aws import Aws
from .failure import Failure
from .gateway import command
from .generations import replace
from .report import Report, run
from .settings import Endpoints

UNIT = "tollgate-endpoints"
MOST_PAGES = 100
# EC2 takes no more in one filter.
MOST_VALUES = 200
# Of instances, the most that a page has. Without a number EC2 answers whole, and a large
# account's answer comes too late.
PAGE = 1000
HEAD = f"# Written by {UNIT} from "


@dataclass(frozen=True, order=True)
class Endpoint:
    address: str
    zone: str
    weight: int = 1


@dataclass(frozen=True)
class Group:
    """What Auto Scaling says of a group."""

    # How many instances it is to have; nothing where the answer does not tell.
    wanted: int | None
    # The ids of those in service: none that starts, stands by or ends.
    serving: list[str]


def main() -> int:
    return run(UNIT, write_all)


def write_all(report: Report) -> None:
    """Each file for itself: what fails for one does not hold up the others."""
    wanted, ec2 = settings.read().endpoints, Ec2(Aws())
    failed = []
    for entry in wanted:
        try:
            report.info(write(entry, ec2))
        except (Failure, OSError) as why:
            # At once: what comes after it may take until systemd ends the run.
            report.error(f"endpoints of {entry.name}, what was good stays: {why}")
            failed.append(entry.name)
    if any(entry_file(entry).exists() for entry in wanted) and not place.CURRENT.exists():
        # A configuration that names these files could not be taken before.
        command("systemctl", "start", "--no-block", "tollgate-config.service")
    strange = of_no_entry(wanted)
    for path in strange:
        # It stays: the configuration that serves may still read it.
        report.warn(f"{path} is of no entry any more and is not written again: once no `endpoints_file` names it, remove it")
    if failed:
        raise Failure(f"{len(failed)} of {len(wanted)} files of endpoints are not up to date: {', '.join(failed)}")
    more = f"; of no entry: {', '.join(path.name for path in strange)}" if strange else ""
    report.info(f"{len(wanted)} files of endpoints are up to date{more}")


def entry_file(entry: Endpoints) -> Path:
    return place.ENDPOINTS / f"{entry.name}.yaml"


def of_no_entry(wanted: list[Endpoints]) -> list[Path]:
    """Files of this program's whose entry is gone."""
    files = {entry_file(entry) for entry in wanted}
    return [path for path in sorted(place.ENDPOINTS.glob("*.yaml")) if path not in files and path.read_text().startswith(HEAD)]


def write(entry: Endpoints, ec2: "Ec2") -> str:
    found = of_group(entry, ec2) if entry.auto_scaling_group else of_tags(entry, ec2)
    if not found:
        return f"endpoints of {entry.name}: its group wants none, and none is known"
    told = f"{len(found)}" if found[0].weight else f"{len(found)}, all out by weight 0, for its group wants none"
    text, path = written(found, entry), entry_file(entry)
    before = path.read_text() if path.exists() else None
    if text == before:
        return f"endpoints of {entry.name}: the same {told}"
    # No secret, and the gateway's user reads it.
    replace(path, text.encode(), 0o644)
    path.parent.chmod(0o755)
    return f"endpoints of {entry.name}: now {told}"


def written(found: list[Endpoint], entry: Endpoints) -> str:
    whence = f"Auto Scaling group {entry.auto_scaling_group}" if entry.auto_scaling_group else f"tags {entry.tags}"
    lines = [f"  - {{ address: {json.dumps(socket_of(one, entry.port))}, zone: {one.zone}{'' if one.weight else ', weight: 0'} }}"
             for one in sorted(found)]
    return "\n".join([f"{HEAD}{whence}.", "endpoints:", *lines, ""])


def known(path: Path) -> list[Endpoint]:
    """What the file has, as it was written here."""
    try:
        entries = yaml.safe_load(path.read_text())["endpoints"]
        return [Endpoint(one["address"].rpartition(":")[0].strip("[]"), one["zone"]) for one in entries]
    except FileNotFoundError:
        return []
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        raise Failure(f"{path} is not as {UNIT} writes it: remove it") from None


def socket_of(one: Endpoint, port: int) -> str:
    return f"[{one.address}]:{port}" if ":" in one.address else f"{one.address}:{port}"


def of_group(entry: Endpoints, ec2: "Ec2") -> list[Endpoint]:
    group = ec2.group(entry.auto_scaling_group)
    serving = group.serving
    if not serving and group.wanted == 0:
        return [dataclasses.replace(one, weight=0) for one in known(entry_file(entry))]
    if not serving:
        raise Failure(f"Auto Scaling group {entry.auto_scaling_group} has no instance in service, and wants some")
    found = []
    for at in range(0, len(serving), MOST_VALUES):
        found += ec2.running({"instance-id": serving[at:at + MOST_VALUES]})
    # An instance that just went is no news to EC2 and still is to Auto Scaling; with
    # half of them gone it is the answer that is not whole.
    if len(found) * 2 <= len(serving):
        raise Failure(f"Auto Scaling group {entry.auto_scaling_group} has {len(serving)} instances in service, "
                      f"and EC2 tells of {len(found)}")
    return found


def of_tags(entry: Endpoints, ec2: "Ec2") -> list[Endpoint]:
    found = ec2.running({f"tag:{key}": [value] for key, value in entry.tags.items()})
    if not found:
        raise Failure(f"no instance runs with the tags {entry.tags}")
    return found


class Ec2:
    """What EC2 and Auto Scaling are asked, all of the pages."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.zone_ids: dict[str, str] = {}

    def group(self, name: str) -> Group:
        # Groups are few, and one that is named has one page.
        answer = self.aws.query("autoscaling", "DescribeAutoScalingGroups", {"AutoScalingGroupNames.member.1": name})
        found = answer.findall(".//AutoScalingGroups/member")
        if not found:
            raise Failure(f"there is no Auto Scaling group {name} in {self.aws.region}")
        wanted, instances = found[0].findtext("DesiredCapacity", ""), found[0].findall("./Instances/member")
        return Group(int(wanted) if wanted.isdecimal() else None,
                     [one.findtext("InstanceId", "") for one in instances if one.findtext("LifecycleState") == "InService"])

    def running(self, filters: dict[str, list[str]]) -> list[Endpoint]:
        """Running instances that one value of each filter fits."""
        fields, found, page = {"MaxResults": str(PAGE)}, [], {}
        for nth, (name, values) in enumerate([*filters.items(), ("instance-state-name", ["running"])], 1):
            fields[f"Filter.{nth}.Name"] = name
            fields |= {f"Filter.{nth}.Value.{at}": value for at, value in enumerate(values, 1)}
        for _ in range(MOST_PAGES):
            answer = self.aws.query("ec2", "DescribeInstances", fields | page)
            found += [self.endpoint(one) for one in answer.findall(".//reservationSet/item/instancesSet/item")]
            token = answer.findtext("nextToken")
            if not token:
                return found
            page = {"NextToken": token}
        raise Failure(f"ec2:DescribeInstances goes on after {MOST_PAGES} pages")

    def endpoint(self, instance) -> Endpoint:
        """Never of half an answer: an address and a zone, or a failure."""
        name = instance.findtext("instanceId", "an instance")
        address = instance.findtext("privateIpAddress") or instance.findtext("ipv6Address", "")
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise Failure(f"EC2 tells no address of {name}") from None
        zone = instance.findtext("placement/availabilityZoneId") or self.zone_id(instance.findtext("placement/availabilityZone", ""))
        return Endpoint(address, zone)

    def zone_id(self, name: str) -> str:
        """Names of zones differ between accounts, their ids do not."""
        if not self.zone_ids:
            answer = self.aws.query("ec2", "DescribeAvailabilityZones", {})
            items = answer.findall(".//availabilityZoneInfo/item")
            self.zone_ids = {item.findtext("zoneName", ""): item.findtext("zoneId", "") for item in items}
        if not self.zone_ids.get(name):
            raise Failure(f"EC2 tells no id of the zone {name or 'without a name'}")
        return self.zone_ids[name]
