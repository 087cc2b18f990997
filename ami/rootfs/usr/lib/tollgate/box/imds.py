"""What the instance's metadata service says: version 2, with a token, and nothing else."""

import json
import os
from dataclasses import dataclass

from . import curl
from .failure import Failure
from .retry import TRY_SECONDS, Patience

# The name is that of AWS's own tools.
ENDPOINT = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")


@dataclass
class Credentials:
    """Of the instance's role; they last for hours."""

    key: str
    secret: str
    token: str


class Imds:
    """A session with the service."""

    def __init__(self, patience: Patience | None = None) -> None:
        self.token = ""
        self.patience = patience or Patience()

    def credentials(self) -> Credentials:
        """Those of the role; says so when the instance has none."""
        path = "iam/security-credentials/"
        role = self.get(path)
        if not role or not role.strip():
            raise Failure("the instance has no role: give its launch template an instance profile")
        text = self.get(path + role.split()[0]) or ""
        try:
            answer = json.loads(text)
            return Credentials(answer["AccessKeyId"], answer["SecretAccessKey"], answer["Token"])
        except (ValueError, KeyError, TypeError):
            raise Failure(f"the metadata service has no credentials of the role {role.strip()}: "
                          f"{code_of(text)}") from None

    def region(self) -> str:
        return self.must("placement/region")

    def domain(self) -> str:
        """What hosts of AWS end with here: `amazonaws.com`, in China `amazonaws.com.cn`."""
        return self.must("services/domain")

    def must(self, path: str) -> str:
        answer = self.get(path)
        if not answer or not answer.strip():
            raise Failure(f"the metadata service does not tell {path}")
        return answer.strip()

    def get(self, path: str) -> str | None:
        """What is at the path; nothing where there is nothing. A run may last for longer
        than its token, which is asked for again then."""
        answer = self.at(path) if self.token else None
        if answer is None or answer.status == 401:
            self.token = told(self.ask("/latest/api/token", {
                "request": "PUT", "header": "X-aws-ec2-metadata-token-ttl-seconds: 300"}), "/latest/api/token") or ""
            answer = self.at(path)
        return told(answer, path)

    def at(self, path: str) -> curl.Answer:
        return self.ask(f"/latest/meta-data/{path}", {"header": f"X-aws-ec2-metadata-token: {self.token}"})

    def ask(self, path: str, options: dict) -> curl.Answer:
        # A proxy knows another machine's metadata service, if any.
        options = {"noproxy": "*", **options}
        return self.patience.tried(lambda: served(curl.exchange(ENDPOINT + path, options, TRY_SECONDS)),
                                   f"the metadata service at {ENDPOINT} does not answer")


def told(answer: curl.Answer, path: str) -> str | None:
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise Failure(f"the metadata service at {ENDPOINT} refuses {path}: status {answer.status}")
    return answer.body.decode(errors="replace")


def served(answer: curl.Answer) -> curl.Answer:
    if answer.status >= 500:
        raise curl.Unreached(f"status {answer.status}")
    return answer


def code_of(text: str) -> str:
    try:
        return str(json.loads(text).get("Code", "no Code"))
    except (ValueError, AttributeError):
        return "it is no JSON"
