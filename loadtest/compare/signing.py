"""What Tollgate is told when signing is compared, and what signing costs it.

Owns the signers, one whose tokens serve many requests and one whose tokens are each
signed for one, a path each behind TLS and a limit; and that table. The bare proxy gets
the same requests and passes them on, which is what whole requests are held against.
"""

import os
import subprocess

import limits
import table

# The base is the first: nothing but TLS.
DUTIES = {
    "unsigned": "TLS 1.3, 64 keep-alive connections, no limit, no token",
    "limited": "the same through a limit that counts all of them together",
    "unbound": "the same limit, and an ES256 token that is used again for half of its life",
    "bound": "the same limit, and an ES256 token signed for each request (method, path, query)",
}
PEERS = ("bare", "tollgate")
# By bare Pingora, in CPU and in instructions. What a signature costs on top is told, not bounded.
TARGETS = {"unbound": "1.20"}


def path(duty):
    # All as long: what a longer path costs is no signer's.
    return f"/{duty:.<8}"


def texts(name, folder):
    """What stands in a proxy's configuration for its signers, whose key is in `folder`."""
    if name != "tollgate":
        return limits.texts(name, False)
    keys = folder / "jwt"
    if not keys.exists():
        keys.mkdir()
        key = keys / "a.pem"
        subprocess.run(
            ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key],
            check=True, capture_output=True,
        )
        os.chmod(key, 0o600)
    return {"LIMITS": SIGNERS.replace("@KEYS@", str(keys)), "LIMITED": ROUTES}


def costs(duties):
    """Rows of a table: what each duty costs Tollgate, round by round, over the one before it."""
    rows = [["what it costs on top", "before, CPU µs/req", "more [95 %]", "by before [95 %]"]]
    names = list(DUTIES)
    for before, duty in zip(names, names[1:]):
        blocks = [duties[one]["tollgate"]["blocks"] for one in (before, duty)]
        rows.append([f"{duty}, over {before}", *table.over(*blocks)])
    return table.align(rows)


SIGNERS = """
limits:
  - { name: one, rate: 1000000/s }
signers:
  - { name: unbound, issuer: "https://gateway.test", keys: @KEYS@, claims: [client_ip, route] }
  - { name: bound, issuer: "https://gateway.test", keys: @KEYS@, claims: [client_ip, route], bind: [method, path, query] }"""
TO = "limits: [one], to: [ { upstream: origin } ]"
ROUTES = f"""
  - {{ name: limited, match: {{ path: {{ exact: {path("limited")} }} }}, {TO} }}
  - {{ name: unbound, match: {{ path: {{ exact: {path("unbound")} }} }}, sign: unbound, {TO} }}
  - {{ name: bound, match: {{ path: {{ exact: {path("bound")} }} }}, sign: bound, {TO} }}"""
