"""What CloudWatch makes of alarms, expressions and filters, as far as the stack uses them;
moto does not run any of them."""

import fnmatch
import json
import operator
import re


def looks_at(alarm: dict) -> tuple:
    """Metrics with their dimensions, statistic and period; operator, threshold, how many of
    how many points, and what no point is."""
    queries = [(one["MetricStat"]["Metric"], one["MetricStat"]["Stat"], one["MetricStat"]["Period"]) for one in alarm.get("Metrics", []) if "MetricStat" in one]
    queries += [(alarm, alarm["Statistic"], alarm["Period"])] if "MetricName" in alarm else []
    metrics = [(metric["Namespace"], metric["MetricName"], tuple((one["Name"], one["Value"]) for one in metric.get("Dimensions", [])), statistic, period)
               for metric, statistic, period in queries]
    points = alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"]), alarm["EvaluationPeriods"]
    return sorted(metrics), alarm["ComparisonOperator"], alarm["Threshold"], points, alarm["TreatMissingData"]


def evaluated(expression: str, **values):
    """A point of CloudWatch's metric math: IF, FILL, OR and what Python has."""
    told = {"IF": lambda holds, one, other: one if holds else other, "FILL": lambda value, other: other if value is None else value}
    return eval(expression.replace(" OR ", " or "), {"__builtins__": {}}, {**told, **values})


def matches(pattern: str, line: dict) -> bool:
    """Whether a filter of CloudWatch Logs for JSON takes the line: comparisons with && and ||,
    `*` in a text for anything. A field that is not there is like nothing."""

    def holds(found: re.Match) -> str:
        field, sign, value = found.groups()
        return str(field in line and HOW[sign](line[field], json.loads(value)))

    inner = re.fullmatch(r"\{ (.*) \}", pattern)[1]
    told = re.sub(r'\$\.(\w+) (=|!=|>|>=) ("[^"]*"|\d+)', holds, inner)
    if rest := re.sub(r"True|False|&&|\|\||[() ]", "", told):
        raise ValueError(f"{pattern}: {rest}")
    return eval(told.replace("&&", "and").replace("||", "or"), {"__builtins__": {}})


def like(value, wanted) -> bool:
    return fnmatch.fnmatchcase(value, wanted) if isinstance(value, str) and isinstance(wanted, str) else value == wanted


HOW = {"=": like, "!=": operator.ne, ">": operator.gt, ">=": operator.ge}
