#!/usr/bin/env python3
"""Reloads a gateway with 10,000 routes and 1,000 upstreams again and again, under a modest load.

Owns the configuration, the clients and the reckoning. Two configurations take turns, a
tenth of whose routes and upstreams differ. Told are how long a reload takes from the
request on the operator's socket to its answer, the latencies of requests that were on
their way during one beside those of the time between, and the memory. Exits 1 when a
request failed, never for a time.
"""

import argparse
import http.client
import json
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent / "compare"), str(HERE.parent / "edge")]

import gateway  # noqa: E402
import peers  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tollgate", default=gateway.TOLLGATE, metavar="PATH")
    parser.add_argument("--origin", default=str(peers.ROOT / "target" / "release" / "origin"), metavar="PATH")
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--upstreams", type=int, default=1_000)
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--clients", type=int, default=4, help="each with one connection and 100 requests a second")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with ReloadBench(args) as bench:
        figures = bench.measure()
    print(json.dumps(figures, indent=2) if args.json else table(figures))
    return 1 if figures["failed"] else 0


class ReloadBench(peers.Bench):
    """The temporary folder, the origin and the gateway."""

    def __init__(self, args):
        super().__init__({"tollgate": str(Path(args.tollgate).resolve()), "origin": str(Path(args.origin).resolve())})
        self.args = args

    def __enter__(self):
        for binary in self.binaries.values():
            if not shutil.which(binary):
                raise peers.PeerFailed(f"{binary} is not there; build it, or name it with --tollgate and --origin")
        self.dir = Path(tempfile.mkdtemp(prefix="tollgate-reload-"))
        try:
            self.origin_port = peers.free_ports(1)[0]
            self.start_origin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start_origin(self):
        address = f"127.0.0.1:{self.origin_port}"
        process = self.spawn("origin", peers.GENERATOR_CPU, [self.binaries["origin"], "--listen", address])
        self.await_answer(process, "origin", self.origin_port, False, 10)

    def await_answer(self, process, name, port, _secure, patience):
        """Returns after one answer of status 200, whatever is in it: the origin here echoes."""
        deadline = time.monotonic() + patience
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if peers.get(port, False, deadline - time.monotonic()).startswith(b"HTTP/1.1 200 "):
                    return
            except ConnectionRefusedError:
                pass
            time.sleep(0.05)
        raise peers.PeerFailed(f"{name} does not answer on {port}:\n{self.output(name)}")

    def measure(self):
        self.ports = peers.free_ports(3)
        texts = [self.configuration(variant) for variant in range(2)]
        path = self.dir / "tollgate.yaml"
        path.write_text(texts[0])
        command = [self.binaries["tollgate"], "run", "--config", str(path)]
        self.process = self.spawn("tollgate", peers.PROXY_CPU, command)
        self.await_answer(self.process, "tollgate", self.ports[0], False, 120)
        # What the first swap leaves for good, as its allocator's pages, is no leak.
        self.swap(path, texts[1])
        before = self.rss()
        clients = [Client(self.ports[0], self.args.routes, nth) for nth in range(self.args.clients)]
        for client in clients:
            client.start()
        time.sleep(1)
        swaps, dry = [], []
        for nth in range(self.args.reloads):
            path.write_text(texts[nth % 2])
            dry.append(self.ask("/reload?dry_run"))
            swaps.append(self.ask("/reload"))
            time.sleep(0.2)
        time.sleep(1)
        for client in clients:
            client.over.set()
        for client in clients:
            client.join()
        return self.figures(swaps, dry, clients, before)

    def swap(self, path, text):
        path.write_text(text)
        self.ask("/reload")

    def ask(self, what):
        """When it began and ended."""
        began = time.monotonic()
        connection = OverSocket(str(self.dir / "admin.sock"))
        connection.request("POST", what)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if answer.status != 200:
            raise peers.PeerFailed(f"POST {what} answered {answer.status}: {text[:2000]}")
        if what != "/reload?dry_run" and not json.loads(text)["changes"]:
            raise peers.PeerFailed("a reload changed nothing: nothing was measured")
        return began, time.monotonic()

    def figures(self, swaps, dry, clients, before):
        samples = [sample for client in clients for sample in client.samples]
        failed = [why for client in clients for why in client.failed]
        during = [took for at, took in samples if any(at < end and at + took > began for began, end in swaps)]
        between = [took for at, took in samples if not any(at < end and at + took > began for began, end in swaps + dry)]
        return {
            "routes": self.args.routes,
            "upstreams": self.args.upstreams,
            "reloads": len(swaps),
            "reload_ms": spread([end - began for began, end in swaps]),
            "dry_run_ms": spread([end - began for began, end in dry]),
            "requests": len(samples),
            "during_reloads": len(during),
            "p99_during_ms": p99(during),
            "p99_between_ms": p99(between),
            "failed": len(failed),
            "first_failures": failed[:5],
            "rss_before_mib": before,
            "rss_after_mib": self.rss(),
        }

    def rss(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return round(int(line.split()[1]) / 1024, 1)
        raise peers.PeerFailed("the gateway is gone")

    def configuration(self, variant):
        """A tenth of its routes and upstreams say which variant it is."""
        plain, ready, metrics = self.ports
        lines = [
            f"listeners: [{{ name: plain, address: \"127.0.0.1:{plain}\" }}]",
            f"readiness: {{ address: \"127.0.0.1:{ready}\" }}",
            f"admin: {{ socket: admin.sock, metrics: \"127.0.0.1:{metrics}\" }}",
            "access_log: { path: access.log }",
            "upstreams:",
        ]
        for nth in range(self.args.upstreams):
            weight = variant + 1 if nth % 10 == 0 else 1
            lines.append(f"  - {{ name: u{nth}, endpoints: [{{ address: \"127.0.0.1:{self.origin_port}\", weight: {weight} }}] }}")
        lines.append("routes:")
        for nth in range(self.args.routes):
            mark = variant if nth % 10 == 0 else 0
            lines.append(
                f"  - {{ name: r{nth}, match: {{ path: /r{nth} }}, to: [{{ upstream: u{nth % self.args.upstreams} }}], "
                f"response_headers: {{ set: [{{ name: x-variant, value: \"{mark}\" }}] }} }}"
            )
        lines.append("  - { name: rest, respond: { status: 200 } }")
        return "\n".join(lines) + "\n"


class OverSocket(http.client.HTTPConnection):
    """HTTP to the operator's socket."""

    def __init__(self, path):
        super().__init__("admin", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Client(threading.Thread):
    """One keep-alive connection, a hundred requests a second, each to another route."""

    def __init__(self, port, routes, nth):
        super().__init__(daemon=True)
        self.port, self.routes, self.nth = port, routes, nth
        self.over = threading.Event()
        self.samples, self.failed = [], []

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        due, number = time.monotonic(), self.nth * 7919
        while not self.over.is_set():
            number += 7
            began = time.monotonic()
            try:
                connection.request("GET", f"/r{number % self.routes}/x")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failed.append(f"status {answer.status}")
            except (OSError, http.client.HTTPException) as why:
                # A connection that the gateway asked to end is closed by then, and opened again by itself.
                self.failed.append(repr(why))
                connection.close()
            self.samples.append((began, time.monotonic() - began))
            due += 0.01
            time.sleep(max(0, due - time.monotonic()))
        connection.close()


def spread(spans):
    return {"median": round(median(spans) * 1e3, 1), "max": round(max(spans) * 1e3, 1)}


def p99(spans):
    spans = sorted(spans)
    return round(spans[int(len(spans) * 0.99)] * 1e3, 2) if spans else None


def table(f):
    rows = [
        ("routes, upstreams", f"{f['routes']:,}, {f['upstreams']:,}"),
        (f"reload, median and longest of {f['reloads']}", f"{f['reload_ms']['median']} ms, {f['reload_ms']['max']} ms"),
        ("dry run, median and longest", f"{f['dry_run_ms']['median']} ms, {f['dry_run_ms']['max']} ms"),
        ("requests, on their way during a reload", f"{f['requests']:,}, {f['during_reloads']:,}"),
        ("p99 during a reload, and between", f"{f['p99_during_ms']} ms, {f['p99_between_ms']} ms"),
        ("failed requests (target 0)", f"{f['failed']} {f['first_failures'] or ''}".rstrip()),
        ("RSS before and after", f"{f['rss_before_mib']} MiB, {f['rss_after_mib']} MiB"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


if __name__ == "__main__":
    gateway.run("reload_time", main)
