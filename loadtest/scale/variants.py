"""Gateways that differ in one thing: what is written into each, and what it is asked.

Owns the configurations. A variant is a bench of its own (folder, origin, ports); the
first is what the others are held against. Runs nothing and reckons nothing.
"""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "compare"), str(HERE.parent / "edge")]

import peers  # noqa: E402

NONE = {"LIMITS": "", "LIMITED": ""}
ROUTES = 100_000
ENDPOINTS = 10_000


class VariantBench(peers.Bench):
    """The folder, the origin and one proxy whose configuration is `name`'s usual one and what this variant adds."""

    def __init__(self, binaries, proxy, added):
        super().__init__(binaries, lambda _, folder: added(proxy, folder, self))
        self.proxy = proxy

    def arguments(self, name, values):
        self.metrics = values["METRICS"]
        if (self.dir / "conf.d").exists():
            shutil.copytree(self.dir / "conf.d", values["HOME"] / "conf.d")
        return super().arguments(name, values)

    def start_origin(self):
        # Endpoints are many by address: 127.0.0.0/8 is all this machine's, and nobody else is answered.
        only = "if ($remote_addr !~ ^127\\.) { return 444; }"
        conf = self.write("origin.conf.in", "origin.conf", {"BODY": peers.BODY, "LISTEN": "0.0.0.0", "ONLY": only})
        command = [self.binaries["nginx"], "-e", f"{self.dir}/origin.err", "-c", conf]
        process = self.spawn("origin", peers.GENERATOR_CPU, command)
        self.await_answer(process, "origin", self.origin_port, False, 10)
        return process


def usual(_proxy, _folder, _bench):
    return NONE


def many_routes(proxy, folder, _bench):
    """As many prefixes as there are numbers, beside the usual route of everything."""
    if proxy == "nginx":
        to = 'proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";'
        return {**NONE, "LIMITED": "".join(f"location /r{nth}/ {{ {to} }}\n" for nth in range(ROUTES))}
    lines = (f"  - {{ name: r{nth}, match: {{ path: /r{nth} }}, to: [{{ upstream: origin }}] }}\n" for nth in range(ROUTES))
    fragment(folder, "routes:\n" + "".join(lines))
    return NONE


def endpoints(count):
    """One upstream of so many endpoints; 64 keys stay at one of them each, so that connections are always there."""

    def added(proxy, folder, bench):
        if proxy == "nginx":
            servers = "".join(f"server {address(nth)}:{bench.origin_port};" for nth in range(count))
            to = 'proxy_pass http://many; proxy_http_version 1.1; proxy_set_header Connection "";'
            keys = "keepalive 512; keepalive_requests 1000000000;"
            upstream = f"upstream many {{ hash $http_x_key consistent; {servers} {keys} }}"
            return {"LIMITS": upstream, "LIMITED": f"location /many {{ {to} }}"}
        each = "".join(f"      - {{ address: \"{address(nth)}:{bench.origin_port}\" }}\n" for nth in range(count))
        fragment(folder, "upstreams:\n  - name: many\n    balance: { consistent_hash: { key: client_address, max_load: 1000% } }\n"
                 f"    endpoints:\n{each}routes:\n  - {{ name: many, match: {{ path: /many }}, to: [{{ upstream: many }}] }}\n")
        return NONE

    return added


def address(nth):
    return f"127.1.{nth // 250}.{nth % 250 + 1}"


def traced(ratio):
    """Spans of this share of the requests go to a collector; beside the bench stands one that takes everything."""

    def added(_proxy, _folder, bench):
        if ratio is None:
            return NONE
        otlp = f"{{ endpoint: \"http://127.0.0.1:{bench.collector}/v1/traces\", queue: 1000000, batch: 10000 }}"
        return {**NONE, "LIMITS": f"tracing: {{ sampling: {{ ratio: {ratio} }}, otlp: {otlp} }}"}

    return added


def fragment(folder, text):
    (folder / "conf.d").mkdir(exist_ok=True)
    (folder / "conf.d" / "many.yaml").write_text(text)


# By scenario: the path that is asked (`#` becomes a number below ROUTES), and what each variant adds.
SCENARIOS = {
    "routes": ("/r#/x", {"one route": usual, f"{ROUTES:,} routes": many_routes}),
    "endpoints": ("/many", {"64 endpoints": endpoints(64), f"{ENDPOINTS:,} endpoints": endpoints(ENDPOINTS)}),
    "tracing": ("/", {"off": traced(None), "1 of 100": traced("1%"), "all": traced("100%")}),
}
