"""A limit and a signed token for each request: what Tollgate and nginx with Lua are told.

Owns those paths and keys, and the setup `full`: a limit by a header with a million keys
and a kept ES256 token on each of 1,000 routes. signing.py is the same by bare Pingora.
"""

import os
import subprocess

import routes

# How the token is made, by path.
KINDS = {
    "kept": "an ES256 token that is used again for half of its life",
    "hs256": "an HS256 token for each request",
    "es256": "an ES256 token for each request, for its method and path",
    "rs256": "an RS256 token for each request, for its method and path",
}
FULL_ROUTES = 1000


def path(kind):
    return f"/{kind:.<6}"


def setup(name, bench):
    folder = keys(bench)
    if name == "lua":
        return {**LUA, "LIMITS": LUA_GATEWAY.replace("@KEYS@", str(folder)), "LIMITED": LUA_PATHS}
    return {"LIMITS": LIMIT + signer(folder, "kept", "ES256") + signer(folder, "es256", "ES256", BOUND)
            + signer(folder, "rs256", "RS256", BOUND), "LIMITED": PATHS}


def full(_name, bench):
    texts = routes.tollgate(FULL_ROUTES, bench, "limits: [million], sign: kept,")
    return {**texts, "LIMITS": MILLION + signer(keys(bench), "kept", "ES256"), "LOG": "off"}


def keys(bench):
    """A folder for each algorithm, with a key; of a run's own."""
    folder = bench.dir / "jwt"
    for algorithm, kind in (("es256", ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]), ("rs256", ["RSA"])):
        if not (folder / algorithm).exists():
            (folder / algorithm).mkdir(parents=True)
            key = folder / algorithm / "a.pem"
            subprocess.run(["openssl", "genpkey", "-algorithm", *kind, "-out", key], check=True, capture_output=True)
            os.chmod(key, 0o600)
    return folder


def signer(folder, name, algorithm, bound=""):
    return (f'\n  - {{ name: {name}, algorithm: {algorithm}, issuer: "https://gateway.test", '
            f'keys: {folder / algorithm.lower()}, claims: [client_ip, route]{bound} }}')


BOUND = ", bind: [method, path]"
LIMIT = "limits:\n  - { name: one, rate: 1000000/s }\nsigners:"
MILLION = """limits:
  - { name: million, key: [ { header: x-consumer } ], rate: 1/h, burst: 1000000, memory: 40MiB }
signers:"""
PATHS = "\n".join(
    f"  - {{ name: {kind}, match: {{ path: {{ exact: {path(kind)} }} }}, limits: [one], sign: {kind}, to: [ {{ upstream: origin }} ] }}"
    for kind in ("kept", "es256", "rs256")
)
LUA = {
    "MODULES": "load_module /usr/lib/nginx/modules/ndk_http_module.so;\nload_module /usr/lib/nginx/modules/ngx_http_lua_module.so;",
}
LUA_GATEWAY = """
    lua_package_path "@HERE@/?.lua;/usr/share/lua/5.1/?.lua;;";
    lua_shared_dict counts 1m;
    lua_shared_dict tokens 10m;
    init_by_lua_block { gateway = require "sign"; gateway.init("@KEYS@") }"""
LUA_PATHS = "\n".join(
    f"        location = {path(kind)} {{ access_by_lua_block {{ gateway."
    + ('kept("kept")' if kind == "kept" else f'each("{kind.upper()}", "{kind}")') + " } proxy_pass http://origin; }"
    for kind in KINDS
)
