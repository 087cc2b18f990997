"""Alerts and the dashboard, against the metrics of a real gateway."""

import json
import re
import shutil
import subprocess
import unittest
import urllib.parse

import yaml

from tests.stack.busy import Busy, asked
from tests.stack.cloudwatch import matches
from tests.stack.running import ROOT, eventually, fetch, free_ports
from tests.stack.template import Stack

OBSERVABILITY = ROOT / "ami" / "observability"
RULES = OBSERVABILITY / "alerts.yaml"
ALERTS = {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
# Of Prometheus itself.
ITS_OWN = {"up"}
NAME = re.compile(r"\b(?:tollgate|process)_[a-z_]+\b|\bup\b")


class Alerts(unittest.TestCase):
    def test_promtool_finds_nothing_and_each_test_holds(self):
        if not shutil.which("promtool"):
            self.skipTest("there is no promtool: Debian's package prometheus has it")
        for words in (["check", "rules", RULES], ["test", "rules", OBSERVABILITY / "alerts.test.yaml"]):
            done = subprocess.run(["promtool", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_each_alert_has_a_test_in_which_it_fires(self):
        tests = yaml.safe_load((OBSERVABILITY / "alerts.test.yaml").read_text())["tests"]
        fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
        self.assertEqual(fired, set(ALERTS))

    def test_each_alert_names_a_paragraph_of_the_runbooks(self):
        headings = re.findall(r"^#+ (.*)$", (ROOT / "ami" / "README.md").read_text(), re.MULTILINE)
        for name, rule in ALERTS.items():
            self.assertIn(rule["annotations"]["runbook"], headings, name)
            self.assertIn(rule["labels"]["severity"], ("page", "ticket"), name)


class Live(unittest.TestCase):
    """Prometheus reads a gateway that is kept busy, as it would in a fleet."""

    @classmethod
    def setUpClass(cls):
        if not shutil.which("prometheus"):
            raise unittest.SkipTest("there is no prometheus: Debian's package of that name has it")
        cls.gateway = cls.enterClassContext(Busy())
        cls.gateway.fails_an_upgrade()
        cls.enterClassContext(asked(cls.gateway))
        port = free_ports(1)[0]
        settings = cls.gateway.folder / "prometheus.yaml"
        settings.write_text(yaml.safe_dump({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "tollgate", "static_configs": [
                {"targets": [f"127.0.0.1:{cls.gateway.port['metrics']}"]}]}]}))
        cls.gateway.child(["prometheus", f"--config.file={settings}", f"--storage.tsdb.path={cls.gateway.folder / 'data'}",
                           f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"])
        cls.url = f"http://127.0.0.1:{port}/api/v1"
        eventually(lambda: cls.answers('rate(tollgate_requests_total[10s])'), "Prometheus has read the gateway twice")

    @classmethod
    def answers(cls, expression: str) -> list:
        try:
            return json.loads(fetch(f"{cls.url}/query?{urllib.parse.urlencode({'query': expression})}"))["data"]["result"]
        except ConnectionRefusedError:
            return []
        except OSError as why:
            if getattr(why, "code", 0) == 400:
                raise AssertionError(f"{expression}: {why.read().decode()}") from None
            return []

    def test_each_query_of_the_dashboard_shows_something(self):
        for title, expression in dashboard_queries():
            with self.subTest(title, expression=expression):
                eventually(lambda expression=expression: self.answers(expression), f"{title} shows something: {expression}")

    def test_each_variable_of_the_dashboard_has_values(self):
        board = json.loads((OBSERVABILITY / "dashboard.json").read_text())
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                selector = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
                self.assertTrue([found for found in self.answers(selector[1]) if selector[2] in found["metric"]], variable["name"])

    def test_alerts_name_metrics_and_labels_that_there_are(self):
        text = fetch(f"http://127.0.0.1:{self.gateway.port['metrics']}/metrics").decode()
        labels: dict[str, set[str]] = {}
        values: dict[tuple[str, str], set[str]] = {}
        for name, told in re.findall(r"^(\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
            for label, value in re.findall(r'(\w+)="([^"]*)"', told):
                labels.setdefault(name, set()).add(label)
                values.setdefault((name, label), set()).add(value)
            labels.setdefault(name, set())
        self.assertFalse(self.answers("ALERTS{alertstate='none'}"))
        for alert, rule in ALERTS.items():
            for name, selector in re.findall(r"\b((?:tollgate|process)_\w+)(?:\{([^}]*)\})?", rule["expr"]):
                self.assertIn(name, labels, alert)
                for label, how, value in re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', selector):
                    if label == "job":
                        continue
                    self.assertIn(label, labels[name], f"{alert}: {name}")
                    known = [one for one in values[name, label] if re.fullmatch(value, one)]
                    # The results of upgrades appear with the first of each.
                    if how != "!=" and (name, value) != ("tollgate_config_rollbacks_total", ""):
                        self.assertTrue(known, f"{alert}: no {name} has a {label} like {value}")

    def test_the_stacks_metric_filters_count_lines_of_the_access_log(self):
        stack, log = Stack(), self.gateway.folder / "access.log"
        for name in ("RequestsMetric", "ServerErrorsMetric", "LatencyMetric"):
            told = stack.one(name)
            value = told["MetricTransformations"][0]["MetricValue"].removeprefix("$.")

            def counted(told=told, value=value) -> bool:
                whole, _, _ = log.read_text().rpartition("\n")
                found = [line for line in map(json.loads, whole.splitlines()) if matches(told["FilterPattern"], line)]
                return any(value == "1" or line[value] > 0 for line in found)

            eventually(counted, f"{name} counts some line")

    def test_the_scrape_is_well_formed(self):
        text = fetch(f"http://127.0.0.1:{self.gateway.port['metrics']}/metrics")
        done = subprocess.run(["promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout.decode())


def dashboard_queries() -> list[tuple[str, str]]:
    """What each panel and annotation asks, as Grafana would send it."""
    board = json.loads((OBSERVABILITY / "dashboard.json").read_text())
    asked_of = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", [])]
    asked_of += [(f"annotation {one['name']}", one["expr"].removesuffix(" > 0")) for one in board["annotations"]["list"]]
    return [(title, expression.replace("$__rate_interval", "10s").replace("$instance", ".*")) for title, expression in asked_of]


if __name__ == "__main__":
    unittest.main()
