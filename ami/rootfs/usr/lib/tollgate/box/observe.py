"""Writes the CloudWatch agent's configuration: what the image has, with the stack's name.

The agent has no variable for it. Does nothing on an image without the agent.
"""

import os
import re
from pathlib import Path

from .failure import Failure
from .generations import replace
from .imds import Imds
from .report import Report, run

UNIT = "tollgate-observe"
TEMPLATES = Path(os.environ.get("TOLLGATE_BOX_TEMPLATES", "/usr/share/tollgate/observe"))
AGENT = Path(os.environ.get("TOLLGATE_BOX_AGENT", "/opt/aws/amazon-cloudwatch-agent"))
# Template, and where the agent looks for it.
FILES = {"amazon-cloudwatch-agent.json": "etc/amazon-cloudwatch-agent.json", "prometheus.yaml": "etc/tollgate-prometheus.yaml"}
# A stack's name as CloudFormation wants it: it goes into JSON, YAML and names of log groups.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
TAG = "tollgate:stack"


def main() -> int:
    return run(UNIT, observe)


def observe(report: Report) -> None:
    if not AGENT.is_dir():
        report.info("there is no CloudWatch agent in this image: logs stay on the machine")
        return
    stack = name()
    for template, path in FILES.items():
        text = (TEMPLATES / template).read_text().replace("@STACK@", stack)
        replace(AGENT / path, text.encode(), 0o644)
    report.info(f"the CloudWatch agent sends to /tollgate/{stack}/…")


def name() -> str:
    """The stack, by the tag that it gives its machines."""
    found = (Imds().get(f"tags/instance/{TAG}") or "").strip()
    if not found:
        raise Failure(f"the metadata service does not tell the tag {TAG}: give the launch template the tag, and "
                      "InstanceMetadataTags: enabled")
    if not NAME.fullmatch(found):
        raise Failure(f"the tag {TAG} is `{found}`, which is no name of a stack: letters, digits and hyphens")
    return found
