"""Calls of AWS: with the role's credentials, signed, tried again while that may help.

Owns hosts, protocols (JSON, query, S3), what an error means and what is tried again.
`Aws` holds what one run of a program learned: region, domain, credentials.
"""

import hashlib
import json
import os
import time
import urllib.parse
import xml.etree.ElementTree as xml
from dataclasses import dataclass

from . import curl
from .failure import Failure
from .imds import Credentials, Imds
from .retry import TRY_SECONDS, Patience

# Of AWS's own tools: one server for all services.
ENDPOINT = os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/")
# By these a service says: later.
LATER = {"ThrottlingException", "Throttling", "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded",
         "SlowDown", "RequestThrottled", "RequestThrottledException", "PriorRequestNotComplete"}
# As Private CA of a certificate that it was just asked for.
IN_PROGRESS = {"RequestInProgressException"}
EXPIRED = {"ExpiredToken", "ExpiredTokenException"}
# What a request says that was signed by a wrong clock.
CLOCK = {"RequestTimeTooSkewed", "RequestExpired", "SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure"}
CLOCK_SECONDS = 240
# The versions of the query protocol's services.
VERSIONS = {"ec2": "2016-11-15", "autoscaling": "2011-01-01"}


class Refused(Failure):
    """The service answered and said no."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class Request:
    """A call before it is signed. `what` names it to people."""

    service: str
    what: str
    region: str
    path: str
    options: dict


class Aws:
    """What a run of a program knows of AWS; asks the metadata service when it has to."""

    def __init__(self) -> None:
        self.patience = Patience()
        self.imds = Imds(self.patience)
        self.known: dict[str, str] = {}
        self.credentials: Credentials | None = None

    @property
    def region(self) -> str:
        return self.learn("region", self.imds.region)

    def learn(self, name: str, ask) -> str:
        if name not in self.known:
            self.known[name] = ask()
        return self.known[name]

    def json(self, service: str, target: str, body: dict, region: str = "") -> dict:
        """A call of the JSON protocol, as `AmazonSSM.GetParameter`."""
        options = {
            "data-raw": json.dumps(body),
            "header": ["content-type: application/x-amz-json-1.1", f"x-amz-target: {target}"],
        }
        what = f"{service}:{target.split('.')[-1]}"
        return self.send(Request(service, what, region or self.region, "/", options), json.loads)

    def query(self, service: str, action: str, fields: dict[str, str]) -> xml.Element:
        """A call of the query protocol, as EC2's; without XML's name spaces."""
        body = urllib.parse.urlencode({"Action": action, "Version": VERSIONS[service], **fields})
        options = {"data-raw": body, "header": "content-type: application/x-www-form-urlencoded; charset=utf-8"}
        return self.send(Request(service, f"{service}:{action}", self.region, "/", options), parsed)

    def object(self, bucket: str, key: str, region: str = "") -> bytes:
        """An object of S3."""
        # By path: a bucket with a dot in its name fits no certificate otherwise.
        path = f"/{bucket}/{urllib.parse.quote(key, safe='/~')}"
        options = {"header": f"x-amz-content-sha256: {hashlib.sha256(b'').hexdigest()}"}
        return self.send(Request("s3", "s3:GetObject", region or self.region, path, options), lambda body: body)

    def send(self, request: Request, read):
        what = f"{request.what} in {request.region}"
        return self.patience.tried(lambda: self.once(request, read, what), f"{what} fails")

    def once(self, request: Request, read, what: str):
        answer = self.exchange(request)
        if answer.status >= 300:
            code, message = error_of(answer.body)
            if code in EXPIRED:
                self.credentials = None
            if code in IN_PROGRESS:
                raise curl.NotYet(f"status {answer.status} {code}: {message}")
            if answer.status >= 500 or answer.status == 429 or code in LATER | EXPIRED:
                raise curl.Unreached(f"status {answer.status} {code}: {message}")
            raise Refused(f"{what} is refused: {code}: {message}{of_the_clock(code, answer)}", code)
        try:
            return read(answer.body)
        except (ValueError, xml.ParseError) as why:
            raise curl.Unreached(f"half an answer, of {len(answer.body)} bytes: {why}") from None

    def exchange(self, request: Request) -> curl.Answer:
        if self.credentials is None:
            self.credentials = self.imds.credentials()
        held = self.credentials
        signing = curl.Signing(held.key, held.secret, held.token, request.region, request.service)
        return curl.exchange(self.host(request) + request.path, request.options, TRY_SECONDS, signing)

    def host(self, request: Request) -> str:
        if ENDPOINT:
            return ENDPOINT
        return f"https://{request.service}.{request.region}.{self.learn('domain', self.imds.domain)}"


def parsed(body: bytes) -> xml.Element:
    root = xml.fromstring(body)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def error_of(body: bytes) -> tuple[str, str]:
    """The code and the text of a refusal, in whatever protocol."""
    try:
        told = json.loads(body)
        code = str(told.get("__type") or told.get("code") or "no code").rpartition("#")[2]
        return code, str(told.get("message") or told.get("Message") or "")
    except (ValueError, AttributeError):
        pass
    try:
        root = parsed(body)
        return root.findtext(".//Code") or "no code", root.findtext(".//Message") or ""
    except xml.ParseError:
        return "no code", body[:200].decode(errors="replace").strip()


def of_the_clock(code: str, answer: curl.Answer) -> str:
    """What is to be said of this machine's clock, if that is why."""
    if code not in CLOCK or answer.date is None:
        return ""
    off = time.time() - answer.date
    if abs(off) < CLOCK_SECONDS:
        return ""
    way = "ahead of" if off > 0 else "behind"
    return f"; this machine's clock is {abs(off) / 60:.0f} minutes {way} AWS's: look at `chronyc tracking`"
