"""A gateway that uses everything that has metrics, and traffic that moves each of them."""

import http.client
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.stack.running import Gateway, free_ports

CONFIG = """
listeners:
  - { name: public, address: "@public@", tls: { certificates: [{ chain: a.pem, key: a.key }] } }
  - { name: plain, address: "@plain@" }
  - { name: link, address: "@link@", proxy_protocol: { mode: required, trusted: [127.0.0.0/8] } }
readiness: { address: "@readiness@" }
admin: { socket: "@folder@/admin.sock", metrics: "@metrics@" }
access_log: { path: access.log }
location: { zone: use1-az1, region: us-east-1 }
tenants: [{ name: billing, vpc_endpoints: [vpce-0123456789abcdef0] }]
privatelink: { unknown_endpoint: allow }
tracing: { sampling: { ratio: 100%, parent: never }, otlp: { endpoint: "http://127.0.0.1:9/v1/traces", interval: 100ms } }
discovery: { resolvers: ["@resolver@"], timeout: 500ms, allow: [127.0.0.0/8] }
upstreams:
  - name: near
    endpoints: [{ address: "@origin@", zone: use1-az1 }, { address: "@dead@", zone: use1-az1 }]
    health_check: { protocol: tcp, interval: 1s }
    outlier_detection: {}
    retries: { attempts: 2, on: [connect, 503], budget: 20% }
    max_in_flight: { upstream: 1, queue: 1, queue_timeout: 100ms }
  - { name: far, endpoints: [{ address: "@origin@", zone: use1-az2 }], outlier_detection: {} }
  - { name: named, endpoints: [{ address: "nobody.test:80" }, { address: "somebody.test:80" }], endpoints_file: named.yaml, outlier_detection: {} }
limits:
  - { name: few, key: [client_address], rate: 1/m, burst: 1 }
  - { name: at-once, concurrency: 5 }
  - { name: fleet, key: [tenant], rate: 100/s, burst: 200, scope: fleet }
fleet: { gateways: 3, store: { addresses: ["127.0.0.1:9"] } }
signers: [{ name: default, issuer: "https://gateway.example.com", keys: jwt/ }]
routes:
  - { name: near, match: { path: /near }, to: [{ upstream: near }], sign: default, limits: [at-once, fleet] }
  - { name: far, match: { path: /far }, to: [{ upstream: far }] }
  - { name: named, match: { path: /named }, to: [{ upstream: named }] }
  - { name: few, match: { path: /few }, to: [{ upstream: far }], limits: [few] }
"""
ENDPOINT = b"vpce-0123456789abcdef0"


class Busy(Gateway):
    """The gateway, with its files made beforehand."""

    def __init__(self) -> None:
        self.resolver = Resolver()
        super().__init__(CONFIG.replace("@dead@", f"127.0.0.1:{free_ports(1)[0]}").replace("@resolver@", self.resolver.address),
                         ("public", "plain", "link", "readiness", "metrics"))

    def begin(self) -> Gateway:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "30", "-subj", "/CN=localhost", "-keyout", self.folder / "a.key", "-out", self.folder / "a.pem"],
                       stderr=subprocess.DEVNULL, check=True)
        (self.folder / "jwt").mkdir()
        self.command("keys", "generate", "--out", str(self.folder / "jwt"))
        (self.folder / "named.yaml").write_text("endpoints: []\n")
        self.resolver.start()
        return super().begin()

    def __exit__(self, *_) -> None:
        self.resolver.socket.close()
        super().__exit__()

    def ask(self) -> None:
        """Something of everything, once."""
        for path, script in (("/near", ""), ("/near", "status=503"), ("/far", "status=500"), ("/few", ""), ("/few", ""),
                             ("/named", ""), ("/nowhere", ""), ("/near", "reset_before_header")):
            self.get("plain", path, {"x-origin": script} if script else {})
        together = [threading.Thread(target=self.get, args=("plain", "/near", {"x-origin": "delay=300ms"})) for _ in range(4)]
        for one in together:
            one.start()
        for one in together:
            one.join()
        self.handshake()
        self.through_endpoint()
        # No request at all, and no header of a load balancer.
        for port, words in (("public", b"GET / HTTP/1.1\r\n\r\n"), ("link", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")):
            with socket.create_connection(("127.0.0.1", self.port[port])) as connection:
                connection.sendall(words)
                try:
                    connection.recv(100)
                except OSError:
                    pass

    def handshake(self) -> None:
        trust = ssl.create_default_context(cafile=str(self.folder / "a.pem"))
        trust.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", self.port["public"], context=trust, timeout=10)
        connection.request("GET", "/far")
        assert connection.getresponse().read()
        connection.close()

    def through_endpoint(self) -> None:
        """As a Network Load Balancer sends a connection through a VPC endpoint."""
        value = b"\x01" + ENDPOINT
        block = socket.inet_aton("10.0.0.5") + socket.inet_aton("10.0.0.9") + struct.pack("!HH", 40000, 8443) \
            + b"\xea" + struct.pack("!H", len(value)) + value
        header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(block)) + block
        with socket.create_connection(("127.0.0.1", self.port["link"])) as connection:
            connection.sendall(header + b"GET /far HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200"), "a PROXY header with an endpoint is taken"

    def fails_an_upgrade(self) -> None:
        file = self.folder / "tollgate.yaml"
        good = file.read_text()
        file.write_text("nonsense")
        assert self.command("upgrade", "--timeout", "20").returncode == 1
        file.write_text(good)


class Resolver(threading.Thread):
    """Knows one name, somebody.test, for a second at a time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"

    def run(self) -> None:
        while True:
            try:
                asked_for, who = self.socket.recvfrom(512)
            except OSError:
                return
            end = asked_for.index(b"\0", 12) + 5
            found = b"somebody" in asked_for and asked_for[end - 4:end - 2] == b"\0\1"
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1" if found else b""
            code = b"\x81\x80" if b"somebody" in asked_for else b"\x81\x83"
            self.socket.sendto(asked_for[:2] + code + b"\0\1" + (b"\0\1" if found else b"\0\0") + b"\0\0\0\0"
                               + asked_for[12:end] + answer, who)


@contextmanager
def asked(gateway: Busy) -> Iterator[None]:
    """Asks throughout."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def ask() -> None:
        while not stop.is_set() and not failed:
            try:
                gateway.ask()
            except BaseException as why:  # Told to the test, below.
                failed.append(why)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    try:
        yield
    finally:
        stop.set()
        asking.join()
    if failed:
        raise failed[0]


__all__ = ["Busy", "asked"]
