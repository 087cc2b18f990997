"""Alarms: whom they tell, what they look at, and which lines of logs are counted for them."""

import contextlib
import io
import json
import re
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tests.stack.cloudwatch import evaluated, looks_at, matches
from tests.stack.running import ROOT
from tests.stack.template import ALL, TEMPLATE, Stack


class Alarms(unittest.TestCase):
    def test_each_alarm_tells_the_topic_and_names_its_runbook(self):
        headings = re.findall(r"^#+ (.*)$", (TEMPLATE.parent / "README.md").read_text(), re.MULTILINE)
        alarms = Stack().properties("AWS::CloudWatch::Alarm")
        for alarm in alarms:
            self.assertEqual((alarm["AlarmActions"], alarm["OKActions"]), ([ALL["AlarmTopicArn"]],) * 2, alarm["AlarmName"])
            self.assertIn(alarm["AlarmDescription"].rpartition("README: ")[2], headings)


    def test_each_alarm_looks_at_what_there_is(self):
        # AWS's own metrics are those of "CloudWatch metrics for your Network Load Balancer"
        # in its user guide; no SDK knows them.
        balancer, group = ("LoadBalancer", "<LoadBalancer.LoadBalancerFullName>"), ("TargetGroup", "<TargetGroup.TargetGroupFullName>")
        own, stack = "Tollgate/prod", ("stack", "prod")
        told = {alarm["AlarmName"]: looks_at(alarm) for alarm in Stack().properties("AWS::CloudWatch::Alarm")}
        self.assertEqual(told, {
            "prod-server-errors": ([(own, "requests", (), "Sum", 60), (own, "server_errors", (), "Sum", 60)], "GreaterThanThreshold", 1, (3, 5), "notBreaching"),
            "prod-latency": ([(own, "latency", (), "p95", 60)], "GreaterThanThreshold", 1000, (5, 5), "notBreaching"),
            "prod-unhealthy-gateways": ([("AWS/NetworkELB", "UnHealthyHostCount", (balancer, group), "Maximum", 60)], "GreaterThanThreshold", 0, (5, 5), "missing"),
            "prod-too-few-gateways": ([("AWS/NetworkELB", "HealthyHostCount", (balancer, group), "Minimum", 60)], "LessThanThreshold", 1, (3, 3), "breaching"),
            "prod-port-allocation": ([("AWS/NetworkELB", "PortAllocationErrorCount", (balancer,), "Sum", 60)], "GreaterThanThreshold", 0, (1, 1), "notBreaching"),
            "prod-reload-failed": ([(own, "tollgate_config_last_reload_successful", (stack,), "Minimum", 60)], "LessThanThreshold", 1, (3, 5), "breaching"),
            "prod-certificate-expiry": ([(own, "tollgate_certificate_expiry_timestamp_seconds", (stack,), "Minimum", 300)], "LessThanThreshold", 14, (3, 3), "missing"),
            "prod-box-errors": ([(own, "box_errors", (), "Sum", 300)], "GreaterThanThreshold", 0, (2, 3), "notBreaching"),
            "prod-drain-errors": ([(own, "drain_errors", (), "Sum", 300)], "GreaterThanThreshold", 0, (1, 1), "notBreaching"),
        })
        # Those without dimensions come from log lines, into the same name and namespace.
        counted = {(one["MetricNamespace"], one["MetricName"]) for found in Stack().properties("AWS::Logs::MetricFilter") for one in found["MetricTransformations"]}
        self.assertEqual(counted, {(metric[0], metric[1]) for metrics, *_ in told.values() for metric in metrics if not metric[2]})

    def test_alarms_count_as_their_expressions_say(self):
        errors, latency, expiry = (next(one["Expression"] for one in Stack().one(name)["Metrics"] if "Expression" in one)
                                   for name in ("ServerErrorsAlarm", "LatencyAlarm", "CertificateExpiryAlarm"))
        for told, requests, failed, percent in (("a busy fleet", 1000, 20, 2), ("all of few", 10, 10, 100), ("a few of few", 10, 4, 0),
                                                ("one of many", 1000, 1, 0.1), ("none of few", 10, None, 0), ("none of many", 1000, None, 0)):
            with self.subTest(told):
                self.assertEqual(evaluated(errors, requests=requests, errors=failed), percent)
        self.assertEqual((latency, expiry), ("p95 / 1000", "(expiry - EPOCH(expiry)) / 86400"))

    def test_metric_filters_take_the_lines_that_they_are_for(self):
        def counted(line: dict, **given: str) -> set[str]:
            stack = Stack("prod", {**ALL, **given})
            return {name for name in stack.resources if name.endswith("Metric") and matches(stack.one(name)["FilterPattern"], line)}

        box = said("tollgate-config", "error")
        access = {"status": 200, "duration_us": 1500, "route": "orders"}
        self.assertEqual(counted(box), {"BoxErrorsMetric"})
        self.assertEqual(counted(said("tollgate-lifecycle", "error")), {"BoxErrorsMetric", "DrainErrorsMetric"})
        self.assertEqual(counted(said("tollgate-lifecycle", "warn")), set())
        refused = "the machine is not let go yet, tried again every 15 s: autoscaling:CompleteLifecycleAction in us-east-1 is refused: {}: …"
        self.assertEqual(counted(said("tollgate-lifecycle", "warn", refused.format("ValidationError"))), set())
        self.assertEqual(counted(said("tollgate-lifecycle", "warn", refused.format("AccessDenied"))), {"DrainErrorsMetric"})
        self.assertEqual(counted(said("tollgate-config", "warn", refused.format("AccessDenied"))), set())
        self.assertEqual(counted(access), {"RequestsMetric", "LatencyMetric"})
        self.assertEqual(counted({**access, "status": 503}), {"RequestsMetric", "ServerErrorsMetric", "LatencyMetric"})
        # An upgraded connection is told when it ends.
        self.assertEqual(counted({**access, "status": 101, "duration_us": 600_000_000}), {"RequestsMetric"})
        streams = {"LatencyFilter": re.search(r"`LatencyFilter='(.*)'`", (TEMPLATE.parent / "README.md").read_text())[1]}
        self.assertEqual(counted({**access, "route": "events"}, **streams), {"RequestsMetric"})
        self.assertEqual(counted(access, **streams), {"RequestsMetric", "LatencyMetric"})
        # Left before an answer.
        self.assertEqual(counted({**access, "status": 0}), {"LatencyMetric"})


def said(unit: str, level: str, message: str = "this or that") -> dict:
    """A line of box.log, by the machine's own reporter."""
    sys.path.insert(0, str(ROOT / "ami/rootfs/usr/lib/tollgate"))
    try:
        from box import place, report
    finally:
        sys.path.pop(0)
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(place, "LOGS", folder), \
            contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        getattr(report.Report(unit), level)(message)
        return json.loads((Path(folder) / "box.log").read_text())


if __name__ == "__main__":
    unittest.main()
