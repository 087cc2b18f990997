"""Tests of `tollgate-endpoints`; run by `box.py`."""

import io
import os
import re
import shutil
import signal
import subprocess

import moto.autoscaling.models
import moto.ec2.models
import yaml
from boxed import GATEWAY, GOOD, BoxTest
from cloud import REGION
from moto.core import DEFAULT_ACCOUNT_ID


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

    def test_a_group_that_wants_instances_and_has_none_takes_no_endpoint_away(self) -> None:
        self.group()
        self.holds(self.box.run("endpoints"))
        group = moto.autoscaling.models.autoscaling_backends[DEFAULT_ACCOUNT_ID][REGION].autoscaling_groups["orders-prod"]
        states, group.instance_states = group.instance_states, []

        self.refused(self.box.run("endpoints"), "endpoints of orders, what was good stays", "has no instance in service, and wants some")
        self.assertEqual([one.get("weight", 1) for one in self.found()], [1, 1, 1])

        # Half an answer: it does not tell how many it wants.
        group.instance_states = states
        self.scale(0)
        self.rewrite("DescribeAutoScalingGroups", rb"<DesiredCapacity>0</DesiredCapacity>", b"")
        self.refused(self.box.run("endpoints"), "has no instance in service, and wants some")
        self.assertEqual([one.get("weight", 1) for one in self.found()], [1, 1, 1])

    def test_a_group_that_was_emptied_has_its_endpoints_taken_out_and_gets_new_ones(self) -> None:
        self.group()
        self.holds(self.box.run("endpoints"))
        had = self.found()
        self.scale(0)

        for word in ("now 3, all out by weight 0", "the same 3, all out by weight 0"):
            done = self.box.run("endpoints")
            self.holds(done)
            self.assertIn(f"endpoints of orders: {word}, for its group wants none", done.stdout)
            self.assertEqual(self.found(), [{**one, "weight": 0} for one in had])

        self.scale(2)
        self.holds(self.box.run("endpoints"))
        self.assertEqual([one.get("weight", 1) for one in self.found()], [1, 1])
        self.assertFalse({one["address"] for one in had} & {one["address"] for one in self.found()})

    def test_an_emptied_group_of_which_nothing_is_known_is_no_failure(self) -> None:
        self.group(0)

        done = self.box.run("endpoints")

        self.holds(done)
        self.assertIn("endpoints of orders: its group wants none, and none is known", done.stdout)
        self.assertEqual(self.found(), [])

    def test_a_file_that_somebody_else_wrote_says_nothing_of_an_emptied_group(self) -> None:
        self.group(0)
        path = self.box.run_folder / "endpoints.d/orders.yaml"
        path.parent.mkdir()
        for text in ("endpoints: [{ adress: x }]", "endpoints: [", "7"):
            path.write_text(text)
            self.refused(self.box.run("endpoints"), "is not as tollgate-endpoints writes it: remove it")
            self.assertEqual(path.read_text(), text)

    def test_a_file_whose_entry_is_gone_stays_and_is_told(self) -> None:
        self.group()
        self.holds(self.box.run("endpoints"))
        (self.box.run_folder / "endpoints.d/mine.yaml").write_text("endpoints: []\n")
        self.box.write("endpoints: [{ name: new, port: 8080, auto_scaling_group: orders-prod }]")

        done = self.box.run("endpoints")

        self.holds(done)
        self.assertIn("endpoints.d/orders.yaml is of no entry any more and is not written again: once no `endpoints_file` names it, remove it", done.stdout)
        self.assertIn("1 files of endpoints are up to date; of no entry: orders.yaml\n", done.stdout)
        self.assertEqual((len(self.found()), len(self.found("new"))), (3, 3))

    def test_addresses_of_version_6_are_endpoints_too(self) -> None:
        self.group(2)
        # As an instance of a subnet that has no others.
        wanted = {f"[2600:1f18::{one['PrivateIpAddress'].replace('.', ':')}]:8080" for one in self.instances()}
        self.rewrite("DescribeInstances", rb"<privateIpAddress>([^<]*)</privateIpAddress>",
                     lambda found: b"<ipv6Address>2600:1f18::" + found[1].replace(b".", b":") + b"</ipv6Address>")

        self.holds(self.box.run("endpoints"))

        self.assertEqual(len(wanted), 2)
        self.assertEqual({one["address"] for one in self.found()}, wanted)
        config = self.folder / "gateway.yaml"
        config.write_text(GOOD % "x" + f"upstreams: [{{ name: orders, endpoints_file: {self.box.run_folder}/endpoints.d/orders.yaml }}]\n")
        checked = subprocess.run([GATEWAY, "check", config], capture_output=True, text=True, check=False)
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))
        had = self.found()
        self.scale(0)
        self.holds(self.box.run("endpoints"))
        self.assertEqual(self.found(), [{**one, "weight": 0} for one in had])

    def rewrite(self, action: str, pattern: bytes, instead) -> None:
        """Changes what AWS answers to an action."""
        app = self.cloud.app

        def rewritten(environ: dict, start):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            told = b"".join(app(environ, start))
            return [re.sub(pattern, instead, told) if f"Action={action}".encode() in body else told]

        self.cloud.app = rewritten

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
        # A call may be made again under load.
        self.assertEqual(set(asked), {30, 200})

    def test_all_pages_are_read(self) -> None:
        for _ in range(5):
            self.launch({"service": "users"})
        self.box.write("endpoints: [{ name: users, port: 80, tags: { service: users } }]")
        # The service says how long a page is.
        self.cloud.page = 2

        self.holds(self.box.run("endpoints"))

        self.assertEqual(len(self.found("users")), 5)
        asked = [body for _, action, _, body in self.cloud.heard if action == "DescribeInstances"]
        self.assertEqual(len(asked), 3)
        for body in asked:
            # EC2 refuses a page's length beside `InstanceId`s.
            self.assertIn(b"&MaxResults=1000", body)
            self.assertNotIn(b"InstanceId.", body)

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
