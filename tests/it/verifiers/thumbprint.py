# A public key, PEM, as a JWK: with cryptography and the text of RFC 7638 alone.
import hashlib, json, sys
from base64 import urlsafe_b64encode
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

path, alg = sys.argv[1:]
key = s.load_pem_public_key(open(path, "rb").read())
text = lambda data: urlsafe_b64encode(data).rstrip(b"=").decode()
number = lambda n, size=None: text(n.to_bytes(size or (n.bit_length() + 7) // 8, "big"))
if isinstance(key, ec.EllipticCurvePublicKey):
    xy = key.public_numbers()
    jwk = {"kty": "EC", "crv": "P-256", "x": number(xy.x, 32), "y": number(xy.y, 32)}
elif isinstance(key, ed25519.Ed25519PublicKey):
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": text(key.public_bytes(s.Encoding.Raw, s.PublicFormat.Raw))}
else:
    jwk = {"kty": "RSA", "n": number(key.public_numbers().n), "e": number(key.public_numbers().e)}
canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":"))
kid = text(hashlib.sha256(canonical.encode()).digest())
print(json.dumps({**jwk, "kid": kid, "alg": alg, "use": "sig"}))
