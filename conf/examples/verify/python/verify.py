"""Verifies the token that Tollgate puts on a request: copy this file.

    verifier = Verifier(Keys(url, ["ES256"]), issuer, audience, require_bind=["method", "path"])
    claims = verifier.verify(token, method, target, host, body)  # or Refused

Needs PyJWT and cryptography (Debian: python3-jwt python3-cryptography). server.py shows
it at work, ../README.md says what each check is for.
"""
import hashlib
import json
import re
import sys
import threading
import time
import urllib.request
from base64 import urlsafe_b64encode

import jwt

LEEWAY = 5  # seconds that clocks may differ
# What kind of key each algorithm takes. No `none`, and nothing with a shared secret.
KINDS = {"ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519"), "RS256": ("RSA", None), "PS256": ("RSA", None)}
PARTS = ("method", "path", "query", "host", "body")
# PyJWT overlooks letters that are no base64url.
TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


class Refused(Exception):
    """Why a token is not good: answer 401."""


class Keys:
    """The gateway's public keys by `kid`, from a URL or a file, fetched again when needed."""

    def __init__(self, source, algorithms, refetch=5, max_age=300):
        self.url = source if "://" in source else f"file://{source}"
        self.algorithms, self.refetch, self.max_age = algorithms, refetch, max_age
        self.keys, self.lock = {}, threading.Lock()
        self.fetched = self.tried = float("-inf")

    def get(self, kid):
        """The algorithm and the key of this name; None if there is none."""
        known = kid in self.keys
        old = time.monotonic() - self.fetched >= self.max_age
        # Nobody waits for a fetch whose key is here already.
        if (old or not known) and self.lock.acquire(blocking=not known):
            try:
                # Made-up names must not make us flood the gateway.
                if time.monotonic() - self.tried >= self.refetch:
                    self.fetch()
            finally:
                self.lock.release()
        return self.keys.get(kid)

    def fetch(self):
        self.tried = time.monotonic()
        try:
            with urllib.request.urlopen(self.url, timeout=5) as answer:
                found = [key for key in json.loads(answer.read(1 << 20))["keys"] if self.fits(key)]
            self.keys = {key["kid"]: (key["alg"], jwt.PyJWK(key).key) for key in found}
            self.fetched = self.tried
        except Exception as why:  # The keys that are here stay good.
            print(f"key set not fetched: {why!r}", file=sys.stderr)

    def fits(self, key):
        kind = (key.get("kty"), key.get("crv"))
        return "kid" in key and key.get("alg") in self.algorithms and KINDS[key["alg"]] == kind


class Verifier:
    def __init__(self, keys, issuer, audience, require_bind=(), once=False, scheme="http"):
        self.keys, self.issuer, self.audience = keys, issuer, audience
        self.require_bind, self.scheme = require_bind, scheme
        self.seen, self.lock = ({} if once else None), threading.Lock()

    def verify(self, token, method, target, host, body):
        """The claims of a token that is for exactly this request; else Refused.

        `target` is path and query as they came, neither decoded nor tidied.
        """
        if not TOKEN.fullmatch(token):
            raise Refused("it is no JWT")
        try:
            header = jwt.get_unverified_header(token)
            if "crit" in header:
                raise Refused("the header has `crit`: it means what is not understood here")
            algorithm, key = self.keys.get(header.get("kid")) or (None, None)
            if key is None:
                raise Refused("the key is unknown")
            # The algorithm is the key's own; what the token says can only agree.
            claims = jwt.decode(
                token, key, algorithms=[algorithm], issuer=self.issuer, audience=self.audience,
                leeway=LEEWAY, options={"require": ["iss", "aud", "iat", "exp"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as why:
            raise Refused(str(why) or type(why).__name__) from None
        self.check_request(claims, method, target, host, body)
        if self.seen is not None:
            self.check_once(claims)  # Last: only a good token is used up.
        return claims

    def check_request(self, claims, method, target, host, body):
        path, _, query = target.partition("?")
        whole_url = str(claims.get("htu", "/"))[:1] != "/"
        bound_body = ("bh", sha256(body))
        if "payloadhash" in claims:  # Profile `kong_upstream_jwt`: in hex, and nothing of nothing.
            bound_body = ("payloadhash", hashlib.sha256(body).hexdigest() if body else "")
        request = {
            "method": ("htm", method),
            "path": ("htu", f"{self.scheme}://{host}{path}" if whole_url else path),
            "query": ("qh", sha256(query.encode("latin-1"))),
            "body": bound_body,
        }
        for part, (claim, value) in request.items():
            required = part in self.require_bind
            if claim not in claims and required:
                raise Refused(f"`{claim}` is missing")
            # The gateway did not know the body: good only where nobody asks for it.
            if part == "body" and claims.get(claim) == "UNSIGNED" and not required:
                continue
            if claim in claims and claims[claim] != value:
                raise Refused(f"`{claim}` is of another request")
        if "host" in self.require_bind and not whole_url:
            raise Refused("`htu` names no host")

    def check_once(self, claims):
        now, jti = time.time(), claims.get("jti")
        if not isinstance(jti, str):
            raise Refused("`jti` is missing")
        with self.lock:
            # In the order in which they came, so nearly in that of their ends.
            while self.seen and self.seen[oldest := next(iter(self.seen))] < now:
                del self.seen[oldest]
            if jti in self.seen:
                raise Refused("the token was used before")
            self.seen[jti] = int(claims["exp"]) + LEEWAY + 1


def sha256(data):
    return urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
