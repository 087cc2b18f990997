"""A bearer token in each request: how each proxy is told to verify it, and the proof that it does.

Owns those texts: all ask for the signature, `exp`, `iss` and `aud`, and keep the token from
the upstream. Who remembers tokens that it verified does so in `verified`, its best case, and
looks at each anew in `verified-each`. Tokens are tokens.py's.
"""

import peers
import signers
import tokens

# By path: a proxy may be told one algorithm and one key for each.
PATHS = {kind: f"/verified-{kind}" for kind in tokens.KINDS}
PEERS = ("lua", "haproxy", "envoy", "tollgate")


def setup(cached):
    return lambda name, bench: TEXTS[name](tokens.folder(bench), cached)


def prove(bench, running):
    """Raises unless the proxy lets a good token through, and nothing that is wrong."""
    home = tokens.folder(bench)
    for kind, path in PATHS.items():
        # The good one first: whoever remembers it is not to take its likes for it.
        cases = {"a good token": tokens.good(home, kind), **tokens.bad(home, kind), "no token": None}
        for what, token in cases.items():
            field = f"Authorization: Bearer {token}\r\n" if token else ""
            answer = peers.get(running.tls, True, 5, path, field)
            status = answer[9:12].decode()
            # Envoy tells 403 to those whose audience is another.
            if (status == "200") != (what == "a good token") or status not in ("200", "401", "403"):
                raise peers.PeerFailed(f"{running.name} answered {status} on {path} to {what}:\n{bench.output(running.name)}")


def tollgate(home, cached):
    return {
        "LIMITS": "authentication:" + "".join(
            f'\n  - {{ name: {kind}, jwt: {{ issuer: "{tokens.ISSUER}", audience: [{tokens.AUDIENCE}], jwks_file: {home}/{kind}.json, '
            f'algorithms: [{kind.upper()}], cache_tokens: {KEPT if cached else 0} }} }}' for kind in PATHS),
        "LIMITED": "\n".join(
            f"  - {{ name: {kind}, match: {{ path: {{ exact: {path} }} }}, authenticate: [{kind}], to: [ {{ upstream: origin }} ] }}"
            for kind, path in PATHS.items()),
        "ANYBODY": "authenticate: anonymous, ",
    }


def envoy(home, cached):
    remembered = f"jwt_cache_config: {{ jwt_cache_size: {KEPT} }}, " if cached else ""
    providers = ", ".join(
        f"{kind}: {{ issuer: \"{tokens.ISSUER}\", audiences: [{tokens.AUDIENCE}], {remembered}"
        f"local_jwks: {{ filename: {home}/{kind}.json }} }}" for kind in PATHS)
    rules = ", ".join(f"{{ match: {{ path: {path} }}, requires: {{ provider_name: {kind} }} }}" for kind, path in PATHS.items())
    return {"FILTERS": '{ name: jwt, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.'
                       f"JwtAuthentication, providers: {{ {providers} }}, rules: [ {rules} ] }} }},"}


def haproxy(home, _cached):
    """It remembers none."""
    lines = [
        "http-request set-var(txn.token) http_auth_bearer if { path_beg /verified- }",
        "http-request set-var(txn.now) date() if { path_beg /verified- }",
        "http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int') if { path_beg /verified- }",
    ]
    for kind, path in PATHS.items():
        algorithm = kind.upper()
        for wanted in (
            f"var(txn.token),jwt_header_query('$.alg') -m str {algorithm}",
            f"var(txn.token),jwt_payload_query('$.iss') -m str {tokens.ISSUER}",
            f"var(txn.token),jwt_payload_query('$.aud') -m str {tokens.AUDIENCE}",
            "var(txn.exp),sub(txn.now) -m int gt 0",
            f'var(txn.token),jwt_verify("{algorithm}","{home}/{kind}.pub") -m int 1',
        ):
            lines.append(f"http-request deny deny_status 401 if {{ path {path} }} !{{ {wanted} }}")
    lines.append("http-request del-header authorization if { path_beg /verified- }")
    return {"LIMITED": "\n".join(f"    {line}" for line in lines)}


def lua(home, cached):
    return {
        **signers.LUA,
        "LIMITS": LUA_GATEWAY.replace("@TOKENS@", str(home)).replace("@KEPT@", str(KEPT if cached else 0)),
        "LIMITED": "\n".join(
            f'        location = {path} {{ access_by_lua_block {{ gateway.verified("{kind.upper()}") }} proxy_pass http://origin; }}'
            for kind, path in PATHS.items()),
    }


# As many as Tollgate remembers unless it is told another number.
KEPT = 8192
LUA_GATEWAY = f"""
    lua_package_path "@HERE@/?.lua;/usr/share/lua/5.1/?.lua;;";
    init_by_lua_block {{ gateway = require "verify"; gateway.init("@TOKENS@", "{tokens.ISSUER}", "{tokens.AUDIENCE}", @KEPT@) }}"""
TEXTS = {"tollgate": tollgate, "envoy": envoy, "haproxy": haproxy, "lua": lua}
