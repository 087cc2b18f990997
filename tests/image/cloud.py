"""AWS on this machine: services, an instance's metadata service, and what goes wrong with them.

The services are moto's. Before a request gets there, its signature is computed again by
botocore, AWS's own client: one that AWS would refuse is refused. The metadata service
wants version 2 as an instance does that has `HttpTokens: required`.

As a program it serves inside a network namespace, and does what it is told by lines of
JSON on its standard input; its answers are lines too.
"""

import io
import json
import re
import socket
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.test import Client

REGION, ZONE, ZONE_ID = "us-east-1", "us-east-1a", "use1-az6"
ROLE, KEY, SECRET, TOKEN = "tollgate-test", "ASIATESTTESTTESTTEST", "se/cret+\"\\with", "the/role's+token=="
IMDS_TOKEN = "an-imds-token=="
HOUR = 3600


class Handler(BaseHTTPRequestHandler):
    """What both servers share."""

    protocol_version = "HTTP/1.1"

    @property
    def cloud(self) -> "Cloud":
        return self.server.cloud

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def reply(self, status: int, body: bytes, fields: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        given = {name.lower(): value for name, value in (fields or {}).items()}
        for name, value in {"date": self.date_time_string(), **given, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def broken(self, fault: str, status: int, body: bytes, fields: dict[str, str]) -> bool:
        """Does what a fault of the transport does; whether it was one."""
        if fault == "down":
            pass
        elif fault == "slow":
            self.cloud.ended.wait(30)
        elif fault == "half":
            # The length of all of it, half of it, and the end.
            head = {**{name.lower(): value for name, value in fields.items()}, "content-length": str(len(body))}
            self.send_response_only(status)
            for name, value in head.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[:len(body) // 2])
        elif fault == "endless":
            # No length, and no end.
            self.send_response_only(status)
            self.send_header("connection", "close")
            self.end_headers()
            try:
                for _ in range(1024):
                    self.wfile.write(bytes(65536))
            except OSError:
                pass
        elif fault == "half_closed":
            # A server that ends what it says by closing, and closes early.
            self.send_response_only(status)
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(body[:len(body) // 2])
        else:
            return False
        self.close_connection = True
        return True

    def log_message(self, *_) -> None:
        pass


class Services(Handler):
    """All services at one address; a request says in its signature which one it is for."""

    def answer(self) -> None:
        body = self.body()
        signed = re.match(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request, "
                          r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$", self.headers.get("authorization", ""))
        if not signed:
            return self.refuse("s3", 403, "MissingAuthenticationToken", "the request is not signed")
        key, region, service, names, signature = signed.groups()
        self.cloud.heard.append((service, self.action(body), region, body))
        fault = self.cloud.fault(service, self.action(body))
        if key == KEY and signature != self.signature(region, service, names, body):
            return self.refuse(service, 403, "SignatureDoesNotMatch", "botocore computes another signature")
        if key == KEY and "x-amz-security-token" not in names.split(";"):
            return self.refuse(service, 403, "InvalidClientTokenId", "the token is not signed")
        if self.refused(fault, service, body):
            return None
        if self.action(body) == "DescribeInstances" and self.cloud.page:
            # It may give less than it was asked for.
            body = re.sub(rb"(?<=&MaxResults=)\d+", str(self.cloud.page).encode(), body)
        told = Client(self.cloud.app).open(self.path, method=self.command, headers=list(self.headers.items()), data=body)
        fields = {name: value for name, value in told.headers.items() if name.lower() not in ("content-length", "connection")}
        if not self.broken(fault, told.status_code, told.data, fields):
            self.reply(told.status_code, told.data, fields)
        return None

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

    def action(self, body: bytes) -> str:
        if target := self.headers.get("x-amz-target"):
            return target.split(".")[-1]
        found = re.search(rb"(?:^|&)Action=([A-Za-z]+)", body)
        return found[1].decode() if found else f"{self.command} {self.path}"

    def refused(self, fault: str, service: str, body: bytes) -> bool:
        """Answers as the service does that refuses."""
        action = f"{service}:{self.action(body)}"
        if fault == "denied":
            code = {"ec2": "UnauthorizedOperation", "s3": "AccessDenied", "autoscaling": "AccessDenied"}
            self.refuse(service, 403, code.get(service, "AccessDeniedException"),
                        f"User: arn:aws:sts::123456789012:assumed-role/{ROLE}/i-1 is not authorized to perform: {action}")
        elif fault == "throttled":
            code = {"ec2": "RequestLimitExceeded", "s3": "SlowDown", "autoscaling": "Throttling"}
            self.refuse(service, 503 if service in ("ec2", "s3") else 400, code.get(service, "ThrottlingException"), "Rate exceeded")
        elif fault == "expired":
            self.refuse(service, 400, "ExpiredTokenException", "The security token included in the request is expired")
        elif fault == "elsewhere":
            self.refuse(service, 301, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint.")
        elif fault == "in_progress":
            self.refuse(service, 400, "RequestInProgressException", "The request is in progress")
        elif fault == "error":
            self.refuse(service, 500, "InternalServerError", "something broke")
        elif fault in ("clock_behind", "clock_ahead"):
            # As AWS answers a machine whose clock is an hour off.
            date = self.date_time_string(int(time.time()) + (HOUR if fault == "clock_behind" else -HOUR))
            code = {"s3": "RequestTimeTooSkewed", "ec2": "AuthFailure"}
            self.refuse(service, 403, code.get(service, "InvalidSignatureException"), "Signature expired or not yet current", {"date": date})
        elif fault == "failed":
            self.refuse(service, 400, "RequestFailedException", "The request has failed for an unspecified reason")
        elif fault == "empty":
            self.reply(200, b"")
        else:
            return False
        return True

    def refuse(self, service: str, status: int, code: str, message: str, fields: dict[str, str] | None = None) -> None:
        if service in ("ec2",):
            text = f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors></Response>"
        elif service == "autoscaling":
            text = ('<ErrorResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><Error>'
                    f"<Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>")
        elif service == "s3":
            text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
        else:
            text = json.dumps({"__type": f"com.amazonaws#{code}", "message": message})
        self.reply(status, text.encode(), fields)

    def signature(self, region: str, service: str, names: str, body: bytes) -> str:
        """What botocore signs this very request with."""
        auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(Credentials(KEY, SECRET, TOKEN), service, region)
        headers = {name: self.headers[name] for name in names.split(";") if self.headers.get(name) is not None}
        request = AWSRequest(self.command, f"http://{self.headers['host']}{self.path}", headers=headers, data=body or None)
        request.context["timestamp"] = self.headers.get("x-amz-date", "")
        return auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)


class Metadata(Handler):
    """The instance's metadata service, with a token or not at all."""

    def do_PUT(self) -> None:
        self.body()
        self.cloud.asked.append((self.headers.get("user-agent", ""), self.command, self.path, False))
        ttl = self.headers.get("x-aws-ec2-metadata-token-ttl-seconds")
        fault = self.cloud.fault("imds", "token")
        if self.broken(fault, 200, IMDS_TOKEN.encode(), {}):
            return
        if self.path != "/latest/api/token" or ttl is None:
            self.reply(400, b"")
        else:
            self.reply(200, IMDS_TOKEN.encode(), {"x-aws-ec2-metadata-token-ttl-seconds": ttl})

    def do_GET(self) -> None:
        fault = self.cloud.fault("imds", self.path)
        if self.broken(fault, 200, b"half", {}):
            return
        if fault == "token_ended":
            self.reply(401, b"")
            return
        knows = self.headers.get("x-aws-ec2-metadata-token") == IMDS_TOKEN
        self.cloud.asked.append((self.headers.get("user-agent", ""), self.command, self.path, knows))
        spared = self.cloud.spares_cloud_init and self.headers.get("user-agent", "").startswith(("Cloud-Init/", "python-requests/"))
        if not knows and not spared:
            self.reply(401, b"")
            return
        found = self.cloud.metadata_at(self.path)
        self.reply(*((404, b"") if found is None else (200, found.encode())), {"content-type": "text/plain"})


class LifecycleActions:
    """Answers CompleteLifecycleAction of Auto Scaling, which moto lacks, by the hooks that
    moto keeps; everything else is moto's."""

    def __init__(self, cloud: "Cloud") -> None:
        self.cloud, self.app = cloud, cloud.app
        # Whether hooks hold machines now; before, there is nothing to complete.
        self.holds = True
        self.completed: list[dict[str, str]] = []

    def __call__(self, environ: dict, start):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        fields = dict(urllib.parse.parse_qsl(body.decode(errors="replace")))
        if fields.get("Action") != "CompleteLifecycleAction":
            return self.app(environ, start)
        hooks = self.cloud.client("autoscaling").describe_lifecycle_hooks(
            AutoScalingGroupName=fields["AutoScalingGroupName"])["LifecycleHooks"]
        if not self.holds or fields["LifecycleHookName"] not in [hook["LifecycleHookName"] for hook in hooks]:
            start("400 Bad Request", [("content-type", "text/xml")])
            return [b"<ErrorResponse><Error><Code>ValidationError</Code><Message>No active Lifecycle Action found "
                    b"with instance ID</Message></Error></ErrorResponse>"]
        self.completed.append(fields)
        start("200 OK", [("content-type", "text/xml")])
        return [b"<CompleteLifecycleActionResponse/>"]


class Cloud:
    """Both servers, what they hold, and the faults they have. A context manager."""

    def __init__(self, services: tuple[str, int] = ("127.0.0.1", 0), metadata: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.app = DomainDispatcherApplication(create_backend_app)
        self.app = self.lifecycle = LifecycleActions(self)
        # By service, or `service:Action`: the fault, and how often; -1 is always.
        self.faults: dict[str, tuple[str, int]] = {}
        # Each call: service, action, region, body.
        self.heard: list[tuple[str, str, str, bytes]] = []
        # Each question to the metadata service: who, how, what, and whether with the token.
        self.asked: list[tuple[str, str, str, bool]] = []
        # How many instances a page of EC2's has; 0 is as many as there are.
        self.page = 0
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.metadata = {
            "ami-id": "ami-0123456789abcdef0", "hostname": "ip-10-0-1-5.ec2.internal", "instance-id": "i-0123456789abcdef0",
            "instance-type": "t3.small", "local-hostname": "ip-10-0-1-5.ec2.internal", "local-ipv4": "10.0.1.5",
            "placement/availability-zone": ZONE, "placement/availability-zone-id": ZONE_ID, "placement/region": REGION,
            "services/domain": "amazonaws.com", "services/partition": "aws",
            "iam/security-credentials/": ROLE,
            f"iam/security-credentials/{ROLE}": json.dumps({
                "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": KEY, "SecretAccessKey": SECRET, "Token": TOKEN,
                "Expiration": "2099-01-01T00:00:00Z"}),
            "tags/instance/aws:autoscaling:groupName": "tollgate", "tags/instance/tollgate:stack": "prod",
            "autoscaling/target-lifecycle-state": "InService",
        }
        self.user_data = ""
        # In a container cloud-init cannot see that this is EC2, and asks without a token.
        self.spares_cloud_init = False
        self.servers = []
        for address, handler in ((services, Services), (metadata, Metadata)):
            server = ThreadingHTTPServer(address, handler)
            server.cloud, server.daemon_threads = self, True
            self.servers.append(server)
        # A hop limit of 1, as the stack's machines have it.
        server.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        self.endpoint, self.imds = (f"http://{one.server_address[0]}:{one.server_address[1]}" for one in self.servers)

    def __enter__(self) -> "Cloud":
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def fault(self, service: str, action: str) -> str:
        """What goes wrong with this call; the empty text is nothing."""
        with self.lock:
            for name in (f"{service}:{action}", service):
                kind, left = self.faults.get(name, ("", 0))
                if kind and left:
                    self.faults[name] = (kind, left - 1)
                    return kind
        return ""

    def breaks(self, name: str, kind: str, times: int = -1) -> None:
        with self.lock:
            self.faults[name] = (kind, times)

    def heals(self) -> None:
        with self.lock:
            self.faults.clear()

    def forget(self) -> None:
        """Empties the services: moto's are the process's."""
        Client(self.app).post("/moto-api/reset")

    def metadata_at(self, path: str) -> str | None:
        """A value, or the list of a folder."""
        version, _, rest = path.lstrip("/").partition("/")
        if not re.fullmatch(r"latest|\d{4}-\d\d-\d\d", version):
            return "latest\n2021-03-23\n2016-09-02\n" if not version else None
        if rest == "user-data":
            return self.user_data or None
        if rest.rstrip("/") == "dynamic/instance-identity":
            return "document\n"
        if rest == "dynamic/instance-identity/document":
            return json.dumps({"region": REGION, "availabilityZone": ZONE, "accountId": "123456789012", "instanceId": self.metadata["instance-id"]})
        if not rest.startswith("meta-data"):
            return "user-data\nmeta-data\ndynamic\n" if not rest else None
        key = rest.removeprefix("meta-data").lstrip("/")
        if key in self.metadata:
            return self.metadata[key]
        folder = key.rstrip("/") + "/" if key else ""
        below = [name[len(folder):] for name in self.metadata if name.startswith(folder) and name != folder]
        names = {name.partition("/")[0] + ("/" if "/" in name else "") for name in below}
        return "\n".join(sorted(names)) if names else None

    def client(self, service: str, region: str = REGION):
        """boto3's client of a service here, as an administrator: it does not go by the role."""
        return boto3.client(service, region_name=region, endpoint_url=self.endpoint, aws_access_key_id="admin",
                            aws_secret_access_key="admin",
                            config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}))

    def do(self, told: dict):
        """One line of the program's input."""
        if "call" in told:
            service, operation, fields = told["call"]
            return getattr(self.client(service), operation)(**fields)
        if "break" in told:
            return self.breaks(*told["break"])
        if "heal" in told:
            return self.heals()
        if "metadata" in told:
            return self.metadata.update(told["metadata"])
        if "user_data" in told:
            self.user_data = told["user_data"]
            return None
        if "spares_cloud_init" in told:
            self.spares_cloud_init = told["spares_cloud_init"]
            return None
        if "asked" in told:
            return self.asked
        if "heard" in told:
            return [entry[:3] for entry in self.heard]
        if "bodies" in told:
            return [body.decode(errors="replace") for _, action, _, body in self.heard if action == told["bodies"]]
        raise ValueError(f"there is no such thing to do: {told}")


def main() -> None:
    """`cloud.py SERVICES-ADDRESS METADATA-ADDRESS`, as `127.0.0.1:5000 169.254.169.254:80`."""
    addresses = [(host, int(port)) for host, _, port in (word.rpartition(":") for word in sys.argv[1:3])]
    with Cloud(*addresses) as cloud:
        print(json.dumps({"endpoint": cloud.endpoint, "imds": cloud.imds}), flush=True)
        for line in sys.stdin:
            try:
                told = {"done": cloud.do(json.loads(line))}
            except Exception as why:  # Whoever told it hears of it.
                told = {"failed": f"{type(why).__name__}: {why}"}
            print(json.dumps(told, default=str), flush=True)


if __name__ == "__main__":
    socket.setdefaulttimeout(60)
    main()
