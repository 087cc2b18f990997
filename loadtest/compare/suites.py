"""Which proxies do what when everything is compared.

Owns the duties, who takes part in each and why the others do not, and which duties
share a round, so that they can be held against each other. Does not own how load is
made (generators.py) nor what stands in a configuration (setups.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import generators as by
import limits
import routes
import setups
import signers
import verified


@dataclass(frozen=True)
class Duty:
    """What is asked of whom, and with which setup: a name of SETUPS, or one for each proxy."""

    meaning: str
    traffic: Callable
    peers: tuple
    setup: str | dict = "usual"
    # A slice of each proxy lasts so long, and a block has so many rounds of them.
    seconds: int = 1
    rounds: int = 1

    def setup_of(self, name):
        return self.setup if isinstance(self.setup, str) else self.setup.get(name, "usual")


@dataclass(frozen=True)
class Suite:
    """Duties that are run together; `shared` is whether in the same rounds."""

    duties: dict
    blocks: int
    shared: bool = False
    # Setups whose limit has to know every key before it is measured.
    filled: dict = field(default_factory=dict)
    # What has to be seen of each proxy before it is measured: `(bench, proxy)` raises.
    proven: Callable = lambda bench, running: None


PROXIES = ("nginx", "haproxy", "envoy", "stock", "bare", "tollgate")
# No log, no tables of routes, endpoints or keys.
GATEWAYS = ("nginx", "haproxy", "envoy", "tollgate")
LIMITERS = ("nginx", "haproxy", "tollgate")
SETUPS = {
    "usual": lambda name, bench: {},
    "rsa": setups.rsa,
    "tickets": setups.tickets,
    "log": setups.log,
    "limits": lambda name, bench: limits.texts(name, True),
    "signers": signers.setup,
    "full": signers.full,
    "verified": verified.setup(cached=True),
    "verified-each": verified.setup(cached=False),
    **{f"routes-{n}": routes.setup(n) for n in (1, 1000, 10000)},
    **{f"endpoints-{n}": setups.endpoints(n) for n in (1, 10000)},
}
LIMIT_DUTIES = {
    duty: Duty(meaning, by.keys(limits.path(duty)), LIMITERS, "limits")
    for duty, meaning in limits.DUTIES.items() if duty != "refused"
}
SIGN_DUTIES = {
    f"sign-{kind}": Duty(
        f"TLS, a limit that counts all together, and {meaning}", by.wrk(signers.path(kind)),
        ("lua",) if kind == "hs256" else ("lua", "tollgate"), "signers")
    for kind, meaning in signers.KINDS.items()
}
VERIFIED_DUTIES = {
    f"verified-{each}{kind}": Duty(
        f"TLS, and one of 64 bearer tokens in each request, at random; {kind.upper()}, exp, iss and aud are verified{how}",
        by.tokens(kind, path), verified.PEERS, f"verified{each.rstrip('-') and '-each'}")
    for each, how in (("", "; all but HAProxy know a token again"), ("each-", " for each request")) for kind, path in verified.PATHS.items()
}
SAME = by.keys("/", secure=True, routes=signers.FULL_ROUTES)
SUITES = {
    "keep-alive": Suite({
        "plain": Duty("cleartext, 64 keep-alive connections", by.wrk(secure=False), PROXIES),
        "tls": Duty("TLS 1.3, 64 keep-alive connections", by.wrk(), PROXIES),
        "http2": Duty("HTTP/2 over TLS, 8 connections of 8 streams", by.http2, GATEWAYS),
        "log": Duty("TLS as above, and a line in an access log for each request", by.wrk(), GATEWAYS, "log"),
    }, blocks=4),
    "handshakes": Suite({
        "handshake": Duty("a new full handshake for each request, ECDSA P-256, X25519", by.handshakes(), PROXIES, rounds=2),
        "handshake-rsa": Duty("the same with RSA-2048", by.handshakes(), PROXIES, "rsa"),
        "resumed": Duty("a new connection for each request, resumed by the last one's ticket",
                        by.handshakes("--resume"), PROXIES, "tickets", rounds=2),
        "handshake-pq": Duty("a full handshake, ECDSA P-256, whose client offers X25519MLKEM768 and X25519: "
                             "each takes the best it knows", by.pq_handshakes, PROXIES, rounds=2),
    }, blocks=3),
    "limits": Suite(LIMIT_DUTIES, blocks=4, shared=True, filled={"limits": by.keys("/limit-1m")}),
    "signing": Suite(SIGN_DUTIES, blocks=6, shared=True),
    "verified": Suite(VERIFIED_DUTIES, blocks=6, shared=True, proven=verified.prove),
    "routes": Suite({
        f"routes-{n}": Duty("cleartext, as many routes by prefix as said, one drawn at random for each request",
                            by.keys(routes=n), GATEWAYS, f"routes-{n}")
        for n in (1, 1000, 10000)
    }, blocks=4, shared=True),
    "endpoints": Suite({
        f"endpoints-{n}": Duty("cleartext, as many endpoints as said, a kept connection to each", by.wrk(secure=False), GATEWAYS, f"endpoints-{n}")
        for n in (1, 10000)
    }, blocks=4, shared=True),
    "bodies": Suite({
        "body-64k": Duty("TLS, 64 keep-alive connections, answers of 64 KiB", by.wrk("/64k"), PROXIES),
        "body-10m": Duty("TLS, 4 keep-alive connections, answers of 10 MiB", by.wrk("/10m", connections=4), PROXIES, seconds=2),
    }, blocks=4),
    "full": Suite({
        "full": Duty("TLS, one of 1,000 paths and of a million keys in each request; Tollgate alone has 1,000 routes, "
                     "a limit for each key, an ES256 token from its cache and metrics, the others pass the same requests on",
                     SAME, (*PROXIES, "unguided"), {"tollgate": "full", "unguided": "full"}),
        "full-usual": Duty("the same requests through Tollgate with one route, access log and metrics", SAME, ("tollgate",)),
    }, blocks=8, shared=True, filled={"full": by.keys("/", routes=signers.FULL_ROUTES)}),
    "rate": Suite({
        "rate": Duty("5,000 requests a second over 64 TLS connections, open loop", by.rate(5000), PROXIES, seconds=2),
        "rate-full": Duty("the same; Tollgate as in `full`", by.rate(5000), ("tollgate",), "full", seconds=2),
    }, blocks=8, shared=True, filled={"full": by.keys("/", routes=signers.FULL_ROUTES)}),
}
MISSING = {
    "tokens verified": "neither nginx without Lua nor bare Pingora can; HAProxy 2.6 remembers none that it verified",
    "HTTP/2": "the bare proxies offer no ALPN",
    "a limit for each key": "Envoy's own limit does not keep a count for each of a million keys, its global one asks a service",
    "signed tokens": "none of nginx without Lua, HAProxy, Envoy and bare Pingora makes one",
    "HS256": "Tollgate signs with no shared secret; its cheapest token, one that is kept, is held against it",
    "X25519MLKEM768": "OpenSSL 3.0 of Debian 12 has it not, so nginx and HAProxy take X25519 of the same offer",
}
