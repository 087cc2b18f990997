"""A client's bearer tokens, as an identity provider gives them out, made by openssl.

Owns the keys, the key sets, as many different tokens as clients there are, and those that
no gateway may let through. They are of one run and stand in its folder. What gateways are
told of them is verified.py's.
"""

import base64
import json
import secrets
import subprocess
import time

KINDS = {"es256": ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"), "rs256": ("RSA", "-pkeyopt", "rsa_keygen_bits:2048")}
ISSUER, AUDIENCE = "https://issuer.test", "api"
# One alone would be found again by whoever looks at the last one only.
CLIENTS = 64
DAY = 24 * 3600
NONE = b'{"alg":"none","typ":"JWT"}'


def folder(bench):
    """For each kind KIND.pem, KIND.pub, KIND.json (its key set) and KIND.tokens, a line each."""
    home = bench.dir / "tokens"
    if not home.exists():
        home.mkdir()
        for kind, of_key in KINDS.items():
            openssl("genpkey", "-algorithm", *of_key, "-out", home / f"{kind}.pem")
            openssl("pkey", "-in", home / f"{kind}.pem", "-pubout", "-out", home / f"{kind}.pub")
            (home / f"{kind}.json").write_text(json.dumps({"keys": [jwk(home, kind)]}))
            (home / f"{kind}.tokens").write_text("".join(f"{token(home, kind)}\n" for _ in range(CLIENTS)))
    return home


def good(home, kind):
    return (home / f"{kind}.tokens").read_text().split()[0]


def bad(home, kind):
    """`{what is wrong with it: token}`."""
    head, claims, signature = good(home, kind).split(".")
    # Not the last letter: its last bits may mean nothing.
    broken = signature[:20] + ("A" if signature[20] != "A" else "B") + signature[21:]
    other = next(one for one in KINDS if one != kind)
    return {
        "a broken signature": f"{head}.{claims}.{broken}",
        "the signature of another token": ".".join([head, claims, token(home, kind).split(".")[2]]),
        "a key of another kind": token(home, other),
        "no signature": f"{encoded(NONE)}.{claims}.",
        "the end of its life": token(home, kind, exp=int(time.time()) - 3600),
        "another issuer": token(home, kind, iss="https://other.test"),
        "another audience": token(home, kind, aud="other"),
    }


def token(home, kind, **other):
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": f"client-{secrets.token_hex(8)}", "scope": "orders:read orders:write",
        "iat": now - 60, "nbf": now - 60, "exp": now + DAY, "jti": secrets.token_hex(16), **other,
    }
    header = {"alg": kind.upper(), "typ": "JWT", "kid": kind}
    text = ".".join(encoded(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    signature = openssl("dgst", "-sha256", "-sign", home / f"{kind}.pem", given=text.encode())
    return f"{text}.{encoded(raw(signature) if kind == 'es256' else signature)}"


def raw(der):
    """JWS wants r and s as they are, openssl gives two numbers of DER."""
    out, at = b"", 2
    for _ in range(2):
        length = der[at + 1]
        out += int.from_bytes(der[at + 2:at + 2 + length], "big").to_bytes(32, "big")
        at += 2 + length
    return out


def jwk(home, kind):
    said = {"kid": kind, "alg": kind.upper(), "use": "sig"}
    if kind == "rs256":
        modulus = openssl("rsa", "-in", home / "rs256.pem", "-noout", "-modulus").decode().strip().split("=")[1]
        return {**said, "kty": "RSA", "n": encoded(bytes.fromhex(modulus)), "e": "AQAB"}
    point = openssl("pkey", "-in", home / "es256.pem", "-pubout", "-outform", "DER")[-64:]
    return {**said, "kty": "EC", "crv": "P-256", "x": encoded(point[:32]), "y": encoded(point[32:])}


def encoded(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def openssl(*arguments, given=None):
    return subprocess.run(["openssl", *map(str, arguments)], input=given, check=True, capture_output=True).stdout
