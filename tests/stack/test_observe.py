"""What the CloudWatch agent is told, by the program that tells it."""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml

from tests.image.cloud import Cloud
from tests.stack.running import ROOT
from tests.stack.template import Stack

ROOTFS = ROOT / "ami" / "rootfs"
PROGRAM = ROOTFS / "usr/lib/tollgate/tollgate-observe"
TAG = "tags/instance/tollgate:stack"


class Observe(unittest.TestCase):
    def setUp(self):
        self.agent = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.cloud = self.enterContext(Cloud())

    def observe(self, agent: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-B", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env={
            **os.environ, "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.cloud.imds, "TOLLGATE_BOX_PATIENCE": "1",
            "TOLLGATE_BOX_AGENT": str(agent or self.agent), "TOLLGATE_BOX_TEMPLATES": str(ROOTFS / "usr/share/tollgate/observe")})

    def written(self) -> tuple[dict, dict]:
        return (json.loads((self.agent / "etc/amazon-cloudwatch-agent.json").read_text()),
                yaml.safe_load((self.agent / "etc/tollgate-prometheus.yaml").read_text()))

    def test_log_groups_and_namespace_are_those_that_the_stack_makes(self):
        self.assertEqual(self.observe().returncode, 0)
        agent, _ = self.written()
        stack = Stack("prod")

        files = agent["logs"]["logs_collected"]["files"]["collect_list"]
        told = {one["log_group_name"] for one in files} | {agent["logs"]["metrics_collected"]["prometheus"]["log_group_name"]}
        self.assertEqual(told, {group["LogGroupName"] for group in stack.properties("AWS::Logs::LogGroup")})
        namespaces = {agent["metrics"]["namespace"], agent["logs"]["metrics_collected"]["prometheus"]["emf_processor"]["metric_namespace"]}
        allowed = [statement["Condition"]["StringEquals"]["cloudwatch:namespace"] for statement in stack.statements("observability")
                   if "cloudwatch:PutMetricData" in statement["Action"]]
        self.assertEqual((namespaces, allowed), ({"Tollgate/prod"}, ["Tollgate/prod"]))

    def test_files_are_those_that_are_written(self):
        self.observe()
        agent, _ = self.written()
        files = {one["log_group_name"].rpartition("/")[2]: one["file_path"] for one in agent["logs"]["logs_collected"]["files"]["collect_list"]}
        units = ROOTFS / "usr/lib/systemd/system"

        self.assertEqual(files["access"], yaml.safe_load((ROOT / "ami/tollgate.yaml").read_text())["access_log"]["path"])
        self.assertIn(f"StandardOutput=append:{files['process']}", (units / "tollgate-process-log.service").read_text())
        for unit in ("tollgate-config", "tollgate-lifecycle", "tollgate-observe"):
            self.assertIn(f"LogsDirectory={Path(files['box']).parent.name}\n", (units / f"{unit}.service").read_text())
        self.assertIn(f"{Path(files['process']).parent}/*.log", (ROOTFS / "etc/logrotate.d/tollgate-box").read_text())

    def test_the_gateway_is_read_where_it_tells_its_metrics(self):
        self.observe()
        agent, scrape = self.written()
        self.assertTrue(agent["logs"]["metrics_collected"]["prometheus"]["prometheus_config_path"].endswith("/etc/tollgate-prometheus.yaml"))
        job = scrape["scrape_configs"][0]
        self.assertEqual(job["static_configs"], [{"targets": [yaml.safe_load((ROOT / "ami/tollgate.yaml").read_text())["admin"]["metrics"]],
                                                  "labels": {"stack": "prod"}}])
        for declared in agent["logs"]["metrics_collected"]["prometheus"]["emf_processor"]["metric_declaration"]:
            self.assertTrue(re.fullmatch(declared["label_matcher"], job["job_name"]))

    def test_every_alarm_of_the_gateways_own_metrics_gets_its_metric(self):
        self.observe()
        agent, _ = self.written()
        declared = agent["logs"]["metrics_collected"]["prometheus"]["emf_processor"]["metric_declaration"]
        filters = {one["MetricTransformations"][0]["MetricName"] for one in Stack("prod").properties("AWS::Logs::MetricFilter")}
        for metric in Stack("prod").metrics("Tollgate/prod"):
            dimensions = [one["Name"] for one in metric.get("Dimensions", [])]
            if not dimensions:
                self.assertIn(metric["MetricName"], filters)
                continue
            sent = [one for one in declared if dimensions in one["dimensions"]
                    and any(re.fullmatch(selector, metric["MetricName"]) for selector in one["metric_selectors"])]
            self.assertTrue(sent, metric)

    def test_without_the_agent_there_is_nothing_to_do(self):
        done = self.observe(self.agent / "none")
        self.assertEqual((done.returncode, "there is no CloudWatch agent" in done.stdout), (0, True), done.stdout)

    def test_a_missing_or_odd_tag_is_told_and_nothing_is_written(self):
        for value, said in (("", "InstanceMetadataTags: enabled"), ('a"b', "no name of a stack")):
            self.cloud.metadata[TAG] = value
            done = self.observe()
            self.assertEqual((done.returncode, said in done.stdout), (1, True), done.stdout)
            self.assertEqual(list(self.agent.rglob("*.json")), [])

    def test_a_metadata_service_that_is_silent_leaves_what_was(self):
        self.observe()
        before = self.written()
        self.cloud.breaks("imds", "down")
        self.assertEqual(self.observe().returncode, 1)
        self.assertEqual(self.written(), before)


if __name__ == "__main__":
    unittest.main()
